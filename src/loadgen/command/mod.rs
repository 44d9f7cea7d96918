//! Any program as a load generator: a command line with placeholders, and the file and columns that it leaves behind.
//!
//! The command runs in the trial's folder. An API key is not put into its arguments; it stands in its environment under
//! [`super::API_KEY_VARIABLE`].

mod columns;
mod rows;
mod table;
mod template;

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use fs_err as fs;

pub use columns::{COLUMNS, ColumnsError, check as check_columns};
pub use template::{PLACEHOLDERS, TemplateError, check as check_template, split as split_template};

use super::{Capabilities, Command, LoadGenError, LoadGenerator, TrialJob, delivered};
use crate::trial::Measurement;
use crate::units::{TokenPair, TokenRange};
use columns::Columns;

const NAME: &str = "command";
/// What the program prints, in the trial's folder.
pub const LOG: &str = "loadgen.log";
/// Time for start and end of the program, beside the load itself.
const MARGIN_S: f64 = 120.0;

/// How a command is called and what it leaves behind, as set by the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandConfig {
    /// Program and arguments, with [`PLACEHOLDERS`] in braces.
    pub argv: Vec<String>,
    /// The file it writes, below the trial's folder: CSV with a header, or `.jsonl`.
    pub output: String,
    /// Our [`COLUMNS`] and theirs: `sent`, `start:s`; a `+` before theirs counts from the send time.
    pub columns: Vec<(String, String)>,
}

/// Any command as a load generator.
#[derive(Clone, Debug)]
pub struct CommandLoad {
    config: CommandConfig,
    columns: Columns,
}

impl CommandLoad {
    /// Checks template and columns.
    ///
    /// # Errors
    /// When a placeholder or a column does not exist, or a needed one is missing.
    pub fn new(config: CommandConfig) -> Result<Self, LoadGenError> {
        check_template(&config.argv).map_err(|e| unusable(e.to_string()))?;
        let columns = Columns::parse(&config.columns).map_err(|e| unusable(e.to_string()))?;
        let output = Path::new(&config.output);
        let inside = output
            .components()
            .all(|c| matches!(c, std::path::Component::Normal(_)));
        if config.output.is_empty() || !inside {
            return Err(unusable(format!(
                "its output `{}` does not lie in the trial's folder; give a relative path, and {{dir}} in the command",
                config.output
            )));
        }
        Ok(Self { config, columns })
    }

    /// Digest of the template and the mapping: the version in the trial's identity.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for word in &self.config.argv {
            hasher.update(word.as_bytes());
            hasher.update(&[0]);
        }
        hasher.update(&[1]);
        hasher.update(self.config.output.as_bytes());
        for (ours, theirs) in &self.config.columns {
            hasher.update(&[0]);
            hasher.update(ours.as_bytes());
            hasher.update(b"=");
            hasher.update(theirs.as_bytes());
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }

    fn value(job: &TrialJob, dir: &Path, name: &str) -> Result<String, LoadGenError> {
        let spec = &job.spec;
        let length = |range: fn(&TokenPair) -> TokenRange, pick: fn(TokenRange) -> Option<u32>| {
            let [only] = spec.workload.classes.as_slice() else {
                return Err(unusable(format!(
                    "{{{name}}} has no value for a mix of several classes"
                )));
            };
            pick(range(&only.pair)).map(|n| n.to_string()).ok_or_else(|| {
                unusable(format!(
                    "{{{name}}} has no single value for {}; use {{{name}_min}} and {{{name}_max}}",
                    range(&only.pair)
                ))
            })
        };
        let single = |r: TokenRange| (r.lowest() == r.max).then_some(r.max);
        Ok(match name {
            "url" => format!(
                "{}{}",
                job.endpoint.base_url.trim_end_matches('/'),
                job.endpoint.api.path()
            ),
            "base_url" => job.endpoint.base_url.trim_end_matches('/').to_owned(),
            "api_path" => job.endpoint.api.path().to_owned(),
            "model" => job.endpoint.model.clone(),
            "rate_per_second" => spec.rate.as_per_second().to_string(),
            "rate_per_minute" => spec.rate.as_per_minute().to_string(),
            "duration_s" => spec.duration_s.to_string(),
            "count" => (spec.workload.arrival)
                .count(spec.rate, spec.duration_s)
                .to_string(),
            "input_tokens" => length(|p| p.input, single)?,
            "input_tokens_min" => length(|p| p.input, |r| Some(r.lowest()))?,
            "input_tokens_max" => length(|p| p.input, |r| Some(r.max))?,
            "output_tokens" => length(|p| p.output, single)?,
            "output_tokens_min" => length(|p| p.output, |r| Some(r.lowest()))?,
            "output_tokens_max" => length(|p| p.output, |r| Some(r.max))?,
            "seed" => spec.seed.to_string(),
            "dir" => dir
                .to_str()
                .ok_or_else(|| unusable(format!("the folder {} is not UTF-8", dir.display())))?
                .to_owned(),
            other => return Err(unusable(format!("{{{other}}} is not a placeholder"))),
        })
    }
}

fn unusable(why: String) -> LoadGenError {
    LoadGenError::Unusable { name: NAME, why }
}

impl From<TemplateError> for LoadGenError {
    fn from(error: TemplateError) -> Self {
        unusable(error.to_string())
    }
}

/// A program named by a relative path means one relative to where `mst` was started, not to the trial's folder.
pub(super) fn absolute_program(program: &str) -> PathBuf {
    let path = Path::new(program);
    if path.components().count() > 1 && path.is_relative() {
        std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
    } else {
        path.to_owned()
    }
}

impl LoadGenerator for CommandLoad {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            token_times: false,
            schedule: self.columns.intended.is_some(),
            live: false,
        }
    }

    fn prepare(&self, job: &TrialJob, dir: &Path) -> Result<Vec<Command>, LoadGenError> {
        let dir = std::path::absolute(dir)?;
        let mut argv = Vec::with_capacity(self.config.argv.len());
        for word in &self.config.argv {
            argv.push(template::fill(word, |name| Self::value(job, &dir, name))?);
        }
        let program = absolute_program(&argv[0]).into_os_string();
        let argv = std::iter::once(program)
            .chain(argv.into_iter().skip(1).map(Into::into))
            .collect();
        let output = dir.join(&self.config.output);
        if let Some(parent) = output.parent() {
            fs::create_dir_all(parent)?;
        }
        // What an attempt before left behind must not pass for this one's output.
        match fs::remove_file(&output) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
            _ => {}
        }
        let seconds = job.spec.duration_s + job.limits.request_s + job.limits.drain_s + MARGIN_S;
        Ok(vec![Command {
            argv,
            env: Vec::new(),
            log: dir.join(LOG),
            cwd: Some(dir),
            timeout: Some(Duration::from_secs_f64(seconds)),
        }])
    }

    fn read(&self, job: &TrialJob, dir: &Path) -> Result<Measurement, LoadGenError> {
        let path = dir.join(&self.config.output);
        let spec = &job.spec;
        let pair = match spec.workload.classes.as_slice() {
            [only] => Some(only.pair),
            _ => None,
        };
        let requests = rows::read(&path, &self.columns, pair)?;
        let records = requests.records;
        let end = records
            .iter()
            .filter_map(|r| r.done_ns.or(r.sent_ns))
            .max()
            .unwrap_or(0);
        let observed_s = (end as f64 / 1e9).max(spec.duration_s);
        let epoch_ns = match requests.epoch_ns {
            Some(epoch) => epoch,
            // The file's clock has no known origin: it was written when the last request ended, or soon after.
            None => written_ns(&path)? - end,
        };
        let mut client = delivered::health(&records, spec.rate, spec.duration_s, 0);
        if self.columns.intended.is_some() && self.columns.sent.is_some() {
            client.lateness_max_ms = records
                .iter()
                .filter_map(crate::trial::RequestRecord::lateness_ms)
                .max_by(f64::total_cmp);
        }
        Ok(Measurement {
            asked: spec.rate,
            duration_s: spec.duration_s,
            offered_s: spec.duration_s,
            observed_s,
            epoch_ns,
            records,
            client,
            planned_output: None,
            stopped_early: false,
            tokens: None,
        })
    }
}

fn written_ns(path: &Path) -> Result<i64, LoadGenError> {
    let modified = fs::metadata(path)?.modified()?;
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(since.as_nanos() as i64)
}
