//! Runs that stand out among repetitions of one pair.
//!
//! Three rules, from at least three values: |0.6745 (x - median) / MAD| > 3.5 (Iglewicz and Hoaglin, How to Detect and
//! Handle Outliers, 1993); outside the quartiles by more than 1.5 times their distance (Tukey, Exploratory Data
//! Analysis, 1977); more than 2.5 or less than 0.4 times the median.

use crate::stats::quantile::quantile_of;

/// Scales the median absolute deviation to a standard deviation of a normal law.
const MAD_SCALE: f64 = 0.6745;
/// Largest modified z-score.
const MAX_Z: f64 = 3.5;
/// Largest distance from the quartiles, in units of their distance.
const FENCE: f64 = 1.5;
/// Bounds of the ratio to the median.
const RATIO: (f64, f64) = (0.4, 2.5);
/// Fewest values that are compared.
const FEWEST: usize = 3;

/// A rule that flags a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Modified z-score.
    Mad,
    /// Tukey's fences.
    Iqr,
    /// Ratio to the median.
    Ratio,
}

impl Rule {
    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mad => "mad",
            Self::Iqr => "iqr",
            Self::Ratio => "ratio",
        }
    }
}

/// The rules that flag each value, in the order of `values`; nothing is flagged among fewer than three.
pub fn flag(values: &[f64]) -> Vec<Vec<Rule>> {
    if values.len() < FEWEST {
        return vec![Vec::new(); values.len()];
    }
    let at = |of: &[f64], p| quantile_of(of, p).expect("there are at least three values");
    let median = at(values, 0.5);
    let deviations: Vec<f64> = values.iter().map(|v| (v - median).abs()).collect();
    let mad = at(&deviations, 0.5);
    let (q1, q3) = (at(values, 0.25), at(values, 0.75));
    let reach = FENCE * (q3 - q1);
    values
        .iter()
        .map(|&value| {
            let ratio = value / median;
            // With a deviation of zero the score has no value, and the two other rules decide.
            let checks = [
                (
                    Rule::Mad,
                    mad > 0.0 && (MAD_SCALE * (value - median) / mad).abs() > MAX_Z,
                ),
                (Rule::Iqr, value < q1 - reach || value > q3 + reach),
                (Rule::Ratio, ratio < RATIO.0 || ratio > RATIO.1),
            ];
            checks
                .into_iter()
                .filter_map(|(rule, hit)| hit.then_some(rule))
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Rule::{Iqr, Mad, Ratio};

    #[test]
    fn each_rule_flags_what_it_should() {
        let only = |values: &[f64], at: usize| {
            let flags = flag(values);
            for (i, rules) in flags.iter().enumerate() {
                assert!(i == at || rules.is_empty(), "{values:?} {flags:?}");
            }
            flags[at].clone()
        };
        // Median 101, MAD 1; quartiles 100.5 and 115.5: within the fences, but 19.6 scaled deviations off.
        assert_eq!(only(&[100.0, 101.0, 130.0], 2), [Mad]);
        // Deviation zero: only the fences tell.
        assert_eq!(only(&[100.0, 100.0, 100.0, 100.0, 101.0], 4), [Iqr]);
        assert_eq!(only(&[100.0, 102.0, 98.0, 101.0, 300.0], 4), [Mad, Iqr, Ratio]);
        // Widely scattered: only the ratio tells.
        assert_eq!(only(&[60.0, 100.0, 39.0, 140.0, 175.0], 2), [Ratio]);
    }

    #[test]
    fn two_values_are_no_sample() {
        assert_eq!(flag(&[1.0, 1000.0]), [vec![], vec![]]);
        assert!(flag(&[]).is_empty());
    }
}
