//! The files of a trial's job in the trial's staging folder.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err::os::unix::fs::OpenOptionsExt;
use serde::{Deserialize, Serialize};

use super::script::Left;
use crate::executor::slurm::JobId;
use crate::loadgen::Command;
use crate::store::{StoreError, layout, read_json, write_json};

/// Which job works in a staging folder; written before the job is submitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::executor) struct Record {
    /// Version of this file.
    pub(super) schema: u32,
    /// The job's name.
    pub(super) tag: String,
    /// Its id, once that is known.
    pub(super) id: Option<JobId>,
    /// The load generator's log.
    pub(super) log: PathBuf,
    /// The load generator.
    pub(super) program: String,
    /// How long it may run, seconds.
    pub(super) timeout_s: Option<f64>,
    /// Whether it was started by srun: then it has no wrapper, and nobody can take it over.
    #[serde(default)]
    pub(super) by_srun: bool,
}

impl Record {
    /// The record in a staging folder, where there is one that can be read.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        read_json(&folder.join(layout::SLURM)).ok()
    }

    /// Writes it.
    pub(super) fn write(&self, folder: &Path) -> Result<(), StoreError> {
        write_json(&folder.join(layout::SLURM), self)
    }

    /// Notes in a staging folder that srun works there as a job of this name.
    pub(in crate::executor) fn note_srun(
        folder: &Path,
        name: &str,
        command: &Command,
    ) -> Result<(), StoreError> {
        Self {
            schema: 1,
            tag: name.to_owned(),
            id: None,
            log: command.log.clone(),
            program: String::new(),
            timeout_s: None,
            by_srun: true,
        }
        .write(folder)
    }

    /// How long the load generator may run.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout_s.and_then(|s| Duration::try_from_secs_f64(s).ok())
    }
}

/// A staging folder with the job of this tag. Names carry the tag: what an earlier job of the same folder still writes
/// cannot be taken for this one's.
#[derive(Clone, Debug)]
pub(super) struct Staged {
    folder: PathBuf,
    tag: String,
}

impl Staged {
    pub(super) fn new(folder: &Path, tag: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            tag: tag.to_owned(),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn tag(&self) -> &str {
        &self.tag
    }

    /// The variables of the load generator. As long as it is there, somebody waits for the job.
    pub(super) fn variables(&self) -> PathBuf {
        self.folder.join(format!("{}.env", self.tag))
    }

    /// The script that sbatch takes.
    pub(super) fn script(&self) -> PathBuf {
        self.folder.join(format!("{}.slurm", self.tag))
    }

    /// What the script runs.
    pub(super) fn wrapper(&self) -> PathBuf {
        self.folder.join(format!("{}.sh", self.tag))
    }

    /// How the load generator ended.
    pub(super) fn done(&self) -> PathBuf {
        self.folder.join(format!("exit-status.{}", self.tag))
    }

    /// How the load generator ended, if it did. Listing the folder makes a network file system look again.
    pub(super) fn left(&self) -> Option<Left> {
        let path = self.done();
        let text = std::fs::read_to_string(&path).or_else(|_| {
            std::fs::read_dir(&self.folder)?.for_each(drop);
            std::fs::read_to_string(&path)
        });
        Left::parse(&text.ok()?)
    }

    /// Writes the variables, for our eyes only.
    pub(super) fn write_variables(&self, text: &str) -> std::io::Result<()> {
        let mut file = fs_err::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.variables())?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }

    /// Removes them: the key is gone, and a job that is still there ends.
    pub(super) fn let_go(&self) {
        // Gone already, or never written.
        let _ = std::fs::remove_file(self.variables());
    }

    /// Whether somebody waits for the job.
    pub(super) fn is_awaited(&self) -> bool {
        self.variables().exists()
    }
}
