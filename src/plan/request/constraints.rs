//! What must hold of a configuration.

use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use super::error::{Wrong, line};

/// What must hold; a key that is left out bounds nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Constraints {
    /// Most that the 95th percentile of the time to first token may be, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ttft_p95_ms: Option<f64>,
    /// Most that the 99th percentile of the time between tokens may be, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tbt_p99_ms: Option<f64>,
    /// Most that the 99th percentile of the time from arrival to the last token may be, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_latency_p99_ms: Option<f64>,
    /// Most that it may cost an hour, in the currency of the prices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_cost_per_hour: Option<f64>,
    /// Least capacity, in requests a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_qps: Option<f64>,
    /// Most that the 99th percentile of the time from arrival to the first iteration may be, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slo_threshold_ms: Option<f64>,
}

/// A kind of latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Latency {
    /// From arrival to the first token.
    Ttft,
    /// Between two tokens of a response.
    Tbt,
    /// From arrival to the last token.
    E2e,
    /// From arrival to the first iteration.
    SchedulingDelay,
}

/// A bound on a quantile of a latency.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LatencyBound {
    /// The key that sets it.
    pub key: &'static str,
    /// Of what.
    pub latency: Latency,
    /// Which quantile.
    pub quantile: f64,
    /// Most that is good, in seconds.
    pub limit_s: f64,
}

impl Constraints {
    /// The bounds on latencies that are given.
    pub fn bounds(&self) -> Vec<LatencyBound> {
        let all = [
            ("max_ttft_p95_ms", Latency::Ttft, 0.95, self.max_ttft_p95_ms),
            ("max_tbt_p99_ms", Latency::Tbt, 0.99, self.max_tbt_p99_ms),
            ("max_latency_p99_ms", Latency::E2e, 0.99, self.max_latency_p99_ms),
            (
                "slo_threshold_ms",
                Latency::SchedulingDelay,
                0.99,
                self.slo_threshold_ms,
            ),
        ];
        let given = all.into_iter().filter_map(|(key, latency, quantile, ms)| {
            Some(LatencyBound {
                key,
                latency,
                quantile,
                limit_s: ms? / 1e3,
            })
        });
        given.collect()
    }

    /// Takes the other's value wherever it has one.
    pub fn override_by(&mut self, later: &Self) {
        let Self {
            max_ttft_p95_ms,
            max_tbt_p99_ms,
            max_latency_p99_ms,
            max_cost_per_hour,
            min_qps,
            slo_threshold_ms,
        } = *later;
        for (mine, later) in [
            (&mut self.max_ttft_p95_ms, max_ttft_p95_ms),
            (&mut self.max_tbt_p99_ms, max_tbt_p99_ms),
            (&mut self.max_latency_p99_ms, max_latency_p99_ms),
            (&mut self.max_cost_per_hour, max_cost_per_hour),
            (&mut self.min_qps, min_qps),
            (&mut self.slo_threshold_ms, slo_threshold_ms),
        ] {
            *mine = later.or(*mine);
        }
    }
}

/// As a file has it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ConstraintsEntry {
    pub(super) max_ttft_p95_ms: Option<Spanned<f64>>,
    pub(super) max_tbt_p99_ms: Option<Spanned<f64>>,
    pub(super) max_latency_p99_ms: Option<Spanned<f64>>,
    pub(super) max_cost_per_hour: Option<Spanned<f64>>,
    pub(super) min_qps: Option<Spanned<f64>>,
    pub(super) slo_threshold_ms: Option<Spanned<f64>>,
}

impl ConstraintsEntry {
    pub(super) fn check(&self) -> Result<Constraints, Wrong> {
        Ok(Constraints {
            max_ttft_p95_ms: above_zero("max_ttft_p95_ms", "milliseconds", self.max_ttft_p95_ms.as_ref())?,
            max_tbt_p99_ms: above_zero("max_tbt_p99_ms", "milliseconds", self.max_tbt_p99_ms.as_ref())?,
            max_latency_p99_ms: above_zero(
                "max_latency_p99_ms",
                "milliseconds",
                self.max_latency_p99_ms.as_ref(),
            )?,
            max_cost_per_hour: above_zero(
                "max_cost_per_hour",
                "money an hour",
                self.max_cost_per_hour.as_ref(),
            )?,
            min_qps: above_zero("min_qps", "requests a second", self.min_qps.as_ref())?,
            slo_threshold_ms: above_zero("slo_threshold_ms", "milliseconds", self.slo_threshold_ms.as_ref())?,
        })
    }
}

/// A number above zero, where it is given.
pub(super) fn above_zero(key: &str, unit: &str, value: Option<&Spanned<f64>>) -> Result<Option<f64>, Wrong> {
    let Some(value) = value else { return Ok(None) };
    if value.value > 0.0 && value.value.is_finite() {
        return Ok(Some(value.value));
    }
    let problem = format!("{key}: {} does not do; write {unit}, above 0", value.value);
    Err((line(value), problem))
}
