//! Load generators other than ours: fmperf (a stand-in with recorded outputs), those from the package index (recorded outputs)
//! and any command (a script).

mod agreement;
mod by_command;
mod by_fmperf;
mod by_tool;

use std::path::Path;
use std::process::{Command as Process, Stdio};

use mst::loadgen::{Api, Command, Endpoint, Limits, PromptEncoding, ResultsJson, TrialJob};
use mst::trial::{LoadGenSpec, TargetSpec, TrialSpec};
use mst::units::{Rate, TokenPair, TokenRange};
use mst::workload::{Arrival, LengthClass, PromptSource, PromptSpec, WorkloadSpec};

/// A trial of one pair.
fn job(rate: Rate, duration_s: f64) -> TrialJob {
    TrialJob {
        spec: TrialSpec {
            target: TargetSpec {
                label: "mock".to_owned(),
                model: "mock".to_owned(),
                api: Api::Completions.path().to_owned(),
            },
            workload: WorkloadSpec {
                classes: vec![LengthClass {
                    pair: TokenPair {
                        input: TokenRange::exactly(32),
                        output: TokenRange::exactly(16),
                    },
                    share: 1.0,
                }],
                arrival: Arrival::Poisson,
                prompts: PromptSpec {
                    source: PromptSource::Builtin,
                    unique_prefix: true,
                },
                lengths: None,
            },
            rate,
            duration_s,
            loadgen: LoadGenSpec {
                name: "external".to_owned(),
                version: String::new(),
                options: Vec::new(),
            },
            seed: 42,
            attempt: 0,
        },
        endpoint: Endpoint {
            base_url: "http://127.0.0.1:8000".to_owned(),
            api: Api::Completions,
            model: "mock".to_owned(),
        },
        limits: Limits {
            request_s: 300.0,
            ttft_s: 60.0,
            tpot_s: 30.0,
            drain_s: 10.0,
        },
        encoding: PromptEncoding::TokenIds { low: 100, high: 1000 },
        prompts_file: None,
        lengths: Vec::new(),
        fresh_connections: false,
        results_json: ResultsJson::Auto,
    }
}

/// Runs a command as an executor would; whether it succeeded.
fn execute(command: &Command) -> bool {
    let log = fs_err::File::create(&command.log).unwrap();
    let mut process = Process::new(&command.argv[0]);
    process
        .args(&command.argv[1..])
        .envs(command.env.iter().map(|(k, v)| (k, v)))
        .stdin(Stdio::null())
        .stdout(Stdio::from(log.file().try_clone().unwrap()))
        .stderr(Stdio::from(log.into_parts().0));
    if let Some(cwd) = &command.cwd {
        process.current_dir(cwd);
    }
    process.status().unwrap().success()
}

/// The content of a file below a folder.
fn text(dir: &Path, name: &str) -> String {
    fs_err::read_to_string(dir.join(name)).unwrap()
}
