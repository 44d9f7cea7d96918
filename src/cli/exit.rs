//! Every exit code, in one place.

use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Every search has an answer.
    Done = 0,
    /// Unexpected: a bug, a full disk.
    Unexpected = 1,
    /// Wrong usage (clap's own).
    Usage = 2,
    /// Wrong configuration or input file.
    Input = 3,
    /// Done, but no sustainable rate was found for at least one pair.
    NoneFound = 4,
    /// Done, but at least one answer is undecided.
    Undecided = 5,
    /// The load generator failed.
    LoadGenerator = 10,
    /// The batch system failed.
    BatchSystem = 11,
    /// The endpoint could not be reached before the first trial.
    Unreachable = 12,
    /// Interrupted by Ctrl-C; state is safe, run again to resume.
    Interrupted = 130,
    /// Ended by SIGTERM; state is safe, run again to resume.
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that knows how the program ends because of it.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What went wrong, and what to do.
    pub error: anyhow::Error,
}

impl Failure {
    /// Wrong configuration or input.
    pub fn input(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Input,
            error: error.into(),
        }
    }

    /// A failure with any code.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit,
            error: error.into(),
        }
    }
}

impl Failure {
    /// The error and its causes on one line. A cause that its error already ends with is not said twice.
    pub fn told(&self) -> String {
        let mut text = String::new();
        for cause in self.error.chain().map(ToString::to_string) {
            if text.ends_with(&cause) {
                continue;
            }
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
        text
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            exit: Exit::Unexpected,
            error: error.into(),
        }
    }
}

/// What a verb returns.
pub type Outcome = Result<Exit, Failure>;
