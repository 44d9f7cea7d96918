//! What the load generators from Python's package index have in common: how they are found and which versions are known,
//! what they can be asked for, where they find a tokenizer, and how their outcomes and schedules are read.

mod asked;
mod failures;
mod requests;
mod tokenizer;
mod version;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err as fs;

pub(super) use asked::{Able, Asked, PhaseLimits};
pub(super) use failures::outcome_of;
pub(super) use requests::{Request, Requests, gaps_us};
pub(super) use tokenizer::{NAME as HUB_NAME, TokenizerHome};

use super::command::{LOG, absolute_program};
use super::{Command, LoadGenError, LoadGenerator, TrialJob};

/// Time for start and end of the program, beside the load itself: starting Python and making the prompts.
const MARGIN_S: f64 = 300.0;

/// How such a program is called, as set by the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolConfig {
    /// The program and arguments before ours: `guidellm`, or `/opt/venv/bin/aiperf`.
    pub argv: Vec<String>,
    /// A `tokenizer.json`, or a folder with one: they make their prompts with it.
    pub tokenizer: PathBuf,
    /// Whether the endpoint needs an API key, which they take only from their command line or a file.
    pub api_key: bool,
}

/// A load generator of which certain versions are known.
pub trait Tool: LoadGenerator {
    /// How it is called.
    fn config(&self) -> &ToolConfig;

    /// The versions whose output is known: `0.8.`.
    fn known(&self) -> &'static str;

    /// The name of its package.
    fn package(&self) -> &'static str;

    /// A command that tells its version into `check.log` in `dir`.
    ///
    /// # Errors
    /// When the program is not there.
    fn check(&self, dir: &Path) -> Result<Command, LoadGenError> {
        Ok(version::by_flag(self.config(), dir))
    }

    /// Reads what [`Tool::check`] found.
    ///
    /// # Errors
    /// When it did not run, or is a version that is not known, with what to do.
    fn explain_check(&self, succeeded: bool, dir: &Path) -> Result<String, LoadGenError> {
        let known = (self.known(), self.package());
        version::explain(self.name(), known, succeeded, dir)
    }
}

pub(super) use version::by_interpreter;

/// Leaves the folder that the program writes into empty: what an attempt before left there must not pass for this one's.
pub(super) fn fresh_folder(path: &Path) -> Result<(), LoadGenError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
        _ => {}
    }
    fs::create_dir_all(path)?;
    Ok(())
}

/// The command of a trial.
pub(super) fn command(
    config: &ToolConfig,
    arguments: Vec<OsString>,
    env: Vec<(String, String)>,
    job: &TrialJob,
    dir: &Path,
) -> Command {
    let limits = PhaseLimits::of(job);
    let seconds = limits.sending_s + job.limits.request_s + job.limits.drain_s + MARGIN_S;
    Command {
        argv: words(config).chain(arguments).collect(),
        env,
        cwd: Some(dir.to_owned()),
        log: dir.join(LOG),
        timeout: Some(Duration::from_secs_f64(seconds)),
    }
}

/// The words of the program; a relative path counts from the current folder, not the trial's.
fn words(config: &ToolConfig) -> impl Iterator<Item = OsString> {
    let program = config.argv.first().map(|p| absolute_program(p).into_os_string());
    program
        .into_iter()
        .chain(config.argv.iter().skip(1).map(OsString::from))
}

/// Opens the program's output; where it is not there, its last words say why.
pub(super) fn open(name: &'static str, path: &Path, dir: &Path) -> Result<fs::File, LoadGenError> {
    fs::File::open(path).map_err(|error| {
        if error.kind() != std::io::ErrorKind::NotFound {
            return error.into();
        }
        let log = dir.join(LOG);
        let text = fs::read_to_string(&log).unwrap_or_default();
        let last = text.lines().map(str::trim).rfind(|l| !l.is_empty());
        LoadGenError::Output {
            path: path.to_owned(),
            why: format!(
                "{name} did not write it; {} ends with: {}",
                log.display(),
                last.unwrap_or("(nothing)")
            ),
        }
    })
}

/// A file that is not what it should be.
#[expect(
    clippy::needless_pass_by_value,
    reason = "errors and texts are handed over as they come"
)]
pub(super) fn malformed(path: &Path, why: impl ToString) -> LoadGenError {
    LoadGenError::Output {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

/// Removes a file that is not worth keeping beside a measurement.
pub(super) fn discard(path: &Path) -> Result<(), LoadGenError> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.into()),
        _ => Ok(()),
    }
}

/// A path as an argument.
pub(super) fn utf8<'a>(name: &'static str, path: &'a Path) -> Result<&'a str, LoadGenError> {
    path.to_str().ok_or_else(|| LoadGenError::Unusable {
        name,
        why: format!("the path {} is not UTF-8", path.display()),
    })
}
