//! Where a command runs. `local` runs it here; batch systems come beside it.

pub mod local;
pub mod slurm;

use crate::loadgen::Command;

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
}
