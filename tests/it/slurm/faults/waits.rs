//! Jobs that wait and will not begin by themselves: what is told of them, and that the remedy helps.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use super::super::cluster::{Cluster, LIMIT, wait_for};
use super::super::runs::Run;
use crate::support::{read_json, stderr};

/// A run with this cluster profile that is not submitted yet.
fn prepared<'a>(cluster: &'a Cluster, settings: &str, profile: &str) -> Run<'a> {
    let run = Run::prepare(cluster, settings);
    std::fs::create_dir(run.space.path().join("slurm")).unwrap();
    std::fs::write(run.space.path().join("slurm/cluster.yml"), profile).unwrap();
    run
}

fn submitted(run: &mut Run<'_>, arguments: &[&str]) -> String {
    let output = run.mst("submit").args(arguments).output().unwrap();
    run.was_submitted(&output)
}

/// Waits until the status tells that the first job waits for this reason, and returns the advice.
fn waits_for(run: &Run<'_>, reason: &str) -> String {
    let status = run.await_status(reason, |status| {
        let told = status["jobs"][0]["reason"].as_str();
        status["state"] == "waiting" && told.is_some_and(|told| told.starts_with(reason))
    });
    let text = run
        .cluster
        .mst(run.space.path())
        .args(["status", &run.name])
        .output()
        .unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    let advice = status["jobs"][0]["advice"]
        .as_str()
        .unwrap_or_else(|| panic!("{status}"));
    assert!(text.contains(advice), "{text}");
    advice.to_owned()
}

#[test]
fn a_held_job_is_told_with_the_remedy() {
    let Some(cluster) = Cluster::start() else { return };
    let mut run = prepared(&cluster, "", "sbatch: [--hold]\n");
    run.hold();
    let id = submitted(&mut run, &[]);
    let release = format!("scontrol release {id}");
    assert!(waits_for(&run, "JobHeldUser").contains(&release));
    cluster.ask("scontrol", &["release", &id]);
    run.await_trial();
    cluster.ask("scontrol", &["requeuehold", &id]);
    assert!(waits_for(&run, "job requeued in held state").contains(&release));
    run.let_go();
    cluster.ask("scontrol", &["release", &id]);
    run.ends_well();
}

#[test]
fn a_launch_that_failed_is_told_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let (prolog, broken) = (dir.path().join("prolog"), dir.path().join("broken"));
    std::fs::write(&prolog, format!("#!/bin/sh\n[ ! -e {} ]\n", broken.display())).unwrap();
    std::fs::set_permissions(&prolog, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(&broken, "").unwrap();
    let setting = format!("Prolog={}", prolog.display());
    let Some(cluster) = Cluster::with(&[("EXTRA", &setting)]) else {
        return;
    };
    let mut run = prepared(&cluster, "", "");
    let id = submitted(&mut run, &[]);
    let advice = waits_for(&run, "launch failed requeued held");
    assert!(advice.contains(&format!("scontrol release {id}")), "{advice}");
    std::fs::remove_file(&broken).unwrap();
    // Slurm drains a node where no job can begin.
    for node in ["n1", "n2", "n3", "n4"] {
        let state = cluster.ask("sinfo", &["-h", "-n", node, "-p", "batch", "-o", "%T"]);
        if state.starts_with("drain") {
            cluster.ask(
                "scontrol",
                &["update", &format!("nodename={node}"), "state=resume"],
            );
        }
    }
    cluster.ask("scontrol", &["release", &id]);
    run.ends_well();
}

#[test]
fn a_job_that_waits_for_ever_is_warned_of_and_explained() {
    let Some(cluster) = Cluster::start() else { return };
    for (arguments, code, warning, reason, remedy) in [
        (
            &["--partition", "drained"][..],
            0,
            "the partition drained is down",
            "PartitionDown",
            "another partition",
        ),
        (
            &["--partition", "short", "--time", "2:00:00"],
            11,
            "it would wait for ever; give --time 00:01:00",
            "PartitionTimeLimit",
            "mst resume --time",
        ),
    ] {
        let mut run = prepared(&cluster, "", "");
        let checked = cluster
            .mst(run.space.path())
            .args(["submit", "--check"])
            .args(arguments)
            .output()
            .unwrap();
        let said = stderr(&checked);
        assert_eq!(checked.status.code(), Some(code), "{said}");
        assert!(said.contains(warning), "{said}");
        submitted(&mut run, arguments);
        let advice = waits_for(&run, reason);
        assert!(advice.contains(remedy), "{advice}");
        let output = run.mst("cancel").arg(&run.name).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        run.await_state("cancelled");
        run.is_gone();
    }

    // Five nodes of four.
    let settings = "SERVER_COMMAND=serve {port}\nSERVER_PLACE=node";
    let mut run = prepared(&cluster, settings, "server: {nodes: 4, gpus: 0, mem: 300M}\n");
    let checked = run.mst("submit").arg("--check").output().unwrap();
    assert_eq!(checked.status.code(), Some(11), "{}", stderr(&checked));
    let output = run.mst("submit").output().unwrap();
    if output.status.success() {
        run.was_submitted(&output);
        waits_for(&run, "PartitionNodeLimit");
    } else {
        // Some versions of Slurm refuse it.
        assert_eq!(output.status.code(), Some(11), "{}", stderr(&output));
    }
}

/// How the task of an array ended.
fn ended(run: &Run<'_>, task: u32) -> Value {
    read_json(&run.folder().join(format!("task-{task}/ended.json")))
}

fn modified(path: &Path) -> std::time::SystemTime {
    path.metadata().unwrap().modified().unwrap()
}

#[test]
fn one_failed_task_of_an_array_is_resumed_alone() {
    let Some(cluster) = Cluster::start() else { return };
    let mut run = prepared(
        &cluster,
        "TOKENS_LIST=8:8,16:16,8:16",
        "driver: {cpus: 1, mem: 300M}\n",
    );
    // In the way of the second pair's folder.
    std::fs::create_dir(run.space.results()).unwrap();
    std::fs::write(run.space.results().join("16_16"), "").unwrap();
    run.hold();
    let id = submitted(&mut run, &["--mode", "array", "--throttle", "1"]);
    run.await_trial();
    let status = run.await_status("throttled", |status| {
        let jobs = status["jobs"].as_array().unwrap();
        jobs.iter().any(|job| job["reason"] == "JobArrayTaskLimit")
    });
    let told = status["jobs"].as_array().unwrap();
    let waiting = told
        .iter()
        .find(|job| job["reason"] == "JobArrayTaskLimit")
        .unwrap();
    let remedy = format!("scontrol update jobid={id} ArrayTaskThrottle=N");
    assert!(waiting["advice"].as_str().unwrap().contains(&remedy), "{status}");
    let running = run.jobs().iter().filter(|(_, state)| state == "RUNNING").count();
    assert_eq!(running, 1, "{:?}", run.jobs());
    run.let_go();
    let status = run.await_state("failed");
    assert_eq!(status["pairs"][1]["state"], "failed", "{status}");
    for (task, outcome) in [(0, "done"), (1, "failed"), (2, "done")] {
        assert_eq!(ended(&run, task)["outcome"], outcome);
    }
    assert!(
        ended(&run, 1)["why"].as_str().unwrap().contains("16_16"),
        "{}",
        ended(&run, 1)
    );
    let others = ["task-0/ended.json", "task-2/ended.json"].map(|file| run.folder().join(file));
    let before = others.each_ref().map(|file| modified(file));
    let report = run.folder().join("report.csv");
    let lines = || std::fs::read_to_string(&report).map_or(0, |text| text.lines().count());
    wait_for("the report of two pairs", LIMIT, || lines() == 3);

    std::fs::remove_file(run.space.results().join("16_16")).unwrap();
    let output = run.mst("resume").arg(&run.name).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["tasks"], serde_json::json!([1]));
    run.ends_well();
    assert_eq!(others.each_ref().map(|file| modified(file)), before);
    wait_for("the report of three pairs", LIMIT, || lines() == 4);
}
