//! Printing a log, and going on as it grows.

use std::collections::BTreeSet;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::pick::{Wanted, newest};
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cluster::watch::{Ask, survey};
use crate::executor::slurm::Slurm;
use crate::store::runs::{Journal, Mode, Plan, RunDir};

/// Pause between two looks at the files.
const LOOK: Duration = Duration::from_millis(500);
/// How long nothing is written before Slurm is asked whether the run still is.
const QUIET: Duration = Duration::from_mins(1);

/// A file that grows.
pub(super) struct Tail {
    file: fs_err::File,
    at: u64,
}

impl Tail {
    /// Opens it at its beginning.
    pub(super) fn open(path: PathBuf) -> std::io::Result<Self> {
        Ok(Self {
            file: fs_err::File::open(path)?,
            at: 0,
        })
    }

    /// Prints what is new; how much that was.
    pub(super) fn print(&mut self) -> std::io::Result<u64> {
        let length = self.file.metadata()?.len();
        if length < self.at {
            // Cut short: a job that was put back into the queue began it anew.
            self.at = 0;
        }
        self.file.seek(SeekFrom::Start(self.at))?;
        let mut out = std::io::stdout().lock();
        let printed = std::io::copy(&mut (&mut self.file).take(u64::MAX), &mut out)?;
        out.flush()?;
        self.at += printed;
        Ok(printed)
    }
}

/// Prints the log and those that follow it until the run, or the task, has ended.
pub(super) fn follow(run: &RunDir, plan: &Plan, wanted: &Wanted, first: Option<PathBuf>) -> Outcome {
    let mut seen = BTreeSet::new();
    let mut tail: Option<Tail> = None;
    let mut next = first;
    let mut quiet_since = Instant::now();
    if next.is_none() {
        eprintln!("{}; waiting for it", wanted.missing(&run.name(), plan.mode));
    }
    loop {
        // Asked before the last look at the file, so that its last lines are printed.
        let has_ended = has_ended(run, plan, wanted)?;
        if let Some(tail) = &mut tail
            && tail.print()? > 0
        {
            quiet_since = Instant::now();
            continue;
        }
        if let Some(path) = next.take().filter(|path| !seen.contains(path)) {
            if tail.is_some() {
                eprintln!("==> {}", path.display());
            }
            tail = Some(Tail::open(path.clone())?);
            seen.insert(path);
            continue;
        }
        next = newest(run, plan, &Journal::read_all(run.path())?, wanted)?;
        if next.as_ref().is_some_and(|path| !seen.contains(path)) {
            continue;
        }
        if has_ended {
            return Ok(Exit::Done);
        }
        if quiet_since.elapsed() >= QUIET {
            quiet_since = Instant::now();
            let survey = survey(&Slurm::default(), std::slice::from_ref(run), Ask::IfNeeded);
            if let Some(status) = survey.runs.first().filter(|status| status.state.is_over()) {
                eprintln!(
                    "{} is {}; `mst status {}` tells more",
                    status.run,
                    status.state.word(),
                    status.run
                );
                return Ok(Exit::Done);
            }
        }
        std::thread::sleep(LOOK);
    }
}

/// Whether the drivers that are followed wrote their ends.
fn has_ended(run: &RunDir, plan: &Plan, wanted: &Wanted) -> Result<bool, Failure> {
    let tasks: Vec<Option<u32>> = match (plan.mode, wanted.task) {
        (Mode::Array, None) => (0..plan.pairs.len() as u32).map(Some).collect(),
        (_, task) => vec![task],
    };
    for task in tasks {
        if run.seat(task).ended()?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}
