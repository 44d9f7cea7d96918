//! Service-level objectives over the requests of a run. Pure.
//!
//! One bound holds when the quantile of its metric is not above it. Several are joined request by request: the share of
//! requests that keep all of them (`and`), or at least one (`or`), must reach the quantile. A request that was not
//! finished, or refused, keeps none.
//!
//! [`deadline`] and [`timeline`] hold the exact arithmetic of the published tools that such objectives come from.

pub mod audio;
pub mod deadline;
pub mod etalon;
mod metric;
pub mod objective;
pub mod prefill;
pub mod sarathi;
mod tally;
pub mod timeline;
pub mod timings;
pub mod veeksha;

use serde::{Deserialize, Serialize};

pub use metric::Metric;
pub use tally::{Judgement, Tally};

/// How several bounds are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Joint {
    /// A request keeps all of them.
    And,
    /// A request keeps at least one.
    Or,
}

/// A bound on one metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// Of what.
    pub metric: Metric,
    /// Most that is good, in the metric's unit.
    pub value: f64,
}

/// A service-level objective, as the config explorer writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SloConfig {
    /// Its name in the results.
    pub name: String,
    /// How several bounds are joined.
    #[serde(rename = "type")]
    pub joint: Joint,
    /// Which quantile, or which share of the requests.
    pub quantile: f64,
    /// The bounds.
    pub slos: Vec<Bound>,
}

impl SloConfig {
    /// What the types do not show.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn check(&self) -> Result<(), String> {
        if !(self.quantile > 0.0 && self.quantile <= 1.0) {
            return Err(format!(
                "quantile: {} is not a share; write a number above 0 and up to 1, as 0.99",
                self.quantile
            ));
        }
        if self.slos.is_empty() {
            return Err("slos: write at least one metric with a value".to_owned());
        }
        match self
            .slos
            .iter()
            .find(|bound| bound.value.is_nan() || bound.value <= 0.0)
        {
            Some(bound) => Err(format!(
                "value: {} is no bound for {}; write a number above 0",
                bound.value,
                bound.metric.name()
            )),
            None => Ok(()),
        }
    }

    /// What is judged, without the name: equal for objectives that judge alike.
    pub fn key(&self) -> String {
        let joint = match (self.slos.len(), self.joint) {
            (1, _) => "quantile",
            (_, Joint::And) => "and",
            (_, Joint::Or) => "or",
        };
        let bounds: Vec<String> = self
            .slos
            .iter()
            .map(|bound| format!("{}<={:?}", bound.metric.name(), bound.value))
            .collect();
        format!("{joint}({:?}):{}", self.quantile, bounds.join(","))
    }
}
