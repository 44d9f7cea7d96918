//! Opens the folder of a trial, whoever wrote it.

mod find;
mod read;

pub use find::{Found, events_file, find_trials};

use std::io;
use std::path::{Path, PathBuf};

use crate::trial::{Halves, Measurement, Response};
use crate::units::Rate;
use crate::workload::LengthClass;

use super::fmperf_events::{EventsError, read_results_json};
use super::generations::FolderName;
use super::manifest::Manifest;
use super::rows::{self, RowError};
use super::tables::{ResultsRow, TableError, read_halves, read_results_csv};

/// What the halves cut at both ends where nothing else is known, seconds: the older program's default.
pub const DEFAULT_FILTER_BUFFER_S: i64 = 300;

/// Which file of a folder tells what was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `requests.jsonl.zst`, ours.
    Rows,
    /// `results.json` or `results.json.gz`.
    Results,
    /// `output.csv`.
    Output,
    /// `first_half.csv` and `second_half.csv`.
    Halves,
}

/// What the user says about a folder.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overrides {
    /// The file to read; else the most telling one.
    pub source: Option<Source>,
    /// The rate, where the folder does not say it.
    pub rate: Option<Rate>,
    /// The duration in seconds, where the folder does not say it.
    pub duration_s: Option<f64>,
    /// What the halves cut, seconds: goes before what the folder says, because it is a matter of judging.
    pub filter_buffer_s: Option<i64>,
}

/// A trial as a folder tells it.
#[derive(Clone, Debug)]
pub struct StoredTrial {
    /// The folder, or the file that was named.
    pub path: PathBuf,
    /// The file that was read.
    pub source: Source,
    /// `trial.json`, in our folders.
    pub manifest: Option<Manifest>,
    /// The last row of `results.csv`.
    pub row: Option<ResultsRow>,
    /// The workload, where folder or file says it.
    pub classes: Vec<LengthClass>,
    /// The rate asked for.
    pub asked: Option<Rate>,
    /// The duration asked for, seconds.
    pub duration_s: Option<f64>,
    /// All finished requests; empty where there are only halves.
    pub responses: Vec<Response>,
    /// The two halves.
    pub halves: Halves,
    /// Share of the requests that succeeded, in percent.
    pub success_rate_percent: Option<f64>,
    /// The measurement, where the source tells enough.
    pub measurement: Option<Measurement>,
}

impl StoredTrial {
    /// Whether nothing happened in the trial.
    pub fn is_empty(&self) -> bool {
        self.responses.is_empty() && self.halves.first.is_empty() && self.halves.second.is_empty()
    }
}

/// Why a folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// No file that tells what was measured.
    #[error(
        "{}: there is no {wanted} in it",
        path.display()
    )]
    NotATrial {
        /// The folder.
        path: PathBuf,
        /// What was looked for.
        wanted: &'static str,
    },
    /// A `results.json` that cannot be read.
    #[error(transparent)]
    Events(#[from] EventsError),
    /// A table that cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Rows of ours that cannot be read.
    #[error(transparent)]
    Rows(#[from] RowError),
    /// A `trial.json` that cannot be read.
    #[error("{}: {why}; it was written by another version or changed by hand", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A path that cannot be looked into.
    #[error("{}: {source}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Opens a trial's folder, or a single `results.json(.gz)` or `output.csv`.
///
/// # Errors
/// When there is nothing to read, or what is there is damaged.
pub fn open_trial(path: &Path, overrides: &Overrides) -> Result<StoredTrial, FolderError> {
    let dir = if path.is_file() {
        path.parent().unwrap_or(Path::new("."))
    } else {
        path
    };
    let manifest = read_manifest(dir)?;
    let row_file = dir.join("results.csv");
    let row = if row_file.is_file() {
        read_results_csv(&row_file)?.pop()
    } else {
        None
    };
    let (source, file) = choose_source(path, dir, overrides.source)?;
    let mut trial = StoredTrial {
        path: path.to_owned(),
        source,
        classes: workload_classes(dir, manifest.as_ref(), row.as_ref()),
        asked: manifest
            .as_ref()
            .map(|m| m.spec.rate)
            .or_else(|| row.as_ref()?.rate()),
        duration_s: manifest
            .as_ref()
            .map(|m| m.spec.duration_s)
            .or_else(|| row.as_ref()?.duration_s()),
        manifest,
        row,
        responses: Vec::new(),
        halves: Halves::default(),
        success_rate_percent: None,
        measurement: None,
    };
    match source {
        Source::Rows => trial.read_rows(&file)?,
        Source::Results => trial.read_results(&read_results_json(&file)?, overrides),
        Source::Output => trial.read_output(&file, overrides)?,
        Source::Halves => {
            (trial.halves, trial.success_rate_percent) = read_halves(dir)?;
        }
    }
    trial.asked = trial.asked.or(overrides.rate);
    trial.duration_s = trial.duration_s.or(overrides.duration_s);
    if source != Source::Halves {
        trial.halves = halves(dir, &trial, overrides)?;
    }
    Ok(trial)
}

/// Reads `trial.json` where there is one.
///
/// # Errors
/// When it cannot be read or is not of this version.
pub fn read_manifest(dir: &Path) -> Result<Option<Manifest>, FolderError> {
    let path = dir.join("trial.json");
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(FolderError::Io { path, source }),
    };
    match serde_json::from_slice(&text) {
        Ok(manifest) => Ok(Some(manifest)),
        Err(error) => Err(FolderError::Manifest {
            path,
            why: error.to_string(),
        }),
    }
}

/// The file to read, and what it is.
pub(super) fn choose_source(
    path: &Path,
    dir: &Path,
    wanted: Option<Source>,
) -> Result<(Source, PathBuf), FolderError> {
    if path.is_file() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let by_name = if name == rows::FILE_NAME {
            Source::Rows
        } else if name.ends_with(".csv") {
            Source::Output
        } else {
            Source::Results
        };
        return Ok((by_name, path.to_owned()));
    }
    let file = |name: &str| Some(dir.join(name)).filter(|p| p.is_file());
    let ours = || file(rows::FILE_NAME).map(|p| (Source::Rows, p));
    let results = || events_file(dir).map(|p| (Source::Results, p));
    let output = || file("output.csv").map(|p| (Source::Output, p));
    let halves = || {
        file("second_half.csv")?;
        file("first_half.csv").map(|p| (Source::Halves, p))
    };
    let (found, wanted) = match wanted {
        None => (
            ours().or_else(results).or_else(output).or_else(halves),
            "results.json(.gz), requests.jsonl.zst, output.csv or pair of halves",
        ),
        Some(Source::Rows) => (ours(), rows::FILE_NAME),
        Some(Source::Results) => (results().or_else(ours), "results.json or results.json.gz"),
        Some(Source::Output) => (output(), "output.csv"),
        Some(Source::Halves) => (halves(), "first_half.csv and second_half.csv"),
    };
    found.ok_or_else(|| FolderError::NotATrial {
        path: path.to_owned(),
        wanted,
    })
}

/// The workload: from `trial.json`, else `results.csv`, else the folder's name.
pub(super) fn workload_classes(
    dir: &Path,
    manifest: Option<&Manifest>,
    row: Option<&ResultsRow>,
) -> Vec<LengthClass> {
    if let Some(manifest) = manifest {
        return manifest.spec.workload.classes.clone();
    }
    match row.and_then(ResultsRow::pair) {
        Some(pair) => vec![LengthClass { pair, share: 1.0 }],
        None => FolderName::of_trial(dir).map_or_else(Vec::new, |name| name.classes()),
    }
}

/// The halves: cut anew where the buffer is known, else those that the folder has, else with the default buffer.
fn halves(dir: &Path, trial: &StoredTrial, overrides: &Overrides) -> Result<Halves, FolderError> {
    let known = overrides
        .filter_buffer_s
        .or_else(|| trial.manifest.as_ref().map(|m| m.filter_buffer_s));
    let there = dir.join("first_half.csv").is_file() && dir.join("second_half.csv").is_file();
    if known.is_none() && there && trial.path.is_dir() {
        return Ok(read_halves(dir)?.0);
    }
    let buffer = known.unwrap_or(DEFAULT_FILTER_BUFFER_S);
    Ok(Halves::split(&trial.responses, buffer))
}
