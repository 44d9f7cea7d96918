//! Drivers that are killed, and runs that are cancelled.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::slurm::cluster::{Cluster, LIMIT, wait_for};
use crate::support::read_json;

use super::midway::{Midway, drivers, lives, midway};

/// A server of the run's own, and nobody's business what it answers.
const WITH_SERVER: &str = "ITERATION_COOLDOWN_SECONDS=0\n\
     SERVER_COMMAND=env FOLDER={folder} MST serve --profile demo --listen {host}:{port}";

fn served(cluster: &Cluster) -> Midway<'_> {
    let extra = WITH_SERVER.replace("MST", env!("CARGO_BIN_EXE_mst"));
    midway(cluster, &extra, "")
}

fn server(midway: &Midway<'_>) -> i32 {
    let status = read_json(&midway.run.folder().join("main/server.json"));
    i32::try_from(status["pid"].as_i64().unwrap()).unwrap()
}

/// All that was stored is there for the next driver, and nothing else is left.
fn goes_on_after_a_kill(midway: &Midway<'_>, state: &str) {
    let status = midway.run.await_state(state);
    assert!(status["advice"].to_string().contains("mst resume"), "{status}");
    midway.run.let_go();
    midway.run.resume();
    midway.went_on();
}

#[test]
fn a_run_whose_processes_were_killed_goes_on() {
    let Some(cluster) = Cluster::start() else { return };
    let midway = served(&cluster);
    let server = server(&midway);
    cluster.ask("scancel", &["--signal=KILL", "--full", &midway.job]);
    wait_for("the server is gone", LIMIT, || !lives(server));
    // Slurm does not tell by which signal somebody cancelled it.
    goes_on_after_a_kill(&midway, "cancelled");
}

#[test]
fn a_run_whose_driver_was_killed_goes_on() {
    let Some(cluster) = Cluster::start() else { return };
    let midway = served(&cluster);
    let server = server(&midway);
    for pid in drivers(&midway.run) {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    wait_for("the server is gone", LIMIT, || !lives(server));
    goes_on_after_a_kill(&midway, "lost");
}

#[test]
fn a_job_that_the_user_cancels_ends_with_its_server() {
    let Some(cluster) = Cluster::with(&[("KILL_WAIT", "30")]) else {
        return;
    };
    let midway = served(&cluster);
    let server = server(&midway);
    cluster.ask("scancel", &[&midway.job]);
    cluster.await_state(&midway.job, &["CANCELLED"]);
    wait_for("the server is gone", LIMIT, || !lives(server));
    let status = midway.run.await_state("cancelled");
    assert_eq!(status["pairs"][0]["trials"], midway.stored);
    assert!(status["advice"].to_string().contains("mst resume"), "{status}");
    // Nothing brings it back but the user.
    assert_eq!(midway.run.jobs(), [(midway.job.clone(), "CANCELLED".to_owned())]);
    midway.run.let_go();
    midway.run.resume();
    midway.went_on();
}

#[test]
fn a_run_that_mst_cancels_ends_with_its_server() {
    let Some(cluster) = Cluster::with(&[("KILL_WAIT", "30")]) else {
        return;
    };
    let midway = served(&cluster);
    let server = server(&midway);
    let output = midway.run.mst("cancel").arg(&midway.run.name).output().unwrap();
    assert!(output.status.success());
    wait_for("the server is gone", LIMIT, || !lives(server));
    midway.run.await_state("cancelled");
    cluster.await_state(&midway.job, &["CANCELLED"]);
    midway.run.let_go();
    midway.run.resume();
    midway.went_on();
}
