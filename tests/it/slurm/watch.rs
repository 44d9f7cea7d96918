//! `mst status`, `list`, `logs` and `cancel` on a real Slurm. Runs are made by the library; their drivers are jobs that
//! sleep under the run's name.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chrono::{TimeDelta, Utc};
use mst::executor::slurm::JobId;
use mst::store::runs::{Ended, Mode, Note, Outcome, Plan, RunDir};
use mst::store::{Incarnation, Lease};
use serde_json::Value;

use super::cluster::{Cluster, LIMIT, wait_for};
use crate::support::stderr;

/// A run that somebody submitted: its folder, and the job of its driver.
struct Fake {
    run: RunDir,
    tag: String,
}

impl Fake {
    fn make(results: &Path, mode: Mode, pairs: u32) -> Self {
        let run = RunDir::create(results).unwrap();
        let pairs: Vec<String> = (1..=pairs).map(|n| format!("{n}_{n}")).collect();
        let tag = format!("mst-{}", &blake3::hash(run.name().as_bytes()).to_hex()[..8]);
        run.write_plan(&Plan {
            schema: 1,
            run: run.name(),
            tag: tag.clone(),
            mode,
            created: Utc::now(),
            mst_version: env!("CARGO_PKG_VERSION").to_owned(),
            program: PathBuf::from(env!("CARGO_BIN_EXE_mst")),
            submit_dir: results.to_owned(),
            results_dir: results.to_owned(),
            folders: pairs.clone(),
            pairs,
            trial_s: 60.0,
            trials: (10, 40),
            walltime_s: Some(3600.0),
            throttle: (mode == Mode::Array).then_some(2),
        })
        .unwrap();
        Self { run, tag }
    }

    fn submit(&self, cluster: &Cluster, options: &[&str], lines: &str) -> String {
        let name = format!("--job-name={}-1", self.tag);
        let job = cluster.submit(&[&[name.as_str()], options].concat(), lines);
        self.note(&Note::Submitted {
            id: JobId::parse(&job).unwrap(),
        });
        job
    }

    fn note(&self, note: &Note) {
        self.run
            .journal(None)
            .note(&format!("{}-1", self.tag), note)
            .unwrap();
    }

    fn end(&self, outcome: Outcome) {
        let ended = Ended {
            outcome,
            exit: 0,
            why: String::new(),
            at: Utc::now(),
            job: None,
        };
        self.run.seat(None).end(&ended).unwrap();
    }

    /// As if everything that is in the journal had happened so long ago.
    fn age(&self, by: TimeDelta) {
        let path = self.run.path().join("jobs.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        let mut aged = String::new();
        for line in text.lines() {
            let mut line: Value = serde_json::from_str(line).unwrap();
            let at: chrono::DateTime<Utc> = line["at"].as_str().unwrap().parse().unwrap();
            line["at"] = (at - by).to_rfc3339().into();
            aged.push_str(&line.to_string());
            aged.push('\n');
        }
        std::fs::write(path, aged).unwrap();
        let mut plan = self.run.plan().unwrap();
        plan.created -= by;
        self.run.write_plan(&plan).unwrap();
    }
}

/// `mst status --format json`, by run.
fn status(cluster: &Cluster, results: &Path, arguments: &[&str]) -> Vec<Value> {
    let output = cluster
        .mst(results)
        .args(["status", "--format", "json", "--results", "."])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    all.as_array().unwrap().clone()
}

fn state(cluster: &Cluster, fake: &Fake, results: &Path) -> String {
    let all = status(cluster, results, &[&fake.run.name()]);
    all[0]["state"].as_str().unwrap().to_owned()
}

fn cancel(cluster: &Cluster, results: &Path, arguments: &[&str]) -> std::process::Output {
    cluster
        .mst(results)
        .args(["cancel", "--results", "."])
        .args(arguments)
        .output()
        .unwrap()
}

/// A folder with a `squeue` that writes a line a call and does as the real one.
fn counted(folder: &Path) -> (PathBuf, PathBuf) {
    let (bin, calls) = (folder.join("bin"), folder.join("calls"));
    std::fs::create_dir(&bin).unwrap();
    let script = format!(
        "#!/bin/sh\necho \"$*\" >> {}\nPATH=\"${{PATH#*:}}\" exec squeue \"$@\"\n",
        calls.display()
    );
    std::fs::write(bin.join("squeue"), script).unwrap();
    std::fs::set_permissions(bin.join("squeue"), PermissionsExt::from_mode(0o755)).unwrap();
    (bin, calls)
}

fn with_path(mut command: Command, bin: &Path) -> Command {
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", bin.display()));
    command
}

fn calls(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}

#[test]
fn the_reasons_of_jobs_that_wait_are_told_with_a_remedy() {
    let Some(cluster) = Cluster::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (bin, log) = counted(dir.path());
    let results = dir.path();
    let wanted: [(&[&str], &str, &str); 3] = [
        (&["--partition=drained"], "PartitionDown", "its partition is down"),
        (
            &["--partition=short", "--time=2:00:00"],
            "PartitionTimeLimit",
            "WALLTIME",
        ),
        (&["--hold"], "JobHeldUser", "scontrol release"),
    ];
    let runs: Vec<(Fake, String)> = wanted
        .iter()
        .map(|(options, _, _)| {
            let fake = Fake::make(results, Mode::Job, 2);
            let job = fake.submit(&cluster, options, "sleep 600");
            (fake, job)
        })
        .collect();
    for ((_, job), (_, reason, _)) in runs.iter().zip(&wanted) {
        wait_for(reason, LIMIT, || cluster.field(job, "%r") == *reason);
    }
    let output = with_path(cluster.mst(results), &bin)
        .args(["status", "--format", "json", "--results", "."])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(calls(&log), 1, "three runs, one question");
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    for ((fake, job), (_, reason, fragment)) in runs.iter().zip(&wanted) {
        let told = all
            .as_array()
            .unwrap()
            .iter()
            .find(|run| run["run"] == fake.run.name().as_str())
            .unwrap();
        assert_eq!(told["state"], "waiting");
        let first = &told["jobs"][0];
        assert_eq!(
            (&first["id"], &first["state"]),
            (&Value::from(job.as_str()), &"PENDING".into())
        );
        assert_eq!(first["reason"], *reason);
        let advice = first["advice"].as_str().unwrap();
        assert!(advice.contains(fragment), "{advice}");
        assert_eq!(told["pairs"][1]["pair"], "2_2");
        assert_eq!(
            (&told["pairs"][1]["low"], &told["pairs"][1]["trials"]),
            (&Value::Null, &0.into())
        );
        assert_eq!(told["eta_seconds"], 1200);
    }
    let text = cluster
        .mst(results)
        .args(["status", "--results", "."])
        .output()
        .unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("(JobHeldUser): it is held: `scontrol release"),
        "{text}"
    );
    assert!(text.contains("waiting, 0 of 2 pairs done"), "{text}");
}

#[test]
fn a_thousand_tasks_cost_one_question() {
    let Some(cluster) = Cluster::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (bin, log) = counted(dir.path());
    let results = dir.path();
    let fake = Fake::make(results, Mode::Array, 1000);
    let job = fake.submit(&cluster, &["--array=0-999%2"], "sleep 600");
    wait_for("two tasks run", LIMIT, || {
        cluster.ask("squeue", &["-h", "-t", "running"]).lines().count() == 2
    });
    let output = with_path(cluster.mst(results), &bin)
        .args(["status", "--format", "json", "--results", "."])
        .output()
        .unwrap();
    assert_eq!(calls(&log), 1);
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(all[0]["state"], "running", "{}", stderr(&output));
    let count = |word: &str| {
        let pairs = all[0]["pairs"].as_array().unwrap();
        pairs.iter().filter(|pair| pair["state"] == word).count()
    };
    assert_eq!((count("running"), count("waiting")), (2, 998));
    // A thousand searches of 600 s, two at a time.
    assert_eq!(all[0]["eta_seconds"], 300_000);
    let text = cluster
        .mst(results)
        .args(["status", "--results", "."])
        .output()
        .unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("1000 pairs: 2 running, 998 waiting"), "{text}");
    assert!(text.contains("JobArrayTaskLimit"), "{text}");

    let output = with_path(cluster.mst(results), &bin)
        .args(["cancel", "--results", "."])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(calls(&log), 2);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.ends_with(&format!("cancelled job {job}\n")), "{said}");
    wait_for("no task is left", LIMIT, || {
        cluster.ask("squeue", &["-h"]).is_empty()
    });
    assert_eq!(state(&cluster, &fake, results), "cancelled");
}

#[test]
fn a_controller_that_is_away_is_done_without() {
    let Some(cluster) = Cluster::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let results = dir.path();
    let (one, other) = (
        Fake::make(results, Mode::Job, 1),
        Fake::make(results, Mode::Job, 1),
    );
    let job = one.submit(&cluster, &[], "sleep 600");
    cluster.await_state(&job, &["RUNNING"]);
    // The driver of the one gives signs of life, that of the other ended.
    let lease = Lease::take_as(one.run.seat(None).path(), &Incarnation::default()).unwrap();
    other.end(Outcome::Done);
    cluster.slurm_cluster("ctld-stop", &[]);
    assert_eq!(state(&cluster, &one, results), "running");
    assert_eq!(state(&cluster, &other, results), "done");
    drop(lease);
    assert_eq!(state(&cluster, &one, results), "unknown");
    let output = cluster
        .mst(results)
        .args(["status", "--results", "."])
        .output()
        .unwrap();
    assert!(stderr(&output).contains("did not answer"), "{}", stderr(&output));
    assert!(output.status.success());

    let output = cancel(&cluster, results, &[]);
    assert_eq!(output.status.code(), Some(11), "{}", stderr(&output));
    assert!(stderr(&output).contains("asked to stop, and drivers that run will by themselves"));
    assert!(one.run.is_asked_to_stop() && !other.run.is_asked_to_stop());
    cluster.slurm_cluster("ctld-start", &[]);
    cluster.await_state(&job, &["RUNNING"]);
    let output = cancel(&cluster, results, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.ends_with(&format!("cancelled job {job}\n")), "{said}");
    cluster.await_state(&job, &["CANCELLED"]);
    assert_eq!(state(&cluster, &one, results), "cancelled");
}

#[test]
fn a_job_that_slurm_forgot_is_told_from_files() {
    let Some(cluster) = Cluster::with(&[("MIN_JOB_AGE", "5")]) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let results = dir.path();
    let (done, gone) = (
        Fake::make(results, Mode::Job, 1),
        Fake::make(results, Mode::Job, 1),
    );
    let jobs = [&done, &gone].map(|fake| fake.submit(&cluster, &[], "true"));
    for job in &jobs {
        wait_for("the job is forgotten", 2 * LIMIT, || {
            cluster.state(job).is_empty()
        });
    }
    done.end(Outcome::Done);
    assert_eq!(state(&cluster, &done, results), "done");
    // A moment ago: it may be on its way back into the queue.
    gone.note(&Note::Found {
        id: JobId::parse(&jobs[1]).unwrap(),
    });
    assert_eq!(state(&cluster, &gone, results), "waiting");
    gone.age(TimeDelta::seconds(7200));
    let told = status(&cluster, results, &[&gone.run.name()]);
    assert_eq!(told[0]["state"], "lost");
    assert_eq!(told[0]["jobs"][0]["state"], "GONE");
    assert_eq!(told[0]["jobs"][0]["id"], jobs[1].as_str());
    let advice = told[0]["advice"][0].as_str().unwrap();
    assert!(advice.contains("mst resume"), "{advice}");
}

#[test]
fn runs_and_strangers_are_told_apart() {
    let Some(cluster) = Cluster::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let results = dir.path();
    let runs = [(); 2].map(|()| Fake::make(results, Mode::Job, 1));
    let [first, second] = [&runs[0], &runs[1]].map(|fake| fake.submit(&cluster, &[], "sleep 600"));
    let stranger = cluster.submit(&["--job-name=theirs"], "sleep 600");
    for job in [&first, &second, &stranger] {
        cluster.await_state(job, &["RUNNING"]);
    }
    // As after a crash of the controller, which gave the id of the run's second job to somebody else.
    let id = JobId::parse(&stranger).unwrap();
    runs[0].note(&Note::Submitted { id });
    let listed = cluster
        .mst(results)
        .args(["list", "--results", "."])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert_eq!(listed.matches("running").count(), 2, "{listed}");

    let output = cancel(&cluster, results, &[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("--all"), "{}", stderr(&output));
    // A job of which Slurm never said whether it took it.
    let doubtful = format!("{}-2", runs[0].tag);
    let why = "no answer".to_owned();
    runs[0]
        .run
        .journal(None)
        .note(&doubtful, &Note::Doubt { why })
        .unwrap();
    let in_doubt = cluster.submit(&["--hold", &format!("--job-name={doubtful}")], "sleep 600");
    for _ in 0..2 {
        let output = cancel(&cluster, results, &[&runs[0].run.name()]);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    cluster.await_state(&first, &["CANCELLED"]);
    cluster.await_state(&in_doubt, &["CANCELLED"]);
    assert_eq!(cluster.state(&stranger), "RUNNING");
    assert_eq!(cluster.state(&second), "RUNNING");
    assert_eq!(state(&cluster, &runs[0], results), "cancelled");
    assert_eq!(state(&cluster, &runs[1], results), "running");
}

#[test]
fn logs_are_followed_from_job_to_job_until_the_end() {
    let Some(cluster) = Cluster::start() else { return };
    let dir = tempfile::tempdir().unwrap();
    let results = dir.path();
    let fake = Fake::make(results, Mode::Chain, 1);
    let log = format!("--output={}/drive-%j.out", fake.run.logs().display());
    let go = dir.path().join("go");
    let first = fake.submit(
        &cluster,
        &[&log],
        &format!(
            "echo one; until [ -e {} ]; do sleep 0.2; done; echo two",
            go.display()
        ),
    );
    let mut follower = cluster
        .mst(results)
        .args(["logs", "-f", "--results", "."])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = follower.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        text
    });
    cluster.await_state(&first, &["RUNNING"]);
    std::fs::write(&go, "").unwrap();
    cluster.await_state(&first, &["COMPLETED"]);
    let name = format!("--job-name={}-2", fake.tag);
    let second = cluster.submit(&[&name, &log], "echo three");
    cluster.await_state(&second, &["COMPLETED"]);
    assert!(follower.try_wait().unwrap().is_none(), "the run has not ended");
    fake.end(Outcome::Done);
    let mut ended = None;
    wait_for("the follower ends", LIMIT, || {
        ended = follower.try_wait().unwrap();
        ended.is_some()
    });
    assert!(ended.unwrap().success());
    assert_eq!(reader.join().unwrap(), "one\ntwo\nthree\n");
    let output = cluster
        .mst(results)
        .args(["logs", "--results", ".", "--job", &first])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "one\ntwo\n");
}
