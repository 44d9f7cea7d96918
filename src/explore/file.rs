//! The file that describes a grid, as it stands.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use super::condition::Condition;
use super::numbers::Numbers;
use crate::deployment::CostSource;
use crate::slo::SloConfig;

/// The whole file. Keys and meaning are those of Vidur's config explorer; `when`, `skip`, `cost` and ranges are ours.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GridFile {
    /// Kinds of node.
    pub clusters: Vec<Spanned<ClusterEntry>>,
    /// Routing policies.
    pub global_schedulers: Vec<Spanned<RouterEntry>>,
    /// Orders of the waiting requests. Default: first come, first served.
    #[serde(default = "fcfs")]
    pub request_queues: Vec<Spanned<QueueEntry>>,
    /// Batch policies.
    pub replica_schedulers: Vec<Spanned<SchedulerEntry>>,
    /// Objectives.
    pub slo_configs: Vec<Spanned<SloConfig>>,
    /// Workloads.
    pub traces: Vec<Spanned<TraceEntry>>,
    /// Most requests at once, a pipeline stage.
    pub batch_sizes: Numbers<u32>,
    /// GPUs that share each layer.
    pub tp_dimensions: Numbers<u32>,
    /// Pipeline stages. Default 1.
    #[serde(default = "one")]
    pub pp_dimensions: Numbers<u32>,
    /// Models.
    pub models: Vec<Spanned<ModelEntry>>,
    /// What is searched for.
    pub search_configs: Vec<Spanned<SearchEntry>>,
    /// Only cells for which all of these hold. Default: all.
    #[serde(default)]
    pub when: Vec<Condition>,
    /// No cells for which any of these holds.
    #[serde(default)]
    pub skip: Vec<Condition>,
    /// Where iteration times come from. Default `auto`.
    #[serde(default)]
    pub cost: CostSource,
}

/// A kind of node.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterEntry {
    /// The GPU.
    pub device: String,
    /// How GPUs are joined. Default: the GPU's own.
    pub network_device: Option<String>,
    /// GPUs of a node: more do not share a layer.
    #[serde(default = "eight")]
    pub gpus_per_node: u32,
}

/// A routing policy.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RouterEntry {
    /// Its name.
    pub scheduler: String,
    /// `ranked_sticky_lop_uncached` only.
    pub top_k: Option<Numbers<u32>>,
    /// `tolerant_sticky_lop_uncached` only.
    pub tolerance_factor: Option<Numbers<f64>>,
}

/// An order of the waiting requests.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct QueueEntry {
    /// Its name in the results.
    pub name: String,
    /// `fcfs` or `edf`.
    #[serde(alias = "queue_provider")]
    pub provider: String,
    /// `edf`: seconds a prompt token until the prefill is due.
    pub slo_prefill_e2e_time_normalized: Option<f64>,
    /// `edf`: least seconds until the prefill is due.
    pub slo_prefill_e2e_time_min: Option<f64>,
}

/// A batch policy.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SchedulerEntry {
    /// Its name.
    pub scheduler: String,
    /// `vllm_v1` and `sarathi` only.
    pub chunk_size: Option<Numbers<u32>>,
}

/// A workload.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TraceEntry {
    /// Its name in the results.
    pub name: String,
    /// The file: Mooncake's JSON lines or the explorer's CSV, packed by gzip or not.
    pub trace_file: PathBuf,
    /// Longest request, prompt and response; longer ones are left out.
    pub max_seq_len: u32,
    /// Whether requests share what they have in common.
    #[serde(default)]
    pub enable_prefix_caching: bool,
    /// Vidur reads this from `search_configs`; taken where those have none.
    pub num_requests: Option<u64>,
}

/// A model.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    /// Its name in the results.
    pub name: String,
    /// Its name in the catalog.
    pub identifier: String,
    /// Tensor parallel sizes that are not for this model.
    #[serde(default)]
    pub exclude_tp_dims: Vec<u32>,
}

/// What is searched for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SearchEntry {
    /// The trace, by name.
    pub trace: String,
    /// The model, by name.
    pub model: String,
    /// What is searched.
    pub search_for: SearchFor,
    /// Replicas; with `num_replicas` the first number that is tried.
    pub num_replicas: u32,
    /// Requests per second; with `qps` the first rate that is tried.
    pub qps: f64,
    /// Requests of a probe. Default: the whole trace.
    pub num_requests: Option<u64>,
    /// `isoqps` only: each times `qps`.
    pub qps_multipliers: Option<Numbers<f64>>,
}

/// What is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SearchFor {
    /// The highest rate.
    Qps,
    /// The fewest replicas.
    NumReplicas,
    /// Nothing: the given rates are tried.
    Isoqps,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {problem}", path.display(), line.map_or(String::new(), |line| format!(":{line}")))]
pub struct GridError {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: Option<u64>,
    /// What is wrong, and what to write.
    pub problem: String,
}

impl GridFile {
    /// Reads a file.
    ///
    /// # Errors
    /// With the line and what to write there.
    pub fn read(path: &Path) -> Result<Self, GridError> {
        let text = fs_err::read_to_string(path).map_err(|error| GridError {
            path: path.to_owned(),
            line: None,
            problem: error.to_string(),
        })?;
        Self::parse(&text, path)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// With the line and what to write there.
    pub fn parse(text: &str, path: &Path) -> Result<Self, GridError> {
        let file: Self = serde_saphyr::from_str(text).map_err(|error| GridError {
            path: path.to_owned(),
            line: error.location().map(|at| at.line()).filter(|line| *line > 0),
            problem: crate::yaml::problem(error.without_snippet()),
        })?;
        file.check().map_err(|(line, problem)| GridError {
            path: path.to_owned(),
            line,
            problem,
        })?;
        Ok(file)
    }

    /// What the types do not show, with the line.
    fn check(&self) -> Result<(), (Option<u64>, String)> {
        for (key, empty) in [
            ("clusters", self.clusters.is_empty()),
            ("global_schedulers", self.global_schedulers.is_empty()),
            ("request_queues", self.request_queues.is_empty()),
            ("replica_schedulers", self.replica_schedulers.is_empty()),
            ("slo_configs", self.slo_configs.is_empty()),
            ("traces", self.traces.is_empty()),
            ("models", self.models.is_empty()),
            ("search_configs", self.search_configs.is_empty()),
        ] {
            if empty {
                return Err((
                    None,
                    format!("{key}: the list is empty; write at least one entry"),
                ));
            }
        }
        distinct(
            "slo_configs",
            self.slo_configs.iter().map(|e| (line(e), e.value.name.as_str())),
        )?;
        distinct(
            "traces",
            self.traces.iter().map(|e| (line(e), e.value.name.as_str())),
        )?;
        distinct(
            "request_queues",
            self.request_queues
                .iter()
                .map(|e| (line(e), e.value.name.as_str())),
        )?;
        each(&self.clusters, ClusterEntry::check)?;
        each(&self.request_queues, QueueEntry::check)?;
        each(&self.slo_configs, |slo| {
            slo.check()
                .map_err(|why| format!("slo_configs, {}: {why}", slo.name))
        })?;
        each(&self.traces, TraceEntry::check)?;
        each(&self.search_configs, |search| search.check(self))
    }
}

impl ClusterEntry {
    fn check(&self) -> Result<(), String> {
        if self.gpus_per_node == 0 {
            return Err("gpus_per_node: write a number of at least 1".to_owned());
        }
        Ok(())
    }
}

impl QueueEntry {
    fn check(&self) -> Result<(), String> {
        let per_token = self.slo_prefill_e2e_time_normalized;
        match (self.provider.as_str(), per_token) {
            ("fcfs", None) => Ok(()),
            ("edf", Some(seconds)) if seconds > 0.0 => Ok(()),
            ("fcfs", Some(_)) => {
                Err("slo_prefill_e2e_time_normalized: only provider edf has deadlines; remove it".to_owned())
            }
            ("edf", _) => Err(format!(
                "request_queues, {}: edf needs slo_prefill_e2e_time_normalized, seconds a prompt token, above 0",
                self.name
            )),
            (other, _) => Err(format!(
                "provider: `{other}` is not known; known are fcfs and edf"
            )),
        }
    }
}

impl TraceEntry {
    fn check(&self) -> Result<(), String> {
        if self.max_seq_len == 0 || self.num_requests == Some(0) {
            return Err(format!(
                "traces, {}: max_seq_len and num_requests must be at least 1",
                self.name
            ));
        }
        Ok(())
    }
}

impl SearchEntry {
    fn check(&self, file: &GridFile) -> Result<(), String> {
        let traces = || file.traces.iter().map(|t| t.value.name.as_str());
        let models = || file.models.iter().map(|m| m.value.name.as_str());
        if !traces().any(|name| name == self.trace) {
            let known: Vec<&str> = traces().collect();
            return Err(format!(
                "trace: `{}` is not among traces; known are {}",
                self.trace,
                known.join(", ")
            ));
        }
        if !models().any(|name| name == self.model) {
            let known: Vec<&str> = models().collect();
            return Err(format!(
                "model: `{}` is not among models; known are {}",
                self.model,
                known.join(", ")
            ));
        }
        if !(self.qps > 0.0 && self.qps.is_finite()) {
            return Err(format!("qps: {} is no rate; write a number above 0", self.qps));
        }
        if self.num_replicas == 0 {
            return Err("num_replicas: write a number of at least 1".to_owned());
        }
        if self.num_requests == Some(0) {
            return Err("num_requests: write a number of at least 1".to_owned());
        }
        match (self.search_for, &self.qps_multipliers) {
            (SearchFor::Isoqps, None) => {
                Err("search_for: isoqps needs qps_multipliers, for example [0.5, 1, 2]".to_owned())
            }
            (SearchFor::Qps | SearchFor::NumReplicas, Some(_)) => {
                Err("qps_multipliers: only search_for: isoqps has them; remove them".to_owned())
            }
            _ => Ok(()),
        }
    }
}

fn each<T>(
    entries: &[Spanned<T>],
    check: impl Fn(&T) -> Result<(), String>,
) -> Result<(), (Option<u64>, String)> {
    for entry in entries {
        check(&entry.value).map_err(|why| (line(entry), why))?;
    }
    Ok(())
}

fn distinct<'a>(
    key: &str,
    names: impl Iterator<Item = (Option<u64>, &'a str)>,
) -> Result<(), (Option<u64>, String)> {
    let mut seen = std::collections::BTreeSet::new();
    for (line, name) in names {
        if !seen.insert(name) {
            return Err((
                line,
                format!("{key}: the name `{name}` is there twice; results would not tell them apart"),
            ));
        }
    }
    Ok(())
}

/// The line where an entry begins.
pub(super) fn line<T>(entry: &Spanned<T>) -> Option<u64> {
    Some(entry.referenced.line()).filter(|line| *line > 0)
}

fn fcfs() -> Vec<Spanned<QueueEntry>> {
    let queue = QueueEntry {
        name: "fcfs".to_owned(),
        provider: "fcfs".to_owned(),
        slo_prefill_e2e_time_normalized: None,
        slo_prefill_e2e_time_min: None,
    };
    vec![Spanned::new(
        queue,
        serde_saphyr::Location::UNKNOWN,
        serde_saphyr::Location::UNKNOWN,
    )]
}

fn one() -> Numbers<u32> {
    Numbers(vec![1])
}

fn eight() -> u32 {
    8
}
