//! What happened to the jobs of a run, a line an event. Every writer has a file of its own: shared file systems do not
//! append atomically.

use std::io::Write;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::RunError;
use crate::executor::slurm::JobId;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Note {
    /// A job is about to be submitted.
    Intent {
        /// Options of sbatch beside those in the script.
        options: Vec<String>,
        /// The script.
        script: PathBuf,
    },
    /// Slurm took it.
    Submitted {
        /// Its id.
        id: JobId,
    },
    /// Slurm refused it.
    Refused {
        /// Why.
        why: String,
    },
    /// Slurm did not answer: it may have taken it.
    Doubt {
        /// What it did instead.
        why: String,
    },
    /// It was found by its name.
    Found {
        /// Its id.
        id: JobId,
    },
    /// A driver or a server started in it.
    Started {
        /// The job.
        id: JobId,
        /// How often it was requeued.
        restart: u32,
        /// Where.
        host: String,
    },
    /// The driver put its job back into the queue.
    Requeued {
        /// The job.
        id: JobId,
    },
    /// Somebody cancelled it.
    Cancelled {
        /// The job.
        id: JobId,
    },
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When.
    pub at: DateTime<Utc>,
    /// Name of the job.
    pub tag: String,
    /// What.
    #[serde(flatten)]
    pub note: Note,
}

/// One writer's journal.
#[derive(Clone, Debug)]
pub struct Journal {
    path: PathBuf,
}

impl Journal {
    pub(super) fn at(run: &Path, writer: Option<&str>) -> Self {
        let name = writer.map_or("jobs.jsonl".to_owned(), |writer| format!("jobs-{writer}.jsonl"));
        Self { path: run.join(name) }
    }

    /// Adds a line; it is on disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note(&self, tag: &str, note: &Note) -> Result<(), RunError> {
        let line = Line {
            at: Utc::now(),
            tag: tag.to_owned(),
            note: note.clone(),
        };
        let mut text = serde_json::to_string(&line).map_err(std::io::Error::from)?;
        text.push('\n');
        let mut file = fs_err::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.path)?;
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        Ok(())
    }

    /// The lines of all writers of a run, in the order of their times. A last line that is cut short is left out.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read_all(run: &Path) -> Result<Vec<Line>, RunError> {
        let mut lines = Vec::new();
        for entry in fs_err::read_dir(run)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .map(|n| n.to_string_lossy().into_owned())
                .unwrap_or_default();
            if name.starts_with("jobs") && path.extension().is_some_and(|e| e == "jsonl") {
                let text = fs_err::read_to_string(&path)?;
                lines.extend(
                    text.lines()
                        .filter_map(|line| serde_json::from_str::<Line>(line).ok()),
                );
            }
        }
        lines.sort_by_key(|line| line.at);
        Ok(lines)
    }
}
