//! `capacity.json` (the answer of a pair) and `search.json` (with what its search began).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::criterion::Ruling;
use crate::search::{Answer, Prior};
use crate::trial::{Estimate, LoadGenSpec, TargetSpec, TrialSpec};
use crate::units::Rate;
use crate::workload::{Arrival, LengthClass, PromptSpec};

/// Version of `capacity.json`. Version 1 had no conditions, no prior, and no durations.
pub const CAPACITY_SCHEMA: u32 = 2;
/// Version of `search.json`.
pub const SEARCH_SCHEMA: u32 = 1;

/// The content of `capacity.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CapacityFile {
    /// [`CAPACITY_SCHEMA`].
    pub schema: u32,
    /// Name of the pair.
    pub pair: String,
    /// `MST` or `MIT`.
    pub experiment_type: String,
    /// Criterion by name.
    pub evaluation: String,
    /// DURATION: for how long the answer was to be sustained, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_s: Option<f64>,
    /// Least share of good requests, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_rate_percent: Option<f64>,
    /// Search by name.
    pub search: String,
    /// The answer, with its interval (`adaptive`: 95 %).
    pub answer: Answer,
    /// Seconds of load behind it.
    pub load_seconds: f64,
    /// The closed-form or simulated truth, where the endpoint is the embedded one.
    pub true_capacity: Option<Rate>,
    /// What its trials have in common.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Conditions>,
    /// What was believed before the first trial, from other pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prior: Option<Prior>,
    /// One line a trial, in order.
    pub evidence: Vec<EvidenceLine>,
}

/// One trial behind an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvidenceLine {
    /// The trial's identity.
    pub id: String,
    /// The rate asked for, requests per minute.
    pub rate: Rate,
    /// The rate that was offered.
    pub offered: Rate,
    /// Seconds of load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_s: Option<f64>,
    /// Stage.
    pub stage: u8,
    /// Attempt at this rate.
    pub attempt: u32,
    /// `sustainable`, `unsustainable` or `unsure`.
    pub ruling: Ruling,
    /// Judged quantity with its interval.
    pub margin: Option<Estimate>,
    /// The bound that the margin is held against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<f64>,
    /// Capacity in requests per minute as the saturated trial tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_hint: Option<Estimate>,
}

/// What trials must have in common to tell of the same capacity, beside their token lengths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// What is loaded.
    pub target: TargetSpec,
    /// How requests are spread over time.
    pub arrival: Arrival,
    /// Where prompts come from.
    pub prompts: PromptSpec,
    /// By which program.
    pub loadgen: LoadGenSpec,
}

impl Conditions {
    /// Those of a trial.
    pub fn of(spec: &TrialSpec) -> Self {
        Self {
            target: spec.target.clone(),
            arrival: spec.workload.arrival,
            prompts: spec.workload.prompts.clone(),
            loadgen: spec.loadgen.clone(),
        }
    }

    /// Whether a trial was made under them, with these lengths.
    pub fn hold_for(&self, spec: &TrialSpec, classes: &[LengthClass]) -> bool {
        *self == Self::of(spec) && spec.workload.classes == classes
    }
}

/// The content of `search.json`: with what an adaptive search began, so that a resumed one begins with the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchFile {
    /// [`SEARCH_SCHEMA`].
    pub schema: u32,
    /// The settings of the search, by name. Under others the file is written anew.
    pub settings: std::collections::BTreeMap<String, String>,
    /// What its trials have in common.
    pub conditions: Conditions,
    /// The pairs whose answers were known.
    pub neighbours: Vec<String>,
    /// The description of a simulated deployment, where that lets expect more exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub simulated: Option<PathBuf>,
    /// What they let expect.
    pub prior: Option<Prior>,
    /// The highest rate below the interval of a pair that asks at least as much of the service.
    pub at_least: Option<Rate>,
    /// The lowest rate above the interval of a pair that asks at most as much of it.
    pub at_most: Option<Rate>,
    /// Whether the answer is sustained for a full DURATION whatever it is.
    pub confirm: bool,
}
