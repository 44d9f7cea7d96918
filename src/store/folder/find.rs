//! Finds the folders of trials in a tree.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::FolderError;
use crate::store::rows;

/// The events file of a folder: plain before compressed.
pub fn events_file(dir: &Path) -> Option<PathBuf> {
    ["results.json", "results.json.gz"]
        .map(|name| dir.join(name))
        .into_iter()
        .find(|p| p.is_file())
}

/// Whether a folder holds a trial.
fn is_trial(dir: &Path) -> bool {
    let has = |name: &str| dir.join(name).is_file();
    events_file(dir).is_some()
        || has(rows::FILE_NAME)
        || has("output.csv")
        || (has("first_half.csv") && has("second_half.csv"))
}

/// What was found below some paths.
#[derive(Debug, Default)]
pub struct Found {
    /// Folders of trials and files that were named, sorted, each once.
    pub trials: Vec<PathBuf>,
    /// Places that could not be looked into: no permission, a link to nowhere, a loop of links.
    pub problems: Vec<FolderError>,
}

/// The error beneath, which does not repeat the path.
fn plain(error: walkdir::Error) -> std::io::Error {
    match error.io_error() {
        Some(io) => io
            .raw_os_error()
            .map_or_else(|| io.kind().into(), std::io::Error::from_raw_os_error),
        None => error.into(),
    }
}

/// Finds all trial folders at or below `paths`. A path to a file stands for itself. Hidden folders (`.staging`, `.runs`)
/// are left out; links are followed.
///
/// # Errors
/// When one of `paths` itself does not exist or cannot be looked into.
pub fn find_trials(paths: &[PathBuf]) -> Result<Found, FolderError> {
    let mut found = Found::default();
    for path in paths {
        let hidden = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with('.');
        let walk = WalkDir::new(path)
            .follow_links(true)
            .into_iter()
            .filter_entry(|e| e.depth() == 0 || !(e.file_type().is_dir() && hidden(e.file_name())));
        for entry in walk {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let depth = error.depth();
                    let problem = FolderError::Io {
                        path: error.path().unwrap_or(path).to_owned(),
                        source: plain(error),
                    };
                    if depth == 0 {
                        return Err(problem);
                    }
                    found.problems.push(problem);
                    continue;
                }
            };
            let named_file = entry.depth() == 0 && entry.file_type().is_file();
            if named_file || (entry.file_type().is_dir() && is_trial(entry.path())) {
                found.trials.push(entry.into_path());
            }
        }
    }
    found.trials.sort();
    found.trials.dedup();
    Ok(found)
}
