//! From the file to cells. A cell is everything but the objectives: its probes serve all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use super::condition::Value;
use super::file::{
    ClusterEntry, GridError, GridFile, ModelEntry, QueueEntry, RouterEntry, SchedulerEntry, SearchEntry,
    SearchFor, TraceEntry, line,
};
use crate::deployment::Deployment;
use crate::sim::batching::{Batching, QueueOrder};
use crate::sim::router::RouterConfig;
use crate::sim::source::DeadlineRule;
use crate::slo::SloConfig;

/// A deployment and a workload; everything but the objectives.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// Names the cell: eight hexadecimal digits.
    pub hash: String,
    /// The model's name in the file.
    pub model: String,
    /// The trace's name in the file.
    pub trace: String,
    /// The queue's name in the file.
    pub queue: String,
    /// The router with its parameters.
    pub router: String,
    /// The batch policy with its parameters.
    pub scheduler: String,
    /// Batch size as the file has it, a pipeline stage.
    pub batch_size: u32,
    /// What is simulated, with the first number of replicas.
    pub deployment: Deployment,
    /// The workload.
    pub workload: Workload,
    /// What is searched.
    pub search: Search,
}

/// The requests of a cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Workload {
    /// The file.
    pub file: PathBuf,
    /// Longer requests are left out.
    pub max_seq_len: u32,
    /// Requests of a probe, as asked; nothing: all there are.
    pub num_requests: Option<u64>,
    /// When a prefill should have ended, for `edf`.
    pub deadline: DeadlineRule,
}

/// What is searched in a cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Search {
    /// What.
    #[expect(clippy::struct_field_names, reason = "the file names it so")]
    pub search_for: SearchFor,
    /// Place of its entry in the file.
    pub entry: usize,
    /// First, or only, rate in requests per second.
    pub qps: f64,
    /// `isoqps`: each times `qps`.
    pub multipliers: Vec<f64>,
}

/// A combination that is not searched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Excluded {
    /// Why.
    pub reason: String,
    /// How many combinations.
    pub count: usize,
}

/// The cells of a file, in a fixed order.
#[derive(Clone, Debug)]
pub struct Grid {
    /// The cells.
    pub cells: Vec<Cell>,
    /// What is left out, by reason.
    pub excluded: Vec<Excluded>,
    /// The objectives.
    pub slos: Vec<SloConfig>,
}

impl Cell {
    /// A field by the name that conditions use.
    pub fn field(&self, name: &str) -> Option<Value> {
        let number = |n: u32| Some(Value::Number(f64::from(n)));
        let word = |text: &str| Some(Value::Word(text.to_owned()));
        let d = &self.deployment;
        match name {
            "model" => word(&self.model),
            "trace" => word(&self.trace),
            "device" => word(&d.device),
            "network_device" => d.network_device.as_deref().and_then(word),
            "router" => word(self.router.split('(').next()?),
            "scheduler" => word(self.scheduler.split('(').next()?),
            "queue" => word(&self.queue),
            "top_k" => match d.router {
                RouterConfig::RankedStickyLopUncached { top_k } => number(top_k),
                _ => None,
            },
            "tolerance_factor" => match d.router {
                RouterConfig::TolerantStickyLopUncached { tolerance_factor } => {
                    Some(Value::Number(tolerance_factor))
                }
                _ => None,
            },
            "chunk_size" => self.chunk_size().and_then(number),
            "tp" => number(d.tensor_parallel),
            "pp" => number(d.pipeline_parallel),
            "batch_size" => number(self.batch_size),
            "num_replicas" => number(d.replicas),
            "gpus" => number(d.gpus()),
            "qps" => Some(Value::Number(self.search.qps)),
            "search_for" => serde_json::to_value(self.search.search_for)
                .ok()?
                .as_str()
                .and_then(word),
            "prefix_caching" => word(if d.prefix_caching { "true" } else { "false" }),
            _ => None,
        }
    }

    /// The token budget of the batch policy, where it has one.
    pub fn chunk_size(&self) -> Option<u32> {
        match self.deployment.batching {
            Batching::VllmV1 { chunk_size } | Batching::Sarathi { chunk_size } => Some(chunk_size),
            _ => None,
        }
    }

    /// The cell in a line.
    pub fn label(&self) -> String {
        let d = &self.deployment;
        format!(
            "{} on {}, {}, {}, {}, {}, tp{} pp{} batch {}",
            self.model,
            d.network_device.as_ref().unwrap_or(&d.device),
            self.trace,
            self.router,
            self.queue,
            self.scheduler,
            d.tensor_parallel,
            d.pipeline_parallel,
            self.batch_size
        )
    }

    /// What the cell is, without what does not change a result.
    fn key(&self) -> serde_json::Value {
        json!({
            "model": self.model, "trace": self.trace, "queue": self.queue, "deployment": self.deployment,
            "max_seq_len": self.workload.max_seq_len, "num_requests": self.workload.num_requests,
            "deadline": self.workload.deadline, "search_for": self.search.search_for, "qps": self.search.qps,
            "multipliers": self.search.multipliers,
        })
    }
}

impl Grid {
    /// The cells of a file.
    ///
    /// # Errors
    /// When a policy is not known, with its line.
    pub fn new(file: &GridFile, path: &Path) -> Result<Self, GridError> {
        let at = |line: Option<u64>| {
            move |problem: String| GridError {
                path: path.to_owned(),
                line,
                problem,
            }
        };
        let mut routers = Vec::new();
        for entry in &file.global_schedulers {
            routers.extend(routers_of(&entry.value).map_err(at(line(entry)))?);
        }
        let mut schedulers = Vec::new();
        for entry in &file.replica_schedulers {
            schedulers.extend(schedulers_of(&entry.value).map_err(at(line(entry)))?);
        }
        let mut building = Building::default();
        for (number, search) in file.search_configs.iter().enumerate() {
            let models = file.models.iter().filter(|m| m.value.name == search.value.model);
            for model in models {
                for cluster in &file.clusters {
                    for trace in file.traces.iter().filter(|t| t.value.name == search.value.trace) {
                        for router in &routers {
                            for queue in &file.request_queues {
                                for scheduler in &schedulers {
                                    let combination = Combination {
                                        file,
                                        number,
                                        search: &search.value,
                                        model: &model.value,
                                        cluster: &cluster.value,
                                        trace: &trace.value,
                                        router,
                                        queue: &queue.value,
                                        scheduler,
                                    };
                                    building.add(&combination);
                                }
                            }
                        }
                    }
                }
            }
        }
        Ok(Self {
            cells: building.cells,
            excluded: building
                .excluded
                .into_iter()
                .map(|(reason, count)| Excluded { reason, count })
                .collect(),
            slos: file.slo_configs.iter().map(|slo| slo.value.clone()).collect(),
        })
    }
}

struct Combination<'a> {
    file: &'a GridFile,
    number: usize,
    search: &'a SearchEntry,
    model: &'a ModelEntry,
    cluster: &'a ClusterEntry,
    trace: &'a TraceEntry,
    router: &'a (String, RouterConfig),
    queue: &'a QueueEntry,
    scheduler: &'a (String, Option<u32>),
}

#[derive(Default)]
struct Building {
    cells: Vec<Cell>,
    excluded: BTreeMap<String, usize>,
    seen: BTreeSet<String>,
    hashes: BTreeSet<String>,
}

impl Building {
    fn add(&mut self, of: &Combination<'_>) {
        for &tp in &of.file.tp_dimensions.0 {
            for &pp in &of.file.pp_dimensions.0 {
                for &batch in &of.file.batch_sizes.0 {
                    let mut cell = of.cell(tp, pp, batch);
                    if let Some(reason) = of.excluded(&cell) {
                        *self.excluded.entry(reason).or_insert(0) += 1;
                        continue;
                    }
                    let key = cell.key().to_string();
                    if !self.seen.insert(key.clone()) {
                        *self
                            .excluded
                            .entry("the same as another cell".to_owned())
                            .or_insert(0) += 1;
                        continue;
                    }
                    cell.hash = self.free_hash(&key);
                    self.cells.push(cell);
                }
            }
        }
    }

    /// Of two cells with one hash the second, in the order of the grid, gets another.
    fn free_hash(&mut self, key: &str) -> String {
        let mut salted = key.to_owned();
        loop {
            let hash = blake3::hash(salted.as_bytes()).to_hex()[..8].to_owned();
            if self.hashes.insert(hash.clone()) {
                return hash;
            }
            salted.push('+');
        }
    }
}

impl Combination<'_> {
    fn cell(&self, tp: u32, pp: u32, batch: u32) -> Cell {
        let (trace, search) = (self.trace, self.search);
        let edf = self.queue.provider == "edf";
        let deployment = Deployment {
            model: self.model.identifier.clone(),
            device: self.cluster.device.clone(),
            network_device: self.cluster.network_device.clone(),
            tensor_parallel: tp,
            pipeline_parallel: pp,
            replicas: search.num_replicas,
            router: self.router.1,
            batching: batching(self.scheduler, trace.max_seq_len),
            queue: if edf { QueueOrder::Edf } else { QueueOrder::Fcfs },
            batch_size_cap: batch.saturating_mul(pp),
            prefix_caching: trace.enable_prefix_caching && self.scheduler.0 == "vllm_v1",
            max_model_len: trace.max_seq_len,
            cost: self.file.cost.clone(),
            ..Deployment::new(&self.model.identifier, &self.cluster.device)
        };
        Cell {
            hash: String::new(),
            model: self.model.name.clone(),
            trace: trace.name.clone(),
            queue: self.queue.name.clone(),
            router: self.router.0.clone(),
            scheduler: match self.scheduler.1 {
                Some(chunk) => format!("{}({chunk})", self.scheduler.0),
                None => self.scheduler.0.clone(),
            },
            batch_size: batch,
            deployment,
            workload: Workload {
                file: trace.trace_file.clone(),
                max_seq_len: trace.max_seq_len,
                num_requests: search.num_requests.or(trace.num_requests),
                deadline: DeadlineRule {
                    slo_prefill_e2e_time_normalized: self.queue.slo_prefill_e2e_time_normalized,
                    slo_prefill_e2e_time_min: self.queue.slo_prefill_e2e_time_min,
                },
            },
            search: Search {
                search_for: search.search_for,
                entry: self.number,
                qps: search.qps,
                multipliers: search
                    .qps_multipliers
                    .as_ref()
                    .map_or(Vec::new(), |m| m.0.clone()),
            },
        }
    }

    /// Why a combination is not searched.
    fn excluded(&self, cell: &Cell) -> Option<String> {
        let tp = cell.deployment.tensor_parallel;
        if self.model.exclude_tp_dims.contains(&tp) {
            return Some(format!("exclude_tp_dims of {} has {tp}", self.model.name));
        }
        if tp > self.cluster.gpus_per_node {
            return Some(format!(
                "tp {tp} needs more GPUs than the {} of a node of {}",
                self.cluster.gpus_per_node, self.cluster.device
            ));
        }
        if cell.deployment.replicas == 1
            && cell.search.search_for == SearchFor::Qps
            && cell.deployment.router != RouterConfig::RoundRobin
        {
            return Some("one replica needs no other router than round_robin".to_owned());
        }
        let file = self.file;
        if let Some(missed) = file.when.iter().find(|c| !c.holds(|name| cell.field(name))) {
            return Some(format!("when: {missed}"));
        }
        let hit = file.skip.iter().find(|c| c.holds(|name| cell.field(name)));
        hit.map(|condition| format!("skip: {condition}"))
    }
}

fn routers_of(entry: &RouterEntry) -> Result<Vec<(String, RouterConfig)>, String> {
    let read = |parameter: Option<(&str, serde_json::Value)>| {
        let mut value = json!({ "scheduler": entry.scheduler });
        let mut name = entry.scheduler.clone();
        if let Some((key, parameter)) = parameter {
            name = format!("{name}({key}={parameter})");
            value[key] = parameter;
        }
        let config: RouterConfig = serde_json::from_value(value)
            .map_err(|error| format!("global_schedulers, {}: {error}", entry.scheduler))?;
        Ok((name, config))
    };
    match (&entry.top_k, &entry.tolerance_factor) {
        (None, None) => Ok(vec![read(None)?]),
        (Some(all), None) => all.0.iter().map(|&k| read(Some(("top_k", json!(k))))).collect(),
        (None, Some(all)) => all
            .0
            .iter()
            .map(|&f| read(Some(("tolerance_factor", json!(f)))))
            .collect(),
        (Some(_), Some(_)) => Err(format!(
            "global_schedulers, {}: no router has both top_k and tolerance_factor; remove one",
            entry.scheduler
        )),
    }
}

fn schedulers_of(entry: &SchedulerEntry) -> Result<Vec<(String, Option<u32>)>, String> {
    const KNOWN: &str = "vllm, vllm_v1, sarathi, orca, faster_transformer, lightllm";
    let name = entry.scheduler.as_str();
    match (name, &entry.chunk_size) {
        ("vllm_v1" | "sarathi", Some(all)) => Ok(all.0.iter().map(|&c| (name.to_owned(), Some(c))).collect()),
        ("vllm_v1" | "sarathi", None) => Err(format!(
            "replica_schedulers, {name}: chunk_size is missing; write for example 512"
        )),
        ("vllm" | "orca" | "faster_transformer" | "lightllm", None) => Ok(vec![(name.to_owned(), None)]),
        ("vllm" | "orca" | "faster_transformer" | "lightllm", Some(_)) => Err(format!(
            "replica_schedulers, {name}: it has no chunk_size; remove it"
        )),
        _ => Err(format!(
            "replica_schedulers: `{name}` is not known; known are {KNOWN}"
        )),
    }
}

/// The batch policy; what the explorer's file does not say is as Vidur has it.
fn batching(scheduler: &(String, Option<u32>), max_seq_len: u32) -> Batching {
    let chunk_size = scheduler.1.unwrap_or(512);
    match scheduler.0.as_str() {
        "vllm_v1" => Batching::VllmV1 { chunk_size },
        "sarathi" => Batching::Sarathi { chunk_size },
        "orca" => Batching::Orca {},
        "faster_transformer" => Batching::FasterTransformer {},
        "lightllm" => Batching::Lightllm {
            max_tokens_in_batch: max_seq_len,
            max_waiting_iterations: 10,
        },
        _ => Batching::Vllm {
            max_tokens_in_batch: max_seq_len,
        },
    }
}
