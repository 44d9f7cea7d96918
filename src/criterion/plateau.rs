//! `EXPERIMENT_TYPE=MIT`: the rate at which throughput stops growing, whatever the response times do.

use serde_json::json;

use super::drift::DriftEstimate;
use super::welch::responded_per_minute_median;
use super::{Criterion, Earlier, Ruling, Throughput, Verdict, success_rate};
use crate::trial::{Estimate, Measurement, Response};
use crate::units::Rate;

/// The plateau criterion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plateau {
    rule: Rule,
    success_rate_percent: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    /// Served against offered, and its growth since the next lower rate.
    Served { tolerance: f64 },
    /// Differences of successive medians.
    Differences { relative: f64, absolute: f64 },
}

/// Least growth of the rate that is compared with an earlier trial.
const LEAST_STEP: f64 = 1.1;
/// Share of additional load that must be served.
const LEAST_GAIN: f64 = 0.5;

impl Plateau {
    /// The default: unsustainable when the service falls short of the offered load by more than 5 %, or serves less than half
    /// of what was added since the next lower rate. Needs no history, so it works in any stage of a search.
    pub fn new(success_rate_percent: f64) -> Self {
        Self {
            rule: Rule::Served { tolerance: 0.05 },
            success_rate_percent,
        }
    }

    /// The older rule: with `h` the medians of responses a minute of all trials so far, `d1 = h[-2] - h[-3]` and
    /// `d2 = h[-1] - h[-2]`, a trial fails when `d2 < 0` or `|d2| <= max(|d1| * relative, absolute)`.
    ///
    /// The older program asked this in stage 1 of its search only: [`Criterion::forgets_in_stage_two`] tells the driver to hand
    /// in no history there, fewer than three medians decide nothing, and every trial passes, as it did.
    pub fn legacy(relative: f64, absolute: f64, success_rate_percent: f64) -> Self {
        Self {
            rule: Rule::Differences { relative, absolute },
            success_rate_percent,
        }
    }

    fn served(
        measurement: &Measurement,
        own: Throughput,
        tolerance: f64,
        history: &[Throughput],
    ) -> (Ruling, Option<Estimate>, String) {
        let Some(estimate) = DriftEstimate::of(&measurement.backlog()) else {
            let why =
                "too little finished in the first half of the trial to tell its throughput; measure longer";
            return (Ruling::Unsure, None, why.to_owned());
        };
        let short = served_shortfall(&estimate);
        let percent = 100.0 * short.value;
        if let Some(before) = next_lower(own.asked, history) {
            let added = own.asked.as_per_minute() - before.asked.as_per_minute();
            let gained = own.responded_per_minute - before.responded_per_minute;
            if gained < LEAST_GAIN * added && short.low > 0.0 {
                let why = format!(
                    "of {added:.4} requests a minute more than before only {gained:.4} more were served"
                );
                return (Ruling::Unsustainable, Some(short), why);
            }
        }
        let (ruling, text) = if short.high < tolerance {
            (Ruling::Sustainable, "which is within the tolerance")
        } else if short.low > 0.0 && short.value > tolerance {
            (Ruling::Unsustainable, "which is more than the tolerance")
        } else {
            (Ruling::Unsure, "which does not decide")
        };
        let limit = 100.0 * tolerance;
        (
            ruling,
            Some(short),
            format!("{percent:.2} % of the offered load was not served, {text} of {limit} %"),
        )
    }
}

/// The share of the offered load that was not served well: by the backlog, or by failed requests where that is more.
fn served_shortfall(estimate: &DriftEstimate) -> Estimate {
    let failing = estimate.by_good.value - estimate.by_progress.value;
    Estimate {
        value: estimate.share.value + failing,
        low: estimate.share.low + failing,
        high: estimate.share.high + failing,
    }
}

fn good_within(measurement: &Measurement) -> f64 {
    f64::from(measurement.backlog().good.last().copied().unwrap_or(0))
}

/// The trial at the highest rate that lies at least 10 % below `rate`; of several the last.
fn next_lower(rate: Rate, history: &[Throughput]) -> Option<Throughput> {
    let below = |t: &&Throughput| t.asked.as_per_minute() * LEAST_STEP <= rate.as_per_minute();
    history
        .iter()
        .filter(below)
        .max_by(|a, b| a.asked.as_per_minute().total_cmp(&b.asked.as_per_minute()))
        .copied()
}

/// The older rule on the medians of all trials, the present one last.
fn flattened(medians: &[f64], relative: f64, absolute: f64) -> Option<String> {
    let [.., a, b, c] = medians else {
        return None;
    };
    let (d1, d2) = (b - a, c - b);
    let limit = (d1.abs() * relative).max(absolute);
    if d2 < 0.0 {
        Some(format!("the median of responses a minute fell by {}", -d2))
    } else if d2.abs() <= limit {
        Some(format!(
            "the median of responses a minute grew by {d2} only, not more than {limit}"
        ))
    } else {
        None
    }
}

impl Criterion for Plateau {
    fn name(&self) -> &'static str {
        "plateau"
    }

    /// What the driver keeps of a trial for [`Earlier::history`], in the measure of this rule: the median of the responses in a
    /// calendar minute for the older one, else good completions over the settled part of the trial.
    fn throughput(&self, measurement: &Measurement) -> Throughput {
        let offered = measurement.offered().as_per_minute();
        let served = match self.rule {
            Rule::Served { .. } => {
                let estimate = DriftEstimate::of(&measurement.backlog());
                let whole = || 60.0 * good_within(measurement) / measurement.offered_s.max(f64::MIN_POSITIVE);
                estimate.map_or_else(whole, |e| offered * (1.0 - served_shortfall(&e).value))
            }
            Rule::Differences { .. } => {
                let responses = measurement.responses();
                let seconds: Vec<i64> = responses.iter().map(Response::received_s).collect();
                // Without responses the older driver took what it had sent.
                responded_per_minute_median(&seconds).unwrap_or(offered)
            }
        };
        Throughput {
            asked: measurement.asked,
            responded_per_minute: served,
        }
    }

    fn forgets_in_stage_two(&self) -> bool {
        matches!(self.rule, Rule::Differences { .. })
    }

    fn judge(&self, measurement: &Measurement, earlier: &Earlier<'_>) -> Verdict {
        let own = self.throughput(measurement);
        let success = measurement.success_rate_percent();
        let (mut ruling, margin, reason) = match self.rule {
            Rule::Served { tolerance } => Self::served(measurement, own, tolerance, earlier.history),
            Rule::Differences { relative, absolute } => {
                let before = earlier.history.iter().map(|t| t.responded_per_minute);
                let medians: Vec<f64> = before.chain([own.responded_per_minute]).collect();
                match flattened(&medians, relative, absolute) {
                    Some(why) => (Ruling::Unsustainable, None, why),
                    None => (Ruling::Sustainable, None, "throughput still grows".to_owned()),
                }
            }
        };
        let mut reasons = vec![reason];
        if let Some(why) = success_rate::failure_of(measurement, self.success_rate_percent) {
            ruling = Ruling::Unsustainable;
            reasons.insert(0, why);
        }
        if let Some(why) = success_rate::void(measurement) {
            ruling = Ruling::Unsure;
            reasons.insert(0, why);
        }
        Verdict {
            criterion: self.name().to_owned(),
            ruling,
            margin,
            bound: match self.rule {
                Rule::Served { tolerance } => Some(tolerance),
                Rule::Differences { .. } => None,
            },
            capacity_hint: None,
            reasons,
            statistics: json!({
                "throughput_per_minute": own.responded_per_minute,
                "offered_per_minute": measurement.offered().as_per_minute(),
                "success_rate_percent": success,
                "trials_before": earlier.history.len(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_rule_compares_the_last_three() {
        for (medians, fails) in [
            (&[100.0, 200.0][..], false),
            (&[100.0, 200.0, 300.0], false),
            (&[100.0, 200.0, 199.0], true),
            (&[100.0, 200.0, 205.0], true),
            (&[100.0, 200.0, 211.0], false),
            (&[1.0, 100.0, 101.0, 103.0], true),
        ] {
            assert_eq!(flattened(medians, 0.1, 5.0).is_some(), fails, "{medians:?}");
        }
    }

    #[test]
    fn the_next_lower_rate_is_compared() {
        let at = |rate: f64| Throughput {
            asked: Rate::per_minute(rate),
            responded_per_minute: rate,
        };
        let history = [at(100.0), at(400.0), at(200.0), at(390.0)];
        let found = next_lower(Rate::per_minute(420.0), &history).unwrap();
        assert_eq!(found.asked, Rate::per_minute(200.0));
        assert_eq!(next_lower(Rate::per_minute(105.0), &history), None);
    }
}
