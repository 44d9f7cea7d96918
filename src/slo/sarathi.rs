//! The objective of sarathi-serve: the queue is short, and the gaps between tokens are.

use serde::{Deserialize, Serialize};

/// Bounds on two quantiles, by the names of sarathi-serve's flags. Seconds, quantiles as shares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SarathiSlo {
    /// Longest wait of a request for its first iteration.
    #[serde(default = "two_seconds")]
    pub scheduling_delay_slo_value: f64,
    /// At which quantile over requests.
    #[serde(default = "half")]
    pub scheduling_delay_slo_quantile: f64,
    /// Longest gap between tokens after the first, preemptions included.
    #[serde(default = "fifth")]
    pub tbt_slo_value: f64,
    /// At which quantile over all gaps.
    #[serde(default = "p99")]
    pub tbt_slo_quantile: f64,
}

fn two_seconds() -> f64 {
    2.0
}

fn half() -> f64 {
    0.5
}

fn fifth() -> f64 {
    0.2
}

fn p99() -> f64 {
    0.99
}

impl SarathiSlo {
    /// Whether the two quantiles keep the bounds. An unknown one (NaN) does not.
    pub fn holds(&self, scheduling_delay_s: f64, tbt_s: f64) -> bool {
        scheduling_delay_s <= self.scheduling_delay_slo_value && tbt_s <= self.tbt_slo_value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_bounds_have_to_hold() {
        let slo: SarathiSlo = serde_json::from_str("{}").unwrap();
        assert!(slo.holds(2.0, 0.2));
        assert!(!slo.holds(2.1, 0.1) && !slo.holds(1.0, 0.21));
        assert!(!slo.holds(f64::NAN, 0.1));
    }
}
