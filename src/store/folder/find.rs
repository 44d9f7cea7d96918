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

/// All trial folders at or below `paths`, sorted, each once. A path to a file stands for itself. Hidden folders
/// (`.staging`, `.runs`) are left out.
///
/// # Errors
/// When a path does not exist or cannot be looked into.
pub fn find_trials(paths: &[PathBuf]) -> Result<Vec<PathBuf>, FolderError> {
    let mut found = Vec::new();
    for path in paths {
        let hidden = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with('.');
        let walk = WalkDir::new(path)
            .follow_links(true)
            .into_iter()
            .filter_entry(|e| e.depth() == 0 || !(e.file_type().is_dir() && hidden(e.file_name())));
        for entry in walk {
            let entry = entry.map_err(|error| FolderError::Io {
                path: error.path().unwrap_or(path).to_owned(),
                source: error.into(),
            })?;
            let named_file = entry.depth() == 0 && entry.file_type().is_file();
            if named_file || (entry.file_type().is_dir() && is_trial(entry.path())) {
                found.push(entry.into_path());
            }
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}
