//! The end of a job's time.

use crate::slurm::cluster::{Cluster, LIMIT, wait_for};
use crate::slurm::runs::Run;

use super::midway::{await_printed, midway, prepare, printed, shown, submit};

/// Trials of six seconds: some eight fit into a job of a minute, a search has fourteen.
const MINUTES: &str = "DURATION=6s\nDRAIN=1s\nITERATION_COOLDOWN_SECONDS=0\nREQ_MIN_START=600";
const ONE_MINUTE: &str = "partition: short\ntime:\n";

fn paced<'a>(cluster: &'a Cluster, profile: &str, arguments: &[&str]) -> (Run<'a>, String) {
    let mut run = prepare(cluster, MINUTES, profile);
    run.pace("6");
    let job = submit(&mut run, arguments);
    (run, job)
}

/// Every trial that was begun was stored: none was cut off.
fn none_was_cut_off(run: &Run<'_>) {
    let told = printed(run);
    assert!(told.contains("a trial with its drain takes"), "{told}");
    assert!(!told.contains("the job ends soon"), "{told}");
}

#[test]
fn a_job_goes_back_into_the_queue_before_its_limit() {
    let Some(cluster) = Cluster::start() else { return };
    let (run, job) = paced(&cluster, ONE_MINUTE, &["--mode", "job"]);
    await_printed(&run, &format!("job {job} is back in the queue"));
    run.await_state("waiting");
    let stored = run.trials();
    assert!(stored > 1, "{stored} trials in a minute");
    await_printed(&run, &format!("{stored} trials stored)"));
    run.ends_well();
    none_was_cut_off(&run);
    cluster.await_state(&job, &["COMPLETED"]);
    assert_ne!(shown(&cluster, &job, "Restarts"), "0");
    assert_eq!(run.jobs().len(), 1);
}

#[test]
fn a_job_that_may_not_be_requeued_has_a_successor() {
    let Some(cluster) = Cluster::start() else { return };
    let profile = format!("{ONE_MINUTE}requeue: false\n");
    let (run, job) = paced(&cluster, &profile, &["--mode", "job"]);
    await_printed(&run, "goes on when this one has ended");
    cluster.await_state(&job, &["COMPLETED"]);
    run.ends_well();
    none_was_cut_off(&run);
    assert!(run.jobs().len() > 1, "{:?}", run.jobs());
    assert!(run.jobs().iter().all(|(_, state)| state == "COMPLETED"));
}

#[test]
fn a_chain_submits_its_next_job() {
    let Some(cluster) = Cluster::start() else { return };
    let (run, _) = paced(&cluster, ONE_MINUTE, &["--mode", "chain"]);
    await_printed(&run, "goes on when this one has ended");
    run.ends_well();
    none_was_cut_off(&run);
    let jobs = run.jobs();
    assert!(jobs.len() > 1, "{jobs:?}");
    for (job, _) in jobs {
        assert_eq!(shown(&cluster, &job, "Restarts"), "0");
    }
}

#[test]
fn a_limit_that_holds_no_trial_ends_the_run_with_a_remedy() {
    let Some(cluster) = Cluster::start() else { return };
    for mode in ["job", "chain"] {
        // The partition's own limit is ten minutes, which `mst submit` does not know.
        let long = "DURATION=11m\nDRAIN=1s\nITERATION_COOLDOWN_SECONDS=0";
        let mut run = prepare(&cluster, long, "time:\n");
        submit(&mut run, &["--mode", mode]);
        let status = run.await_state("failed");
        let why = status["why"].as_str().unwrap();
        assert!(why.contains("mst resume --time"), "{why}");
        assert!(why.contains("a trial with its drain takes 11m 1s"), "{why}");
        assert_eq!(status["exit"], 11);
        run.is_gone();
        assert_eq!(run.trials(), 0);
        let longer = run.mst("resume").args([&run.name, "--time", "1:00:00"]).output();
        assert!(longer.unwrap().status.success());
        run.ends_well();
    }
}

#[test]
fn a_limit_that_is_shortened_is_heeded() {
    let Some(cluster) = Cluster::start() else { return };
    let midway = midway(&cluster, MINUTES, "time: 1:00:00");
    let limit = format!("jobid={}", midway.job);
    cluster.ask("scontrol", &["update", &limit, "TimeLimit=1"]);
    await_printed(&midway.run, "stopped: the job ends soon");
    await_printed(&midway.run, "is back in the queue");
    midway.run.let_go();
    midway.went_on();
    cluster.await_state(&midway.job, &["COMPLETED"]);
}

#[test]
fn a_job_that_slurm_ends_for_its_limit_goes_on_in_another() {
    // The driver does not ask again before Slurm ends the job; on real clusters there is half a minute to say good-bye.
    let Some(cluster) = Cluster::with(&[("KILL_WAIT", "30")]) else {
        return;
    };
    let slow = "POLL_INTERVAL=1h";
    let midway = midway(&cluster, slow, "time: 1:00:00");
    wait_for("it has run for a minute", 2 * LIMIT, || {
        cluster.field(&midway.job, "%M").as_str() > "1:00"
    });
    let limit = format!("jobid={}", midway.job);
    cluster.ask("scontrol", &["update", &limit, "TimeLimit=1"]);
    await_printed(&midway.run, "is back in the queue");
    midway.run.let_go();
    // Trials of a minute do not fit into the limit as it is now.
    cluster.await_state(&midway.job, &["PENDING"]);
    cluster.ask("scontrol", &["update", &limit, "TimeLimit=60"]);
    midway.went_on();
}
