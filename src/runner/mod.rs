//! Who carries a trial out: a load generator against a live endpoint, or the results folder that has it already.

pub mod live;
pub mod memo;
pub mod server_metrics;
mod standstill;

use std::path::PathBuf;

use crate::criterion::{Flow, Progress, Verdict};
use crate::executor::ExecutorError;
use crate::loadgen::LoadGenError;
use crate::search::{Bracket, Probe};
use crate::store::{LeaseError, StoreError};
use crate::trial::{Measurement, TrialId, TrialSpec};
use crate::units::Rate;

/// Trouble that is not the service's answer. Never a verdict.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The load generator.
    #[error(transparent)]
    LoadGen(#[from] LoadGenError),
    /// The program could not be run.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// The load generator ended badly.
    #[error("{what}; the end of its log ({}):\n{tail}", log.display())]
    Exit {
        /// The command and how it ended.
        what: String,
        /// Its log.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// The endpoint went away.
    #[error("{0}")]
    Endpoint(String),
    /// The client did not keep its schedule: the trial says nothing about the service.
    #[error("the client did not keep its schedule, so the trial says nothing about the service: {0}")]
    ClientTooSlow(String),
    /// The results folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The lease of the pair.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The driver stood still: the job was suspended, or the machine was.
    #[error(
        "everything stood still for {seconds:.1} s while the trial ran, so it says nothing about the service"
    )]
    Suspended {
        /// For how long at least.
        seconds: f64,
    },
    /// The job ends before the trial would.
    #[error("{0}")]
    NoTimeLeft(String),
    /// Only what is stored was to be judged.
    #[error(
        "the search asks for a trial at {:.4} requests a second, which is not stored",
        .0.as_per_second()
    )]
    NotStored(Rate),
    /// Asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl TrialError {
    /// Whether repeating the trial may help.
    pub fn is_worth_a_retry(&self) -> bool {
        match self {
            Self::LoadGen(LoadGenError::Unusable { .. })
            | Self::Lease(_)
            | Self::NoTimeLeft(_)
            | Self::NotStored(_)
            | Self::Interrupted => false,
            Self::Executor(error) => error.is_worth_a_retry(),
            Self::LoadGen(_)
            | Self::Exit { .. }
            | Self::Endpoint(_)
            | Self::ClientTooSlow(_)
            | Self::Suspended { .. }
            | Self::Store(_) => true,
        }
    }
}

/// A trial that was carried out.
#[derive(Debug)]
pub struct Trial {
    /// Its identity.
    pub id: TrialId,
    /// What it measured.
    pub measurement: Measurement,
    /// Where it lies: in its final place when it was stored before, else in staging.
    pub folder: PathBuf,
    /// Whether it was found in the results folder.
    pub reused: bool,
}

/// A judged trial, ready for the archive.
#[derive(Debug)]
pub struct Judged<'a> {
    /// What was asked for.
    pub probe: &'a Probe,
    /// The verdict.
    pub verdict: &'a Verdict,
    /// What the search knows after it.
    pub bracket: &'a Bracket,
}

/// Looks at a running trial, and may end it.
pub trait Watch {
    /// Called about ten times a second.
    fn observe(&mut self, so_far: &Progress) -> Flow;

    /// Whether everything is to stop now.
    fn is_interrupted(&self) -> bool;

    /// Told what changes nothing but should be known.
    fn note(&mut self, text: &str);

    /// Told before a trial is repeated.
    fn retried(&mut self, why: &str, left: u32);
}

/// The service under test, as far as a runner needs to know it.
pub trait Service {
    /// Returns once the service can take a trial: it is up and, where that was asked for, its caches are cleared. One of
    /// ours that died is started again.
    ///
    /// # Errors
    /// When it cannot be had, or `interrupted` says so.
    fn ready(&self, interrupted: &dyn Fn() -> bool, note: &mut dyn FnMut(&str)) -> Result<(), TrialError>;

    /// Whether it is known to be gone; cheap, asked many times while a trial runs.
    ///
    /// # Errors
    /// What became of it.
    fn watch(&self) -> Result<(), String>;

    /// Whether it goes on while no driver watches it: only then a trial that went on meanwhile says something about it.
    fn outlives_drivers(&self) -> bool {
        false
    }

    /// Whether it was well all the time since it was ready, so that what was measured is its answer; asked after every
    /// trial.
    ///
    /// # Errors
    /// What came between.
    fn vouch(&self) -> Result<(), String>;

    /// Whether it answers; asked when a trial looks as if it did not.
    ///
    /// # Errors
    /// What it does instead.
    fn alive(&self) -> Result<(), String>;
}

/// Something that carries trials out.
pub trait TrialRunner {
    /// Carries out one trial.
    ///
    /// # Errors
    /// Trouble that is not the service's answer.
    fn run(&mut self, spec: &TrialSpec, probe: &Probe, watch: &mut dyn Watch) -> Result<Trial, TrialError>;

    /// Stores a judged trial in its final place, which it returns.
    ///
    /// # Errors
    /// When it cannot be stored.
    fn settle(&mut self, trial: &Trial, judged: &Judged<'_>) -> Result<PathBuf, TrialError>;
}

impl<R: TrialRunner + ?Sized> TrialRunner for &mut R {
    fn run(&mut self, spec: &TrialSpec, probe: &Probe, watch: &mut dyn Watch) -> Result<Trial, TrialError> {
        (**self).run(spec, probe, watch)
    }

    fn settle(&mut self, trial: &Trial, judged: &Judged<'_>) -> Result<PathBuf, TrialError> {
        (**self).settle(trial, judged)
    }
}
