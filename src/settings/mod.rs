//! From flags, environment and `.env` to validated values that know where they came from.
//!
//! Precedence: flag, environment, `.env`, default. `.env` is never written, and the process environment never changed.

mod build;
mod cluster;
mod dotenv;
mod example;
mod experiments;
mod external;
mod frozen;
mod keys;
mod layers;
mod load;
mod mixes;
mod problem;
mod search;
mod shares;
mod tokens;
mod url;
mod values;

pub use cluster::{ClusterSettings, ExecutorChoice, Place, Reset, ServerSettings};
pub use example::{documented, example};
pub use frozen::{FreezeError, frozen};
pub use keys::{Group, KEYS, Key, find as find_key};
pub use load::{Entry, Loaded, Sources, load, results_dir};
pub use mixes::{mix_name, mix_text};
pub use problem::{Origin, SettingsError, SettingsErrors};
pub use shares::{MixPlan, plan_mix};
pub use tokens::token_pair;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::loadgen::{Api, ResultsJson};
pub use crate::search::StopRule;
pub use crate::store::tables::Layout;
use crate::units::{Rate, TokenPair};
use crate::workload::{Arrival, LengthClass};

/// Everything that `mst run` needs to know, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Which set of defaults was taken.
    pub profile: Profile,
    /// The endpoint; `None`: the embedded one.
    pub url: Option<String>,
    /// The key for it.
    pub api_key: Option<Secret>,
    /// Which API.
    pub api: Api,
    /// The model; `None`: the first that the endpoint names.
    pub model: Option<String>,
    /// Names the target in the identity of a trial; `None`: its URL.
    pub target_label: Option<String>,
    /// `tokenizer.json` for exact counts.
    pub tokenizer: Option<PathBuf>,
    /// JSONL file of prompts.
    pub prompts_file: Option<PathBuf>,
    /// Whether prompts differ in their first tokens.
    pub unique_prompts: bool,
    /// What is searched, in order.
    pub experiments: Vec<Experiment>,
    /// What is asked.
    pub experiment_type: ExperimentType,
    /// How long a trial sends requests.
    pub duration: Duration,
    /// What the legacy halves cut at both ends, whole seconds.
    pub filter_buffer_s: i64,
    /// Pause after a trial.
    pub cooldown: Duration,
    /// Most trials a pair.
    pub iteration_limit: u32,
    /// Factor of the ramp.
    pub multiplier: f64,
    /// When the bracket is narrow enough.
    pub stop: StopRule,
    /// Which rule judges.
    pub evaluation: Evaluation,
    /// Which search.
    pub search: SearchKind,
    /// Which answers are confirmed by a trial of full length.
    pub confirm: Confirm,
    /// A description of the service for the simulator, which lets expect what it can do.
    pub prior: Option<PathBuf>,
    /// Most load of one search, where that is limited.
    pub budget: Option<Duration>,
    /// Arrival process.
    pub arrival: Arrival,
    /// Which load generator.
    pub loadgen: LoadGenChoice,
    /// Least share of good requests, percent.
    pub success_rate_percent: f64,
    /// MIT: relative and absolute tolerance of the plateau.
    pub plateau: (f64, f64),
    /// Time limits of a request.
    pub request_timeout: Duration,
    /// Of the first token.
    pub ttft_timeout: Duration,
    /// Between tokens.
    pub tpot_timeout: Duration,
    /// How long open requests are waited for after the last was sent.
    pub drain: Duration,
    /// How long `/v1/models` may take.
    pub discovery_timeout: Duration,
    /// Whether the server's metrics are recorded.
    pub server_metrics: bool,
    /// Where they are; `None`: below the endpoint's URL.
    pub server_metrics_url: Option<String>,
    /// How often a trial is repeated after trouble that is not the service's answer.
    pub retries: u32,
    /// Root of the results.
    pub results_dir: PathBuf,
    /// File and folder names.
    pub layout: Layout,
    /// Whether `results.json` is written.
    pub results_json: ResultsJson,
    /// The seed of everything drawn.
    pub seed: u64,
    /// For `results.csv` only: `GPUS`, from the settings or from Slurm.
    pub gpu_count: Option<String>,
    /// The model server, where it belongs to the run.
    pub server: Option<ServerSettings>,
    /// Slurm.
    pub cluster: ClusterSettings,
}

/// One search: a token pair or a mix.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// Folder name: `128_128`, `100-200_0-100`, `mix_…`.
    pub name: String,
    /// One class for a pair, several for a mix.
    pub classes: Vec<LengthClass>,
    /// Where the search begins.
    pub start: Rate,
}

impl Experiment {
    /// The pair, unless this is a mix.
    pub fn pair(&self) -> Option<TokenPair> {
        match self.classes.as_slice() {
            [only] => Some(only.pair),
            _ => None,
        }
    }
}

/// A named set of defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// No URL: short trials against the embedded server.
    Demo,
    /// A URL: half-hour trials.
    Live,
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Demo => "demo",
            Self::Live => "live",
        })
    }
}

/// Maximum sustainable or maximum instantaneous throughput.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExperimentType {
    /// The highest rate that can be kept up.
    Mst,
    /// The rate beyond which throughput no longer grows.
    Mit,
}

/// Which rule judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evaluation {
    /// Growth of the backlog.
    Drift,
    /// The older rule.
    Welch,
}

/// Which search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchKind {
    /// Ramp and bisection.
    Stages,
    /// The older program's sequence of rates, to the letter.
    StagesLegacy,
    /// A posterior over the capacity, from all trials.
    Adaptive,
}

/// Which answers are confirmed by a trial of full length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirm {
    /// All.
    Always,
    /// In a grid of token pairs its corners, and what contradicts the other pairs.
    Edges,
}

/// Which load generator.
#[derive(Clone, Debug, PartialEq)]
pub enum LoadGenChoice {
    /// Ours.
    Native {
        /// A new connection for every request.
        fresh_connections: bool,
    },
    /// fmperf.
    Fmperf(FmperfSettings),
    /// A load generator from Python's package index.
    Tool(ToolSettings),
    /// Any command.
    Command(CommandSettings),
}

/// A load generator from Python's package index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolName {
    /// `GuideLLM`.
    Guidellm,
    /// `AIPerf`.
    Aiperf,
    /// `inference-perf`.
    InferencePerf,
}

impl ToolName {
    /// The name that `LOADGEN` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Guidellm => "guidellm",
            Self::Aiperf => "aiperf",
            Self::InferencePerf => "inference-perf",
        }
    }

    /// The key of its command.
    pub fn command_key(self) -> &'static str {
        match self {
            Self::Guidellm => "GUIDELLM_COMMAND",
            Self::Aiperf => "AIPERF_COMMAND",
            Self::InferencePerf => "INFERENCE_PERF_COMMAND",
        }
    }
}

/// How such a load generator is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolSettings {
    /// Which.
    pub tool: ToolName,
    /// The program and arguments before ours.
    pub argv: Vec<String>,
    /// A `tokenizer.json`, or a folder with one.
    pub tokenizer: PathBuf,
}

/// How fmperf is called.
#[derive(Clone, Debug, PartialEq)]
pub struct FmperfSettings {
    /// The Python interpreter that has it.
    pub python: String,
    /// The folder it is run from.
    pub workdir: PathBuf,
    /// Who makes the workload file.
    pub prompt_source: FmperfPrompts,
    /// Keys that fmperf itself reads (`TARGET`, `BACKOFF`, `GRACE_PERIOD`, `SAMPLE_SIZE`, …) as they were set.
    pub passed_on: Vec<(String, String)>,
}

/// Who makes fmperf's workload file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FmperfPrompts {
    /// We do.
    Native,
    /// It is there.
    File(PathBuf),
    /// `fmperf.loadgen.generate-input`.
    Fmperf,
}

/// How any command is called, and what it leaves behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandSettings {
    /// Arguments with `{url}`, `{rate}`, `{duration}`, `{dir}` and the like.
    pub argv: Vec<String>,
    /// The file it writes, below the trial's folder.
    pub output: String,
    /// Our columns and theirs: `intended=…,done=…`.
    pub columns: Vec<(String, String)>,
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The secret itself; for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
