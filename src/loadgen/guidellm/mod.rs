//! `GuideLLM` as a load generator.
//!
//! It tells its schedule (`targeted_start`) but no token times: only the mean gap of a request. By default it draws Poisson
//! arrivals in up to ten processes that all begin with the same random numbers, so that each gap comes once for each of
//! them and the realised rate is far off; one process is asked for where arrivals are random.

mod output;

use std::path::{Path, PathBuf};

use super::tool::{self, Asked, PhaseLimits, TokenizerHome, Tool, ToolConfig, outcome_of};
use super::{Capabilities, Command, LoadGenError, LoadGenerator, TrialJob};
use crate::trial::Measurement;
use crate::workload::Arrival;

const NAME: &str = "guidellm";
/// Where it writes, below the trial's folder.
const FOLDER: &str = "guidellm";
const OUTPUT: &str = "benchmarks.json";

/// What it can be asked for.
const ABLE: tool::Able = tool::Able {
    name: NAME,
    arrives: |arrival| matches!(arrival, Arrival::Poisson | Arrival::Constant),
    arrivals: "poisson or constant",
    chat: true,
    same_prompt: false,
};

/// `GuideLLM`.
#[derive(Clone, Debug)]
pub struct Guidellm {
    config: ToolConfig,
}

impl Guidellm {
    /// Called as `config` says.
    pub fn new(config: ToolConfig) -> Self {
        Self { config }
    }

    fn output(dir: &Path) -> PathBuf {
        dir.join(FOLDER).join(OUTPUT)
    }
}

impl Tool for Guidellm {
    fn config(&self) -> &ToolConfig {
        &self.config
    }

    fn known(&self) -> &'static str {
        "0.8."
    }

    fn package(&self) -> &'static str {
        "guidellm"
    }
}

impl LoadGenerator for Guidellm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            token_times: false,
            schedule: true,
            live: false,
        }
    }

    fn prepare(&self, job: &TrialJob, dir: &Path) -> Result<Vec<Command>, LoadGenError> {
        let asked = Asked::of(job, &self.config, &ABLE)?;
        let dir = std::path::absolute(dir)?;
        tool::fresh_folder(&dir.join(FOLDER))?;
        let home = TokenizerHome::make(NAME, &self.config.tokenizer, &dir)?;
        let mut env = home.env(NAME)?;
        let profile = if asked.arrival == Arrival::Constant {
            "constant"
        } else {
            env.push(("GUIDELLM__MAX_WORKER_PROCESSES".to_owned(), "1".to_owned()));
            "poisson"
        };
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let limits = PhaseLimits::of(job);
        // Between two reads: for the first token or between tokens, as it does not tell them apart.
        let silence_s = job.limits.ttft_s.max(job.limits.tpot_s);
        let backend = format!(
            "{{\"kind\": \"openai_http\", \"target\": {}, \"model\": {}, \"request_format\": \"{}\", \"timeout\": {silence_s}}}",
            quoted(job.endpoint.base_url.trim_end_matches('/')),
            quoted(&job.endpoint.model),
            job.endpoint.api.path(),
        );
        let tokenizer = format!(
            "{{\"kind\": \"huggingface_auto\", \"model\": {}}}",
            quoted(tool::utf8(NAME, &home.folder())?)
        );
        let output = Self::output(&dir);
        let output = format!(
            "{{\"kind\": \"json\", \"path\": {}}}",
            quoted(tool::utf8(NAME, &output)?)
        );
        let most_s = limits.sending_s + job.limits.drain_s;
        let arguments = [
            ("--backend", backend),
            ("--profile", format!("kind={profile},rate={}", asked.per_second)),
            ("--constraint", format!("kind=max_requests,count={}", asked.count)),
            ("--constraint", format!("kind=max_duration,seconds={most_s:.0}")),
            ("--tokenizer", tokenizer),
            (
                "--data",
                format!(
                    "kind=synthetic_text,prompt_tokens={},output_tokens={}",
                    asked.input, asked.output
                ),
            ),
            ("--seed", format!("kind=static,value={}", asked.seed)),
            ("--output", output),
            // Bodies and answers are not kept.
            ("--metrics", "kind=generative,sample_size=0".to_owned()),
        ];
        let arguments = std::iter::once("run".to_owned())
            .chain(
                arguments
                    .into_iter()
                    .flat_map(|(key, value)| [key.to_owned(), value]),
            )
            .chain(["--disable-console".to_owned()])
            .map(Into::into)
            .collect();
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
        Ok(measurement)
    }
}
