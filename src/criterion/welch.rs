//! The users' older rule, to the letter: a gate on responses per minute, then Welch's t-test on two halves.
//!
//! It is kept for comparison with published results. It takes successive response times for independent and so calls
//! stable load unsustainable about every second time; see `docs/criteria.md`.

mod report;

pub use report::{LegacyInput, LegacyReport, evaluate};
use report::{RESAMPLES, evaluate_with};

use super::{Criterion, Earlier, Ruling, Verdict, success_rate};
use crate::stats::quantile::median;
use crate::trial::{Halves, Measurement, Response};

/// The older rule as a criterion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Welch {
    /// Seconds cut from the first and from the last completion (`FILTER_BUFFER`).
    pub filter_buffer_s: i64,
    /// Least success rate, in percent (`SUCCESS_RATE_THRESHOLD`).
    pub success_rate_percent: f64,
}

impl Welch {
    /// Every number of the rule for a measurement.
    pub fn report(&self, measurement: &Measurement) -> LegacyReport {
        self.report_with(measurement, RESAMPLES)
    }

    fn report_with(&self, measurement: &Measurement, resamples: usize) -> LegacyReport {
        let responses = measurement.responses();
        let responded: Vec<i64> = responses.iter().map(Response::received_s).collect();
        let input = LegacyInput {
            halves: &Halves::split(&responses, self.filter_buffer_s),
            responded: &responded,
            req_min: Some(measurement.asked.as_per_minute()),
            success_rate_percent: success_rate_of(&responses),
            success_threshold: self.success_rate_percent,
        };
        evaluate_with(&input, resamples)
    }
}

impl Criterion for Welch {
    fn name(&self) -> &'static str {
        "welch"
    }

    fn needs_full_length(&self) -> bool {
        true
    }

    fn judge(&self, measurement: &Measurement, _earlier: &Earlier<'_>) -> Verdict {
        self.judge_with(measurement, RESAMPLES)
    }
}

impl Welch {
    /// Never unsure, but for a void trial and for one that was stopped early, whose halves are not those of the rule.
    fn judge_with(&self, measurement: &Measurement, resamples: usize) -> Verdict {
        let report = self.report_with(measurement, resamples);
        let mut ruling = report.ruling;
        let mut reasons = report.reasons.clone();
        let stopped = measurement
            .stopped_early
            .then(|| "the trial was stopped early, and this rule needs its full length".to_owned());
        for why in stopped.into_iter().chain(success_rate::void(measurement)) {
            ruling = Ruling::Unsure;
            reasons.insert(0, why);
        }
        Verdict {
            criterion: self.name().to_owned(),
            ruling,
            margin: None,
            bound: None,
            capacity_hint: None,
            reasons,
            statistics: serde_json::to_value(&report).expect("a report of numbers and texts has a JSON form"),
        }
    }
}

/// [`Welch`] that does not resample: the difference of the means stands for the mean of its resamples, whose sign is the
/// same but for random error. For benches with thousands of trials.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BySign(pub Welch);

impl Criterion for BySign {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn needs_full_length(&self) -> bool {
        true
    }

    fn judge(&self, measurement: &Measurement, _earlier: &Earlier<'_>) -> Verdict {
        self.0.judge_with(measurement, 0)
    }
}

/// Share of the responses that succeeded, in percent, as the older files state it; `None` without responses.
pub fn success_rate_of(responses: &[Response]) -> Option<f64> {
    let good = responses.iter().filter(|r| r.success).count();
    (!responses.is_empty()).then(|| 100.0 * good as f64 / responses.len() as f64)
}

/// Median over the UTC calendar minutes in which something was responded to, in responses per minute. `responded_s` holds the
/// whole second, since 1970, of each response, in any order, failed ones included. Minutes without a response do not
/// count, partial minutes do: with less than about three full minutes the number is mostly an artefact.
pub fn responded_per_minute_median(responded_s: &[i64]) -> Option<f64> {
    let mut minutes: Vec<i64> = responded_s.iter().map(|s| s.div_euclid(60)).collect();
    minutes.sort_unstable();
    let counts: Vec<f64> = minutes.chunk_by(|a, b| a == b).map(|c| c.len() as f64).collect();
    median(&counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_are_those_of_the_calendar() {
        assert_eq!(responded_per_minute_median(&[]), None);
        // 59 and 60 lie in different minutes; minute 2 is empty and does not count.
        assert_eq!(
            responded_per_minute_median(&[59, 60, 61, 200, 201, 202]),
            Some(2.0)
        );
        assert_eq!(responded_per_minute_median(&[200, 59, 60, 61, 201, 0]), Some(2.0));
        assert_eq!(responded_per_minute_median(&[0, 1, 1, 60]), Some(2.0));
    }
}
