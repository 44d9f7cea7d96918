//! What lies in a results folder, and whether it is whole.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::layout::{MANIFEST, STAGING};
use super::{Manifest, Store, StoreError, measured, read_json};

/// The state of a stored trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It can be used.
    Whole,
    /// It was ended before all its requests were sent: used for what it shows, never as a whole one.
    Partial,
    /// It says nothing about the service, because the client was late.
    Void,
    /// A file of it is missing, cut off or changed.
    Damaged,
    /// A driver was killed while it ran; it is not used.
    Unfinished,
}

/// A stored trial.
#[derive(Clone, Debug, Serialize)]
pub struct Stored {
    /// Its folder.
    pub folder: PathBuf,
    /// Its identity; nothing where that cannot be read.
    pub id: Option<String>,
    /// The folder of its pair, or of its system and workload.
    pub pair: String,
    /// The rate that was asked for, requests a second.
    pub qps: Option<f64>,
    /// Start, nanoseconds since 1970 (UTC).
    pub epoch_ns: Option<i64>,
    /// Its state.
    pub state: State,
    /// What is wrong with it.
    pub problem: Option<String>,
    /// Bytes on disk.
    pub bytes: u64,
}

impl Store {
    /// Every trial below the root. With `deep`, what was measured is read and checked, too.
    ///
    /// # Errors
    /// When the root cannot be read.
    pub fn audit(&self, deep: bool) -> Result<Vec<Stored>, StoreError> {
        let mut all = Vec::new();
        for pair in folders(self.root())? {
            let name = name_of(&pair);
            if name == STAGING {
                for pair in folders(&pair)? {
                    for folder in folders(&pair)? {
                        let mut stored = look(&name_of(&pair), &folder, deep);
                        // Complete, but not moved when its driver was killed: it counts.
                        if !folder.join(MANIFEST).is_file() {
                            stored.state = State::Unfinished;
                            stored.problem = Some("it was begun and not finished".to_owned());
                        }
                        all.push(stored);
                    }
                }
                continue;
            }
            for folder in folders(&pair)? {
                if folder.join(MANIFEST).is_file() || folder.join(measured::FILE_NAME).is_file() {
                    all.push(look(&name, &folder, deep));
                }
            }
        }
        Ok(all)
    }
}

fn look(pair: &str, folder: &Path, deep: bool) -> Stored {
    let manifest: Result<Manifest, StoreError> = read_json(&folder.join(MANIFEST));
    let mut problem = None;
    let mut state = State::Whole;
    match &manifest {
        Err(error) => problem = Some(error.to_string()),
        Ok(manifest) if manifest.spec.id().as_str() != manifest.id => {
            problem =
                Some("its identity is not that of its specification: trial.json was changed".to_owned());
        }
        Ok(manifest) if manifest.client.void.is_some() => {
            state = State::Void;
            problem.clone_from(&manifest.client.void);
        }
        Ok(manifest) if manifest.stopped_early => state = State::Partial,
        Ok(_) => {}
    }
    let packed = folder.join(measured::FILE_NAME);
    let is_capacity = manifest.as_ref().is_ok_and(|m| m.experiment_type == "CAPACITY");
    if problem.is_none() && is_capacity && !packed.is_file() {
        problem = Some(format!("{} is missing", measured::FILE_NAME));
    }
    if let (None, true, true, Ok(manifest)) = (&problem, deep, packed.is_file(), &manifest) {
        let read = measured::read(&packed);
        let checked = read.and_then(|measurement| measured::is_of(&packed, &measurement, manifest));
        problem = checked.err().map(|error| error.to_string());
    }
    if problem.is_some() && state != State::Void {
        state = State::Damaged;
    }
    Stored {
        folder: folder.to_owned(),
        id: manifest.as_ref().ok().map(|m| m.id.clone()),
        pair: pair.to_owned(),
        qps: manifest.as_ref().ok().map(|m| m.spec.rate.as_per_second()),
        epoch_ns: manifest.as_ref().ok().map(|m| m.epoch_ns),
        state,
        problem,
        bytes: walkdir::WalkDir::new(folder)
            .into_iter()
            .filter_map(Result::ok)
            .filter_map(|entry| entry.metadata().ok())
            .filter(std::fs::Metadata::is_file)
            .map(|meta| meta.len())
            .sum(),
    }
}

/// The folders in a folder, by name.
fn folders(path: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut all = Vec::new();
    for entry in fs_err::read_dir(path)? {
        let path = entry?.path();
        if path.is_dir() {
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .map_or(String::new(), |name| name.to_string_lossy().into_owned())
}
