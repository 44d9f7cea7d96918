//! What a killed driver left behind: load generators that still run, and folders that hold half a trial.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::layout::{MANIFEST, PROCESS, SLURM, STAGING};
use super::pid::{Process, with_variable};
use super::{Store, StoreError, read_json, write_json};

/// Environment variable of a load generator that names its staging folder. A driver that is killed between the start of a
/// program and [`Store::leave_trace`] leaves no other trace.
pub const FOLDER_VARIABLE: &str = "MST_STAGING_FOLDER";

/// How long a load generator of a dead driver has to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(15);

impl Store {
    /// Notes which processes (each the leader of its group) work in a staging folder.
    ///
    /// # Errors
    /// When the note cannot be written.
    pub fn leave_trace(&self, staged: &Path, pids: &[i32]) -> Result<(), StoreError> {
        let processes: Vec<Process> = pids.iter().map(|&pid| Process::of(pid)).collect();
        write_json(&staged.join(PROCESS), &processes)
    }

    /// The staging folders of a pair that hold no complete trial.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn staged(&self, pair: &str) -> Result<Vec<PathBuf>, StoreError> {
        let entries = match fs_err::read_dir(self.root().join(STAGING).join(pair)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let folders: Vec<PathBuf> = entries.map(|e| Ok(e?.path())).collect::<std::io::Result<_>>()?;
        let is_half = |folder: &PathBuf| !folder.join(MANIFEST).is_file();
        Ok(folders.into_iter().filter(is_half).collect())
    }

    /// Clears the staging folders of a pair whose lease we hold: ends load generators that still run for a dead
    /// driver, removes what is not complete. Complete trials stay; they count as measured. So does the folder of a Slurm
    /// job, which may live although its driver is dead: it is taken over, or ended before the first new trial.
    ///
    /// # Errors
    /// When a folder cannot be read or removed.
    pub fn sweep(&self, pair: &str) -> Result<(), StoreError> {
        for folder in self.staged(pair)? {
            let left: Vec<Process> = read_json(&folder.join(PROCESS)).unwrap_or_default();
            for process in left.iter().filter(|p| p.is_local() && p.is_alive()) {
                // It may end by itself meanwhile. An srun that cannot say goodbye would leave its step behind.
                let _ = killpg(Pid::from_raw(process.pid), Signal::SIGTERM);
                let end = Instant::now() + GRACE;
                while process.is_alive() && Instant::now() < end {
                    std::thread::sleep(Duration::from_millis(10));
                }
                let _ = killpg(Pid::from_raw(process.pid), Signal::SIGKILL);
            }
            if folder.join(SLURM).is_file() {
                continue;
            }
            for pid in with_variable(FOLDER_VARIABLE, &folder.to_string_lossy()) {
                let _ = kill(pid, Signal::SIGKILL);
            }
            fs_err::remove_dir_all(&folder)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;

    use super::*;

    #[test]
    fn sweeping_ends_orphans_and_keeps_complete_trials() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let staged = |name: &str| store.root().join(STAGING).join("1_1").join(name);
        for name in ["half", "whole"] {
            std::fs::create_dir_all(staged(name)).unwrap();
        }
        std::fs::write(staged("whole").join(MANIFEST), "{}").unwrap();
        let mut orphan = std::process::Command::new("sleep")
            .arg("600")
            .process_group(0)
            .spawn()
            .unwrap();
        store.leave_trace(&staged("half"), &[orphan.id() as i32]).unwrap();
        let mut untold = std::process::Command::new("sleep")
            .arg("600")
            .env(FOLDER_VARIABLE, staged("half"))
            .spawn()
            .unwrap();
        store.sweep("1_1").unwrap();
        assert!(!orphan.wait().unwrap().success());
        assert!(!untold.wait().unwrap().success());
        assert!(!staged("half").exists());
        assert!(staged("whole").exists());
        store.sweep("2_2").unwrap();
    }

    #[test]
    fn the_folder_of_a_job_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let folder = store.root().join(STAGING).join("1_1").join("job");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(SLURM), "{}").unwrap();
        // On this same host, and not to be taken for an orphan.
        let mut job = std::process::Command::new("sleep")
            .arg("600")
            .env(FOLDER_VARIABLE, &folder)
            .spawn()
            .unwrap();
        store.sweep("1_1").unwrap();
        assert!(folder.join(SLURM).exists());
        assert!(job.try_wait().unwrap().is_none());
        job.kill().unwrap();
        job.wait().unwrap();
        assert_eq!(store.staged("1_1").unwrap(), [folder]);
    }
}
