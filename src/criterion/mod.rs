//! From a measurement to a verdict. Pure: a stored trial can be judged again, by any criterion, at no cost.

pub mod drift;
pub mod plateau;
pub mod slo_met;
pub mod success_rate;
pub mod welch;

use serde::{Deserialize, Serialize};

use crate::trial::{Backlog, Estimate, Measurement};
use crate::units::Rate;

/// What a criterion decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ruling {
    /// The service keeps up.
    Sustainable,
    /// It does not.
    Unsustainable,
    /// The measurement does not tell.
    Unsure,
}

/// A verdict with its evidence; the content of `verdict.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Name of the criterion.
    pub criterion: String,
    /// The decision.
    pub ruling: Ruling,
    /// The quantity that was judged with its interval, where the criterion has one (drift: share of the load not
    /// served).
    pub margin: Option<Estimate>,
    /// The bound that `margin` is held against.
    pub bound: Option<f64>,
    /// Capacity in requests per minute as a saturated trial tells it.
    pub capacity_hint: Option<Estimate>,
    /// Why, in sentences, the deciding one first.
    pub reasons: Vec<String>,
    /// Every statistic behind the ruling, by name.
    pub statistics: serde_json::Value,
}

/// What earlier trials of the same search have shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Earlier<'a> {
    /// Unsure trials at the same rate: their evidence is pooled with the new one.
    pub pooled: &'a [Measurement],
    /// Throughput of all earlier trials, in order.
    pub history: &'a [Throughput],
}

/// Offered and served load of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// The rate that was asked for.
    pub asked: Rate,
    /// Median of the requests responded to in a minute.
    pub responded_per_minute: f64,
}

/// A running trial as far as it is known.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Seconds since the start.
    pub elapsed_s: f64,
    /// Seconds it was planned for.
    pub duration_s: f64,
    /// Offered and finished requests so far.
    pub backlog: Backlog,
    /// Recent median time to the first token, milliseconds.
    pub ttft_p50_ms: Option<f64>,
}

/// What a trial is for, and so when it may end early.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Which side of the capacity the rate is on: ends as soon as that is beyond doubt.
    #[default]
    Decide,
    /// What the service finishes when it is saturated: ends when that is known to `precision`, or when the rate is beyond
    /// doubt sustainable.
    Locate {
        /// Half width of the wanted 95 % interval, as a share of the estimate.
        precision: f64,
        /// Seconds before which it does not end: what passes after a while (a cold start) is not taken for the capacity.
        at_least_s: f64,
    },
    /// The rate is sustained for the whole duration: never ends early, because what looks like overload for a while may drain.
    Confirm,
}

/// Whether a running trial goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    Continue,
    /// It is decided: stop sending.
    Stop,
}

/// A rule that judges measurements.
pub trait Criterion: Send {
    /// The name that settings and reports use.
    fn name(&self) -> &'static str;

    /// Judges a finished trial.
    fn judge(&self, measurement: &Measurement, earlier: &Earlier<'_>) -> Verdict;

    /// What is kept of a trial for [`Earlier::history`]: its good answers per minute of the offered window.
    fn throughput(&self, measurement: &Measurement) -> Throughput {
        let good = measurement.backlog().good.last().copied().unwrap_or(0);
        Throughput {
            asked: measurement.asked,
            responded_per_minute: 60.0 * f64::from(good) / measurement.offered_s.max(f64::MIN_POSITIVE),
        }
    }

    /// Whether [`Earlier::history`] is empty in stage 2 of a search, as the older plateau rule has it.
    fn forgets_in_stage_two(&self) -> bool {
        false
    }

    /// Whether a trial that was ended early has to be measured again before this criterion can judge it.
    fn needs_full_length(&self) -> bool {
        false
    }

    /// Looks at a running trial; the default never ends one early.
    fn watch(&self, _so_far: &Progress, _goal: Goal) -> Flow {
        Flow::Continue
    }
}
