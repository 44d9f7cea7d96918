//! `AIPerf` as a load generator.
//!
//! It tells when it issued each request's credit, which stands for the schedule, and the gap between all chunks.

mod output;

use std::path::{Path, PathBuf};

use super::tool::{self, Asked, PhaseLimits, TokenizerHome, Tool, ToolConfig, outcome_of};
use super::{Api, Capabilities, Command, LoadGenError, LoadGenerator, TrialJob};
use crate::trial::{Measurement, TokenTimes};
use crate::workload::Arrival;

const NAME: &str = "aiperf";
/// Where it writes, below the trial's folder.
const FOLDER: &str = "aiperf";
const OUTPUT: &str = "profile_export.jsonl";
/// The bodies of all requests, which are not kept.
const BODIES: &str = "inputs.json";
/// Most prompts that are made before a trial; beyond them they come again.
const MOST_PROMPTS: usize = 10_000;

/// What it can be asked for.
const ABLE: tool::Able = tool::Able {
    name: NAME,
    arrives: |arrival| {
        matches!(
            arrival,
            Arrival::Poisson | Arrival::Constant | Arrival::Gamma { .. }
        )
    },
    arrivals: "poisson, constant or gamma:CV",
    chat: true,
    same_prompt: true,
};

/// `AIPerf`.
#[derive(Clone, Debug)]
pub struct Aiperf {
    config: ToolConfig,
}

impl Aiperf {
    /// Called as `config` says.
    pub fn new(config: ToolConfig) -> Self {
        Self { config }
    }

    fn output(dir: &Path) -> PathBuf {
        dir.join(FOLDER).join(OUTPUT)
    }
}

impl Tool for Aiperf {
    fn config(&self) -> &ToolConfig {
        &self.config
    }

    fn known(&self) -> &'static str {
        "0.13."
    }

    fn package(&self) -> &'static str {
        "aiperf"
    }
}

impl LoadGenerator for Aiperf {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            token_times: true,
            schedule: true,
            live: false,
        }
    }

    fn prepare(&self, job: &TrialJob, dir: &Path) -> Result<Vec<Command>, LoadGenError> {
        let asked = Asked::of(job, &self.config, &ABLE)?;
        let dir = std::path::absolute(dir)?;
        let folder = dir.join(FOLDER);
        tool::fresh_folder(&folder)?;
        let home = TokenizerHome::make(NAME, &self.config.tokenizer, &dir)?;
        let prompts = if job.spec.workload.prompts.unique_prefix {
            asked.count.clamp(1, MOST_PROMPTS)
        } else {
            1
        };
        let kind = match job.endpoint.api {
            Api::Completions => "completions",
            Api::Chat => "chat",
        };
        let mut arguments: Vec<String> = [
            "profile",
            "--streaming",
            "--no-gpu-telemetry",
            "--no-server-metrics",
        ]
        .map(str::to_owned)
        .to_vec();
        let mut set = |key: &str, value: String| arguments.extend([key.to_owned(), value]);
        set("--model", job.endpoint.model.clone());
        set("--url", job.endpoint.base_url.trim_end_matches('/').to_owned());
        set("--endpoint-type", kind.to_owned());
        set("--tokenizer", tool::HUB_NAME.to_owned());
        set("--request-rate", asked.per_second.to_string());
        match asked.arrival {
            Arrival::Constant => set("--arrival-pattern", "constant".to_owned()),
            Arrival::Gamma { cv } => {
                set("--arrival-pattern", "gamma".to_owned());
                // The shape of the gamma distribution.
                set("--arrival-smoothness", (1.0 / (cv * cv)).to_string());
            }
            _ => set("--arrival-pattern", "poisson".to_owned()),
        }
        set("--request-count", asked.count.to_string());
        // Reached only where requests are still open long after the last was sent.
        set(
            "--benchmark-duration",
            format!("{:.0}", PhaseLimits::of(job).sending_s.ceil()),
        );
        set("--benchmark-grace-period", job.limits.drain_s.to_string());
        set("--request-timeout-seconds", job.limits.request_s.to_string());
        set("--isl", asked.input.to_string());
        set("--isl-stddev", "0".to_owned());
        set("--osl", asked.output.to_string());
        set("--osl-stddev", "0".to_owned());
        set("--extra-inputs", "ignore_eos:true".to_owned());
        set("--extra-inputs", format!("min_tokens:{}", asked.output));
        set("--num-dataset-entries", prompts.to_string());
        set("--random-seed", asked.seed.to_string());
        set("--artifact-dir", tool::utf8(NAME, &folder)?.to_owned());
        set("--ui", "none".to_owned());
        arguments.push("--use-server-token-count".to_owned());
        let arguments = arguments.into_iter().map(Into::into).collect();
        let env = home.env(NAME)?;
        Ok(vec![tool::command(&self.config, arguments, env, job, &dir)])
    }

    /// Its counts decide.
    fn may_end_with(&self, code: i32) -> bool {
        code == 1
    }

    fn read(&self, job: &TrialJob, dir: &Path) -> Result<Measurement, LoadGenError> {
        let asked = Asked::of(job, &self.config, &ABLE)?;
        let path = Self::output(dir);
        let requests = output::read(&path, dir)?;
        // Its times are those of the wall clock.
        let measurement = requests.measurement(job, &asked, &path, |first_ns, _| Ok(first_ns))?;
        TokenizerHome::of(dir).remove()?;
        tool::discard(&dir.join(FOLDER).join(BODIES))?;
        Ok(measurement)
    }

    fn token_times(&self, _job: &TrialJob, dir: &Path) -> Result<Option<TokenTimes>, LoadGenError> {
        Ok(Some(output::read(&Self::output(dir), dir)?.token_times()))
    }
}
