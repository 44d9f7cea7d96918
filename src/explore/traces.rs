//! The traces of a grid, each read once and cut to its longest request.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::grid::{Cell, Grid};
use crate::deployment::{DeploymentError, open};
use crate::sim::PrefixTable;
use crate::sim::source::{
    Deadlines, FitError, Order, Pacing, Replay, SourceError, TooLong, Trace, TraceError, TraceFormat,
};
use crate::workload::Gaps;

/// A trace as a cell uses it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The requests.
    pub trace: Arc<Trace>,
    /// Their block hashes.
    pub prefixes: Arc<PrefixTable>,
    /// Of the file's content.
    pub digest: String,
    /// Requests in the file.
    pub recorded: usize,
    /// Of these, left out for their length.
    pub too_long: usize,
}

/// A trace that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The file cannot be read.
    #[error("trace_file of {trace}: {source}")]
    Open {
        /// The trace's name.
        trace: String,
        /// Why.
        source: DeploymentError,
    },
    /// Its content.
    #[error("trace_file of {trace}: {source}")]
    Content {
        /// The trace's name.
        trace: String,
        /// Why, with the line.
        source: TraceError,
    },
    /// Nothing is left of it.
    #[error("max_seq_len of {trace}: {source}")]
    Fit {
        /// The trace's name.
        trace: String,
        /// Why.
        source: FitError,
    },
}

/// All traces of a grid, by file and longest request.
#[derive(Clone, Debug, Default)]
pub struct Traces(BTreeMap<(PathBuf, u32), Loaded>);

impl Traces {
    /// Reads them. A relative path is below `folder`, or where it is not there, below the folder that `mst` is called in.
    ///
    /// # Errors
    /// When one cannot be read or used.
    pub fn read(grid: &Grid, folder: &Path) -> Result<Self, TracesError> {
        let mut all = BTreeMap::new();
        for cell in &grid.cells {
            let key = (cell.workload.file.clone(), cell.workload.max_seq_len);
            if let Entry::Vacant(place) = all.entry(key) {
                place.insert(load(cell, folder)?);
            }
        }
        Ok(Self(all))
    }

    /// That of a cell.
    pub(super) fn of(&self, cell: &Cell) -> Result<&Loaded, String> {
        let key = (cell.workload.file.clone(), cell.workload.max_seq_len);
        self.0
            .get(&key)
            .ok_or_else(|| format!("{} was not read", cell.workload.file.display()))
    }
}

impl Loaded {
    /// Requests of a probe.
    pub(super) fn count(&self, cell: &Cell) -> u64 {
        let there = self.trace.len() as u64;
        cell.workload.num_requests.map_or(there, |asked| asked.min(there))
    }

    /// The requests at a rate, in the order of the trace, with arrivals of their own: with one seed the same for all
    /// cells, closer together or further apart.
    pub(super) fn source(&self, cell: &Cell, qps: f64, seed: u64) -> Result<Deadlines<Replay>, SourceError> {
        let pacing = Pacing::Gaps {
            gaps: Gaps::Poisson,
            rate: qps,
        };
        let count = Some(self.count(cell));
        let replay = Replay::new(Arc::clone(&self.trace), Order::Recorded, &pacing, count, seed)?;
        Deadlines::new(replay, cell.workload.deadline)
    }

    /// What a reader of the results should know.
    pub(super) fn notes(&self, cell: &Cell) -> Vec<String> {
        let mut notes = Vec::new();
        if self.too_long > 0 {
            notes.push(format!(
                "{}: {} of {} requests are longer than max_seq_len {} and left out",
                cell.trace, self.too_long, self.recorded, cell.workload.max_seq_len
            ));
        }
        if let Some(asked) = cell
            .workload
            .num_requests
            .filter(|asked| *asked > self.trace.len() as u64)
        {
            notes.push(format!(
                "{}: num_requests asks for {asked}, the trace has {}: all of them are used, once",
                cell.trace,
                self.trace.len()
            ));
        }
        notes
    }
}

fn load(cell: &Cell, folder: &Path) -> Result<Loaded, TracesError> {
    let trace = || cell.trace.clone();
    let file = &cell.workload.file;
    let beside = folder.join(file);
    let path = if beside.is_file() { &beside } else { file };
    let name = path.display().to_string();
    let opened = |source| TracesError::Open {
        trace: trace(),
        source,
    };
    let digest = digest(path).map_err(|error| {
        opened(DeploymentError::File {
            path: path.clone(),
            line: None,
            problem: format!("the file cannot be read: {error}"),
        })
    })?;
    let read =
        Trace::read(open(path).map_err(opened)?, TraceFormat::of_name(&name), &name).map_err(|source| {
            TracesError::Content {
                trace: trace(),
                source,
            }
        })?;
    let recorded = read.len();
    let fitted = read
        .fitted(cell.workload.max_seq_len, TooLong::Skip)
        .map_err(|source| TracesError::Fit {
            trace: trace(),
            source,
        })?;
    Ok(Loaded {
        prefixes: Arc::clone(fitted.trace.prefixes()),
        trace: Arc::new(fitted.trace),
        digest,
        recorded,
        too_long: fitted.skipped,
    })
}

fn digest(path: &Path) -> std::io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    std::io::copy(&mut std::fs::File::open(path)?, &mut hasher)?;
    Ok(hasher.finalize().to_hex()[..16].to_owned())
}
