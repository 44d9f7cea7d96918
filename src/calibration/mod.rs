//! What measurements say of a server: factors of the roofline fitted to trials or logs of it, held out by operating point,
//! and what that is worth. The result is a file that deployments name as the source of their iteration times.
//!
//! `docs/calibration.md` describes the method.

mod aggregate;
mod aggregates;
mod errors;
mod factors;
mod fit;
mod held_out;
mod outcome;
mod server;
mod steps;
mod telemetry;
mod timelines;
mod token_times;
mod trials;

use std::path::PathBuf;

pub use aggregate::METRICS;
pub use aggregates::from_aggregates;
pub use server::Server;
pub use steps::{STEP_METRICS, Step, Steps, from_steps};
pub use telemetry::{BatchMember, OperatorTiming, Phase, Sample, Telemetry};
pub use token_times::from_token_times;
pub use trials::{Trial, Trials};

use crate::deployment::DeploymentError;

/// Why nothing can be calibrated.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    /// A folder that is not there.
    #[error("{}: there is no such folder; name the results folder of `mst run` or `mst capacity`", .0.display())]
    NoFolder(PathBuf),
    /// No trial.
    #[error("{}: there is no trial at or below it: no folder with a trial.json", shown(.0))]
    NoTrials(Vec<PathBuf>),
    /// Trials, none of which can be used.
    #[error("no trial can be used: {}", .0.join("; "))]
    NoneUsable(Vec<String>),
    /// A log of iterations that is none.
    #[error("{}: {why}", path.display())]
    Telemetry {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// Too few iterations.
    #[error("{found} iterations are logged, fewer than {wanted}; log more, of several sizes")]
    FewSteps {
        /// So many there are.
        found: usize,
        /// So many there must be.
        wanted: usize,
    },
    /// A server whose iterations cannot be told from outside.
    #[error("token times do not tell this server's iterations: {0}; use --level c")]
    NoIterations(String),
    /// The server as it is described cannot be.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
}

fn shown(paths: &[PathBuf]) -> String {
    let all: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    all.join(", ")
}
