//! `inference-perf` as a load generator.
//!
//! What it calls `constant` is a fixed number of exponential gaps stretched to the duration: Poisson arrivals, given their
//! count. What it calls `poisson` draws the count of each second, and ends with another rate than was asked. It tells the
//! time of every chunk; the intended times it tells only summed up.

mod config_file;
mod output;

use std::path::{Path, PathBuf};

use fs_err as fs;

use super::tool::{self, Asked, TokenizerHome, Tool, ToolConfig, outcome_of};
use super::{Capabilities, Command, LoadGenError, LoadGenerator, TrialJob, delivered};
use crate::trial::{Measurement, TokenTimes};
use crate::workload::Arrival;

const NAME: &str = "inference-perf";
/// Where it writes, below the trial's folder.
const FOLDER: &str = "inference-perf";
const OUTPUT: &str = "per_request_lifecycle_metrics.json";
const STAGE: &str = "stage_0_lifecycle_metrics.json";
const REPORT: &str = "inference-perf.partial.stage_0.yaml";
const CONFIG: &str = "inference-perf.json";

/// What it can be asked for.
const ABLE: tool::Able = tool::Able {
    name: NAME,
    arrives: |arrival| arrival == Arrival::Poisson,
    arrivals: "poisson",
    chat: false,
    same_prompt: false,
};

/// `inference-perf`.
#[derive(Clone, Debug)]
pub struct InferencePerf {
    config: ToolConfig,
}

impl InferencePerf {
    /// Called as `config` says.
    pub fn new(config: ToolConfig) -> Self {
        Self { config }
    }

    fn asked(&self, job: &TrialJob) -> Result<Asked, LoadGenError> {
        let asked = Asked::of(job, &self.config, &ABLE)?;
        if asked.duration_s.fract() != 0.0 {
            return Err(LoadGenError::Unusable {
                name: NAME,
                why: format!(
                    "it knows durations of whole seconds only, not {} s; set DURATION so",
                    asked.duration_s
                ),
            });
        }
        Ok(asked)
    }

    fn file(dir: &Path, name: &str) -> PathBuf {
        dir.join(FOLDER).join(name)
    }
}

impl Tool for InferencePerf {
    fn config(&self) -> &ToolConfig {
        &self.config
    }

    fn known(&self) -> &'static str {
        "0.7."
    }

    fn package(&self) -> &'static str {
        "inference-perf"
    }

    /// It has no option for that.
    fn check(&self, dir: &Path) -> Result<Command, LoadGenError> {
        tool::by_interpreter(NAME, &self.config, self.package(), dir)
    }
}

impl LoadGenerator for InferencePerf {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            token_times: true,
            schedule: false,
            live: false,
        }
    }

    fn prepare(&self, job: &TrialJob, dir: &Path) -> Result<Vec<Command>, LoadGenError> {
        let asked = self.asked(job)?;
        let dir = std::path::absolute(dir)?;
        let folder = dir.join(FOLDER);
        tool::fresh_folder(&folder)?;
        let home = TokenizerHome::make(NAME, &self.config.tokenizer, &dir)?;
        let tokenizer = home.folder();
        let text = config_file::text(
            &asked,
            job,
            tool::utf8(NAME, &tokenizer)?,
            tool::utf8(NAME, &folder)?,
        );
        let config = dir.join(CONFIG);
        fs::write(&config, text)?;
        let arguments = vec!["--config_file".into(), config.into_os_string()];
        let env = home.env(NAME)?;
        Ok(vec![tool::command(&self.config, arguments, env, job, &dir)])
    }

    /// Its counts decide.
    fn may_end_with(&self, code: i32) -> bool {
        code == 1
    }

    fn read(&self, job: &TrialJob, dir: &Path) -> Result<Measurement, LoadGenError> {
        let asked = self.asked(job)?;
        let path = Self::file(dir, OUTPUT);
        let requests = output::read(&path, dir)?;
        let epoch = |_, end_ns: i64| output::epoch_ns(&Self::file(dir, REPORT), &path, end_ns);
        let mut measurement = requests.measurement(job, &asked, &path, |first_ns, end_ns| {
            epoch(first_ns, end_ns - first_ns)
        })?;
        output::add_lateness(&Self::file(dir, STAGE), &mut measurement.client)?;
        delivered::judge_median(&measurement.records, &mut measurement.client);
        TokenizerHome::of(dir).remove()?;
        Ok(measurement)
    }

    fn token_times(&self, _job: &TrialJob, dir: &Path) -> Result<Option<TokenTimes>, LoadGenError> {
        Ok(Some(output::read(&Self::file(dir, OUTPUT), dir)?.token_times()))
    }
}
