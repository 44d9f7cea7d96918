//! A submitted run's folder below `.runs/`: its plan, scripts, journal, and what its drivers say of themselves. It holds
//! no measurements, and everything in it can be read while the run goes on.
//!
//! ```text
//! .runs/20261122-201503-1a2b/
//!   plan.json        what was asked for, written once
//!   settings.env     every setting in effect, without secrets
//!   api-key          mode 0600, where there is a key
//!   drive.slurm …    the scripts that were submitted, as sbatch took them
//!   jobs*.jsonl      journal: intents, ids, refusals, starts, ends; a file a writer
//!   cancel           its appearance asks every driver to stop
//!   tags/            the names of its jobs, taken by making a file
//!   logs/            what Slurm writes for its jobs
//!   progress/        one file a pair: what its search knows
//!   main/, task-3/   a seat for each driver: lease, how it ended, its server's files
//! ```

mod journal;
mod plan;
mod seat;

use std::path::{Path, PathBuf};

pub use journal::{Journal, Line, Note};
pub use plan::{Mode, Plan};
pub use seat::{Ended, Outcome, Progress, Seat};

use super::{StoreError, read_json, write_json};

/// Folder of the runs below the results root.
pub const RUNS: &str = ".runs";

/// What can be wrong with a run's folder.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is none of that name.
    #[error("{}: there is no run `{name}`; `mst list` shows those there are", root.display())]
    NotFound {
        /// Where it was looked for.
        root: PathBuf,
        /// The name.
        name: String,
    },
    /// The name fits several.
    #[error("`{name}` fits {}; write more of it", fits.join(", "))]
    Ambiguous {
        /// The name.
        name: String,
        /// Those that it fits.
        fits: Vec<String>,
    },
    /// A file of it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The folder of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Makes the folder of a new run below a results root, and its subfolders.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(results: &Path) -> Result<Self, RunError> {
        let runs = results.join(RUNS);
        fs_err::create_dir_all(&runs)?;
        let runs = fs_err::canonicalize(runs)?;
        loop {
            let now = chrono::Utc::now();
            let salt = now.timestamp_subsec_nanos() ^ (std::process::id() << 12);
            let name = format!("{}-{:04x}", now.format("%Y%m%d-%H%M%S"), salt & 0xffff);
            let path = runs.join(name);
            match fs_err::create_dir(&path) {
                Ok(()) => {
                    for folder in ["logs", "progress"] {
                        fs_err::create_dir(path.join(folder))?;
                    }
                    return Ok(Self { path });
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The folder at this path.
    ///
    /// # Errors
    /// When it is not the folder of a run.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let path = fs_err::canonicalize(path)?;
        let run = Self { path };
        run.plan()?;
        Ok(run)
    }

    /// All runs below a results root, oldest first.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn all(results: &Path) -> Result<Vec<Self>, RunError> {
        let entries = match fs_err::canonicalize(results.join(RUNS)).and_then(fs_err::read_dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let mut all = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.join(plan::FILE).is_file() {
                all.push(Self { path });
            }
        }
        all.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(all)
    }

    /// The run of that name or of a name that begins so, or at that path; without a name the newest.
    ///
    /// # Errors
    /// When there is none, or several fit.
    pub fn find(results: &Path, name: Option<&str>) -> Result<Self, RunError> {
        let not_found = || RunError::NotFound {
            root: results.to_owned(),
            name: name.unwrap_or("").to_owned(),
        };
        let mut all = Self::all(results)?;
        let Some(name) = name else {
            return all.pop().ok_or_else(not_found);
        };
        if name.contains('/') || Path::new(name).join(plan::FILE).is_file() {
            return Self::open(Path::new(name));
        }
        let mut fits: Vec<Self> = all
            .into_iter()
            .filter(|run| run.name().starts_with(name))
            .collect();
        match fits.len() {
            0 => Err(not_found()),
            1 => Ok(fits.remove(0)),
            _ => Err(RunError::Ambiguous {
                name: name.to_owned(),
                fits: fits.iter().map(Self::name).collect(),
            }),
        }
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.path
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// Its folder, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is still there: somebody may remove it while its driver works.
    pub fn is_there(&self) -> bool {
        self.path.join(plan::FILE).is_file()
    }

    /// Its plan.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn plan(&self) -> Result<Plan, RunError> {
        Ok(read_json(&self.path.join(plan::FILE))?)
    }

    /// Writes its plan.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_plan(&self, plan: &Plan) -> Result<(), RunError> {
        Ok(write_json(&self.path.join(plan::FILE), plan)?)
    }

    /// The settings file.
    pub fn settings_file(&self) -> PathBuf {
        self.path.join("settings.env")
    }

    /// The file with the API key.
    pub fn key_file(&self) -> PathBuf {
        self.path.join("api-key")
    }

    /// Where Slurm writes what its jobs print.
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// A name for a new job of this run, unlike any other's: the plan's tag, a letter for its kind and a number. Whoever
    /// makes the file of that name first has it, on shared file systems too.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn new_tag(&self, tag: &str, kind: &str) -> Result<String, RunError> {
        let names = self.path.join("tags");
        fs_err::create_dir_all(&names)?;
        for number in 1..u32::MAX {
            let name = format!("{tag}-{kind}{number}");
            match fs_err::OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(names.join(&name))
            {
                Ok(_) => return Ok(name),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(std::io::Error::other("no number is free").into())
    }

    /// A journal for one writer: `None` for the person at the login node, else for example a job's id.
    pub fn journal(&self, writer: Option<&str>) -> Journal {
        Journal::at(&self.path, writer)
    }

    /// Asks every driver to stop.
    ///
    /// # Errors
    /// When the mark cannot be written.
    pub fn ask_to_stop(&self) -> Result<(), RunError> {
        Ok(fs_err::write(self.path.join("cancel"), b"")?)
    }

    /// Whether they were asked to.
    pub fn is_asked_to_stop(&self) -> bool {
        self.path.join("cancel").exists()
    }

    /// Takes the request back, for a resumed run.
    ///
    /// # Errors
    /// When the mark cannot be removed.
    pub fn clear_stop(&self) -> Result<(), RunError> {
        match fs_err::remove_file(self.path.join("cancel")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The seat of the driver of the whole run, or of one task of an array.
    pub fn seat(&self, task: Option<u32>) -> Seat {
        Seat::at(&self.path, task)
    }

    /// Writes what the search of a pair knows.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_progress(&self, progress: &Progress) -> Result<(), RunError> {
        let path = self.path.join("progress").join(format!("{}.json", progress.pair));
        Ok(write_json(&path, progress)?)
    }

    /// What the searches know, those that have begun.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn progress(&self) -> Result<Vec<Progress>, RunError> {
        let mut all = Vec::new();
        for entry in fs_err::read_dir(self.path.join("progress"))? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "json") {
                all.push(read_json(&path)?);
            }
        }
        Ok(all)
    }
}
