//! What a trial is: one measurement at one rate. [`TrialSpec`] in, [`Measurement`] out. Pure.

mod backlog;
mod health;
mod id;
mod measurement;
mod outcome;
mod record;
mod response;
mod token_times;

pub use backlog::Backlog;
pub use health::ClientHealth;
pub use id::TrialId;
pub use measurement::Measurement;
pub use outcome::{Outcome, TimeoutKind};
pub use record::{RawRow, RequestRecord};
pub use response::{HalfBounds, Halves, Response};
pub use token_times::TokenTimes;

use serde::{Deserialize, Serialize};

use crate::units::Rate;
use crate::workload::WorkloadSpec;

/// Everything that changes what a trial measures, and nothing else: its content hash is the trial's identity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialSpec {
    /// What is loaded.
    pub target: TargetSpec,
    /// What is sent.
    pub workload: WorkloadSpec,
    /// How much of it, in requests per minute.
    pub rate: Rate,
    /// How long requests are sent, in seconds.
    pub duration_s: f64,
    /// By which program.
    pub loadgen: LoadGenSpec,
    /// Seeds arrivals, lengths and prompts.
    pub seed: u64,
    /// Counts the trials at this rate: a repetition is another trial with another seed.
    pub attempt: u32,
}

/// The identity of a target: what makes two measurements comparable. Carries no key and no time limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetSpec {
    /// `TARGET_LABEL` where it is set, else the URL, or a description of the embedded server.
    pub label: String,
    /// The model's name.
    pub model: String,
    /// Path of the API, for example `/v1/completions`.
    pub api: String,
}

/// The identity of a load generator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadGenSpec {
    /// `native`, `fmperf` or `command`.
    pub name: String,
    /// The version it reports; for `command` the digest of its template.
    pub version: String,
    /// Settings that change what is measured (time-outs, fresh connections), in a fixed order.
    pub options: Vec<(String, String)>,
}

/// An estimate with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The point estimate.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}
