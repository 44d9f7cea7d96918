//! What can be wrong with a deployment.

use std::path::PathBuf;

use crate::sim::cost::CostError;

/// A deployment that cannot be built.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeploymentError {
    /// A name that the catalog does not have.
    #[error(
        "{key}: `{name}` is not known{hint}; known are {known}; add it to a catalog file, see docs/simulator.md"
    )]
    Unknown {
        /// The key.
        key: &'static str,
        /// What was written.
        name: String,
        /// `, did you mean ...?`, or nothing.
        hint: String,
        /// The known names.
        known: String,
    },
    /// A value that makes no sense.
    #[error("{key}: {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong, and what to write.
        problem: String,
    },
    /// The model does not fit.
    #[error("{model} does not fit {device} with {split}: {arithmetic}")]
    DoesNotFit {
        /// The model.
        model: String,
        /// The GPU.
        device: String,
        /// How it is split.
        split: String,
        /// The numbers, and what would help.
        arithmetic: String,
    },
    /// A profile that is asked for is not there.
    #[error("{problem}")]
    NoProfile {
        /// What was looked for, and what to do.
        problem: String,
    },
    /// A profile that cannot be used.
    #[error(transparent)]
    Cost(#[from] CostError),
    /// A file that cannot be used.
    #[error("{}{}: {problem}", path.display(), line.map_or(String::new(), |line| format!(":{line}")))]
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1, where it is known.
        line: Option<u64>,
        /// What is wrong, and what to do.
        problem: String,
    },
}

impl DeploymentError {
    /// A value that makes no sense.
    pub fn value(key: &'static str, problem: impl Into<String>) -> Self {
        Self::Value {
            key,
            problem: problem.into(),
        }
    }
}
