//! From a staging folder to its final place, and back from an identity to a folder.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Manifest;
use super::layout::{MANIFEST, STAGING, free_trial_folder};
use crate::trial::TrialId;

/// The error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file is not what it should be.
    #[error("{}: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The trials of a pair by identity: their folders, and what `trial.json` says of them.
pub type Trials = BTreeMap<String, (PathBuf, Manifest)>;

/// A results folder.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens or makes a results folder; its path becomes absolute.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        fs_err::create_dir_all(root)?;
        Ok(Self {
            root: fs_err::canonicalize(root)?,
        })
    }

    /// The root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a pair; it need not exist.
    pub fn pair(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Where a trial of `pair` runs. Pairs are kept apart: their drivers may run side by side.
    pub fn staging(&self, pair: &str, id: &TrialId) -> PathBuf {
        self.root.join(STAGING).join(pair).join(id.as_str())
    }

    /// An empty staging folder for a trial; what a killed driver left in it is removed.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn begin(&self, pair: &str, id: &TrialId) -> Result<PathBuf, StoreError> {
        let dir = self.staging(pair, id);
        if dir.exists() {
            fs_err::remove_dir_all(&dir)?;
        }
        fs_err::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// Moves a complete staging folder to its final place and returns that.
    ///
    /// # Errors
    /// When the folder cannot be synced or moved.
    pub fn archive(&self, staged: &Path, manifest: &Manifest) -> Result<PathBuf, StoreError> {
        let pair = self.pair(&manifest.pair);
        fs_err::create_dir_all(&pair)?;
        for entry in fs_err::read_dir(staged)? {
            let path = entry?.path();
            if path.is_file() {
                fs_err::File::open(&path)?.sync_all()?;
            }
        }
        sync_folder(staged)?;
        let place = free_trial_folder(&pair, manifest.epoch_ns);
        fs_err::rename(staged, &place)?;
        sync_folder(&pair)?;
        // The staging folders above are empty now, unless another driver uses them.
        for parent in staged.ancestors().skip(1).take(2) {
            let _ = std::fs::remove_dir(parent);
        }
        Ok(place)
    }

    /// Every complete trial of a pair by identity; of several with one identity the newest. A trial that was complete
    /// when its driver was killed, but not yet moved, counts as well.
    ///
    /// # Errors
    /// When a folder cannot be read or holds a malformed `trial.json`.
    pub fn trials(&self, pair: &str) -> Result<Trials, StoreError> {
        let (found, damaged) = self.trials_and_damaged(pair)?;
        damaged.into_iter().next().map_or(Ok(found), Err)
    }

    /// The same, and what is wrong with those whose `trial.json` is malformed.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn trials_and_damaged(&self, pair: &str) -> Result<(Trials, Vec<StoreError>), StoreError> {
        let (mut found, mut damaged) = (Trials::new(), Vec::new());
        for parent in [self.root.join(STAGING).join(pair), self.pair(pair)] {
            let entries = match std::fs::read_dir(&parent) {
                Ok(entries) => entries,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error.into()),
            };
            let mut folders: Vec<PathBuf> = entries.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
            folders.sort();
            for folder in folders {
                let path = folder.join(MANIFEST);
                if path.is_file() {
                    match read_json::<Manifest>(&path) {
                        Ok(manifest) => {
                            found.insert(manifest.id.clone(), (folder, manifest));
                        }
                        Err(error) => damaged.push(with_remedy(error)),
                    }
                }
            }
        }
        Ok((found, damaged))
    }
}

/// Reads a JSON file of ours.
///
/// # Errors
/// When it cannot be read or is not what it should be; the message names file and line.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, StoreError> {
    let text = fs_err::read(path)?;
    serde_json::from_slice(&text).map_err(|e| StoreError::Malformed {
        path: path.to_owned(),
        why: e.to_string(),
    })
}

/// Writes a JSON file by way of a temporary file and a rename, so that it is never seen half-written.
///
/// # Errors
/// When it cannot be written.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".tmp-").tempfile_in(folder)?;
    serde_json::to_writer_pretty(&mut file, value).map_err(std::io::Error::from)?;
    file.write_all(b"\n")?;
    file.as_file().sync_all()?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(readable)?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

/// Adds what to do about a trial that cannot be read: to skip it silently could measure, or not measure, the wrong thing.
fn with_remedy(error: StoreError) -> StoreError {
    match error {
        StoreError::Malformed { path, why } => StoreError::Malformed {
            path,
            why: format!(
                "{why}; restore the file, or move or remove its folder and the trial is measured again"
            ),
        },
        other @ StoreError::Io(_) => other,
    }
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    fs_err::File::open(path)?.sync_all()
}
