//! `cells.jsonl`: every probe a line, on disk before it counts. What is there is not simulated again.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::probe::{Point, Probed};
use crate::slo::SloConfig;

/// Changes whenever a probe's result may: stored probes of another version are not used.
pub(crate) const SIMULATOR: &str = concat!(env!("CARGO_PKG_VERSION"), "-sim1");

/// A line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// What was simulated: cell, content of trace and tables, version of the simulator.
    pub digest: String,
    /// The cell's hash in this output folder.
    pub cell: String,
    /// Where.
    #[serde(flatten)]
    pub point: Point,
    /// What came out.
    #[serde(flatten)]
    pub probed: Probed,
}

/// A ledger that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A line in the middle is not what it should be.
    #[error("{}:{line}: {why}; restore the file, or remove the line and its probe is simulated again", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// Reading or writing failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

type Key = (String, (u64, u32, u64));

/// Probes that are known, and where new ones are written.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    known: HashMap<Key, Vec<Probed>>,
    file: Mutex<File>,
    shared: Option<Mutex<File>>,
}

impl Ledger {
    /// Opens the ledger `own`, made if it is not there; a torn last line is cut off. The files `others` are read only.
    /// `shared` is read and appended to by many programs at a time.
    ///
    /// # Errors
    /// When a file cannot be read or written, or a line is malformed.
    pub fn open(own: &Path, others: &[PathBuf], shared: Option<&Path>) -> Result<Self, LedgerError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| LedgerError::Io { path, source }
        };
        let mut known: HashMap<Key, Vec<Probed>> = HashMap::new();
        let mut add = |line: Line| {
            let key = (line.digest, line.point.key());
            known.entry(key).or_default().push(line.probed);
        };
        for path in others.iter().map(PathBuf::as_path).chain([own]) {
            let text = match std::fs::read(path) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(path)(error)),
            };
            let (lines, whole) = read(&text).map_err(|(line, why)| LedgerError::Malformed {
                path: path.to_owned(),
                line,
                why,
            })?;
            lines.into_iter().for_each(&mut add);
            if path == own && whole < text.len() {
                let file = OpenOptions::new().write(true).open(path).map_err(failed(path))?;
                file.set_len(whole as u64).map_err(failed(path))?;
            }
        }
        if let Some(Ok(text)) = shared.map(std::fs::read) {
            // Others write to it meanwhile: what cannot be read is simply not known.
            let lines = text.split(|byte| *byte == b'\n');
            lines
                .filter_map(|line| serde_json::from_slice(line).ok())
                .for_each(&mut add);
        }
        let append = |path: &Path| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.map_err(failed(path))
        };
        Ok(Self {
            path: own.to_owned(),
            known,
            file: Mutex::new(append(own)?),
            shared: shared.map(append).transpose()?.map(Mutex::new),
        })
    }

    /// A stored probe that tells about all of these objectives.
    pub fn find(&self, digest: &str, point: Point, slos: &[SloConfig]) -> Option<&Probed> {
        let all = self.known.get(&(digest.to_owned(), point.key()))?;
        all.iter()
            .find(|probed| slos.iter().all(|slo| probed.judgements.contains_key(&slo.key())))
    }

    /// Writes a probe; it is on disk when this returns.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append(&self, line: &Line) -> Result<(), LedgerError> {
        let failed = |source| LedgerError::Io {
            path: self.path.clone(),
            source,
        };
        let mut text = serde_json::to_vec(line)
            .map_err(io::Error::from)
            .map_err(failed)?;
        text.push(b'\n');
        {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.write_all(&text).map_err(failed)?;
            file.sync_data().map_err(failed)?;
        }
        if let Some(shared) = &self.shared {
            // A cache: what is lost of it is simulated again.
            let _ = shared
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .write_all(&text);
        }
        Ok(())
    }
}

/// The lines of a file, and how many bytes of it are whole lines; else the number of a bad one, and what is wrong with it.
pub(crate) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<(Vec<T>, usize), (usize, String)> {
    let whole = text
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let mut lines = Vec::new();
    for (number, line) in text[..whole].split(|byte| *byte == b'\n').enumerate() {
        if !line.is_empty() {
            lines.push(serde_json::from_slice(line).map_err(|error| (number + 1, error.to_string()))?);
        }
    }
    Ok((lines, whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(qps: f64) -> Line {
        Line {
            digest: "d".to_owned(),
            cell: "c".to_owned(),
            point: Point {
                replicas: 1,
                qps,
                seed: 0,
            },
            probed: Probed {
                requests: 7,
                kv_peak: 0.1 + 0.2,
                ..Probed::default()
            },
        }
    }

    #[test]
    fn a_torn_last_line_is_dropped_and_a_bad_one_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cells.jsonl");
        let ledger = Ledger::open(&path, &[], None).unwrap();
        ledger.append(&line(4.0)).unwrap();
        ledger.append(&line(8.1)).unwrap();
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 9]).unwrap();
        let ledger = Ledger::open(&path, &[], None).unwrap();
        assert_eq!(ledger.find("d", line(4.0).point, &[]), Some(&line(4.0).probed));
        assert_eq!(ledger.find("d", line(8.1).point, &[]), None);
        ledger.append(&line(8.1)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), text);
        std::fs::write(&path, [b"{}\n", text.as_slice()].concat()).unwrap();
        let error = Ledger::open(&path, &[], None).unwrap_err().to_string();
        assert!(error.contains("cells.jsonl:1: "), "{error}");
    }
}
