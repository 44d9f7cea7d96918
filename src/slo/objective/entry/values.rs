//! Values of an objective's keys.

use crate::slo::objective::{Limit, Quantity, Statistic};

pub(super) fn plain(quantity: Quantity, most: f64) -> Limit {
    Limit {
        quantity,
        most,
        deadlines: None,
    }
}

pub(super) fn positive(key: &str, value: f64) -> Result<f64, String> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(format!("{key}: {value} is no bound; write a number above 0"))
    }
}

pub(super) fn not_negative(key: &str, value: f64) -> Result<f64, String> {
    if value.is_finite() && value >= 0.0 {
        Ok(value)
    } else {
        Err(format!("{key}: {value} does not do; write seconds of at least 0"))
    }
}

pub(super) fn share(key: &str, value: f64) -> Result<f64, String> {
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else if (1.0..=100.0).contains(&value) {
        Err(format!(
            "{key}: {value} is no share; write {} for {value} %",
            value / 100.0
        ))
    } else {
        Err(format!(
            "{key}: {value} is not a share; write a number from 0 to 1, as 0.99"
        ))
    }
}

pub(super) fn statistic(word: &str) -> Result<Statistic, String> {
    let unknown =
        || format!("statistic: `{word}` is not known; write p99 (or p99.9, ...), median, mean or max");
    match word {
        "mean" => Ok(Statistic::Mean),
        "max" => Ok(Statistic::Max),
        "median" => Ok(Statistic::Quantile(0.5)),
        _ => {
            let percent: f64 = word
                .strip_prefix('p')
                .and_then(|n| n.parse().ok())
                .ok_or_else(unknown)?;
            if (0.0..=100.0).contains(&percent) {
                Ok(Statistic::Quantile(percent / 100.0))
            } else {
                Err(unknown())
            }
        }
    }
}
