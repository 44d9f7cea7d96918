//! What can be wrong with a deployment.

use std::path::PathBuf;

use crate::sim::catalog::CatalogError;
use crate::sim::cluster::EngineError;
use crate::sim::cost::CostError;
use crate::sim::cost::memory::DoesNotFit;
use crate::sim::source::{FitError, SourceError, TraceError};

/// A deployment that cannot be built.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum DeploymentError {
    /// A name that the catalog does not have, or a catalog file that is none.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A value that makes no sense.
    #[error("{key}: {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong, and what to write.
        problem: String,
    },
    /// Parts that do not go together.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The model does not fit, or cannot be split so.
    #[error(transparent)]
    DoesNotFit(#[from] DoesNotFit),
    /// A profile that is asked for is not there.
    #[error("{problem}")]
    NoProfile {
        /// What was looked for, and what to do.
        problem: String,
    },
    /// A profile that cannot be used.
    #[error(transparent)]
    Cost(#[from] CostError),
    /// A trace that cannot be used.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// A trace with requests that are too long.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// A workload that cannot be.
    #[error("workload: {0}")]
    Source(#[from] SourceError),
    /// A result that cannot be written.
    #[error("{}: it cannot be written: {problem}", path.display())]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        problem: String,
    },
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
