//! `mst submit` while the controller is away, hangs, forgets, or refuses.

use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Saved;
use crate::slurm::cluster::{Cluster, LIMIT, wait_for};
use crate::slurm::runs::Run;
use crate::support::stderr;

/// `mst submit` in the background; what it says goes into a file.
struct Submitting {
    child: Option<Child>,
    told: PathBuf,
}

impl Submitting {
    fn start(run: &Run<'_>) -> Self {
        let told = run.space.path().join("told");
        let child = run
            .mst("submit")
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&told).unwrap())
            .spawn()
            .unwrap();
        Self {
            child: Some(child),
            told,
        }
    }

    fn told(&self) -> String {
        std::fs::read_to_string(&self.told).unwrap()
    }

    /// Waits until it said this.
    fn await_words(&self, words: &str) {
        wait_for(&format!("mst submit says `{words}`"), LIMIT, || {
            self.told().contains(words)
        });
    }

    fn interrupt(&self) {
        let pid = self.child.as_ref().unwrap().id();
        kill(Pid::from_raw(pid as i32), Signal::SIGINT).unwrap();
    }

    fn output(mut self) -> Output {
        let mut output = self.child.take().unwrap().wait_with_output().unwrap();
        output.stderr = std::fs::read(&self.told).unwrap();
        output
    }
}

impl Drop for Submitting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            eprintln!(
                "mst submit said:\n{}",
                std::fs::read_to_string(&self.told).unwrap_or_default()
            );
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn journal(run: &Run<'_>) -> String {
    std::fs::read_to_string(run.folder().join("jobs.jsonl")).unwrap()
}

fn runs(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("requests/.runs")).map_or(0, Iterator::count)
}

#[test]
fn a_controller_that_is_down_is_waited_for() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.slurm_cluster("ctld-stop", &[]);
    let mut run = Run::prepare(&cluster, "");
    let submitting = Submitting::start(&run);
    submitting.await_words("Unable to contact slurm controller");
    submitting.await_words("; looking for mst-");
    cluster.slurm_cluster("ctld-start", &[]);
    run.was_submitted(&submitting.output());
    run.ends_well();
    assert_eq!(run.jobs().len(), 1);
}

#[test]
fn a_submit_that_was_given_up_goes_on_by_resume() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.slurm_cluster("ctld-stop", &[]);
    let mut run = Run::prepare(&cluster, "");
    let submitting = Submitting::start(&run);
    submitting.await_words("; looking for mst-");
    submitting.interrupt();
    let output = submitting.output();
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(11), "{told}");
    let begin = told.find("`mst resume ").expect(&told) + "`mst resume ".len();
    told[begin..].split('`').next().unwrap().clone_into(&mut run.name);
    let plan = crate::support::read_json(&run.folder().join("plan.json"));
    plan["tag"].as_str().unwrap().clone_into(&mut run.tag);
    // Nobody knows whether it is in the queue: it is not submitted again blindly.
    let blind = run.mst("resume").arg(&run.name).output().unwrap();
    assert_eq!(blind.status.code(), Some(11), "{}", stderr(&blind));
    cluster.slurm_cluster("ctld-start", &[]);
    run.resume();
    run.ends_well();
    assert_eq!(run.jobs().len(), 1);
}

#[test]
fn a_job_that_was_taken_in_silence_is_found_by_its_name() {
    let Some(cluster) = Cluster::start() else { return };
    let mut run = Run::prepare(&cluster, "");
    cluster.slurm_cluster("ctld-pause", &[]);
    let submitting = Submitting::start(&run);
    submitting.await_words("timed out");
    cluster.slurm_cluster("ctld-resume", &[]);
    let id = run.was_submitted(&submitting.output());
    let journal = journal(&run);
    assert!(journal.contains(r#""event":"doubt""#), "{journal}");
    assert!(journal.contains(r#""event":"found""#), "{journal}");
    assert_eq!(journal.matches(r#""event":"intent""#).count(), 1, "{journal}");
    run.ends_well();
    let jobs = run.jobs();
    assert_eq!((jobs.len(), &jobs[0].0), (1, &id));
}

#[test]
fn an_id_that_was_given_to_another_job_is_not_ours() {
    let Some(cluster) = Cluster::start() else { return };
    let saved = Saved::now(&cluster);
    cluster.ask("scontrol", &["update", "partitionname=batch", "state=down"]);
    let mut run = Run::prepare(&cluster, "");
    let id = run.was_submitted(&run.mst("submit").output().unwrap());
    cluster.await_state(&id, &["PENDING"]);
    // A controller that crashes within seconds has not saved what it acknowledged: as if it had not been.
    cluster.slurm_cluster("ctld-kill", &[]);
    saved.restore();
    cluster.slurm_cluster("ctld-start", &[]);
    let other = cluster.submit(&["--job-name=other"], "sleep 600");
    assert_eq!(other, id, "the id is given again");
    cluster.await_state(&other, &["RUNNING"]);
    let status = run.status();
    assert_eq!(status["jobs"][0]["state"], "GONE", "{status}");
    // What is done to the run is not done to the other job.
    let output = run.mst("cancel").arg(&run.name).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let again = run.resume();
    assert_ne!(again, other);
    run.ends_well();
    assert_eq!(cluster.state(&other), "RUNNING");
    assert_eq!(run.jobs().len(), 1);
}

#[test]
fn munge_that_is_down_is_waited_for() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.slurm_cluster("munge-kill", &[]);
    let mut run = Run::prepare(&cluster, "");
    let submitting = Submitting::start(&run);
    submitting.await_words("Munge encode failed");
    cluster.slurm_cluster("munge-start", &[]);
    run.was_submitted(&submitting.output());
    run.ends_well();
    assert_eq!(run.jobs().len(), 1);
}

/// One refusal: Slurm's words and the remedy are told, sbatch was called once, and nothing is left.
fn is_refused(run: &Run<'_>, arguments: &[&str], words: &[&str]) {
    let path = run.wrap("sbatch", "echo $* >>calls; exec \"$real\" \"$@\"");
    let calls = run.space.path().join("calls");
    let _ = std::fs::remove_file(&calls);
    let output = run
        .mst("submit")
        .args(arguments)
        .env("PATH", path)
        .output()
        .unwrap();
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(11), "{words:?}: {told}");
    for words in words {
        assert!(told.contains(words), "{words}: {told}");
    }
    let calls = std::fs::read_to_string(calls).unwrap();
    assert_eq!(calls.lines().count(), 1, "{calls}");
    assert_eq!(runs(run.space.path()), 0);
}

#[test]
fn a_refusal_is_told_in_slurms_words_and_not_repeated() {
    let Some(cluster) = Cluster::start() else { return };
    let run = Run::prepare(&cluster, "");
    let partition = ["invalid partition specified: nosuch", "(status 1)", "sinfo -s"];
    is_refused(&run, &["--partition", "nosuch"], &partition);
    let profile = run.space.path().join("slurm/cluster.yml");
    std::fs::create_dir(profile.parent().unwrap()).unwrap();
    for (text, words) in [
        (
            "driver:\n  mem: 999G\n",
            ["Memory specification can not be satisfied", "`mem`"],
        ),
        (
            "sbatch: [--gpus=99]\n",
            ["Requested node configuration is not available", "sinfo -o"],
        ),
        (
            "sbatch: [--gres=tpu:1]\n",
            ["Invalid generic resource (gres) specification", "sinfo -o"],
        ),
        (
            "constraint: nosuch\n",
            ["Invalid feature specification", "`constraint`"],
        ),
        (
            "sbatch: [--colour=red]\n",
            ["unrecognized option '--colour=red'", "(status 255)"],
        ),
    ] {
        std::fs::write(&profile, text).unwrap();
        is_refused(&run, &[], &words);
    }
    std::fs::remove_file(&profile).unwrap();
    // Slurm keeps a record of some that it refused.
    assert!(cluster.jobs().iter().all(|(_, state, _)| state == "FAILED"));
}

#[test]
fn a_refusal_by_the_accounts_limits_is_told() {
    let Some(cluster) = Cluster::with(&[("ACCOUNTING", "1")]) else {
        return;
    };
    let mut run = Run::prepare(&cluster, "");
    is_refused(
        &run,
        &["--account", "nosuch"],
        &["Invalid account", "sacctmgr show assoc"],
    );
    is_refused(
        &run,
        &["--qos", "nosuch"],
        &["Invalid qos specification", "--qos"],
    );
    let one = ["-i", "modify", "qos", "normal", "set", "MaxSubmitJobsPerUser=1"];
    cluster.ask("sacctmgr", &one);
    let first = cluster.submit(&[], "sleep 600");
    // The controller learns of the limit a moment later.
    wait_for("the limit holds", LIMIT, || {
        let second = cluster
            .command("sbatch")
            .args(["--parsable", "--hold", "--wrap=true"])
            .output();
        let second = second.unwrap();
        if second.status.success() {
            cluster.ask("scancel", &[String::from_utf8_lossy(&second.stdout).trim()]);
        }
        !second.status.success()
    });
    is_refused(
        &run,
        &[],
        &[
            "QOSMaxSubmitJobPerUserLimit",
            "refused for now",
            "try again later",
        ],
    );
    cluster.ask("scancel", &[&first]);
    cluster.await_state(&first, &["CANCELLED"]);
    let output = run.mst("submit").output().unwrap();
    run.was_submitted(&output);
    run.ends_well();
}
