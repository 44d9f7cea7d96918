//! Nodes that are lost, with their driver or without it, and drivers that are started twice.

use crate::slurm::cluster::{Cluster, LIMIT, wait_for};
use crate::support::read_json;

use super::midway::{await_held, await_printed, drivers, lives, midway, printed, shown};

#[test]
fn a_run_whose_node_died_can_be_resumed() {
    let Some(cluster) = Cluster::start() else { return };
    let midway = midway(&cluster, "", "requeue: false");
    let node = cluster.field(&midway.job, "%N");
    cluster.slurm_cluster("node-fail", &[&node]);
    cluster.await_state(&midway.job, &["NODE_FAIL"]);
    let status = midway.run.await_state("lost");
    assert!(status["why"].as_str().unwrap().contains("NODE_FAIL"), "{status}");
    assert!(status["advice"].to_string().contains("mst resume"), "{status}");
    midway.run.let_go();
    midway.run.resume();
    midway.went_on();
}

#[test]
fn a_driver_that_lives_on_a_lost_node_is_fenced() {
    let Some(cluster) = Cluster::start() else { return };
    let midway = midway(&cluster, "", "");
    let run = &midway.run;
    let [zombie] = drivers(run)[..] else {
        panic!("one driver: {:?}", drivers(run))
    };
    let node = cluster.field(&midway.job, "%N");
    cluster.slurm_cluster("node-kill", &[&node]);
    let name = format!("nodename={node}");
    cluster.ask("scontrol", &["update", &name, "state=down", "reason=lost"]);
    cluster.await_state(&midway.job, &["PENDING"]);
    assert!(lives(zombie), "the lost node's driver is alive");
    // The new driver has the pair, and the old one has not noticed yet: what that finishes now is not to be stored.
    let lease = run.space.results().join("8_8/.lease");
    wait_for("the new driver takes the pair", LIMIT, || {
        std::fs::read(&lease).is_ok_and(|text| {
            let owner: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
            owner["incarnation"]["restart"] == 1
        })
    });
    run.let_go();
    wait_for("the old driver ends by itself", LIMIT, || !lives(zombie));
    await_printed(run, "a later job of this run has taken over");
    assert_eq!(shown(&cluster, &midway.job, "Restarts"), "1");
    assert_ne!(cluster.field(&midway.job, "%N"), node);
    midway.went_on();
    let told = printed(run);
    assert!(
        told.contains("an earlier job of this run still works on this pair"),
        "{told}"
    );
    cluster.await_state(&midway.job, &["COMPLETED"]);
}

#[test]
fn a_job_that_runs_twice_has_one_driver() {
    let Some(cluster) = Cluster::start() else { return };
    let midway = midway(&cluster, "", "");
    let run = &midway.run;
    // As a controller that forgot that it had started the job.
    let name = format!("--job-name={}-1", run.tag);
    let script = run.folder().join("drive.slurm");
    let twin = cluster.ask("sbatch", &["--parsable", &name, script.to_str().unwrap()]);
    cluster.await_state(&twin, &["COMPLETED"]);
    await_printed(run, "drives this run already; nothing to do");
    // A driver that starts a program is two for a moment.
    wait_for("one driver is left", LIMIT, || drivers(run).len() == 1);
    assert_eq!(run.status()["state"], "running");
    await_held(run);
    assert_eq!(run.trials(), midway.stored);
    run.let_go();
    run.ends_well();
    let ended = read_json(&run.folder().join("main/ended.json"));
    assert_eq!(ended["job"], midway.job);
}
