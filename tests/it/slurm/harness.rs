//! The clusters themselves: that they do what the other tests take for granted.

use std::process::Command;

use super::cluster::{Cluster, LIMIT, wait_for};
use crate::support::{Workspace, kill, program, stderr};

#[test]
fn a_job_runs_with_gpus_and_its_output_can_be_read() {
    let Some(cluster) = Cluster::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("job.out");
    let output = format!("--output={}", log.display());
    let job = cluster.submit(
        &[&output, "--gpus=2", "--job-name=smoke"],
        "echo gpus $CUDA_VISIBLE_DEVICES",
    );
    cluster.await_state(&job, &["COMPLETED"]);
    assert_eq!(std::fs::read_to_string(log).unwrap(), "gpus 0,1\n");
    assert_eq!(
        cluster.jobs(),
        [(job, "COMPLETED".to_owned(), "smoke".to_owned())]
    );
}

#[test]
fn a_search_runs_in_a_job() {
    let Some(cluster) = Cluster::start() else { return };
    let space = Workspace::scripted("");
    let line = format!("srun {} run", program());
    let job = cluster.submit(&["--chdir", space.path().to_str().unwrap()], &line);
    cluster.await_state(&job, &["COMPLETED"]);
    let there = space.capacity("8_8");
    let here = Workspace::scripted("");
    assert!(here.run(&[]).output().unwrap().status.success());
    assert_eq!(there, here.capacity("8_8"));
}

#[test]
fn a_workspace_may_bring_its_server() {
    let Some(cluster) = Cluster::start() else { return };
    let space = Workspace::serving("WALLTIME=1h");
    let output = cluster.mst(space.path()).arg("config").output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("serve --profile demo"), "{shown}");
}

#[test]
fn two_clusters_know_nothing_of_each_other() {
    let Some(one) = Cluster::start() else { return };
    let Some(other) = Cluster::with(&[("NODES", "1"), ("GPUS", "0")]) else {
        return;
    };
    let job = one.submit(&["--job-name=here"], "sleep 600");
    one.await_state(&job, &["RUNNING"]);
    assert!(other.jobs().is_empty());
    let folder = other.folder().to_owned();
    drop(other);
    assert!(!folder.exists());
    assert_eq!(one.state(&job), "RUNNING");
}

#[test]
fn a_stopped_cluster_leaves_no_process() {
    let Some(cluster) = Cluster::start() else { return };
    // As a detached server that SIGTERM does not move.
    let job = cluster.submit(&[], "trap '' TERM; setsid sleep 54321 & wait");
    cluster.await_state(&job, &["RUNNING"]);
    let folder = cluster.folder().to_owned();
    assert!(living(&folder).len() > 5);
    cluster.slurm_cluster("ctld-pause", &[]);
    drop(cluster);
    assert_eq!(living(&folder), Vec::<String>::new());
    assert!(!folder.exists());
}

#[test]
fn a_cluster_whose_owner_was_killed_stops_by_itself() {
    let Some(cluster) = Cluster::start() else { return };
    let mut owner = Command::new("sleep").arg("120").spawn().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/slurm-cluster");
    let output = Command::new(script)
        .arg("start")
        .env("SLURM_CLUSTER_OWNER", owner.id().to_string())
        .output()
        .unwrap();
    let folder = std::path::PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end());
    assert!(folder.join("slurm.conf").exists());
    kill(&mut owner);
    wait_for("the orphaned cluster is gone", LIMIT, || {
        !folder.exists() && living(&folder).is_empty()
    });
    assert!(cluster.folder().exists());
}

#[test]
fn a_killed_controller_comes_back_with_its_jobs() {
    let Some(cluster) = Cluster::start() else { return };
    let job = cluster.submit(&[], "sleep 600");
    cluster.await_state(&job, &["RUNNING"]);
    // An orderly end saves the state; a crash alone may lose what is a few seconds old.
    cluster.slurm_cluster("ctld-stop", &[]);
    cluster.slurm_cluster("ctld-start", &[]);
    cluster.await_state(&job, &["RUNNING"]);
    cluster.slurm_cluster("ctld-kill", &[]);
    assert_eq!(cluster.state(&job), "");
    cluster.slurm_cluster("ctld-start", &[]);
    cluster.await_state(&job, &["RUNNING"]);
}

#[test]
fn a_failed_node_takes_its_job_along() {
    let Some(cluster) = Cluster::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let pid = folder.path().join("pid");
    let lines = format!("echo $$ > {}; sleep 600", pid.display());
    let job = cluster.submit(&["--nodelist=n2", "--no-requeue"], &lines);
    let other = cluster.submit(&["--nodelist=n3"], "sleep 600");
    wait_for("the job says its process", LIMIT, || {
        std::fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n'))
    });
    cluster.await_state(&other, &["RUNNING"]);
    cluster.slurm_cluster("node-fail", &["n2"]);
    cluster.await_state(&job, &["NODE_FAIL"]);
    assert_eq!(cluster.state(&other), "RUNNING");
    let pid = std::fs::read_to_string(&pid).unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
}

#[test]
fn an_urgent_job_sends_another_back_to_the_queue() {
    let Some(cluster) = Cluster::start() else { return };
    let victim = cluster.submit(&["--nodelist=n1", "--exclusive"], "sleep 600");
    cluster.await_state(&victim, &["RUNNING"]);
    let urgent = cluster.submit(&["--partition=urgent", "--nodelist=n1", "--exclusive"], "sleep 1");
    cluster.await_state(&victim, &["PENDING"]);
    cluster.await_state(&urgent, &["COMPLETED"]);
    cluster.await_state(&victim, &["RUNNING"]);
    let shown = cluster.ask("scontrol", &["-o", "show", "job", &victim]);
    assert!(shown.contains(" Restarts=1 "), "{shown}");
}

/// Command lines of processes that mention a folder in their arguments or environment, but for the dead and this one's.
fn living(folder: &std::path::Path) -> Vec<String> {
    let text = folder.to_str().unwrap().as_bytes();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let [arguments, environment] =
            ["cmdline", "environ"].map(|file| std::fs::read(entry.path().join(file)).unwrap_or_default());
        if [&arguments, &environment]
            .iter()
            .any(|bytes| bytes.windows(text.len()).any(|w| w == text))
        {
            found.push(String::from_utf8_lossy(&arguments).replace('\0', " "));
        }
    }
    found
}
