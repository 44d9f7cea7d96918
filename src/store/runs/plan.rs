//! What was asked for.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The file.
pub(super) const FILE: &str = "plan.json";

/// How a run is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One job: server, load and search.
    Job,
    /// An array, one task a token pair, and a job that merges.
    Array,
    /// One job without a GPU against a server that runs elsewhere.
    Client,
    /// Jobs one after the other, each submitted by the one before.
    Chain,
    /// A driver that somebody started by hand; only its trials or its server are jobs.
    Login,
}

/// What was asked for, written once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Version of this file.
    pub schema: u32,
    /// Name of the run.
    pub run: String,
    /// Names of its jobs begin so: `mst-1a2b3c4d`.
    pub tag: String,
    /// How it is laid out.
    pub mode: Mode,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// Version of this program.
    pub mst_version: String,
    /// This program, absolute.
    pub program: PathBuf,
    /// Where it was submitted from, absolute.
    pub submit_dir: PathBuf,
    /// The results root, absolute.
    pub results_dir: PathBuf,
    /// The pairs, in order; the task of an array is its place here.
    pub pairs: Vec<String>,
    /// Names of the pairs' folders below the results root, in the same order.
    pub folders: Vec<String>,
    /// Longest a trial takes with its drain and cool-down, seconds.
    pub trial_s: f64,
    /// Trials that a search is likely to need, and its limit.
    pub trials: (u32, u32),
    /// Time limit of its jobs, seconds, where it is known.
    pub walltime_s: Option<f64>,
    /// Most tasks of an array at a time.
    pub throttle: Option<u32>,
}
