//! What was simulated before, a line each: a plan that was stopped goes on where it was, and one with other objectives or
//! prices simulates only what is missing.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::explore::ledger::{LedgerError, read};
use crate::report::simulation::Summary;

/// What decides what comes out of a simulation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Key {
    digest: String,
    /// Bits of the rate.
    rate: u64,
    seed: u64,
    requests: u64,
}

impl Key {
    pub(super) fn new(digest: &str, qps: f64, seed: u64, requests: u64) -> Self {
        Self {
            digest: digest.to_owned(),
            rate: qps.to_bits(),
            seed,
            requests,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    key: Key,
    summary: Summary,
}

/// Simulations that are known, and where new ones are written.
#[derive(Debug, Default)]
pub struct Ledger {
    known: Mutex<HashMap<Key, Summary>>,
    file: Option<Mutex<File>>,
    reused: AtomicU64,
}

impl Ledger {
    /// With a file, made if it is not there; a torn last line is cut off.
    ///
    /// # Errors
    /// When it cannot be read or written, or a line is malformed.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let failed = |source| LedgerError::Io {
            path: PathBuf::from(path),
            source,
        };
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        let (lines, whole) = read::<Line>(&text).map_err(|(line, why)| LedgerError::Malformed {
            path: path.to_owned(),
            line,
            why,
        })?;
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(failed)?;
        if whole < text.len() {
            file.set_len(whole as u64).map_err(failed)?;
        }
        Ok(Self {
            known: Mutex::new(lines.into_iter().map(|line| (line.key, line.summary)).collect()),
            file: Some(Mutex::new(file)),
            reused: AtomicU64::new(0),
        })
    }

    /// Simulations that were known already.
    pub fn reused(&self) -> u64 {
        self.reused.load(Ordering::Relaxed)
    }

    pub(super) fn find(&self, key: &Key) -> Option<Summary> {
        let known = self.lock().get(key).cloned();
        self.reused
            .fetch_add(u64::from(known.is_some()), Ordering::Relaxed);
        known
    }

    /// A line that cannot be written is simulated again the next time, no more.
    pub(super) fn add(&self, key: Key, summary: &Summary) {
        if let Some(file) = &self.file {
            let line = Line {
                key: key.clone(),
                summary: summary.clone(),
            };
            if let Ok(mut text) = serde_json::to_vec(&line) {
                text.push(b'\n');
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                // In one write, so that a line is there or torn, and never mixed with another.
                let _ = file.write_all(&text);
            }
        }
        self.lock().insert(key, summary.clone());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Summary>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
