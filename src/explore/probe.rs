//! One simulation of a cell, and what carries it out.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::grid::Cell;
use crate::slo::{Judgement, SloConfig};

/// Where in a cell a probe is.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Point {
    /// Replicas.
    pub replicas: u32,
    /// Requests per second.
    pub qps: f64,
    /// Seed of arrivals and routing.
    pub seed: u64,
}

impl Point {
    /// Orders points and tells them apart (the bits of a positive float sort as it does).
    pub(super) fn key(self) -> (u64, u32, u64) {
        (self.seed, self.replicas, self.qps.to_bits())
    }

    /// The folder's name, as the config explorer writes it.
    pub fn folder(self) -> String {
        let seed = if self.seed == 0 {
            String::new()
        } else {
            format!("_s{}", self.seed)
        };
        format!("r{}_q{:?}{seed}", self.replicas, self.qps)
    }
}

/// What came out of a probe.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Probed {
    /// By the key of the objective.
    pub judgements: BTreeMap<String, Judgement>,
    /// Ended before its time because no objective could be kept any more. Then nothing but that is known.
    pub ended_early: bool,
    /// Requests.
    pub requests: u64,
    /// Of these, finished.
    pub completed: u64,
    /// Preemptions.
    pub restarts: u64,
    /// Quantiles by name, in seconds: `ttft_p50`, `tpot_p99`, ...
    pub latency: BTreeMap<String, f64>,
    /// Share of the prompt tokens that were found in the prefix cache.
    pub cached_share: f64,
    /// Share of the working time whose cost was an extrapolation.
    pub extrapolated_share: f64,
    /// Most KV blocks in use on one replica, as a share.
    pub kv_peak: f64,
}

/// What is known of a cell before it is simulated.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Facts {
    /// Requests of a probe.
    pub requests: u64,
    /// Where iteration times come from.
    pub cost: String,
    /// What the results depend on beyond the cell's key: content of the trace, of the tables.
    pub content: String,
    /// What a reader of the results should know.
    pub notes: Vec<String>,
}

/// Limits that hold without a simulation.
#[derive(Clone, Debug, PartialEq)]
pub enum Limit {
    /// None is known.
    None,
    /// No rate is possible.
    Infeasible(String),
    /// No higher rate, in requests per second, is possible.
    Below(f64, String),
}

/// Carries probes out. A probe is a pure function of cell and point.
pub trait Evaluator: Sync {
    /// What is known of a cell beforehand.
    ///
    /// # Errors
    /// Why it cannot be simulated, for example the arithmetic of what does not fit in memory.
    fn facts(&self, cell: &Cell) -> Result<Facts, String>;

    /// Simulates.
    ///
    /// # Errors
    /// Why it cannot be simulated.
    fn probe(&self, cell: &Cell, point: Point, slos: &[SloConfig]) -> Result<Probed, String>;

    /// A limit of the rate at which a cell with its first number of replicas can keep an objective, on seed 0.
    fn limit(&self, cell: &Cell, slo: &SloConfig) -> Limit;

    /// Simulates once more and leaves a run folder's files in an existing folder.
    ///
    /// # Errors
    /// When a file cannot be written.
    fn keep(&self, cell: &Cell, point: Point, folder: &Path) -> Result<(), String>;
}
