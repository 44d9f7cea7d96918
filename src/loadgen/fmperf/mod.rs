//! fmperf as a load generator: the fork that is paced by `REQ_MIN`.
//!
//! It is run in a folder of its own below the trial's (its workers leave files in the current folder), found through
//! `PYTHONPATH`, and configured by its environment alone. Upstream fmperf, a closed loop of `NUM_USERS`, is refused: by the
//! check before a run, and, should it run all the same, by the missing `exp_req_min` in its results.
//!
//! What its output does not tell: intended send times (the send time is taken for them), how late the client was (a realised
//! rate that is off voids the trial), and requests whose connection failed (gaps in the numbering count as failed). A trial
//! without a single record means that no connection came about; that is an endpoint that is gone, not a verdict.

mod check;
mod environment;
mod events;
mod workload_file;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;

pub use events::{EventReader, FmperfEvents, FmperfRequest};

use super::command::{LOG, absolute_program};
use super::{Capabilities, Command, LoadGenError, LoadGenerator, TrialJob};
use crate::trial::Measurement;

const NAME: &str = "fmperf";
/// The results, in the trial's folder.
const RESULTS: &str = "results.json";
/// The folder below the trial's in which fmperf runs.
const SCRATCH: &str = "fmperf";
/// Time for start-up and for writing the results, beside load and drain.
const MARGIN_S: f64 = 900.0;
/// Most time that importing may take.
const CHECK_TIMEOUT: Duration = Duration::from_mins(2);

/// How fmperf is called.
#[derive(Clone, Debug, PartialEq)]
pub struct FmperfConfig {
    /// The Python interpreter that has what fmperf imports.
    pub python: String,
    /// The folder that holds the package `fmperf`.
    pub workdir: PathBuf,
    /// Who makes the workload file.
    pub prompts: FmperfPrompts,
    /// Keys that fmperf itself reads (`BACKOFF`, `GRACE_PERIOD`, `SAMPLE_SIZE`, …) as they were set.
    pub passed_on: Vec<(String, String)>,
    /// Whether the endpoint needs an API key, which fmperf cannot send.
    pub api_key: bool,
}

/// Who makes fmperf's workload file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FmperfPrompts {
    /// We do.
    Native,
    /// It is there.
    File(PathBuf),
    /// `fmperf.loadgen.generate-input`, which sends every prompt to the server once.
    Fmperf,
}

/// fmperf as a load generator.
#[derive(Clone, Debug)]
pub struct Fmperf {
    config: FmperfConfig,
    reader: EventReader,
}

impl Fmperf {
    /// `reader` reads its `results.json`.
    pub fn new(config: FmperfConfig, reader: EventReader) -> Self {
        Self { config, reader }
    }

    /// A command that tells whether fmperf is there and which form it is; its output goes to `check.log` in `dir`, and
    /// [`Fmperf::explain_check`] reads it. Takes about two seconds.
    ///
    /// # Errors
    /// When the current folder is not known.
    pub fn check(&self, dir: &Path) -> Result<Command, LoadGenError> {
        let argv = [self.python(), "-c".into(), check::PROGRAM.into()];
        Ok(Command {
            argv: argv.to_vec(),
            env: vec![
                ("PYTHONPATH".to_owned(), environment::python_path(self)?),
                // Read on import.
                (
                    "REQUESTS_FILENAME".to_owned(),
                    environment::REQUESTS_FILENAME.to_owned(),
                ),
            ],
            cwd: None,
            log: dir.join("check.log"),
            timeout: Some(CHECK_TIMEOUT),
        })
    }

    /// Reads what [`Fmperf::check`] found: a digest of fmperf's load generator, for the trial's identity.
    ///
    /// # Errors
    /// When fmperf cannot be used, with what to do.
    pub fn explain_check(&self, succeeded: bool, dir: &Path) -> Result<String, LoadGenError> {
        check::explain(succeeded, &dir.join("check.log"))
    }

    /// The value of a key that is passed on.
    fn passed(&self, key: &str) -> Option<&str> {
        let found = self.config.passed_on.iter().rev().find(|(k, _)| k == key);
        found.map(|(_, value)| value.as_str())
    }

    /// The interpreter; a relative path counts from fmperf's folder, else from the current one.
    fn python(&self) -> OsString {
        let in_workdir = self.config.workdir.join(&self.config.python);
        if self.config.python.contains('/') && in_workdir.exists() {
            return std::path::absolute(&in_workdir)
                .unwrap_or(in_workdir)
                .into_os_string();
        }
        absolute_program(&self.config.python).into_os_string()
    }

    fn workload_path(&self, dir: &Path) -> PathBuf {
        match &self.config.prompts {
            FmperfPrompts::File(path) => path.clone(),
            _ => made_workload(dir),
        }
    }
}

impl LoadGenerator for Fmperf {
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
        environment::check(self, job)?;
        let dir = std::path::absolute(dir)?;
        let scratch = dir.join(SCRATCH);
        // What an attempt before left behind must not pass for this one's output.
        for path in [dir.join(RESULTS), made_workload(&dir)] {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
                _ => {}
            }
        }
        fs::create_dir_all(&scratch)?;
        let env = environment::variables(self, job, &scratch, &dir.join(RESULTS))?;
        let command = |module: &str, log: &str, seconds: f64| Command {
            argv: vec![self.python(), "-m".into(), module.into()],
            env: env.clone(),
            cwd: Some(scratch.clone()),
            log: dir.join(log),
            timeout: Some(Duration::from_secs_f64(seconds)),
        };
        let mut commands = Vec::new();
        match &self.config.prompts {
            FmperfPrompts::Native => {
                let greedy = self.passed("FRAC_GREEDY").and_then(|v| v.trim().parse().ok());
                workload_file::write(&self.workload_path(&dir), job, greedy.unwrap_or(1.0))?;
            }
            FmperfPrompts::File(path) => {
                fs::metadata(path)?;
            }
            FmperfPrompts::Fmperf => {
                link_newer_name(job, &scratch)?;
                let seconds = MARGIN_S + 100.0 * job.limits.request_s;
                commands.push(command(
                    "fmperf.loadgen.generate-input",
                    "generate-input.log",
                    seconds,
                ));
            }
        }
        let seconds = job.spec.duration_s + 2.0 * job.limits.request_s + job.limits.drain_s + MARGIN_S;
        commands.push(command("fmperf.loadgen.run", LOG, seconds));
        Ok(commands)
    }

    /// Its summary fails where there is no event, after the results were written.
    fn may_end_with(&self, code: i32) -> bool {
        code == 1
    }

    /// Reads `results.json`, which may have been written although fmperf's exit code is not 0: its own summary fails
    /// where there is no event. Removes the workers' files, which hold the same again.
    fn read(&self, job: &TrialJob, dir: &Path) -> Result<Measurement, LoadGenError> {
        let path = dir.join(RESULTS);
        if !path.exists() {
            return Err(nothing_written(&path, dir));
        }
        let events = (self.reader)(&path)?;
        if events.requests.is_empty() {
            return Err(LoadGenError::Output {
                path,
                why: format!(
                    "it holds no event: not one connection to {} came about; is the endpoint still up?",
                    job.endpoint.base_url
                ),
            });
        }
        if events.asked_per_minute.is_none() {
            return Err(LoadGenError::Unusable {
                name: NAME,
                why: check::REMEDY.to_owned(),
            });
        }
        let cases = workload_file::read(&self.workload_path(dir))?;
        let workers = events.workers.unwrap_or_else(|| environment::workers(self, job));
        let measurement = events::measurement(&events, &cases, job, workers);
        remove_worker_files(&dir.join(SCRATCH))?;
        Ok(measurement)
    }
}

/// Why there is no `results.json`.
fn nothing_written(path: &Path, dir: &Path) -> LoadGenError {
    let log = dir.join(LOG);
    let text = fs::read_to_string(&log).unwrap_or_default();
    if text.contains("NUM_USERS") {
        return LoadGenError::Unusable {
            name: NAME,
            why: check::REMEDY.to_owned(),
        };
    }
    LoadGenError::Output {
        path: path.to_owned(),
        why: format!(
            "fmperf did not write it; {} ends with: {}",
            log.display(),
            check::last_line(&text).unwrap_or("(nothing)")
        ),
    }
}

/// A workload file that is made for a trial.
fn made_workload(dir: &Path) -> PathBuf {
    dir.join(SCRATCH).join(environment::REQUESTS_FILENAME)
}

/// Newer forms of `generate-input` put the input range into the file name; a link makes that the same file.
fn link_newer_name(job: &TrialJob, scratch: &Path) -> Result<(), LoadGenError> {
    let Some(class) = job.spec.workload.classes.first() else {
        return Ok(());
    };
    let input = class.pair.input;
    let stem = environment::REQUESTS_FILENAME.trim_end_matches(".json");
    let link = scratch.join(format!("{stem}_{}-{}.json", input.lowest(), input.max));
    match fs::remove_file(&link) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
        _ => {}
    }
    fs_err::os::unix::fs::symlink(environment::REQUESTS_FILENAME, &link)?;
    Ok(())
}

fn remove_worker_files(scratch: &Path) -> Result<(), LoadGenError> {
    if !scratch.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(scratch)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("results_wid") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
