//! Jobs of sarathi-serve's files.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Job, allows, written};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    schedulers: Vec<Scheduler>,
    traces: Vec<Trace>,
    parallel_spec: Vec<Parallel>,
    models: Vec<Model>,
}

/// How a model lies on GPUs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Parallel {
    pub(super) name: String,
    pub(super) tp_dimension: u64,
    pub(super) pp_dimension: u64,
}

impl Parallel {
    pub(super) fn gpus(&self) -> u64 {
        self.tp_dimension * self.pp_dimension
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scheduler {
    name: String,
    #[serde(rename = "scheduler")]
    kind: String,
    batch_size: Value,
    #[serde(default)]
    chunk_size: Value,
    // Of the scheduler by deadlines; no part of the key.
    #[serde(default, rename = "execution_threshold")]
    _execution_threshold: Value,
    #[serde(default, rename = "scheduler_type")]
    _scheduler_type: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trace {
    name: String,
    #[serde(rename = "trace_file")]
    file: String,
    max_seq_len: Value,
    num_requests: Value,
    start_qps: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    name: String,
    identifier: String,
    #[serde(default)]
    parallel_specs: Option<Vec<String>>,
    #[serde(default)]
    scheduler_specs: Option<Vec<String>>,
    #[serde(default)]
    traces: Option<Vec<String>>,
}

/// In the tool's order: models, traces, schedulers, parallel specifications.
pub(super) fn jobs(file: &File) -> Vec<Job> {
    let mut jobs = Vec::new();
    for model in &file.models {
        for trace in &file.traces {
            for scheduler in &file.schedulers {
                for parallel in &file.parallel_spec {
                    let kept = allows(model.parallel_specs.as_ref(), Some(&parallel.name))
                        && allows(model.scheduler_specs.as_ref(), Some(&scheduler.name))
                        && allows(model.traces.as_ref(), Some(&trace.name));
                    if kept {
                        jobs.push(job(model, trace, scheduler, parallel));
                    }
                }
            }
        }
    }
    jobs
}

fn job(model: &Model, trace: &Trace, scheduler: &Scheduler, parallel: &Parallel) -> Job {
    let chunk = if scheduler.chunk_size.is_null() {
        String::new()
    } else {
        format!("_cs{}", written(&scheduler.chunk_size))
    };
    let key = format!(
        "{}_{}_tk{}_rq{}_{}_bs{}{chunk}_tp{}_pp{}",
        model.name,
        trace.name,
        written(&trace.max_seq_len),
        written(&trace.num_requests),
        scheduler.kind,
        written(&scheduler.batch_size),
        parallel.tp_dimension,
        parallel.pp_dimension,
    );
    let named: [(&str, Value); 16] = [
        ("model", model.name.as_str().into()),
        ("identifier", model.identifier.as_str().into()),
        ("trace", trace.name.as_str().into()),
        ("trace_file", trace.file.as_str().into()),
        ("max_seq_len", trace.max_seq_len.clone()),
        ("max_tokens", trace.max_seq_len.clone()),
        ("num_requests", trace.num_requests.clone()),
        ("start_qps", trace.start_qps.clone()),
        ("scheduler", scheduler.kind.as_str().into()),
        ("scheduler_name", scheduler.name.as_str().into()),
        ("batch_size", scheduler.batch_size.clone()),
        ("chunk_size", scheduler.chunk_size.clone()),
        ("tp", parallel.tp_dimension.into()),
        ("pp", parallel.pp_dimension.into()),
        ("tp_dimension", parallel.tp_dimension.into()),
        ("pp_dimension", parallel.pp_dimension.into()),
    ];
    Job {
        key,
        gpus: parallel.gpus(),
        fields: Map::from_iter(named.map(|(name, value)| (name.to_owned(), value))),
    }
}
