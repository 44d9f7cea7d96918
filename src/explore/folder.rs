//! The output folder.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::explorer::{CellOutcome, Exploration};
use super::file::SearchFor;
use super::grid::{Cell, Grid};
use super::outcome::Outcome;
use super::pareto;
use super::probe::{Evaluator, Point};
use crate::pool;
use crate::store::{StoreError, write_json};

/// Every probe a line.
pub const CELLS: &str = "cells.jsonl";
/// The folder of runs that are kept.
pub const RUNS: &str = "runs";
/// The folder of the parts of an array.
pub const PARTS: &str = "parts";
/// Lies in the folder of a part that came to its end.
const ENDED: &str = "ended";

/// Which runs leave their requests and plots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeepRuns {
    /// The answering probe of each search, and every given rate.
    Best,
    /// Every probe.
    All,
    /// None.
    None,
}

/// The folder of a part, counted from zero.
pub fn part(output: &Path, (part, parts): (usize, usize)) -> PathBuf {
    output.join(PARTS).join(format!("{}-of-{parts}", part + 1))
}

/// Marks the folder of a part: every search of it has an answer.
///
/// # Errors
/// When it cannot be written.
pub fn mark_ended(part: &Path) -> std::io::Result<()> {
    fs_err::write(part.join(ENDED), "")
}

/// Takes the mark away: the part is to be searched again.
///
/// # Errors
/// When it cannot be removed.
pub fn unmark(part: &Path) -> std::io::Result<()> {
    match fs_err::remove_file(part.join(ENDED)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The parts that did not come to their end, counted from one.
pub fn missing_parts(output: &Path, parts: usize) -> Vec<usize> {
    let is_missing = |index: &usize| !part(output, (*index, parts)).join(ENDED).is_file();
    (0..parts).filter(is_missing).map(|index| index + 1).collect()
}

/// The ledgers of all parts below an output folder.
///
/// # Errors
/// When the folder cannot be read.
pub fn part_ledgers(output: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    match fs_err::read_dir(output.join(PARTS)) {
        Ok(entries) => {
            for entry in entries {
                found.push(entry?.path().join(CELLS));
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    found.retain(|path| path.is_file());
    found.sort();
    Ok(found)
}

/// Writes what was found: `outcome.csv`, `outcome.json`, `pareto.csv`, `pareto.svg`.
///
/// # Errors
/// When a file cannot be written.
pub fn write_outcome(
    output: &Path,
    outcome: &Outcome,
    grid: &Grid,
    exploration: &Exploration,
) -> Result<(), StoreError> {
    let spots = pareto::spots(grid, exploration);
    let csv = |text: Result<Vec<u8>, csv::Error>| text.map_err(std::io::Error::other);
    write_whole(&output.join("outcome.csv"), &csv(outcome.csv())?)?;
    write_whole(&output.join("pareto.csv"), &csv(pareto::csv(&spots))?)?;
    let svg = pareto::svg(&spots).map_err(std::io::Error::other)?;
    write_whole(&output.join("pareto.svg"), svg.as_bytes())?;
    write_json(&output.join("outcome.json"), outcome)
}

/// By way of a temporary file and a rename, so that it is never seen half-written.
fn write_whole(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".tmp-").tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(readable)?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

/// Simulates the runs that are kept once more, and writes their folders; those that are there are left alone.
///
/// # Errors
/// When a folder cannot be written.
pub fn keep_runs(
    output: &Path,
    which: KeepRuns,
    grid: &Grid,
    exploration: &Exploration,
    evaluator: &dyn Evaluator,
    threads: usize,
    stopped: &(dyn Fn() -> bool + Sync),
) -> Result<(), String> {
    let mut wanted: Vec<(&Cell, Point)> = Vec::new();
    for (cell, outcome) in grid.cells.iter().zip(&exploration.cells) {
        let mut points: Vec<Point> = match which {
            KeepRuns::None => Vec::new(),
            KeepRuns::All => every(outcome),
            KeepRuns::Best if cell.search.search_for == SearchFor::Isoqps => every(outcome),
            KeepRuns::Best => outcome
                .fates
                .iter()
                .filter_map(|fate| fate.answer()?.found.best)
                .collect(),
        };
        points.sort_by_key(|point| point.key());
        points.dedup();
        wanted.extend(points.into_iter().map(|point| (cell, point)));
    }
    let results = pool::run(threads, &wanted, |(cell, point)| {
        let folder = output.join(RUNS).join(&cell.hash).join(point.folder());
        if stopped() || is_kept(&folder) {
            return Ok(());
        }
        keep_one(&folder, cell, *point, evaluator).map_err(|why| format!("{}: {why}", folder.display()))
    });
    results.into_iter().collect()
}

fn every(outcome: &CellOutcome) -> Vec<Point> {
    outcome.probes.iter().map(|(point, _)| *point).collect()
}

fn is_kept(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| entry.path().join("config.json").is_file())
}

fn keep_one(folder: &Path, cell: &Cell, point: Point, evaluator: &dyn Evaluator) -> Result<(), String> {
    let told = |error: std::io::Error| error.to_string();
    fs_err::create_dir_all(folder).map_err(told)?;
    let now = chrono::Utc::now();
    let name = now.format("%Y-%m-%d_%H-%M-%S-%6f").to_string();
    // Half a folder is never seen: config.json comes last, and the name after that.
    let staged = tempfile::Builder::new()
        .prefix(".tmp-")
        .tempdir_in(folder)
        .map_err(told)?;
    evaluator.keep(cell, point, staged.path())?;
    let readable: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs_err::set_permissions(staged.path(), readable).map_err(told)?;
    fs_err::rename(staged.keep(), folder.join(&name)).map_err(told)?;
    let line = format!(
        "{} {}: {} replicas, {:?} QPS, seed {}; see {name}\n",
        now.to_rfc3339(),
        cell.label(),
        point.replicas,
        point.qps,
        point.seed
    );
    let mut log = fs_err::OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("output.log"))
        .map_err(told)?;
    log.write_all(line.as_bytes()).map_err(told)
}
