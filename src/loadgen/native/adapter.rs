//! The native load generator as one of the load generators: a child process of this same program.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::failure::{self, TrialFailure};
use super::progress::{self, Follower};
use super::signals::STOP_FILE;
use super::summary::{self, Summary};
use crate::loadgen::{Capabilities, Command, LoadGenError, LoadGenerator, ProgressReader, TrialJob};
use crate::store::rows::{self, RowReader};
use crate::trial::{Measurement, Outcome, RawRow, TokenTimes};

/// Name of the job's file in a trial's folder.
pub const JOB_FILE: &str = "job.json";
/// What a trial may take beyond its duration, its drain and a probe, before it is ended by force.
const SPARE_S: f64 = 120.0;

/// Our own load generator.
#[derive(Clone, Debug)]
pub struct Native {
    program: PathBuf,
}

impl Native {
    /// Runs this same program.
    ///
    /// # Errors
    /// When the path of the running program cannot be learned.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            program: std::env::current_exe()?,
        })
    }

    /// Runs another copy of the program.
    pub fn with_program(program: PathBuf) -> Self {
        Self { program }
    }
}

impl LoadGenerator for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            token_times: true,
            schedule: true,
            live: true,
        }
    }

    fn prepare(&self, job: &TrialJob, dir: &Path) -> Result<Vec<Command>, LoadGenError> {
        // What an earlier attempt left here must not be taken for this one's.
        for name in [
            STOP_FILE,
            failure::FILE_NAME,
            summary::FILE_NAME,
            progress::FILE_NAME,
            rows::FILE_NAME,
        ] {
            match fs_err::remove_file(dir.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        let mut text = serde_json::to_vec_pretty(job).map_err(std::io::Error::from)?;
        text.push(b'\n');
        fs_err::write(dir.join(JOB_FILE), text)?;
        let argv = [
            self.program.as_os_str(),
            "trial".as_ref(),
            "--job".as_ref(),
            dir.as_os_str(),
            "--die-with-parent".as_ref(),
        ];
        let seconds = job.spec.duration_s + job.limits.drain_s + SPARE_S;
        Ok(vec![Command {
            argv: argv.map(ToOwned::to_owned).to_vec(),
            env: Vec::new(),
            cwd: None,
            log: dir.join("loadgen.log"),
            timeout: Some(Duration::from_secs_f64(seconds.clamp(1.0, 3.2e7))),
        }])
    }

    fn follow(&self, job: &TrialJob, dir: &Path) -> Option<Box<dyn ProgressReader>> {
        Some(Box::new(Follower::new(dir, job.spec.duration_s)))
    }

    fn read(&self, job: &TrialJob, dir: &Path) -> Result<Measurement, LoadGenError> {
        let error = |file: &str, why: String| LoadGenError::Output {
            path: dir.join(file),
            why,
        };
        if let Some(failure) = TrialFailure::load(dir) {
            return Err(error(failure::FILE_NAME, failure.message));
        }
        let summary = Summary::load(dir)
            .map_err(|e| error(summary::FILE_NAME, format!("the trial did not end: {e}")))?;
        let mut records = Vec::with_capacity(summary.sent as usize);
        each_sent(dir, |row| records.push(row.record()))?;
        if records.len() as u64 != summary.sent {
            let why = format!("it has {} requests, the summary {}", records.len(), summary.sent);
            return Err(error(rows::FILE_NAME, why));
        }
        records.sort_by_key(|r| r.intended_ns);
        Ok(Measurement {
            asked: job.spec.rate,
            duration_s: job.spec.duration_s,
            offered_s: summary.offered_s,
            observed_s: summary.observed_s,
            epoch_ns: summary.epoch_ns,
            records,
            client: summary.client,
            planned_output: job.spec.workload.mean_output_tokens(),
            stopped_early: summary.stopped_early,
            tokens: None,
        })
    }

    fn token_times(&self, _job: &TrialJob, dir: &Path) -> Result<Option<TokenTimes>, LoadGenError> {
        let mut rows = Vec::new();
        each_sent(dir, |row| rows.push((row.intended_ns, row.gaps_us)))?;
        // As the records are sorted.
        rows.sort_by_key(|(intended_ns, _)| *intended_ns);
        let mut times = TokenTimes::with_capacity(rows.len());
        for (_, gaps_us) in rows {
            times.push(&gaps_us);
        }
        Ok(Some(times))
    }
}

/// Hands over every request that was sent, in the order of the file.
fn each_sent(dir: &Path, mut take: impl FnMut(RawRow)) -> Result<(), LoadGenError> {
    let path = dir.join(rows::FILE_NAME);
    let bad = |e: rows::RowError| LoadGenError::Output {
        path: path.clone(),
        why: e.to_string(),
    };
    for row in RowReader::open(&path).map_err(bad)? {
        let row = row.map_err(bad)?;
        if row.record().outcome != Outcome::NotSent {
            take(row);
        }
    }
    Ok(())
}
