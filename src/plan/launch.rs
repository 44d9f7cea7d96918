//! From a recommendation to servers: vLLM's command line, and the files of a run that verifies the plan.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use super::answer::Candidate;
use super::bench::Bench;
use super::request::{Latency, PlanLengths};
use super::times::Times;
use crate::deployment::CostSource;
use crate::sim::batching::Batching;

/// The file of a calibration, beside the others.
const CALIBRATED: &str = "calibrated.json";
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
    /// Of a configuration.
    pub fn of(bench: &Bench<'_>, best: &Candidate) -> Self {
        let config = &best.config;
        let (flags, mut notes) = batching(config.scheduler);
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
        let _ = write!(
            command,
            " --max-num-seqs {} {flags} --gpu-memory-utilization 0.9",
            config.max_batch_size
        );
        let per_node = bench
            .build(config)
            .map_or(config.total_gpus, |deployed| deployed.cluster.gpu.per_node);
        let together = config.total_gpus.min(per_node.max(1));
        let node_count = config.total_gpus.div_ceil(together);
        if node_count > 1 {
            notes.push(format!(
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
            notes,
            files: Vec::new(),
        };
        whole.files = vec![
            ("serve.sh", whole.serve()),
            (".env", whole.env(bench)),
            ("slurm/cluster.yml", whole.cluster()),
        ];
        if let Some(file) = whole.capacity(bench, best) {
            whole.files.push(("verify.yml", file));
        }
        whole.files.push((
            "server.yml",
            format!(
                "# The recommended server as the simulator knows it: what is expected of the real one\ndeployment: {}\n",
                deployment(bench, best)
            ),
        ));
        if let Times::Calibrated { calibration, .. } = bench.times() {
            whole
                .files
                .push((CALIBRATED, format!("{:#}\n", json!(calibration))));
        }
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
    fn capacity(&self, bench: &Bench<'_>, best: &Candidate) -> Option<String> {
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
        let lengths = match &bench.request().workload.lengths {
            PlanLengths::Drawn {
                prompt_length,
                output_length,
            } => format!(
                "lengths: {}",
                json!({"separate": {"input": prompt_length, "output": output_length}})
            ),
            PlanLengths::Recorded { trace_file, .. } => format!("trace: {}", json!(trace_file)),
        };
        Some(format!(
            "# Verifies the plan: mst capacity verify.yml --target endpoint (in a job: --submit)\n\
             # What the simulator says of the same: mst capacity verify.yml --target simulator\n\
             systems:\n  - name: planned\n    gpus: {}\n    deployment: {}\n    prior: server.yml\n    endpoint:\n      settings:\n        SERVER_COMMAND: {}\n\
             workloads:\n  - name: planned\n    {lengths}\n    requests: {REQUESTS:.0}\n    start_qps: {:.4}\n\
             slos:\n  - name: planned\n    all:\n{}search: {{rule: adaptive, max_trials: {TRIALS:.0}}}\n",
            best.config.total_gpus,
            deployment(bench, best),
            json!(self.command),
            0.8 * best.capacity.qps,
            bounds.concat(),
        ))
    }
}

/// The recommended server, with the iteration times of the plan where a file can hold them.
fn deployment(bench: &Bench<'_>, best: &Candidate) -> Value {
    let mut deployment = bench.deployment(&best.config);
    if bench.times().are_calibrated() {
        deployment.cost = CostSource::Calibrated(CALIBRATED.into());
    }
    json!(deployment)
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
            vec![
                "without chunked prefill vLLM wants --max-num-batched-tokens of at least --max-model-len"
                    .to_owned(),
            ],
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
