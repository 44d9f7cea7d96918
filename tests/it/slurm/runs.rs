//! A scripted run on a cluster, and what must hold once it has ended: nothing lost, nothing twice, nothing left behind.

use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use super::cluster::{Cluster, LIMIT, wait_for};
use crate::support::{Workspace, processes, stderr, walk};

/// A workspace of a fast, deterministic search, and the run that was submitted from it.
pub(crate) struct Run<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) space: Workspace,
    /// Its name, once it was submitted.
    pub(crate) name: String,
    /// The beginning of its jobs' names.
    pub(crate) tag: String,
    extra: String,
}

impl<'a> Run<'a> {
    /// A workspace with further settings; nothing is submitted. See [`Workspace::paced`].
    pub(crate) fn prepare(cluster: &'a Cluster, extra: &str) -> Self {
        let extra = format!("POLL_INTERVAL=1s\nWALLTIME_MARGIN=5s\n{extra}");
        Self {
            cluster,
            space: Workspace::paced(&extra),
            name: String::new(),
            tag: String::new(),
            extra,
        }
    }

    /// A run of a workspace that was made elsewhere; nothing is submitted. [`Self::is_whole`] is not for it.
    pub(crate) fn of(cluster: &'a Cluster, space: Workspace) -> Self {
        Self {
            cluster,
            space,
            name: String::new(),
            tag: String::new(),
            extra: String::new(),
        }
    }

    /// A run that is in the queue.
    pub(crate) fn submit(cluster: &'a Cluster, extra: &str, arguments: &[&str]) -> Self {
        let mut run = Self::prepare(cluster, extra);
        let output = run.mst("submit").args(arguments).output().unwrap();
        run.was_submitted(&output);
        run
    }

    /// A run whose first trial is stopped in its midst until [`Self::let_go`].
    pub(crate) fn submit_held(cluster: &'a Cluster, extra: &str, arguments: &[&str]) -> Self {
        let mut run = Self::prepare(cluster, extra);
        run.hold();
        let output = run.mst("submit").args(arguments).output().unwrap();
        run.was_submitted(&output);
        run.await_trial();
        run
    }

    /// Takes the run's name from what `mst submit --format json` printed. Returns the id of its job.
    pub(crate) fn was_submitted(&mut self, output: &Output) -> String {
        assert!(output.status.success(), "mst submit: {}", stderr(output));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        self.name = text(&answer["run"]);
        self.tag = text(&answer["tag"]);
        text(&answer["jobs"][0]["id"])
    }

    /// A verb of the program that answers in JSON, called in the workspace.
    pub(crate) fn mst(&self, verb: &str) -> Command {
        let mut command = self.cluster.mst(self.space.path());
        command.args([verb, "--format", "json"]);
        command
    }

    /// The run's folder.
    pub(crate) fn folder(&self) -> PathBuf {
        self.space.results().join(".runs").join(&self.name)
    }

    /// What `mst status` says of it.
    pub(crate) fn status(&self) -> Value {
        let output = self.mst("status").arg(&self.name).output().unwrap();
        assert!(output.status.success(), "mst status: {}", stderr(&output));
        let all: Value = serde_json::from_slice(&output.stdout).unwrap();
        all[0].clone()
    }

    /// Waits until `mst status` says this state, and returns all it says.
    pub(crate) fn await_state(&self, state: &str) -> Value {
        self.await_status(state, |status| status["state"] == state)
    }

    /// Waits until `mst status` says something, and returns all it says.
    pub(crate) fn await_status(&self, what: &str, ready: impl Fn(&Value) -> bool) -> Value {
        let mut status = Value::Null;
        wait_for(&format!("run {} is {what}", self.name), 2 * LIMIT, || {
            status = self.status();
            ready(&status) || {
                // Another process of a busy machine each time.
                std::thread::sleep(Duration::from_millis(300));
                false
            }
        });
        status
    }

    /// Goes on with it by `mst resume`; returns the id of the new job.
    pub(crate) fn resume(&self) -> String {
        let output = self.mst("resume").arg(&self.name).output().unwrap();
        assert!(output.status.success(), "mst resume: {}", stderr(&output));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["jobs"][0]["id"].as_str().unwrap().to_owned()
    }

    /// Stops the search in the midst of its next trial.
    pub(crate) fn hold(&self) {
        std::fs::write(self.space.path().join("hold"), "").unwrap();
    }

    /// Lets the trial go on.
    pub(crate) fn let_go(&self) {
        std::fs::remove_file(self.space.path().join("hold")).unwrap();
    }

    /// The seconds that each trial takes from now on.
    pub(crate) fn pace(&self, seconds: &str) {
        std::fs::write(self.space.path().join("pace"), seconds).unwrap();
    }

    /// Waits until a trial runs.
    pub(crate) fn await_trial(&self) {
        let script = format!("scripted.sh {}", self.space.path().display());
        wait_for("a trial runs", LIMIT, || !processes(&script).is_empty());
    }

    /// Folders of complete trials of the pair `8_8`.
    pub(crate) fn trials(&self) -> usize {
        let is_there = self.space.results().join("8_8").is_dir();
        if is_there {
            self.space.trials("8_8").len()
        } else {
            0
        }
    }

    /// Ids and states of its jobs that the controller knows.
    pub(crate) fn jobs(&self) -> Vec<(String, String)> {
        let rows = self.cluster.jobs().into_iter();
        rows.filter(|(_, _, name)| name.starts_with(&self.tag))
            .map(|(id, state, _)| (id, state))
            .collect()
    }

    /// Puts a script of these lines in front of a program of Slurm, `$real` in it; returns the `PATH` to find it by. The
    /// jobs of a run that is submitted so meet it, too.
    pub(crate) fn wrap(&self, program: &str, lines: &str) -> OsString {
        let path = std::env::var_os("PATH").unwrap();
        let mut found = std::env::split_paths(&path).map(|folder| folder.join(program));
        let real = found.find(|file| file.is_file()).unwrap();
        let bin = self.space.path().join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        let script = format!("#!/bin/sh\nreal={}\n{lines}\n", real.display());
        std::fs::write(bin.join(program), script).unwrap();
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(bin.join(program), mode).unwrap();
        let folders = std::iter::once(bin).chain(std::env::split_paths(&path));
        std::env::join_paths(folders).unwrap()
    }

    /// Waits until it is done, and looks at all that it left.
    pub(crate) fn ends_well(&self) {
        self.await_state("done");
        self.is_whole();
    }

    /// The answer is that of an undisturbed search, no trial is there twice, and nothing is left behind.
    pub(crate) fn is_whole(&self) {
        let here = Workspace::paced(&self.extra);
        // Here trials run beside the driver.
        let output = here.run(&[]).env("EXECUTOR", "local").output().unwrap();
        let undisturbed = stderr(&output);
        for entry in std::fs::read_dir(here.results()).unwrap() {
            let pair = entry.unwrap().file_name().into_string().unwrap();
            if !here.results().join(&pair).join("capacity.json").is_file() {
                continue;
            }
            assert_eq!(self.space.capacity(&pair), here.capacity(&pair), "{undisturbed}");
            for (id, folders) in self.space.trials(&pair) {
                assert_eq!(folders.len(), 1, "{id} is there twice: {folders:?}");
            }
        }
        self.is_gone();
        let staging = self.space.results().join(".staging");
        let staged: Vec<_> = std::fs::read_dir(staging)
            .map(|all| all.map(|entry| entry.unwrap().path()).collect())
            .unwrap_or_default();
        assert_eq!(staged, Vec::<PathBuf>::new());
    }

    /// No job, no process, no lease. A trial that was stopped in its midst leaves its staging folder for the next driver.
    pub(crate) fn is_gone(&self) {
        let is_alive = |state: &str| matches!(state, "PENDING" | "RUNNING" | "COMPLETING" | "CONFIGURING");
        wait_for("its jobs are over", LIMIT, || {
            !self.jobs().iter().any(|(_, state)| is_alive(state))
        });
        let path = self.space.path().to_str().unwrap();
        wait_for("its processes are gone", LIMIT, || processes(path).is_empty());
        assert_eq!(walk(&self.space.results(), ".lease"), Vec::<PathBuf>::new());
    }
}

impl Drop for Run<'_> {
    /// Tells what there is to know when a test fails.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let mut told = String::new();
        let queue = self.cluster.command("squeue").args(["-t", "all"]).output();
        if let Ok(output) = queue {
            let _ = writeln!(
                told,
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                stderr(&output)
            );
        }
        let root = self.space.results().join(".runs");
        for entry in walkdir::WalkDir::new(root).into_iter().flatten() {
            let name = entry.file_name().to_string_lossy();
            let is_told = [".log", ".out", ".jsonl", "ended.json"];
            if is_told.iter().any(|end| name.ends_with(end))
                && let Ok(text) = std::fs::read_to_string(entry.path())
            {
                let _ = writeln!(told, "---- {}\n{text}", entry.path().display());
            }
        }
        let processes = processes(self.space.path().to_str().unwrap_or("?"));
        let _ = writeln!(told, "---- processes\n{}", processes.join("\n"));
        eprintln!("{told}");
    }
}
