//! A controller, or the accounting, that is away, slow, or forgetful while a run goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Saved;
use crate::slurm::cluster::{Cluster, LIMIT, wait_for};
use crate::slurm::runs::Run;
use crate::support::{read_json, stderr};

#[test]
fn a_run_goes_on_while_the_controller_restarts() {
    let Some(cluster) = Cluster::start() else { return };
    let run = Run::submit_held(&cluster, "", &[]);
    let job = run.jobs()[0].0.clone();
    cluster.slurm_cluster("ctld-stop", &[]);
    run.let_go();
    let before = run.trials();
    wait_for("trials go on without a controller", LIMIT, || {
        run.trials() >= before + 2
    });
    assert_eq!(run.status()["state"], "running");
    cluster.slurm_cluster("ctld-start", &[]);
    run.ends_well();
    cluster.await_state(&job, &["COMPLETED"]);
    let shown = cluster.ask("scontrol", &["-o", "show", "job", &job]);
    assert!(shown.contains(" Restarts=0 "), "{shown}");
}

#[test]
fn a_run_that_ends_while_the_controller_is_away_is_done() {
    let Some(cluster) = Cluster::start() else { return };
    let run = Run::submit_held(&cluster, "", &[]);
    // Saved as a job that runs.
    cluster.slurm_cluster("ctld-stop", &[]);
    cluster.slurm_cluster("ctld-start", &[]);
    cluster.slurm_cluster("ctld-kill", &[]);
    assert_eq!(run.trials(), 0);
    run.let_go();
    let ended = run.folder().join("main/ended.json");
    wait_for("the driver writes its end", 2 * LIMIT, || ended.is_file());
    assert_eq!(read_json(&ended)["outcome"], "done");
    let output = run.mst("status").arg(&run.name).output().unwrap();
    let told = stderr(&output);
    assert!(told.contains("this is told from the files of the runs"), "{told}");
    assert_eq!(run.status()["state"], "done");
    cluster.slurm_cluster("ctld-start", &[]);
    // Whatever the controller makes of a job whose end it missed.
    run.ends_well();
    assert_eq!(run.status()["state"], "done");
}

#[test]
fn a_job_that_a_crash_brought_back_is_told_of() {
    let Some(cluster) = Cluster::start() else { return };
    let batch = |state: &str| cluster.ask("scontrol", &["update", "partitionname=batch", state]);
    batch("state=down");
    let mut run = Run::prepare(&cluster, "");
    let job = run.was_submitted(&run.mst("submit").output().unwrap());
    let saved = Saved::now(&cluster);
    batch("state=up");
    run.await_state("done");
    cluster.await_state(&job, &["COMPLETED"]);
    cluster.slurm_cluster("ctld-kill", &[]);
    saved.restore();
    cluster.slurm_cluster("ctld-start", &[]);
    cluster.ask("scontrol", &["hold", &job]);
    // To the controller it was never started.
    cluster.await_state(&job, &["PENDING"]);
    let status = run.status();
    assert_eq!(status["state"], "done", "{status}");
    assert!(status["advice"].to_string().contains("`mst cancel "), "{status}");
    // Where it starts again, its driver has nothing to do.
    batch("state=up");
    cluster.ask("scontrol", &["release", &job]);
    cluster.await_state(&job, &["COMPLETED"]);
    run.ends_well();
}

#[test]
fn a_run_whose_job_is_forgotten_tells_from_its_files() {
    let Some(cluster) = Cluster::with(&[("MIN_JOB_AGE", "5")]) else {
        return;
    };
    let killed = Run::submit_held(&cluster, "", &[]);
    let job = killed.jobs()[0].0.clone();
    cluster.ask("scancel", &["--full", "--signal=KILL", &job]);
    let done = Run::submit(&cluster, "", &[]);
    done.ends_well();
    wait_for("the controller knows no job", LIMIT, || cluster.jobs().is_empty());
    let status = done.status();
    assert_eq!(status["state"], "done", "{status}");
    assert_eq!(status["jobs"][0]["state"], "GONE", "{status}");
    assert_eq!(status["exit"], 0, "{status}");
    let output = done.mst("resume").arg(&done.name).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("every pair has its answer"), "{told}");
    // The other has no end, and no job to say why.
    let status = killed.status();
    assert_eq!(status["jobs"][0]["state"], "GONE", "{status}");
    assert_ne!(status["state"], "done", "{status}");
    killed.let_go();
    killed.resume();
    killed.ends_well();
}

#[test]
fn a_run_needs_no_accounting() {
    let Some(cluster) = Cluster::start() else { return };
    let absent = cluster.command("sacct").output().unwrap();
    assert!(stderr(&absent).contains("disabled"), "{}", stderr(&absent));
    let run = Run::submit_held(&cluster, "", &[]);
    assert_eq!(run.status()["state"], "running");
    run.let_go();
    run.ends_well();
}

#[test]
fn a_run_needs_no_accounting_daemon() {
    let Some(cluster) = Cluster::with(&[("ACCOUNTING", "1")]) else {
        return;
    };
    cluster.slurm_cluster("dbd-kill", &[]);
    let run = Run::submit_held(&cluster, "", &[]);
    let absent = cluster.command("sacct").output().unwrap();
    assert!(!absent.status.success(), "{}", stderr(&absent));
    assert_eq!(run.status()["state"], "running");
    cluster.slurm_cluster("dbd-start", &[]);
    run.let_go();
    cluster.slurm_cluster("dbd-kill", &[]);
    run.ends_well();
}

#[test]
fn a_slow_controller_is_no_answer() {
    let Some(cluster) = Cluster::start() else { return };
    let mut run = Run::prepare(&cluster, "");
    run.pace("0.5");
    let is_over = AtomicBool::new(false);
    let silent = std::thread::scope(|scope| {
        scope.spawn(|| {
            // The test may fail meanwhile.
            let _over = Over(&is_over);
            while !is_over.load(Ordering::Relaxed) {
                // Longer than Slurm's own commands wait.
                cluster.slurm_cluster("ctld-pause", &[]);
                std::thread::sleep(Duration::from_secs(7));
                cluster.slurm_cluster("ctld-resume", &[]);
                std::thread::sleep(Duration::from_secs(4));
            }
        });
        let _over = Over(&is_over);
        let output = run.mst("submit").output().unwrap();
        run.was_submitted(&output);
        let mut silent = 0;
        wait_for("the run is done", 3 * LIMIT, || {
            let output = run.mst("status").arg(&run.name).output().unwrap();
            silent += usize::from(stderr(&output).contains("did not answer"));
            let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let state = status[0]["state"].as_str().unwrap();
            assert!(
                ["waiting", "running", "unknown", "done"].contains(&state),
                "{status} {}",
                stderr(&output)
            );
            state == "done"
        });
        silent
    });
    assert!(silent > 0, "the controller always answered");
    run.ends_well();
    assert_eq!(run.jobs().len(), 1);
}

/// Sets a flag when it goes.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
