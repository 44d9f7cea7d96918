//! A run as it is submitted: everything that is frozen into its folder, and the jobs that are asked of Slurm.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::scripts::{Scripts, ScriptsError};
use crate::executor::slurm::{Batch, JobId, Submission};
use crate::settings::{FreezeError, Secret};
use crate::store::runs::{Plan, RunDir, RunError};

/// The driver's script in a run's folder.
pub const DRIVE: &str = "drive.slurm";
/// The script of the job that gathers what the tasks of an array found.
pub const REPORT: &str = "report.slurm";
/// Where that job writes its table.
pub const TABLE: &str = "report.csv";
/// The frozen cluster profile in a run's folder.
pub const PROFILE: &str = "cluster.yml";

/// Why a run cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The settings.
    #[error(transparent)]
    Settings(#[from] FreezeError),
    /// Profile or templates.
    #[error(transparent)]
    Scripts(#[from] ScriptsError),
    /// The run's folder.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A file of it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Everything that a run's folder holds before its first job.
#[derive(Clone, Debug)]
pub struct Draft {
    /// What was asked for.
    pub plan: Plan,
    /// The settings file.
    pub settings: String,
    /// The API key.
    pub key: Option<Secret>,
    /// Profile and templates.
    pub scripts: Scripts,
    /// The driver's script.
    pub drive: String,
    /// The script of the job that gathers, where there is one.
    pub report: Option<String>,
}

impl Draft {
    /// Writes all of it; the plan comes last, and makes the folder a run.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, run: &RunDir) -> Result<(), DraftError> {
        fs_err::write(run.settings_file(), &self.settings)?;
        if let Some(key) = &self.key {
            write_key(&run.key_file(), key)?;
        }
        self.scripts.freeze(run)?;
        fs_err::write(run.path().join(DRIVE), &self.drive)?;
        if let Some(report) = &self.report {
            fs_err::write(run.path().join(REPORT), report)?;
        }
        run.write_plan(&self.plan)?;
        Ok(())
    }
}

/// Writes a key that only its owner can read, from the first moment.
fn write_key(path: &Path, key: &Secret) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(key.expose().as_bytes())?;
    file.sync_all()
}

/// The driver's job of a run, or tasks of it.
pub fn drive(
    run: &Path,
    tag: String,
    options: Vec<String>,
    arguments: Vec<String>,
    patience: Duration,
) -> Submission {
    Submission {
        tag,
        batch: Batch {
            script: run.join(DRIVE),
            options,
            arguments,
        },
        patience,
    }
}

/// The job that gathers when the tasks of an array have ended, however they did.
pub fn report(run: &Path, tag: String, array: &JobId, patience: Duration) -> Submission {
    Submission {
        tag,
        batch: Batch {
            script: run.join(REPORT),
            options: vec![format!("--dependency=afterany:{array}")],
            arguments: Vec::new(),
        },
        patience,
    }
}

/// A beginning for the names of a run's jobs, unlike any other's: `mst-` and 8 hexadecimal digits.
pub fn new_tag(run: &Path) -> String {
    let now = chrono::Utc::now().timestamp_nanos_opt().unwrap_or_default();
    let seed = format!(
        "{}\n{}\n{now}\n{}",
        run.display(),
        crate::store::host_name(),
        std::process::id()
    );
    format!("mst-{}", &blake3::hash(seed.as_bytes()).to_hex()[..8])
}

/// The tasks of an array as `--array` takes them, runs of numbers drawn together: `1,3-5%2`.
pub fn array(tasks: &[u32], throttle: Option<u32>) -> String {
    let mut text = String::new();
    let mut rest = tasks;
    while let [first, ..] = rest {
        let length = rest
            .iter()
            .zip(*first..)
            .take_while(|(task, expected)| *task == expected)
            .count();
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&first.to_string());
        if length > 1 {
            let _ = write!(text, "-{}", rest[length - 1]);
        }
        rest = &rest[length..];
    }
    if let Some(throttle) = throttle {
        let _ = write!(text, "%{throttle}");
    }
    text
}

/// A script with another time limit; `None` where it has no line for it.
pub fn with_time(script: &str, limit: &str) -> Option<String> {
    const LINE: &str = "#SBATCH --time=";
    let mut found = false;
    let mut text = String::with_capacity(script.len());
    for line in script.split_inclusive('\n') {
        if line.starts_with(LINE) {
            found = true;
            text.push_str(LINE);
            text.push_str(limit);
            text.push('\n');
        } else {
            text.push_str(line);
        }
    }
    found.then_some(text)
}

/// The nearest folder that is there, at or above a path: what is to be made is made in it.
pub fn existing(path: &Path) -> Option<PathBuf> {
    path.ancestors()
        .map(|folder| {
            if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            }
        })
        .find(|folder| folder.exists())
        .map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_key_is_nobody_elses_from_the_first_moment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api-key");
        write_key(&path, &Secret::new("hunter2".to_owned())).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "hunter2");
        // A file that somebody else may have opened is not written to.
        assert!(write_key(&path, &Secret::new("x".to_owned())).is_err());
    }

    #[test]
    fn tags_differ_and_have_one_form() {
        let (a, b) = (new_tag(Path::new("/a")), new_tag(Path::new("/b")));
        assert_ne!(a, b);
        for tag in [a, b] {
            let digits = tag.strip_prefix("mst-").unwrap();
            assert!(
                digits.len() == 8 && digits.chars().all(|c| c.is_ascii_hexdigit()),
                "{tag}"
            );
        }
    }

    #[test]
    fn tasks_are_drawn_together() {
        assert_eq!(array(&[1, 4], Some(2)), "1,4%2");
        assert_eq!(array(&[0, 1, 2, 5, 7, 8], None), "0-2,5,7-8");
        assert_eq!(array(&[3], None), "3");
    }

    #[test]
    fn a_script_gets_another_time_limit() {
        let script = "#!/bin/bash\n#SBATCH --time=1-00:00:00\n#SBATCH --nodes=1\n#SBATCH hetjob\n#SBATCH --time=1-00:00:00\necho --time=1\n";
        let changed = with_time(script, "02:00:00").unwrap();
        assert_eq!(changed.matches("#SBATCH --time=02:00:00\n").count(), 2);
        assert!(changed.ends_with("echo --time=1\n"));
        assert_eq!(with_time("#!/bin/bash\n", "1"), None);
    }

    #[test]
    fn the_nearest_folder_is_found() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(existing(&dir.path().join("a/b/c")), Some(dir.path().to_owned()));
        assert_eq!(existing(Path::new("no/such/folder")), Some(PathBuf::from(".")));
    }
}
