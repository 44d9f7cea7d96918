//! Jobs that are taken away by more urgent ones, or suspended.

use crate::slurm::cluster::{Cluster, LIMIT, wait_for};

use super::midway::{Midway, await_held, await_printed, midway, printed, shown};

/// Lets a more urgent job have the node. Returns its id.
fn preempt(cluster: &Cluster, midway: &Midway<'_>) -> String {
    let node = format!("--nodelist={}", cluster.field(&midway.job, "%N"));
    cluster.submit(&["--partition=urgent", &node, "--exclusive"], "sleep 1")
}

#[test]
fn a_preempted_job_goes_on_when_it_is_back() {
    let Some(cluster) = Cluster::start() else { return };
    let midway = midway(&cluster, "", "");
    preempt(&cluster, &midway);
    cluster.await_state(&midway.job, &["PENDING"]);
    assert_eq!(midway.run.await_state("waiting")["jobs"][0]["restarts"], 1);
    midway.run.let_go();
    midway.went_on();
    cluster.await_state(&midway.job, &["COMPLETED"]);
    assert_eq!(shown(&cluster, &midway.job, "Restarts"), "1");
}

#[test]
fn a_preempted_job_that_may_not_come_back_can_be_resumed() {
    let Some(cluster) = Cluster::start() else { return };
    let midway = midway(&cluster, "", "requeue: false");
    preempt(&cluster, &midway);
    cluster.await_state(&midway.job, &["PREEMPTED"]);
    let status = midway.run.await_state("lost");
    assert!(status["why"].as_str().unwrap().contains("PREEMPTED"), "{status}");
    assert!(status["advice"].to_string().contains("mst resume"), "{status}");
    midway.run.let_go();
    midway.run.resume();
    midway.went_on();
}

#[test]
fn a_trial_during_which_the_job_was_suspended_is_measured_anew() {
    let Some(cluster) = Cluster::start() else { return };
    let midway = midway(&cluster, "", "");
    let run = &midway.run;
    cluster.ask("scontrol", &["suspend", &midway.job]);
    cluster.await_state(&midway.job, &["SUSPENDED"]);
    let status = run.await_status("suspended", |status| {
        status["why"]
            .as_str()
            .is_some_and(|why| why.contains("stands still"))
    });
    assert_eq!(status["state"], "running");
    cluster.ask("scontrol", &["resume", &midway.job]);
    await_printed(run, "everything stood still");
    // The trial that was void has begun again, and nothing of it was judged.
    await_held(run);
    assert_eq!(run.trials(), midway.stored);
    run.let_go();
    run.ends_well();
    assert_eq!(printed(run).matches("trial repeated").count(), 1);
}

#[test]
fn a_short_suspension_is_noticed_too() {
    let Some(cluster) = Cluster::start() else { return };
    let midway = midway(&cluster, "", "");
    cluster.ask("scontrol", &["suspend", &midway.job]);
    cluster.ask("scontrol", &["resume", &midway.job]);
    wait_for("it runs", LIMIT, || cluster.state(&midway.job) == "RUNNING");
    await_printed(&midway.run, "everything stood still");
    midway.run.let_go();
    midway.run.ends_well();
}
