//! Throw-away Slurm clusters, one a test: `scripts/slurm-cluster` starts and stops them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::support;

/// How long things may take on a busy machine: a job's start, a node's return, a state that Slurm updates now and then.
pub(crate) const LIMIT: Duration = Duration::from_mins(2);

/// A cluster that ends with this value, or with the test's process.
pub(crate) struct Cluster {
    folder: PathBuf,
}

impl Cluster {
    /// A cluster of four nodes. Nothing where Slurm is not here and cannot be installed: the test is skipped.
    ///
    /// ```text
    /// let Some(cluster) = Cluster::start() else { return };
    /// ```
    pub(crate) fn start() -> Option<Self> {
        Self::with(&[])
    }

    /// A cluster with knobs of `scripts/slurm-cluster`, for example `("MIN_JOB_AGE", "5")`.
    pub(crate) fn with(knobs: &[(&str, &str)]) -> Option<Self> {
        let accounting = knobs.contains(&("ACCOUNTING", "1"));
        if !is_here("slurmctld") || accounting && !is_here("slurmdbd") {
            absent(accounting);
            return None;
        }
        let output = script("start")
            .env("SLURM_CLUSTER_OWNER", std::process::id().to_string())
            .envs(
                knobs
                    .iter()
                    .map(|(name, value)| (format!("SLURM_CLUSTER_{name}"), value)),
            )
            .output()
            .unwrap();
        let folder = answer("slurm-cluster start", &output);
        Some(Self {
            folder: folder.into(),
        })
    }

    /// Where the daemons keep their files; `log/slurmctld.log` is the controller's log.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A command in the environment of a user of this cluster.
    pub(crate) fn command(&self, program: &str) -> Command {
        self.settle(support::clean(program))
    }

    /// The program under test in that environment and this working folder.
    pub(crate) fn mst(&self, folder: &Path) -> Command {
        let mut command = self.settle(support::mst());
        command.current_dir(folder);
        command
    }

    fn settle(&self, mut command: Command) -> Command {
        command
            .env("SLURM_CONF", self.folder.join("slurm.conf"))
            .stdin(Stdio::null());
        command
    }

    /// What a successful command of Slurm prints.
    pub(crate) fn ask(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output().unwrap();
        answer(&format!("{program} {arguments:?}"), &output)
    }

    /// `scripts/slurm-cluster VERB` of this cluster: `ctld-kill`, `node-fail` with a node's name, and so on.
    pub(crate) fn slurm_cluster(&self, verb: &str, arguments: &[&str]) {
        let output = script(verb).arg(&self.folder).args(arguments).output().unwrap();
        answer(&format!("slurm-cluster {verb}"), &output);
    }

    /// Submits a batch script of these lines; its output goes nowhere unless the options say where. Returns the id.
    pub(crate) fn submit(&self, options: &[&str], lines: &str) -> String {
        self.ask(
            "sbatch",
            &[
                &["--parsable", "--output=/dev/null"],
                options,
                &[&format!("--wrap={lines}")],
            ]
            .concat(),
        )
    }

    /// The state of a job as `squeue` writes it; empty for a job that the controller does not know, and while it is away.
    pub(crate) fn state(&self, job: &str) -> String {
        self.field(job, "%T")
    }

    /// A field of a job in the format of `squeue`, for example `%r`, its reason; empty as the state is.
    pub(crate) fn field(&self, job: &str, format: &str) -> String {
        let output = self
            .command("squeue")
            .args(["-h", "-t", "all", "-j", job, "-o", format])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Identity, state and name of all jobs that the controller knows.
    pub(crate) fn jobs(&self) -> Vec<(String, String, String)> {
        let rows = self.ask("squeue", &["-h", "-r", "-t", "all", "-o", "%i|%T|%j"]);
        rows.lines()
            .map(|row| {
                let mut parts = row.splitn(3, '|').map(str::to_owned);
                let mut next = || parts.next().unwrap();
                (next(), next(), next())
            })
            .collect()
    }

    /// Waits for one of these states.
    pub(crate) fn await_state(&self, job: &str, states: &[&str]) {
        let mut last = String::new();
        wait_for(&format!("job {job} is {}", states.join(" or ")), LIMIT, || {
            last = self.state(job);
            states.contains(&last.as_str())
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.join("log/slurmctld.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "the controller's last words:\n{}",
                lines[lines.len().saturating_sub(30)..].join("\n")
            );
        }
        // A panic here would hide the test's own.
        let _ = script("stop").arg(&self.folder).output();
    }
}

/// Waits until `ready`, asking Slurm gently, and panics with `what` after `limit`.
pub(crate) fn wait_for(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) {
    support::wait_for(what, limit, || {
        ready() || {
            std::thread::sleep(Duration::from_millis(100));
            false
        }
    });
}

fn script(verb: &str) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/slurm-cluster"));
    command.arg(verb).stdin(Stdio::null());
    command
}

fn answer(what: &str, output: &Output) -> String {
    assert!(output.status.success(), "{what}: {}", support::stderr(output));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

fn is_here(daemon: &str) -> bool {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(OsString::from(":/usr/local/sbin:/usr/sbin:/sbin"));
    std::env::split_paths(&path).any(|folder| folder.join(daemon).is_file())
}

/// Absence is a failure where it can be mended and where nobody would notice a skipped test.
fn absent(accounting: bool) {
    let knob = if accounting {
        "SLURM_CLUSTER_ACCOUNTING=1 "
    } else {
        ""
    };
    let can_install = nix::unistd::geteuid().is_root() && is_here("apt-get");
    // scripts/test has tried.
    let is_excused = accounting && std::env::var_os("MST_TEST_WITHOUT_ACCOUNTING").is_some();
    assert!(
        is_excused || !can_install && std::env::var_os("CI").is_none_or(|v| v != "true"),
        "Slurm's daemons are not here; run: {knob}scripts/slurm-cluster install"
    );
    support::skipped(&format!(
        "needs Slurm's daemons; {knob}scripts/slurm-cluster install"
    ));
}
