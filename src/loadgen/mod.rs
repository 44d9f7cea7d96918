//! Load generators: programs that send requests. Ours, fmperf, `GuideLLM`, `AIPerf`, `inference-perf`, or any command; each turns a trial into commands, and
//! the folder that these leave behind into a [`Measurement`].

pub mod aiperf;
pub mod command;
mod delivered;
pub mod fmperf;
pub mod guidellm;
pub mod inference_perf;
pub mod native;
pub mod tool;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use crate::workload::prompts::PromptEncoding;

use crate::criterion::Progress;
use crate::trial::{Measurement, TokenTimes, TrialSpec};
use crate::workload::{self, Lengths, ListedLengths, PlannedRequest};

/// Which API of the endpoint is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// `/v1/completions`.
    #[default]
    Completions,
    /// `/v1/chat/completions`.
    Chat,
}

impl Api {
    /// The path below the base URL.
    pub fn path(self) -> &'static str {
        match self {
            Self::Completions => "/v1/completions",
            Self::Chat => "/v1/chat/completions",
        }
    }
}

/// Where and how to reach the service. Holds no key: that travels in the environment variable [`API_KEY_VARIABLE`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Base URL with scheme, without a path: `http://host:8000`.
    pub base_url: String,
    /// Which API.
    pub api: Api,
    /// Model name that requests carry.
    pub model: String,
}

/// The environment variable that carries the API key to a load generator.
pub const API_KEY_VARIABLE: &str = "MST_API_KEY";

/// Time limits of a request and of the drain, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Whole request.
    pub request_s: f64,
    /// First token.
    pub ttft_s: f64,
    /// Between two tokens.
    pub tpot_s: f64,
    /// How long to wait for open requests after the last was sent.
    pub drain_s: f64,
}

/// Whether `results.json` is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResultsJson {
    /// Plain below a million events, else compressed.
    #[default]
    Auto,
    /// Plain.
    On,
    /// Compressed.
    Gz,
    /// Not at all.
    Off,
}

/// One trial, ready to run: everything a load generator needs. Written to `job.json` in the trial's staging folder;
/// paths are absolute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrialJob {
    /// What is measured.
    pub spec: TrialSpec,
    /// Where.
    pub endpoint: Endpoint,
    /// Time limits.
    pub limits: Limits,
    /// How prompts are sent.
    pub encoding: PromptEncoding,
    /// The prompts file, where [`crate::workload::PromptSource::File`] is used.
    pub prompts_file: Option<PathBuf>,
    /// Prompt and response lengths request by request, where [`ListedLengths`] are used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lengths: Vec<Lengths>,
    /// Whether every request opens a new connection.
    pub fresh_connections: bool,
    /// Whether `results.json` is written.
    pub results_json: ResultsJson,
}

impl TrialJob {
    /// The requests of the trial.
    ///
    /// # Errors
    /// When the listed lengths are not those that are meant.
    pub fn plan(&self) -> Result<Vec<PlannedRequest>, LoadGenError> {
        let TrialSpec {
            workload,
            rate,
            duration_s,
            seed,
            ..
        } = &self.spec;
        let Some(wanted) = &workload.lengths else {
            return Ok(workload::plan(workload, *rate, *duration_s, *seed));
        };
        if ListedLengths::of(&self.lengths).digest != wanted.digest || self.lengths.is_empty() {
            return Err(LoadGenError::Output {
                path: PathBuf::from(native::JOB_FILE),
                why: "`lengths` are not those of this trial".to_owned(),
            });
        }
        Ok(workload::plan_listed(
            workload,
            *rate,
            *duration_s,
            *seed,
            &self.lengths,
        ))
    }
}

/// A command as an argument vector; no shell is involved.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Variables added to the environment.
    pub env: Vec<(String, String)>,
    /// Working folder, where not the current one.
    pub cwd: Option<PathBuf>,
    /// File that receives stdout and stderr.
    pub log: PathBuf,
    /// When it is ended by force.
    pub timeout: Option<Duration>,
}

/// What the output of a load generator can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The time of every token.
    pub token_times: bool,
    /// Intended send times, so that the client's own lateness is known.
    pub schedule: bool,
    /// Progress while it runs, so that a decided trial can be stopped.
    pub live: bool,
}

/// The error of a load generator.
#[derive(Debug, thiserror::Error)]
pub enum LoadGenError {
    /// It is not there, or not in a usable version.
    #[error("load generator {name} cannot be used: {why}")]
    Unusable {
        /// Its name.
        name: &'static str,
        /// Why, and what to do.
        why: String,
    },
    /// Its output cannot be read.
    #[error("{}: {why}", path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Reads the progress of a running trial.
pub trait ProgressReader {
    /// What is known by now; `None` until something is.
    fn read(&mut self) -> Option<Progress>;
}

/// A program that sends requests.
pub trait LoadGenerator: Send {
    /// The name that settings use.
    fn name(&self) -> &'static str;

    /// What its output can tell.
    fn capabilities(&self) -> Capabilities;

    /// Writes what the program reads into the staging folder `dir` and returns the commands to run, in order.
    ///
    /// # Errors
    /// When the trial cannot be expressed for this program, or `dir` cannot be written.
    fn prepare(&self, job: &TrialJob, dir: &Path) -> Result<Vec<Command>, LoadGenError>;

    /// Whether its output may be whole although it ended with this status; then [`LoadGenerator::read`] decides.
    fn may_end_with(&self, _code: i32) -> bool {
        false
    }

    /// Follows a trial that runs in `dir`.
    fn follow(&self, _job: &TrialJob, _dir: &Path) -> Option<Box<dyn ProgressReader>> {
        None
    }

    /// Reads what the program left in `dir`.
    ///
    /// # Errors
    /// When its output is missing, truncated or not what it should be.
    fn read(&self, job: &TrialJob, dir: &Path) -> Result<Measurement, LoadGenError>;

    /// When each token came, in the order of the records that [`LoadGenerator::read`] returns; `None` where the program
    /// does not tell. Kept apart, because a search for sustainable load has no use for it and it is large.
    ///
    /// # Errors
    /// As [`LoadGenerator::read`].
    fn token_times(&self, _job: &TrialJob, _dir: &Path) -> Result<Option<TokenTimes>, LoadGenError> {
        Ok(None)
    }
}
