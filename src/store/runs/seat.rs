//! A driver's place in a run's folder: who sits there, and how it ended.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::RunError;
use crate::store::{read_json, write_json};
use crate::units::Rate;

/// A file that holds room for the driver's last words.
const RESERVE: &str = "reserve";
/// Its size, bytes.
const RESERVED: usize = 1 << 16;

/// How a driver ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every pair has an answer.
    Done,
    /// Given up: more of the same would not help.
    Failed,
    /// Asked to stop.
    Cancelled,
}

/// How a driver ended for good. One that stops for the walltime leaves none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// The exit code of this program.
    pub exit: u8,
    /// In a sentence.
    pub why: String,
    /// When.
    pub at: DateTime<Utc>,
    /// The job, where there was one.
    pub job: Option<String>,
}

/// What the search of a pair knows; for `mst status`, never read back for decisions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The pair.
    pub pair: String,
    /// Highest rate known to be sustainable, requests per minute.
    pub low: Option<Rate>,
    /// Lowest rate known not to be.
    pub high: Option<Rate>,
    /// Trials judged so far, stored ones too.
    pub trials: u32,
    /// Rate of the trial that runs.
    pub now: Option<Rate>,
    /// Seconds of trials and pauses that are likely still needed.
    pub left_s: Option<f64>,
    /// Whether the pair has its answer.
    pub done: bool,
    /// Seconds that trials took by the wall clock, with everything around them, where any was run.
    pub trial_s: Option<f64>,
    /// When this was written.
    pub at: DateTime<Utc>,
}

/// A driver's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    path: PathBuf,
}

impl Seat {
    pub(super) fn at(run: &Path, task: Option<u32>) -> Self {
        let name = task.map_or("main".to_owned(), |task| format!("task-{task}"));
        Self { path: run.join(name) }
    }

    /// Its folder; it need not exist.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How its driver ended, where it ended for good.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn ended(&self) -> Result<Option<Ended>, RunError> {
        let path = self.path.join("ended.json");
        if path.is_file() {
            Ok(Some(read_json(&path)?))
        } else {
            Ok(None)
        }
    }

    /// Writes how it ended.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn end(&self, ended: &Ended) -> Result<(), RunError> {
        // Not what is above it: a run whose folder was removed is not to come back.
        match fs_err::create_dir(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
        // Not there where no driver ever sat here.
        let _ = fs_err::remove_file(self.path.join(RESERVE));
        Ok(write_json(&self.path.join("ended.json"), ended)?)
    }

    /// Sets some room aside, so that a driver that gives up on a full disk can still write why.
    pub fn reserve(&self) {
        // Without that room, the driver's log may tell.
        let _ = fs_err::write(self.path.join(RESERVE), vec![b'.'; RESERVED]);
    }

    /// Counts the jobs in a row that ended for the walltime without a new trial, and returns their number.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn count_barren(&self, progressed: bool) -> Result<u32, RunError> {
        let path = self.path.join("barren");
        let before: u32 = fs_err::read_to_string(&path)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0);
        let now = if progressed { 0 } else { before + 1 };
        fs_err::write(&path, now.to_string())?;
        Ok(now)
    }

    /// Forgets how it ended, and the jobs without a new trial, for a resumed run.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn reopen(&self) -> Result<(), RunError> {
        for name in ["ended.json", "barren"] {
            match fs_err::remove_file(self.path.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(())
    }
}
