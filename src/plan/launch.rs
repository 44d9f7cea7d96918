//! From a recommendation to servers: vLLM's command line, and the files of a run that verifies the plan.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use super::answer::Candidate;
use super::bench::Bench;
use super::config::Config;
use super::request::{Latency, PlanLengths};
use super::times::Times;
use crate::deployment::CostSource;
use crate::sim::batching::Batching;
use crate::sim::catalog::Catalog;
use crate::workload::{Arrival, Gaps};

/// The file of a calibration, beside the others.
const CALIBRATED: &str = "calibrated.json";
/// The file of a profile, beside the others.
const FITTED: &str = "fitted_profile.json";
/// Model and GPU, where the built-in catalog does not have them so.
const CATALOG: &str = "catalog.yml";
/// What a server has for the KV cache is as much of what was simulated, to be sure.
const SURE_OF_KV: f64 = 0.8;
/// The file of `mst capacity`.
const VERIFY: &str = "verify.yml";
/// Requests of each trial of the verification.
const REQUESTS: f64 = 1_000.0;
/// Trials of an adaptive search, as `docs/capacity.md` found them: most need fewer.
const TRIALS: f64 = 25.0;
/// Seconds until a server answers.
const START_S: f64 = 300.0;

/// How to start what was recommended, and to verify it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Launch {
    /// vLLM's command line; `{port}` stands for its port.
    pub command: String,
    /// Nodes that its GPUs are on.
    pub nodes: u32,
    /// GPUs of each.
    pub gpus_per_node: u32,
    /// What a verification costs at most.
    pub verification: Verification,
    /// What is not as it was simulated.
    pub notes: Vec<String>,
    /// What is doubtful in it.
    pub warnings: Vec<String>,
    /// The files of the verification, by name.
    #[serde(skip)]
    pub files: Vec<(&'static str, String)>,
}

/// What a verification costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Verification {
    /// Most trials.
    pub trials: u32,
    /// Requests of each.
    pub requests: u32,
    /// Seconds, with the start of the server.
    pub seconds: f64,
    /// GPU-hours.
    pub gpu_hours: f64,
}

impl Launch {
    /// All names of files that a launch may have.
    pub const FILES: [&'static str; 8] = [
        "serve.sh",
        ".env",
        "slurm/cluster.yml",
        VERIFY,
        "server.yml",
        CALIBRATED,
        FITTED,
        CATALOG,
    ];

    /// Of a configuration.
    pub fn of(bench: &Bench<'_>, best: &Candidate) -> Self {
        let config = &best.config;
        let mut told = Flags::of(bench, config);
        let mut command = format!("vllm serve {} --port {{port}}", bench.model());
        for (flag, value) in [
            ("tensor-parallel-size", config.tensor_parallel),
            ("pipeline-parallel-size", config.pipeline_parallel),
            ("data-parallel-size", config.num_replicas),
        ] {
            if value > 1 {
                // Writing into a string does not fail.
                let _ = write!(command, " --{flag} {value}");
            }
        }
        let _ = write!(command, " {} --gpu-memory-utilization 0.9", told.text);
        let per_node = bench
            .build(config)
            .map_or(config.total_gpus, |deployed| deployed.cluster.gpu.per_node);
        let together = config.total_gpus.min(per_node.max(1));
        let node_count = config.total_gpus.div_ceil(together);
        if node_count > 1 {
            told.notes.push(format!(
                "{} GPUs are on {node_count} nodes: vLLM's servers of several nodes need Ray or --data-parallel-address beside this",
                config.total_gpus
            ));
        }
        let qps = best.capacity.qps;
        let last = best.capacity.at.summary.e2e_s.map_or(0.0, |e2e| e2e.max);
        let seconds = START_S + TRIALS * (REQUESTS / qps + last);
        let mut whole = Self {
            command,
            nodes: node_count,
            gpus_per_node: together,
            verification: Verification {
                trials: TRIALS as u32,
                requests: REQUESTS as u32,
                seconds,
                gpu_hours: seconds / 3600.0 * f64::from(config.total_gpus),
            },
            notes: told.notes,
            warnings: told.warnings,
            files: Vec::new(),
        };
        let described = Described::of(bench, best);
        whole.notes.extend(described.notes.iter().cloned());
        whole.files = vec![
            ("serve.sh", whole.serve()),
            (".env", whole.env(bench)),
            ("slurm/cluster.yml", whole.cluster()),
        ];
        if let Some(file) = whole.capacity(bench, best, &described) {
            whole.files.push((VERIFY, file));
        }
        whole.files.push((
            "server.yml",
            format!(
                "# The recommended server as the simulator knows it: what is expected of the real one\n{}deployment: {}\n",
                described.catalog(),
                described.deployment
            ),
        ));
        whole.files.extend(described.files);
        whole
    }

    fn serve(&self) -> String {
        format!(
            "#!/usr/bin/env bash\n# The recommended server. Usage: serve.sh [PORT]\nset -euo pipefail\nport=${{1:-8000}}\nexec {}\n",
            self.command.replace("{port}", "\"$port\"")
        )
    }

    /// Settings of `mst submit`: what it can sustain, whatever the latencies.
    fn env(&self, bench: &Bench<'_>) -> String {
        let (prompt, response) = bench.mean_tokens();
        format!(
            "# mst submit: what the recommended server can sustain, whatever its latencies\nSERVER_COMMAND={}\nTOKENS_LIST={:.0}:{:.0}\nDURATION=10m\n# What the plan lets expect\nPRIOR=server.yml\n",
            self.command,
            prompt.max(1.0),
            response.max(1.0)
        )
    }

    /// What the jobs ask Slurm for.
    fn cluster(&self) -> String {
        let hours = (1.2 * self.verification.seconds / 3600.0).ceil();
        format!(
            "# What the jobs of a verification ask for: add partition, account and modules\n# (`mst submit --write-templates slurm` explains all keys)\n\
             time: \"{hours:.0}:00:00\"\nserver:\n  gpus: {}\n  nodes: {}\n",
            self.gpus_per_node, self.nodes
        )
    }

    /// The file of `mst capacity`: the plan's own objectives, on the simulator and on the server. `None` where there are no
    /// objectives that a client sees.
    fn capacity(&self, bench: &Bench<'_>, best: &Candidate, described: &Described) -> Option<String> {
        let bounds: Vec<String> = bench
            .bounds()
            .iter()
            .filter_map(|bound| {
                let metric = match bound.latency {
                    Latency::Ttft => "ttft",
                    Latency::Tbt => "tbt",
                    Latency::E2e => "e2e",
                    Latency::SchedulingDelay => return None,
                };
                let quantile = 100.0 * bound.quantile;
                Some(format!(
                    "      - {{metric: {metric}, statistic: p{quantile:.0}, max: {}}}\n",
                    bound.limit_s
                ))
            })
            .collect();
        if bounds.is_empty() {
            return None;
        }
        let workload = &bench.request().workload;
        let lengths = match &workload.lengths {
            PlanLengths::Drawn {
                prompt_length,
                output_length,
            } => format!(
                "lengths: {}",
                json!({"separate": {"input": prompt_length, "output": output_length}})
            ),
            PlanLengths::Recorded { trace_file, .. } => {
                // The file is read from the folder of the launch.
                let found = std::path::absolute(trace_file);
                format!("trace: {}", json!(found.as_ref().unwrap_or(trace_file)))
            }
        };
        let (arrivals, _) = arrivals(workload.pattern.as_ref());
        Some(format!(
            "# Verifies the plan: mst capacity verify.yml --target endpoint (in a job: --submit)\n\
             # What the simulator says of the same: mst capacity verify.yml --target simulator\n\
             {}systems:\n  - name: planned\n    gpus: {}\n    deployment: {}\n    prior: server.yml\n    endpoint:\n      settings:\n        SERVER_COMMAND: {}\n\
             workloads:\n  - name: planned\n    {lengths}\n    arrivals: {}\n    requests: {REQUESTS:.0}\n    start_qps: {}\n\
             slos:\n  - name: planned\n    all:\n{}search: {{rule: adaptive, max_trials: {TRIALS:.0}}}\nnotes: {}\n",
            described.catalog(),
            best.config.total_gpus,
            described.deployment,
            json!(self.command),
            json!(arrivals),
            0.8 * best.capacity.qps,
            bounds.concat(),
            json!(described.notes),
        ))
    }
}

/// The recommended server as the simulator's files can say it, and what they cannot.
struct Described {
    deployment: Value,
    /// Whether a catalog has to lie beside it.
    with_catalog: bool,
    /// What has to lie beside it.
    files: Vec<(&'static str, String)>,
    notes: Vec<String>,
}

impl Described {
    fn of(bench: &Bench<'_>, best: &Candidate) -> Self {
        let mut deployment = bench.deployment(&best.config);
        let (mut files, mut notes) = (Vec::new(), Vec::new());
        match bench.times() {
            Times::Datasheet => {}
            Times::Calibrated { calibration, .. } => {
                deployment.cost = CostSource::Calibrated(CALIBRATED.into());
                files.push((CALIBRATED, format!("{:#}\n", json!(calibration))));
            }
            Times::Profile { file, .. } if bench.times().is_profile_of(&best.config) => {
                deployment.cost = match fs_err::read_to_string(file) {
                    Ok(text) => {
                        files.push((FITTED, text));
                        CostSource::Fitted(FITTED.into())
                    }
                    // Packed, or gone since.
                    Err(_) => CostSource::Fitted(std::path::absolute(file).unwrap_or_else(|_| file.clone())),
                };
            }
            Times::Profile { gpu, .. } => notes.push(format!(
                "the plan's times are those of the profile, carried over from one {gpu}; server.yml and verify.yml cannot say that \
                 and have the datasheet's: what the simulator says of them is not what the plan says"
            )),
        }
        let built = bench.build(&best.config).ok();
        let mut entries = String::new();
        if let Some(cluster) = built.as_ref().map(|deployed| &deployed.cluster) {
            if matches!(bench.times(), Times::Profile { .. }) {
                // Less what the profiler found of activations and buffers.
                deployment.num_blocks = Some(cluster.config.engine.blocks);
            }
            let known = Catalog::built_in().ok();
            let known = known.as_ref();
            let (model, gpu) = (&cluster.model, &cluster.gpu);
            if known.and_then(|known| known.model(&model.name).ok()) != Some(model) {
                let _ = writeln!(entries, "models:\n  - {}", json!(model));
            }
            if known.and_then(|known| known.gpu(&gpu.name).ok()) != Some(gpu) {
                let _ = writeln!(entries, "gpus:\n  - {}", json!(gpu));
            }
        }
        let with_catalog = !entries.is_empty();
        if with_catalog {
            files.push((CATALOG, entries));
        }
        let request = bench.request();
        notes.extend(arrivals(request.workload.pattern.as_ref()).1);
        if request.constraints.slo_threshold_ms.is_some() {
            notes.push("slo_threshold_ms is not seen by a client: verify.yml leaves it out".to_owned());
        }
        Self {
            deployment: json!(deployment),
            with_catalog,
            files,
            notes,
        }
    }

    fn catalog(&self) -> String {
        if self.with_catalog {
            format!("catalog: [{CATALOG}]\n")
        } else {
            String::new()
        }
    }
}

/// The arrivals of `mst capacity` that are the plan's, and what they are not.
fn arrivals(pattern: Option<&Gaps>) -> (Arrival, Option<String>) {
    let instead = |what: &str| {
        let note = format!("{what} cannot be written to verify.yml: its arrivals are Poisson");
        (Arrival::Poisson, Some(note))
    };
    match pattern {
        Some(Gaps::Poisson) => (Arrival::Poisson, None),
        Some(Gaps::Constant) => (Arrival::Constant, None),
        Some(Gaps::ClippedPoisson) => (Arrival::ClippedPoisson, None),
        Some(Gaps::Gamma { cv }) => (Arrival::Gamma { cv: *cv }, None),
        Some(Gaps::Recorded { .. } | Gaps::Static) => instead("the recorded gaps of pattern"),
        None => instead("the arrivals that the trace records"),
    }
}

/// vLLM's flags of a configuration, and what they cannot say.
struct Flags {
    text: String,
    notes: Vec<String>,
    warnings: Vec<String>,
}

impl Flags {
    fn of(bench: &Bench<'_>, config: &Config) -> Self {
        let (policy, mut notes) = batching(config.scheduler);
        let mut warnings = Vec::new();
        let mut sequences = config.max_batch_size;
        if let Some(tokens) = tokens_of(config.scheduler).filter(|tokens| *tokens < sequences) {
            warnings.push(format!(
                "vLLM refuses --max-num-batched-tokens {tokens} below --max-num-seqs {sequences}: the command has \
                 --max-num-seqs {tokens}, which is not what was simulated; ask for larger chunks or smaller max_batch_sizes"
            ));
            sequences = tokens;
        }
        let mut text = format!("--max-num-seqs {sequences} {policy}");
        if let Ok(deployed) = bench.build(config) {
            let cluster = &deployed.cluster;
            let engine = &cluster.config.engine;
            let held = f64::from(engine.blocks) * f64::from(engine.block_tokens);
            let context = cluster.model.max_context;
            let whole_prompts = match config.scheduler {
                Batching::Vllm { .. } | Batching::Lightllm { .. } => tokens_of(config.scheduler),
                _ => None,
            };
            let sure = (SURE_OF_KV * held) as u32;
            let length = context
                .min(if f64::from(context) > held { sure } else { context })
                .min(whole_prompts.unwrap_or(context));
            if length < context {
                let _ = write!(text, " --max-model-len {length}");
                let why = if whole_prompts == Some(length) {
                    "without chunked prefill vLLM wants --max-num-batched-tokens of at least --max-model-len"
                } else {
                    "vLLM wants a KV cache that holds the longest request"
                };
                notes.push(format!(
                    "{why}: --max-model-len is {length}, the model reads {context}"
                ));
                let longest = bench.request().workload.lengths.longest();
                // What the model cannot read is told with the workload.
                if longest > f64::from(length) && longest <= f64::from(context) {
                    warnings.push(format!(
                        "requests of up to {longest:.0} tokens are longer than --max-model-len {length}: the server refuses them"
                    ));
                }
            }
        }
        Self {
            text,
            notes,
            warnings,
        }
    }
}

/// Most tokens of an iteration, where a policy says it.
fn tokens_of(policy: Batching) -> Option<u32> {
    match policy {
        Batching::VllmV1 { chunk_size } | Batching::Sarathi { chunk_size } => Some(chunk_size),
        Batching::Vllm { max_tokens_in_batch }
        | Batching::Lightllm {
            max_tokens_in_batch, ..
        } => Some(max_tokens_in_batch),
        Batching::Orca {} | Batching::FasterTransformer {} => None,
    }
}

/// vLLM's flags for a policy, and what they cannot say.
fn batching(policy: Batching) -> (String, Vec<String>) {
    let chunked = |tokens: u32| format!("--enable-chunked-prefill --max-num-batched-tokens {tokens}");
    let nearest = |name: &str| {
        vec![format!(
            "vLLM has no policy like {name}; the command has the nearest"
        )]
    };
    match policy {
        Batching::VllmV1 { chunk_size } | Batching::Sarathi { chunk_size } => {
            (chunked(chunk_size), Vec::new())
        }
        Batching::Vllm { max_tokens_in_batch } => (
            format!("--no-enable-chunked-prefill --max-num-batched-tokens {max_tokens_in_batch}"),
            Vec::new(),
        ),
        Batching::Lightllm {
            max_tokens_in_batch, ..
        } => (
            format!("--no-enable-chunked-prefill --max-num-batched-tokens {max_tokens_in_batch}"),
            nearest("lightllm"),
        ),
        Batching::Orca {} => ("--no-enable-chunked-prefill".to_owned(), nearest("orca")),
        Batching::FasterTransformer {} => (
            "--no-enable-chunked-prefill".to_owned(),
            nearest("faster_transformer, which waits until a whole batch has ended"),
        ),
    }
}
