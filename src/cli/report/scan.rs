//! Reads the folders of trials below some paths. A folder that cannot be read is noted and left out.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Component, Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use crate::criterion::Verdict;
use crate::report::found::{FoundTrial, Place};
use crate::report::merge::SourceRow;
use crate::report::pair::PairName;
use crate::report::summary::Key;
use crate::store::folder::events_file;
use crate::store::generations::FolderName;
use crate::store::layout::{CAPACITY, MANIFEST, SERVER_METRICS, VERDICT};
use crate::store::tables::{ResultsRow, longest_queue, read_results_csv, read_server_metrics};
use crate::store::{CapacityFile, Manifest, read_json};

/// The row of a trial in every generation.
const RESULTS: &str = "results.csv";

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Every trial that could be read.
    pub(super) trials: Vec<FoundTrial>,
    /// The answers that are stored.
    pub(super) capacities: BTreeMap<Key, CapacityFile>,
    /// Every row of every `results.csv`, with its pair.
    pub(super) rows: Vec<(PairName, SourceRow)>,
    /// What could not be read, a sentence each.
    pub(super) bad: Vec<String>,
    /// Folders with events only: `mst process` has not seen them.
    pub(super) unprocessed: Vec<String>,
}

/// A folder to read.
struct Folder {
    /// As the user would write it: from where the program was started.
    path: PathBuf,
    /// Its name.
    name: String,
    /// The folder that holds the pairs.
    run: PathBuf,
    /// The name of the pair's folder.
    pair: Option<String>,
}

/// Reads everything at or below `paths`; links are followed, hidden folders are not looked into.
pub(super) fn scan(paths: &[PathBuf]) -> Scan {
    let mut scan = Scan::default();
    let (mut trials, mut answers) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    for path in paths {
        let root = plain(path);
        for entry in WalkDir::new(&root)
            .follow_links(true)
            .sort_by_file_name()
            .into_iter()
            .filter_entry(is_visible)
        {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    scan.bad.push(error.to_string());
                    continue;
                }
            };
            if !entry.file_type().is_dir() {
                continue;
            }
            let dir = entry.path();
            let has = |name: &str| dir.join(name).is_file();
            let (is_trial, is_answer) = (has(MANIFEST) || has(RESULTS), has(CAPACITY));
            let has_events = !is_trial && events_file(dir).is_some();
            if !(is_trial || is_answer || has_events)
                || !seen.insert(dir.canonicalize().unwrap_or_else(|_| dir.to_owned()))
            {
                continue;
            }
            let shown = dir
                .strip_prefix(&root)
                .map_or_else(|_| dir.to_owned(), |below| path.join(below))
                .components()
                .collect::<PathBuf>();
            if is_answer {
                answers.push(Folder::pair(dir, shown.clone()));
            }
            if is_trial {
                trials.push(Folder::trial(dir, shown));
            } else if has_events {
                scan.unprocessed.push(shown.display().to_string());
            }
        }
    }
    let labels = labels(trials.iter().chain(&answers).map(|folder| folder.run.clone()));
    for folder in &trials {
        scan.read_trial(folder, &labels);
    }
    for folder in &answers {
        scan.read_answer(folder, &labels);
    }
    scan
}

impl Folder {
    /// A trial's folder: below a pair's, or on its own.
    fn trial(path: &Path, shown: PathBuf) -> Self {
        let above = path.parent().unwrap_or(path);
        let pair = name_of(above).filter(|name| PairName::from_folder(name).is_some());
        let run = if pair.is_some() {
            above.parent().unwrap_or(above)
        } else {
            above
        };
        Self {
            run: run.to_owned(),
            name: name_of(path).unwrap_or_default(),
            path: shown,
            pair,
        }
    }

    /// A pair's folder.
    fn pair(path: &Path, shown: PathBuf) -> Self {
        Self {
            run: path.parent().unwrap_or(path).to_owned(),
            pair: name_of(path),
            name: name_of(path).unwrap_or_default(),
            path: shown,
        }
    }
}

impl Scan {
    fn read_trial(&mut self, folder: &Folder, labels: &BTreeMap<PathBuf, String>) {
        let has = |name: &str| folder.path.join(name).is_file();
        let mut wrong = Vec::new();
        let mut note = |error: String| wrong.push(error);
        let rows = if has(RESULTS) {
            read_results_csv(&folder.path.join(RESULTS)).unwrap_or_else(|e| {
                note(e.to_string());
                Vec::new()
            })
        } else {
            Vec::new()
        };
        let manifest = read_ours::<Manifest>(&folder.path.join(MANIFEST), &mut note);
        let verdict = read_ours::<Verdict>(&folder.path.join(VERDICT), &mut note);
        if has(RESULTS) && rows.is_empty() && wrong.is_empty() {
            wrong.push(format!("{}: {RESULTS} has no row", folder.path.display()));
        }
        let shown = folder.path.display().to_string();
        let run = &labels[&folder.run];
        let place = Place {
            run,
            pair_folder: folder.pair.as_deref(),
            folder: &shown,
            name: &folder.name,
        };
        if manifest.is_some() || !rows.is_empty() {
            match FoundTrial::new(place, rows.last(), manifest.as_ref(), verdict.as_ref()) {
                Ok(mut trial) => {
                    if has(SERVER_METRICS) {
                        match read_server_metrics(&folder.path.join(SERVER_METRICS)) {
                            Ok(looks) => trial.longest_queue = longest_queue(&looks),
                            Err(error) => wrong.push(error.to_string()),
                        }
                    }
                    self.keep_rows(&trial, folder, rows, labels.len() > 1);
                    self.trials.push(trial);
                }
                Err(why) => wrong.push(format!("{shown}: {why}")),
            }
        }
        self.bad.append(&mut wrong);
    }

    fn keep_rows(&mut self, trial: &FoundTrial, folder: &Folder, rows: Vec<ResultsRow>, several: bool) {
        let pair = folder.pair.clone().unwrap_or_else(|| trial.pair.to_string());
        let identifier = if several {
            format!("{}/{pair}", trial.run)
        } else {
            pair
        };
        for row in rows {
            let source = SourceRow {
                identifier: identifier.clone(),
                date: trial.time.clone(),
                row,
            };
            self.rows.push((trial.pair.clone(), source));
        }
    }

    fn read_answer(&mut self, folder: &Folder, labels: &BTreeMap<PathBuf, String>) {
        let mut wrong = Vec::new();
        let found = read_ours::<CapacityFile>(&folder.path.join(CAPACITY), &mut |why| wrong.push(why));
        self.bad.append(&mut wrong);
        if let Some(found) = found {
            // The older mixes share one folder, whose name does not say which it was.
            let told = folder.pair.as_deref();
            let name = told
                .filter(|name| FolderName::parse(name) != Some(FolderName::Additive))
                .unwrap_or(&found.pair);
            let pair = PairName::from_folder(name)
                .or_else(|| PairName::from_folder(&found.pair))
                .unwrap_or_else(|| PairName::Other(name.to_owned()));
            let key = Key {
                run: labels[&folder.run].clone(),
                pair,
                kind: found.experiment_type.to_ascii_uppercase(),
            };
            self.capacities.insert(key, found);
        }
    }
}

/// A JSON file of ours, where there is one; what is wrong with it is noted.
fn read_ours<T: serde::de::DeserializeOwned>(path: &Path, note: &mut dyn FnMut(String)) -> Option<T> {
    if !path.is_file() {
        return None;
    }
    read_json(path).map_err(|error| note(error.to_string())).ok()
}

/// Absolute, without `..`, but with its links: their names are the user's.
fn plain(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if absolute.components().any(|c| c == Component::ParentDir) {
        absolute.canonicalize().unwrap_or(absolute)
    } else {
        absolute
    }
}

/// Staging and bookkeeping folders are hidden; the paths that the user names are not.
fn is_visible(entry: &DirEntry) -> bool {
    entry.depth() == 0 || !entry.file_type().is_dir() || !entry.file_name().to_string_lossy().starts_with('.')
}

fn name_of(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_string_lossy().into_owned())
}

/// A short name for each folder: as many of its last components as tell it from the others.
fn labels(folders: impl Iterator<Item = PathBuf>) -> BTreeMap<PathBuf, String> {
    let folders: BTreeSet<PathBuf> = folders.collect();
    let deepest = folders.iter().map(|f| f.components().count()).max().unwrap_or(1);
    (1..=deepest)
        .map(|count| {
            folders
                .iter()
                .map(|folder| (folder.clone(), tail(folder, count)))
                .collect::<BTreeMap<_, _>>()
        })
        .find(|named| named.values().collect::<BTreeSet<_>>().len() == folders.len())
        .unwrap_or_default()
}

fn tail(path: &Path, count: usize) -> String {
    let all: Vec<Component<'_>> = path.components().collect();
    let from = all.len().saturating_sub(count);
    all[from..].iter().collect::<PathBuf>().display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_as_short_as_they_can_be() {
        let of = |paths: &[&str]| {
            labels(paths.iter().map(PathBuf::from))
                .into_values()
                .collect::<Vec<_>>()
        };
        assert_eq!(of(&["/x/a/requests"]), ["requests"]);
        assert_eq!(
            of(&["/x/a/requests", "/x/b/requests"]),
            ["a/requests", "b/requests"]
        );
        assert_eq!(of(&["/x/r", "/x/r/Experiment_1"]), ["r", "Experiment_1"]);
        assert_eq!(of(&["/", "/r"]).len(), 2);
        assert!(of(&[]).is_empty());
    }
}
