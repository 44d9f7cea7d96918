//! Rows and runs for the tests.

use std::path::PathBuf;

use chrono::Utc;

use crate::executor::slurm::{Job, JobId, State};
use crate::store::runs::{Mode, Plan, RunDir};

/// A row of `squeue`.
pub(super) fn row(id: &str, state: &str, reason: &str, name: &str) -> Job {
    let (array, task) = id.split_once('_').unwrap_or((id, ""));
    Job {
        id: JobId::parse(id).unwrap(),
        array: JobId::parse(array).unwrap(),
        task: task.parse().ok(),
        state: State::parse(state),
        nodes: String::new(),
        left_s: None,
        end: None,
        start: None,
        reason: reason.to_owned(),
        name: name.to_owned(),
    }
}

/// A run in a folder of its own, with a plan and nothing else.
pub(super) fn run(mode: Mode, pairs: &[&str]) -> (tempfile::TempDir, RunDir) {
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::create(dir.path()).unwrap();
    let pairs: Vec<String> = pairs.iter().map(|&p| p.to_owned()).collect();
    run.write_plan(&Plan {
        schema: 1,
        run: run.name(),
        tag: "mst-0a0a0a0a".to_owned(),
        mode,
        created: Utc::now(),
        mst_version: "0".to_owned(),
        program: PathBuf::from("/bin/mst"),
        submit_dir: PathBuf::from("/"),
        results_dir: dir.path().to_owned(),
        folders: pairs.clone(),
        pairs,
        trial_s: 100.0,
        trials: (10, 60),
        walltime_s: Some(3600.0),
        throttle: (mode == Mode::Array).then_some(2),
    })
    .unwrap();
    (dir, run)
}
