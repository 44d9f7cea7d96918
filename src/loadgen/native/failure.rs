//! A trial that could not be made: not a measurement, and never a verdict.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::endpoint::EndpointError;

/// Name of the file in the trial's folder.
pub(super) const FILE_NAME: &str = "failure.json";

/// Why a trial could not be made; the content of `failure.json`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct TrialFailure {
    /// What kind: `unreachable`, `unauthorized`, `not-found`, `bad-endpoint`, `tls`, `timeout`, `bad-url` (the endpoint's),
    /// `bad-request` (the endpoint refuses what the workload asks for), `bad-job` (the caller's), `io` (this machine's).
    pub kind: String,
    /// What went wrong and what to do.
    pub message: String,
}

impl TrialFailure {
    /// A failure of some kind.
    pub(super) fn new(kind: &str, message: impl std::fmt::Display) -> Self {
        Self {
            kind: kind.to_owned(),
            message: message.to_string(),
        }
    }

    /// What is asked for cannot be.
    pub fn bad_job(why: &impl std::fmt::Display) -> Self {
        Self::new("bad-job", why)
    }

    /// Whether it is the endpoint that cannot be used, not the load generator.
    pub fn is_endpoint(&self) -> bool {
        !matches!(self.kind.as_str(), "bad-request" | "bad-job" | "io")
    }

    /// The failure that a trial left in `dir`, if it did.
    pub fn load(dir: &Path) -> Option<Self> {
        serde_json::from_slice(&fs_err::read(dir.join(FILE_NAME)).ok()?).ok()
    }

    /// Leaves it in `dir`.
    pub(super) fn store(&self, dir: &Path) -> std::io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        fs_err::write(dir.join(FILE_NAME), text)
    }
}

impl From<EndpointError> for TrialFailure {
    fn from(error: EndpointError) -> Self {
        Self::new(error.kind(), error)
    }
}

impl From<std::io::Error> for TrialFailure {
    fn from(error: std::io::Error) -> Self {
        Self::new("io", error)
    }
}
