//! `trial.json`: what was run.

use serde::{Deserialize, Serialize};

use crate::search::Goal;
use crate::trial::{ClientHealth, TrialSpec};

/// Version of the file.
pub const SCHEMA: u32 = 1;

/// The content of `trial.json`: what was run, when, where, by whom. Written last, so that a folder that has it is
/// complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Hash of `spec`.
    pub id: String,
    /// Name of the token pair's or mix's folder.
    pub pair: String,
    /// What was run.
    pub spec: TrialSpec,
    /// `MST` or `MIT`.
    pub experiment_type: String,
    /// The endpoint's base URL; empty for the embedded one.
    pub url: String,
    /// Stage of the search that asked for it.
    pub stage: u8,
    /// What the search wanted to know of it.
    #[serde(default)]
    pub goal: Goal,
    /// Its place, from 1, among the trials that an adaptive search of the pair knew when it asked for this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<u32>,
    /// The buffer that the legacy halves cut, seconds.
    pub filter_buffer_s: i64,
    /// Start, nanoseconds since 1970 (UTC).
    pub epoch_ns: i64,
    /// How long requests were offered, seconds.
    pub offered_s: f64,
    /// When observation ended, seconds since the start.
    pub observed_s: f64,
    /// Whether it was ended early because it was decided.
    pub stopped_early: bool,
    /// Prompt lengths, asked for and achieved.
    pub input_tokens: TokenCounts,
    /// Response lengths, asked for and achieved.
    pub output_tokens: TokenCounts,
    /// What the client tells about itself.
    pub client: ClientHealth,
    /// Version of this program.
    pub mst_version: String,
    /// Host name.
    pub host: String,
    /// `SLURM_JOB_ID`, where there is one.
    pub slurm_job_id: Option<String>,
    /// Where the model server ran, where it belonged to the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerFacts>,
}

/// Where a model server ran that belonged to the run. Trials on different machines are not always comparable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerFacts {
    /// Host name.
    pub host: String,
    /// Its Slurm job, where there is one.
    pub slurm_job_id: Option<String>,
}

/// Token counts of a trial: asked for and achieved, means over the requests that were answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TokenCounts {
    /// Mean asked for.
    pub asked_mean: f64,
    /// Mean as the server counted.
    pub achieved_mean: Option<f64>,
    /// Requests whose count is exactly what was asked for.
    pub exact: u64,
    /// Requests that were compared.
    pub compared: u64,
}
