//! Objectives of veeksha: a metric, a quantile, a threshold; several must all be met.

use serde::{Deserialize, Serialize};

use crate::stats::quantile::{ascending, interpolated};

/// Metrics of which more is better.
const MORE_IS_BETTER: [&str; 5] = [
    "audio_before_commit_ratio",
    "duplex_overlap_observed",
    "tts_service_fluidity_eligible",
    "tts_service_fluidity_index",
    "user_audio_fluidity_index",
];

/// An objective by veeksha's names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VeekshaSlo {
    /// Of what: `ttfc`, `tbc` (all gaps together), `tpot`, `e2e`, …
    pub metric: String,
    /// Which quantile, from 0 to 1.
    #[serde(default = "p99")]
    pub percentile: f64,
    /// What it is held against, in the metric's unit.
    #[serde(alias = "threshold")]
    pub value: f64,
    /// Its name in results.
    #[serde(default)]
    pub name: Option<String>,
}

fn p99() -> f64 {
    0.99
}

impl VeekshaSlo {
    /// Whether it is met by the samples of its metric, and the quantile. Without samples it is not met, by infinity. Within
    /// 10^-9 of the threshold it is met.
    pub fn check(&self, samples: &[f64]) -> (bool, f64) {
        let quantile = self.percentile.clamp(0.0, 1.0);
        // Always from below: veeksha's own, not NumPy's.
        let from_below = |low: f64, high: f64, weight: f64| {
            if low.total_cmp(&high).is_eq() {
                low
            } else {
                low + (high - low) * weight
            }
        };
        let Some(observed) = interpolated(&ascending(samples), quantile, from_below) else {
            return (false, f64::INFINITY);
        };
        let met = is_close(observed, self.value)
            || if self.less_is_better() {
                observed < self.value
            } else {
                observed > self.value
            };
        (met, observed)
    }

    /// Whether a smaller value is the better one.
    pub fn less_is_better(&self) -> bool {
        !MORE_IS_BETTER.contains(&self.metric.as_str())
    }

    /// The key of its value in results: metric and whole percent, ties to the even one.
    pub fn key(&self) -> String {
        format!("{}_p{:.0}", self.metric, self.percentile * 100.0)
    }

    /// The name of its samples among the metrics of requests.
    pub fn column(&self) -> &str {
        if self.metric == "e2e" {
            "end_to_end_latency"
        } else {
            &self.metric
        }
    }
}

/// Within 10^-9 of the larger, or 10^-12.
#[expect(clippy::float_cmp, reason = "equal values are close, infinite ones too")]
fn is_close(a: f64, b: f64) -> bool {
    let near = (1e-9 * a.abs().max(b.abs())).max(1e-12);
    a == b || (a.is_finite() && b.is_finite() && (a - b).abs() <= near)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slo(metric: &str, percentile: f64, value: f64) -> VeekshaSlo {
        VeekshaSlo {
            metric: metric.to_owned(),
            percentile,
            value,
            name: None,
        }
    }

    #[test]
    fn thresholds_hold_in_both_directions() {
        let samples = [1.0, 2.0, 3.0];
        assert_eq!(slo("ttfc", 0.5, 2.0).check(&samples), (true, 2.0));
        assert_eq!(slo("ttfc", 0.5, 2.0 - 1e-10).check(&samples), (true, 2.0));
        assert_eq!(slo("ttfc", 0.5, 2.0 - 1e-8).check(&samples), (false, 2.0));
        let more = slo("user_audio_fluidity_index", 0.5, 2.5);
        assert_eq!(
            (more.check(&samples), more.less_is_better()),
            ((false, 2.0), false)
        );
        assert_eq!(slo("ttfc", 0.5, 1.0).check(&[]), (false, f64::INFINITY));
    }

    #[test]
    fn keys_round_to_even() {
        assert_eq!(slo("tbc", 0.995, 1.0).key(), "tbc_p100");
        assert_eq!(slo("tbc", 0.985, 1.0).key(), "tbc_p98");
        assert_eq!(slo("e2e", 0.9, 1.0).column(), "end_to_end_latency");
    }
}
