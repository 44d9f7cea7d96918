//! Files of sarathi-serve's capacity search, and of its iso-QPS tool.

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::lengths::{POISSON, traced};
use super::{Draft, OlderFlags, Parallel, Source, allows, search, unknown_model};
use crate::deployment::Deployment;
use crate::matrix::file::{EndpointEntry, File, FileError, Rule, System};
use crate::sim::batching::Batching;

/// Seconds of a trial, where no flag says more.
const TIME_LIMIT_S: f64 = 1800.0;

/// The published GPUs are joined in pairs.
const PAIRS: &str = "A100-80 PCIe in pairs";
/// The same nodes, where layers or stages reach beyond a pair.
const FOURS: &str = "A100-80 PCIe in fours";
/// Those of Llama-2-70B.
const A40: &str = "A40 in pairs";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Older {
    schedulers: Vec<Spanned<Scheduler>>,
    traces: Vec<Spanned<Trace>>,
    parallel_spec: Vec<Spanned<Parallel>>,
    models: Vec<Spanned<Model>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the tool's keys")]
struct Scheduler {
    name: String,
    scheduler: String,
    batch_size: u32,
    #[serde(default)]
    chunk_size: Option<u32>,
    // Of the scheduler by deadlines, which is left out as a whole.
    #[serde(default, rename = "execution_threshold")]
    _execution_threshold: super::Unused,
    #[serde(default, rename = "scheduler_type")]
    _scheduler_type: super::Unused,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the tool's keys")]
struct Trace {
    name: String,
    trace_file: String,
    max_seq_len: u32,
    num_requests: usize,
    start_qps: f64,
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

/// The file that comes of it.
pub(super) fn file(source: Source<'_>, flags: &OlderFlags) -> Result<File, FileError> {
    let older: Older = source.parse()?;
    let mut draft = Draft::default();
    let naming = Naming::of(&older);
    for model in &older.models {
        if flags.url.is_none()
            && let Some(why) = unknown_model(&model.value.identifier, flags)
        {
            draft.note(why);
            continue;
        }
        for trace in &older.traces {
            for scheduler in &older.schedulers {
                for parallel in &older.parallel_spec {
                    let kept = allows(model.value.parallel_specs.as_ref(), &parallel.value.name)
                        && allows(model.value.scheduler_specs.as_ref(), &scheduler.value.name)
                        && allows(model.value.traces.as_ref(), &trace.value.name);
                    if kept {
                        job(
                            source, flags, &naming, model, trace, scheduler, parallel, &mut draft,
                        )?;
                    }
                }
            }
        }
    }
    draft.note(POISSON);
    draft.file(source, flags.sarathi_slo(), search(Rule::Sarathi, flags))
}

/// One search.
#[expect(clippy::too_many_arguments, reason = "a job has four parts")]
fn job(
    source: Source<'_>,
    flags: &OlderFlags,
    naming: &Naming,
    model: &Spanned<Model>,
    trace: &Spanned<Trace>,
    scheduler: &Spanned<Scheduler>,
    parallel: &Spanned<Parallel>,
    draft: &mut Draft,
) -> Result<(), FileError> {
    let (mut workload, note) = traced(
        source.path,
        &trace.value.name,
        &trace.value.trace_file,
        trace.value.max_seq_len,
    )
    .map_err(|why| source.at(trace, why))?;
    workload.requests = trace.value.num_requests;
    workload.start_qps = Some(trace.value.start_qps);
    workload.max_duration = flags.max_duration(flags.time_limit.is_none().then_some(TIME_LIMIT_S));
    let length = if naming.depends_on_length(&scheduler.value) {
        trace.value.max_seq_len
    } else {
        naming.longest
    };
    let batching = match batching(&scheduler.value, length) {
        Ok(batching) => batching,
        Err(Refused::Wrong(why)) => return Err(source.at(scheduler, why)),
        Err(Refused::LeftOut(why)) => {
            draft.note(why);
            return Ok(());
        }
    };
    let name = naming.system(
        &model.value,
        &scheduler.value,
        &parallel.value,
        trace.value.max_seq_len,
    );
    let (tp, pp) = (parallel.value.tp_dimension, parallel.value.pp_dimension);
    let system = if let Some(url) = &flags.url {
        System {
            name,
            deployment: None,
            endpoint: Some(EndpointEntry {
                url: Some(url.clone()),
                settings: [("MODEL".to_owned(), model.value.identifier.clone())].into(),
            }),
            gpus: Some(tp * pp),
            prefill_profile: None,
            prior: None,
        }
    } else {
        let (device, network) = match &flags.device {
            Some(device) => (device.as_str(), None),
            None => device(&model.value.identifier, tp, pp),
        };
        let mut deployment = Deployment::new(&model.value.identifier, device);
        deployment.network_device = network.filter(|_| tp * pp > 1).map(str::to_owned);
        deployment.tensor_parallel = tp;
        deployment.pipeline_parallel = pp;
        deployment.batching = batching;
        deployment.batch_size_cap = scheduler.value.batch_size;
        deployment.max_model_len = length;
        draft.note(format!("{} is simulated on {device}", model.value.name));
        System {
            name,
            deployment: Some(deployment),
            endpoint: None,
            gpus: None,
            prefill_profile: None,
            prior: None,
        }
    };
    if let Some(note) = note {
        draft.note(note);
    }
    draft.pair(system, workload, model.referenced);
    Ok(())
}

/// Why a scheduler is not simulated.
enum Refused {
    /// The file must be changed.
    Wrong(String),
    /// It goes without.
    LeftOut(String),
}

/// What a scheduler is here. The prefill batches of its vLLM hold as many tokens as the longest request.
fn batching(scheduler: &Scheduler, longest: u32) -> Result<Batching, Refused> {
    let chunk = || {
        scheduler.chunk_size.filter(|tokens| *tokens > 0).ok_or_else(|| {
            Refused::Wrong(format!(
                "schedulers, {}: chunk_size is missing; write how many tokens an iteration holds, as 512",
                scheduler.name
            ))
        })
    };
    match scheduler.scheduler.as_str() {
        "vllm" => Ok(Batching::Vllm {
            max_tokens_in_batch: longest,
        }),
        "orca" => Ok(Batching::Orca {}),
        "faster_transformer" => Ok(Batching::FasterTransformer {}),
        "sarathi" => Ok(Batching::Sarathi { chunk_size: chunk()? }),
        "deadline" | "simple_chunking" => Err(Refused::LeftOut(format!(
            "scheduler {} is left out: {} is not simulated",
            scheduler.name, scheduler.scheduler
        ))),
        other => Err(Refused::Wrong(format!(
            "schedulers, {}: scheduler `{other}` is not known; write vllm, orca, sarathi or faster_transformer",
            scheduler.name
        ))),
    }
}

/// The hardware of the paper: A100s that bridges join in pairs, four a node; for Llama-2-70B on eight GPUs, A40s in pairs.
fn device(identifier: &str, tp: u32, pp: u32) -> (&'static str, Option<&'static str>) {
    if identifier.to_lowercase().contains("llama-2-70b") && tp * pp == 8 {
        (A40, Some("a40_pairwise_nvlink"))
    } else if tp > 2 {
        (FOURS, Some("a100_pairwise_nvlink"))
    } else {
        (PAIRS, Some("a100_pairwise_nvlink"))
    }
}

/// How systems are called: by their scheduler, and by whatever else there is more than one of.
struct Naming {
    models: bool,
    parallels: bool,
    lengths: bool,
    longest: u32,
}

impl Naming {
    fn of(older: &Older) -> Self {
        let first = older.traces.first().map_or(0, |trace| trace.value.max_seq_len);
        let several = older
            .models
            .iter()
            .any(|m| m.value.parallel_specs.as_ref().is_none_or(|l| l.len() != 1));
        Self {
            models: older.models.len() > 1,
            parallels: several && older.parallel_spec.len() > 1,
            lengths: older.traces.iter().any(|t| t.value.max_seq_len != first),
            longest: older
                .traces
                .iter()
                .map(|t| t.value.max_seq_len)
                .max()
                .unwrap_or(1),
        }
    }

    /// Whether the longest request decides how a scheduler works: room that is set aside, or the size of prefill batches.
    fn depends_on_length(&self, scheduler: &Scheduler) -> bool {
        self.lengths && scheduler.scheduler != "sarathi"
    }

    fn system(&self, model: &Model, scheduler: &Scheduler, parallel: &Parallel, length: u32) -> String {
        let mut name = scheduler.name.clone();
        if self.models {
            name = format!("{}, {name}", model.name);
        }
        if self.parallels {
            name = format!("{name}, {}", parallel.name);
        }
        if self.depends_on_length(scheduler) {
            name = format!("{name}, {length}");
        }
        name
    }
}
