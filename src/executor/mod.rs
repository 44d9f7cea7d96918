//! Where a command runs: here, as a step or a small job of `srun`, or as a job of its own.

pub mod local;
pub mod sbatch;
pub mod shell;
pub mod slurm;
pub mod srun;

use std::path::Path;

use crate::loadgen::Command;
use slurm::{Slurm, SlurmError, SubmitError};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// By us, because its time was over.
    TimedOut,
}

/// The error of starting or watching a command.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// It could not be started.
    #[error("failed to start `{program}`: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It could not be watched.
    #[error("failed to wait for `{program}`: {source}")]
    Wait {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// What its job needs could not be written.
    #[error("failed to write the job of `{program}`: {why}")]
    Staging {
        /// The program.
        program: String,
        /// Why.
        why: String,
    },
    /// Its job was not submitted.
    #[error(transparent)]
    Submit(SubmitError),
    /// Its job did not end by itself, or says nothing.
    #[error("job {id} {what}")]
    Job {
        /// Its id or name.
        id: String,
        /// What became of it.
        what: String,
    },
    /// Slurm could not be asked.
    #[error("Slurm was asked {doing}: {source}")]
    Slurm {
        /// What for.
        doing: String,
        /// What it said instead.
        source: SlurmError,
    },
}

impl ExecutorError {
    /// Whether the batch system is to blame, or what it was asked.
    pub fn is_batch_systems(&self) -> bool {
        !matches!(self, Self::Start { .. } | Self::Wait { .. })
    }

    /// Whether another try may help. One that may exist already is not submitted again.
    pub fn is_worth_a_retry(&self) -> bool {
        match self {
            Self::Start { .. }
            | Self::Wait { .. }
            | Self::Job { .. }
            | Self::Slurm { .. }
            | Self::Submit(SubmitError::Slurm(SlurmError::ForNow { .. } | SlurmError::NoAnswer { .. })) => {
                true
            }
            Self::Submit(_) | Self::Staging { .. } => false,
        }
    }
}

/// A running command.
pub trait Running {
    /// How it ended, or `None` while it runs. Never blocks.
    ///
    /// # Errors
    /// When its state cannot be learned.
    fn poll(&mut self) -> Result<Option<Exit>, ExecutorError>;

    /// Its processes on this host, each the leader of a group; empty where it runs elsewhere.
    fn pids(&self) -> Vec<i32>;

    /// What people should hear of it since the last question.
    fn news(&mut self) -> Option<String> {
        None
    }

    /// Ends it and all it started.
    fn kill(&mut self);
}

/// Something that runs commands.
pub trait Executor: Send {
    /// Starts a command; its output goes to its log.
    ///
    /// # Errors
    /// When it cannot be started.
    fn start(&self, command: &Command) -> Result<Box<dyn Running>, ExecutorError>;

    /// Whether what it started can outlive this process, and be found again.
    fn attaches(&self) -> bool {
        false
    }

    /// What another process started in this staging folder, if it still runs or ended well.
    fn attach(&self, _folder: &Path) -> Option<Box<dyn Running>> {
        None
    }

    /// Removes from the folder of a trial that was measured what only served its running.
    fn tidy(&self, _folder: &Path) {}

    /// Ends what another process, or this one, left running in this staging folder, and returns once it loads the service
    /// no more, or once `interrupted` says so. Also where it was started by another executor.
    ///
    /// # Errors
    /// When it does not end, or nobody knows whether it did.
    fn abandon(&self, folder: &Path, interrupted: &dyn Fn() -> bool) -> Result<(), ExecutorError> {
        sbatch::abandon(&Slurm::default(), folder, interrupted)
    }
}
