//! What runs are doing, for people: put together from their folders and one question to Slurm. No daemon, and no
//! accounting. The files of a run are the truth; Slurm's word is asked for where they do not tell.

pub mod advice;
mod eta;
mod facts;
mod jobs;
mod state;
#[cfg(test)]
mod testing;

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::executor::slurm::{Job, Slurm, SlurmError};
use crate::store::runs::{Mode, RunDir};
use crate::units::Rate;

pub use facts::{Facts, SeatFacts, Sign};
pub use jobs::{Kind, kind_of, weight};
pub use state::last_words_due;

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Its jobs wait in the queue.
    Waiting,
    /// A driver works.
    Running,
    /// Every pair has an answer.
    Done,
    /// Given up: more of the same would not help.
    Failed,
    /// Somebody stopped it.
    Cancelled,
    /// Its jobs are gone and no driver wrote an end: `mst resume` goes on.
    Lost,
    /// The controller does not answer, and the files do not tell.
    Unknown,
}

impl RunState {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
            Self::Unknown => "unknown",
        }
    }

    /// Whether nothing more happens by itself.
    pub fn is_over(self) -> bool {
        self.is_finished() || self == Self::Lost
    }

    /// Whether it ended for good.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// A job of a run, as Slurm shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobStatus {
    /// Its id, as Slurm prints it: `17`, `17_3`, `17_[4-9%2]`.
    pub id: String,
    /// Slurm's word, or `GONE` where Slurm no longer knows it, `UNKNOWN` where Slurm did not answer.
    pub state: String,
    /// Why it waits or how it ended, Slurm's words; empty where there is nothing to say.
    pub reason: String,
    /// The same in plain words, with what to do.
    pub advice: Option<String>,
    /// What it is for.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Where it runs.
    pub nodes: String,
    /// Seconds until its time limit, while it runs.
    pub left_s: Option<u64>,
    /// When it is expected to start, local time as Slurm prints it.
    pub start: Option<String>,
    /// How often it was put back into the queue.
    pub restarts: u32,
}

/// A pair of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairStatus {
    /// The pair.
    pub pair: String,
    /// Highest rate known to be sustainable, requests per minute.
    pub low: Option<Rate>,
    /// Lowest rate known not to be.
    pub high: Option<Rate>,
    /// Trials judged so far.
    pub trials: u32,
    /// What it is doing.
    pub state: RunState,
    /// Rate of the trial that runs.
    pub now: Option<Rate>,
    /// Seconds of work that are likely left.
    pub left_s: Option<u64>,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunStatus {
    /// Its name.
    pub run: String,
    /// What it is doing.
    pub state: RunState,
    /// Its jobs that Slurm knows, and the newest that it knows no more.
    pub jobs: Vec<JobStatus>,
    /// Its pairs, in order.
    pub pairs: Vec<PairStatus>,
    /// Seconds of work left over all pairs, without waits in the queue.
    pub eta_seconds: Option<u64>,
    /// Seconds until the time limit of its job, or the limit itself while the job waits.
    pub left_walltime: Option<u64>,
    /// Whether the work left does not fit into that: then the driver goes on in another job.
    pub needs_another_job: Option<bool>,
    /// How it is laid out.
    pub mode: Mode,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// The results root.
    pub results: PathBuf,
    /// The run's folder.
    pub folder: PathBuf,
    /// Exit code of its driver, where it ended; of the worst where there were several.
    pub exit: Option<u8>,
    /// What there is to know about its state.
    pub why: Option<String>,
    /// What to do, if there is something.
    pub advice: Vec<String>,
}

impl RunStatus {
    /// Pairs that have their answer.
    pub fn pairs_done(&self) -> usize {
        self.pairs.iter().filter(|p| p.state == RunState::Done).count()
    }
}

/// Runs, and what could not be learned.
#[derive(Debug)]
pub struct Survey {
    /// Those that could be read, in the order asked for.
    pub runs: Vec<RunStatus>,
    /// Those that could not, each with its trouble.
    pub bad: Vec<String>,
    /// Why Slurm did not answer, where it was asked and did not.
    pub silent: Option<SlurmError>,
}

/// When Slurm is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Whenever there is a run.
    Always,
    /// Only when the files of some run do not tell how it ended.
    IfNeeded,
}

/// Looks at runs: their files, and at most one `squeue` for all of them.
pub fn survey(slurm: &Slurm, runs: &[RunDir], ask: Ask) -> Survey {
    let mut facts = Vec::new();
    let mut bad = Vec::new();
    for run in runs {
        match Facts::gather(run) {
            Ok(fact) => facts.push(fact),
            Err(error) => bad.push(format!("{}: {error}", run.name())),
        }
    }
    let is_asked = match ask {
        Ask::Always => !facts.is_empty(),
        Ask::IfNeeded => facts.iter().any(|f| !f.has_ended()),
    };
    let answer = is_asked.then(|| slurm.mine());
    // Read after Slurm's answer: a driver that ended meanwhile wrote its end before it left the queue.
    for fact in facts.iter_mut().filter(|f| !f.has_ended()) {
        fact.read_ends();
    }
    let now = Utc::now();
    let rows = answer.as_ref().and_then(|answer| answer.as_deref().ok());
    Survey {
        runs: facts.iter().map(|fact| assemble(fact, rows, now)).collect(),
        bad,
        silent: answer.and_then(Result::err),
    }
}

/// What a run is doing, from its files and Slurm's rows; `None`: Slurm did not answer, or was not asked. Pure.
pub fn assemble(facts: &Facts, rows: Option<&[Job]>, now: DateTime<Utc>) -> RunStatus {
    let ours: Option<Vec<&Job>> = rows.map(|rows| {
        rows.iter()
            .filter(|job| kind_of(&facts.plan.tag, &job.name).is_some())
            .collect()
    });
    let ours = ours.as_deref();
    let verdict = state::decide(facts, ours, now);
    let pairs = eta::pairs(facts, &verdict, now);
    let budget = eta::budget(facts, &verdict, &pairs, ours);
    let jobs = jobs::jobs(facts, ours);
    let advice = advice::of_run(&facts.name, &verdict, facts, ours);
    RunStatus {
        run: facts.name.clone(),
        state: verdict.state,
        jobs,
        pairs,
        eta_seconds: budget.eta_s,
        left_walltime: budget.walltime_s,
        needs_another_job: budget.needs_another_job,
        mode: facts.plan.mode,
        created: facts.plan.created,
        results: facts.plan.results_dir.clone(),
        folder: facts.path.clone(),
        exit: facts.exit(),
        why: verdict.why,
        advice,
    }
}
