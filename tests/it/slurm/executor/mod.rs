//! Commands as jobs and steps of a real Slurm.

mod drivers;
mod ends;
mod outages;
mod steps;
mod taken_over;

use std::path::{Path, PathBuf};
use std::time::Duration;

use mst::executor::sbatch::{Sbatch, TrialScript};
use mst::executor::slurm::{JobId, Slurm};
use mst::executor::{Executor, ExecutorError, Exit, Running};
use mst::loadgen::Command;
use mst::store::FOLDER_VARIABLE;
use mst::store::runs::{Journal, Note, RunDir};

use super::cluster::{Cluster, LIMIT, wait_for};

/// Names of the jobs of these tests begin so.
const PREFIX: &str = "mst-1a2b3c4d-t";

/// A cluster, and the folder of a run on it.
struct Ground {
    cluster: Cluster,
    dir: tempfile::TempDir,
    run: RunDir,
}

impl Ground {
    fn new() -> Option<Self> {
        let cluster = Cluster::start()?;
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(dir.path()).unwrap();
        Some(Self { cluster, dir, run })
    }

    fn slurm(&self) -> Slurm {
        let conf = self.cluster.folder().join("slurm.conf");
        Slurm {
            environment: vec![("SLURM_CONF".to_owned(), conf.display().to_string())],
            ..Slurm::default()
        }
    }

    /// Jobs by a script with these lines below `#!/bin/bash`.
    fn sbatch(&self, lines: &str) -> Sbatch {
        self.sbatch_by(self.slurm(), lines)
    }

    fn sbatch_by(&self, slurm: Slurm, lines: &str) -> Sbatch {
        let lines = lines.to_owned();
        let render = move |script: &TrialScript| {
            let words: Vec<String> = script.argv.iter().map(|word| format!("'{word}'")).collect();
            Ok(format!("#!/bin/bash\n{lines}\nexec {}\n", words.join(" ")))
        };
        let poll = Duration::from_millis(500);
        Sbatch::new(slurm, &self.run, None, PREFIX, poll, Box::new(render)).unwrap()
    }

    /// A staging folder.
    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.dir.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// A shell's command that works in a staging folder.
    fn command(&self, name: &str, lines: &str) -> Command {
        let folder = self.folder(name);
        Command {
            argv: ["sh", "-c", lines].map(Into::into).to_vec(),
            env: vec![(FOLDER_VARIABLE.to_owned(), folder.display().to_string())],
            cwd: Some(folder.clone()),
            log: folder.join("loadgen.log"),
            timeout: None,
        }
    }

    fn notes(&self) -> Vec<Note> {
        let lines = Journal::read_all(self.run.path()).unwrap();
        lines.into_iter().map(|line| line.note).collect()
    }

    /// State and id of the one job of this tag.
    fn only(&self, tag: &str) -> (String, String) {
        let found: Vec<_> = self
            .cluster
            .jobs()
            .into_iter()
            .filter(|job| job.2 == tag)
            .collect();
        assert_eq!(found.len(), 1, "{found:?}");
        (found[0].1.clone(), found[0].0.clone())
    }

    /// Waits until the job of this tag is in one of these states; its id.
    fn await_job(&self, tag: &str, states: &[&str]) -> JobId {
        let mut id = None;
        wait_for(&format!("{tag} is {states:?}"), LIMIT, || {
            let jobs = self.cluster.jobs();
            let job = jobs
                .iter()
                .find(|job| job.2 == tag && states.contains(&job.1.as_str()));
            id = job.and_then(|job| JobId::parse(&job.0));
            id.is_some()
        });
        id.unwrap()
    }
}

/// How a command ends, and what was said meanwhile.
fn end(mut running: Box<dyn Running>) -> (Result<Exit, ExecutorError>, Vec<String>) {
    let mut news = Vec::new();
    let mut ended = None;
    super::cluster::wait_for("the command ends", 2 * LIMIT, || {
        ended = running.poll().transpose();
        news.extend(std::iter::from_fn(|| running.news()));
        ended.is_some()
    });
    (ended.unwrap(), news)
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("loadgen.log")).unwrap_or_default()
}
