//! A recorded run of Vidur, run again: the same requests, its prediction tables, its options; then compared request by
//! request and iteration by iteration.

mod compare;
mod hashes;
mod options;
mod rows;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{DeploymentError, files};
use crate::sim::cluster::{ClusterConfig, simulate};
use crate::sim::cost::CostModel;
use crate::sim::cost::Input;
use crate::sim::cost::case::{CaseFiles, CaseTables, VidurVersion};
use crate::sim::{PrefixTable, Request, Source, Time};

use compare::Comparison;
use options::Options;
use rows::Rows;

/// What a recorded run is compared by. An error of [`f64::MAX`] stands for runs that cannot be compared: `mismatch` says
/// where they part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CaseReport {
    /// The name of the case.
    pub case: String,
    /// Which Vidur.
    pub simulator: String,
    /// Requests of the recorded run.
    pub requests: u64,
    /// Iterations that were compared, those of every stage.
    pub iterations: u64,
    /// Largest difference of a time to first token, seconds.
    pub max_abs_ttft_error_s: f64,
    /// Largest difference of an end-to-end time, seconds.
    pub max_abs_e2e_error_s: f64,
    /// Largest difference of an iteration's time, as a share of it.
    pub max_rel_iteration_error: f64,
    /// Whether requests went where the recorded run sent them, because its router draws from a generator of its own.
    pub replayed_routing: bool,
    /// CPU time of the whole program; filled in by whoever asks the system.
    pub cpu_seconds: f64,
    /// Restarts, theirs and ours.
    pub restarts: [u64; 2],
    /// Where the largest errors are, and where the runs part.
    pub places: Vec<String>,
    /// Whether the runs held different requests or batches somewhere.
    pub mismatch: bool,
    /// What to know about the comparison.
    pub notes: Vec<String>,
}

/// `case.json`, as far as it is used.
#[derive(Debug, Deserialize)]
struct CaseFile {
    name: String,
    options: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    resolved: Resolved,
    table: String,
    simulator: String,
    #[serde(default)]
    num_iterations_total: Option<u64>,
}

/// What the recorded run made of its options.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resolved {
    num_blocks: Option<u32>,
    block_size: Option<u32>,
    max_batch_size_memory_planner: Option<f64>,
    batch_size_cap: Option<u32>,
    watermark_blocks: Option<u32>,
}

/// Runs a recorded case again. `tables` holds the tables' folders; by default it is `tables` beside the case. `traces`
/// are folders where a trace with block hashes may lie.
///
/// # Errors
/// When a file is missing or cannot be used.
pub fn replay(
    folder: &Path,
    tables: Option<&Path>,
    traces: &[PathBuf],
) -> Result<CaseReport, DeploymentError> {
    let path = folder.join("case.json");
    let case: CaseFile =
        serde_json::from_str(&files::text(&path)?).map_err(|error| DeploymentError::File {
            path: path.clone(),
            line: Some(error.line() as u64),
            problem: error.to_string(),
        })?;
    let version = VidurVersion::of_case(&case.simulator);
    let options = Options::new(&path, &case, version);
    let rows = Rows::read(folder)?;
    let mut notes = Vec::new();
    let mut engine = options.engine(rows.longest())?;
    let mut prefixes = Arc::<PrefixTable>::default();
    let mut requests = rows.requests();
    if engine.prefix_caching {
        let places = hashes::places(folder, traces, options.trace_file());
        if let Some(trace) = hashes::read(folder, &rows, &places)? {
            for (place, request) in requests.iter_mut().enumerate() {
                request.prefix = trace.row(place).prefix;
            }
            prefixes = Arc::clone(trace.prefixes());
        } else {
            engine.prefix_caching = false;
            notes.push(hashes::missing(options.trace_file()));
        }
    }
    let replicas = options.replicas()?;
    let router = options.router(replicas)?;
    let beside = folder.join("..").join("tables");
    let config = ClusterConfig {
        replicas,
        router: router.unwrap_or_default(),
        engine,
        replay: router.is_none().then(|| rows.replicas()),
        cost: read_tables(&tables.unwrap_or(&beside).join(&case.table), version)?,
        seed: 0,
        noise: 0.0,
        stepwise: false,
    };
    engine
        .check()
        .map_err(|error| options.wrong(&error.to_string()))?;
    let limit = options.time_limit()?;
    let mut comparison = Comparison::new(&rows, limit < Time::MAX, case.num_iterations_total);
    let (scaled, least) = options.deadlines()?;
    for request in &mut requests {
        let allowed = (scaled * f64::from(request.input_tokens)).max(least);
        request.deadline = request.arrival + Time::from_seconds(allowed);
    }
    let mut source = Recorded {
        requests: requests.into_iter(),
        next: None,
    };
    let totals = simulate(&config, &mut source, &prefixes, limit, &mut comparison);
    Ok(comparison.report(&case, &totals, config.replay.is_some(), notes))
}

/// Reads a folder of prediction tables.
///
/// # Errors
/// When a file is missing or cannot be used.
pub fn read_tables(folder: &Path, version: VidurVersion) -> Result<Arc<dyn CostModel>, DeploymentError> {
    let names = [
        "table.json",
        "per_token_ops.csv",
        "kv_cache_save.csv",
        "attn_prefill.csv",
        "attn_decode.csv",
    ];
    let mut paths = Vec::new();
    for name in names {
        paths.push(
            files::packed_or_not(&folder.join(name)).ok_or_else(|| DeploymentError::NoProfile {
                problem: format!(
                    "{}: there is no {name} or {name}.gz; name the folder of the tables with --tables",
                    folder.display()
                ),
            })?,
        );
    }
    let shown: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    let mut readers = Vec::new();
    for path in &paths {
        readers.push(files::open(path)?);
    }
    let [table, ops, save, prefill, decode] = readers.as_mut_slice() else {
        unreachable!("five names were opened");
    };
    let tables = CaseTables::read(
        CaseFiles {
            table: Input::new(&shown[0], table),
            per_token_ops: Input::new(&shown[1], ops),
            kv_cache_save: Input::new(&shown[2], save),
            attn_prefill: Input::new(&shown[3], prefill),
            attn_decode: Input::new(&shown[4], decode),
        },
        version,
    )?;
    Ok(Arc::new(tables))
}

/// The recorded requests.
struct Recorded {
    requests: std::vec::IntoIter<Request>,
    next: Option<Request>,
}

impl Source for Recorded {
    fn peek(&mut self) -> Option<Time> {
        if self.next.is_none() {
            self.next = self.requests.next();
        }
        self.next.map(|request| request.arrival)
    }

    fn next(&mut self) -> Option<Request> {
        self.next.take().or_else(|| self.requests.next())
    }
}
