//! A model server that belongs to the run, in its places on a cluster.

use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Output, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::cluster::{Cluster, LIMIT, wait_for};
use crate::support::{Workspace, stderr, walk};

const MST: &str = env!("CARGO_BIN_EXE_mst");
/// A server of one core and a little memory: what the nodes of the tests have.
const PROFILE: &str =
    "driver: {cpus: 1, mem: 300M}\nserver: {gpus: 0, cpus: 1, mem: 400M}\ntrial: {cpus: 1, mem: 200M}\n";

/// A scripted search whose server runs at this place.
fn workspace(place: &str, extra: &str) -> Workspace {
    with_command(
        &format!("{MST} serve --profile demo --listen {{host}}:{{port}}"),
        place,
        extra,
    )
}

pub(super) fn with_command(command: &str, place: &str, extra: &str) -> Workspace {
    let space = Workspace::scripted(&format!(
        "SERVER_COMMAND={command}\nSERVER_PLACE={place}\nTARGET_LABEL=the-same\nITERATION_COOLDOWN_SECONDS=0\n\
         POLL_INTERVAL=1s\n{extra}"
    ));
    std::fs::create_dir(space.path().join("slurm")).unwrap();
    std::fs::write(space.path().join("slurm/cluster.yml"), PROFILE).unwrap();
    space
}

pub(super) fn status(space: &Workspace) -> Option<Value> {
    let file = walk(&space.results().join(".runs"), "server.json").pop()?;
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

/// The answer of the same search with its server beside it.
fn expected() -> String {
    let space = workspace("child", "");
    let (output, _) = space.answer(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    space.capacity("8_8")
}

fn manifest(space: &Workspace) -> Value {
    let trial = space.trials("8_8").into_values().flatten().next().unwrap();
    crate::support::read_json(&trial.join("trial.json"))
}

/// Runs the search in a job of these options, and returns the job.
fn in_a_job(cluster: &Cluster, space: &Workspace, directives: &str) -> String {
    let script = space.path().join("job.sh");
    let log = space.path().join("job.out");
    let text = format!(
        "#!/bin/bash\n#SBATCH --output={}\n#SBATCH --chdir={}\n{directives}\nexec {MST} run\n",
        log.display(),
        space.path().display()
    );
    std::fs::write(&script, text).unwrap();
    let job = cluster.ask("sbatch", &["--parsable", script.to_str().unwrap()]);
    let ends = ["COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "OUT_OF_MEMORY"];
    wait_for("the job ends", LIMIT, || {
        ends.contains(&cluster.state(&job).lines().next().unwrap_or(""))
    });
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    assert_eq!(cluster.state(&job).lines().next(), Some("COMPLETED"), "{said}");
    job
}

#[test]
fn a_step_on_the_same_node_serves() {
    let Some(cluster) = Cluster::start() else { return };
    let space = workspace("step", "");
    let job = in_a_job(&cluster, &space, "#SBATCH --ntasks=1 --cpus-per-task=2 --mem=800");
    let status = status(&space).unwrap();
    assert_eq!(
        (&status["state"], &status["job"]),
        (&"ended".into(), &job.clone().into()),
        "{status}"
    );
    assert!(status["step"].is_string(), "{status}");
    assert_eq!(manifest(&space)["server"]["slurm_job_id"], job);
    assert_eq!(space.capacity("8_8"), expected());
}

#[test]
fn the_second_node_of_a_job_serves() {
    let Some(cluster) = Cluster::start() else { return };
    let space = workspace("node", "");
    in_a_job(
        &cluster,
        &space,
        "#SBATCH --nodes=2 --ntasks-per-node=1 --mem=800 --nodelist=n2,n3",
    );
    let status = status(&space).unwrap();
    assert_eq!(
        (&status["state"], &status["node"]),
        (&"ended".into(), &"n3".into()),
        "{status}"
    );
    assert_eq!(manifest(&space)["server"]["host"], "n3");
    assert_eq!(space.capacity("8_8"), expected());
}

#[test]
fn the_second_component_of_a_heterogeneous_job_serves() {
    let Some(cluster) = Cluster::start() else { return };
    let space = workspace("group", "");
    in_a_job(
        &cluster,
        &space,
        "#SBATCH --ntasks=1 --mem=400 --nodelist=n1\n#SBATCH hetjob\n#SBATCH --ntasks=1 --mem=800 --nodelist=n4",
    );
    let status = status(&space).unwrap();
    assert_eq!(
        (&status["state"], &status["node"]),
        (&"ended".into(), &"n4".into()),
        "{status}"
    );
    assert_eq!(space.capacity("8_8"), expected());
}

/// Starts the search outside any job.
fn start(cluster: &Cluster, space: &Workspace, sleep: &str) -> Child {
    cluster
        .mst(space.path())
        .args(["run", "--format", "json"])
        .env("SCRIPTED_SLEEP", sleep)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The server's job while a trial runs against it.
fn in_mid_trial(space: &Workspace) -> String {
    wait_for("a trial runs", LIMIT, || {
        !walk(&space.results().join(".staging"), "process.json").is_empty()
    });
    status(space).unwrap()["job"].as_str().unwrap().to_owned()
}

fn assert_answer(space: &Workspace, output: &Output) -> String {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(space.capacity("8_8"), expected(), "{said}");
    for (id, folders) in space.trials("8_8") {
        assert_eq!(folders.len(), 1, "trial {id} was stored more than once");
    }
    said
}

#[test]
fn a_job_of_its_own_serves_waits_its_turn_and_ends_with_the_run() {
    let Some(cluster) = Cluster::with(&[("NODES", "1")]) else {
        return;
    };
    let other = cluster.submit(&["--exclusive"], "sleep 600");
    cluster.await_state(&other, &["RUNNING"]);
    // Time in the queue is not the server's.
    let space = workspace("job", "SERVER_START_LIMIT=20s\nSERVER_SILENCE_LIMIT=20s");
    let child = start(&cluster, &space, "0.05");
    let mut server = String::new();
    wait_for("the server's job waits", LIMIT, || {
        let jobs = cluster.jobs();
        let found = jobs
            .iter()
            .find(|(_, state, name)| state == "PENDING" && name.ends_with("-s1"));
        server = found.map(|(id, ..)| id.clone()).unwrap_or_default();
        !server.is_empty()
    });
    std::thread::sleep(std::time::Duration::from_secs(21));
    assert_eq!(cluster.state(&server), "PENDING");
    cluster.ask("scancel", &[&other]);
    let output = child.wait_with_output().unwrap();
    let said = assert_answer(&space, &output);
    assert!(
        said.contains("the server waits: job") && said.contains("PENDING"),
        "{said}"
    );
    cluster.await_state(&server, &["COMPLETED"]);
    assert_eq!(manifest(&space)["server"]["slurm_job_id"], server);
    assert_eq!(manifest(&space)["slurm_job_id"], Value::Null);
}

#[test]
fn a_servers_job_that_is_cancelled_or_loses_its_node_is_replaced() {
    let Some(cluster) = Cluster::start() else { return };
    let space = workspace("job", "");
    let child = start(&cluster, &space, "1");
    let first = in_mid_trial(&space);
    cluster.ask("scancel", &[&first]);
    let said = assert_answer(&space, &child.wait_with_output().unwrap());
    assert!(said.contains("started again (1 of 2)"), "{said}");

    let space = workspace("job", "");
    let child = start(&cluster, &space, "1");
    let first = in_mid_trial(&space);
    let node = status(&space).unwrap()["node"].as_str().unwrap().to_owned();
    cluster.slurm_cluster("node-fail", &[&node]);
    let said = assert_answer(&space, &child.wait_with_output().unwrap());
    assert!(said.contains("started again (1 of 2)"), "{said}");
    assert_ne!(status(&space).unwrap()["job"], first);
}

#[test]
fn a_server_that_is_killed_stopped_or_never_healthy_is_told_and_no_verdict_comes_of_it() {
    let Some(cluster) = Cluster::start() else { return };
    let space = workspace("job", "");
    let child = start(&cluster, &space, "1");
    let first = in_mid_trial(&space);
    signal(&space, Signal::SIGKILL);
    wait_for("another job serves", LIMIT, || {
        status(&space).is_some_and(|s| s["job"] != first && s["state"] == "running")
    });
    in_mid_trial(&space);
    signal(&space, Signal::SIGSTOP);
    let said = assert_answer(&space, &child.wait_with_output().unwrap());
    for words in [
        "was ended by signal 9 (SIGKILL)",
        "is stopped",
        "started again (2 of 2)",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }

    let space = with_command("sh -c 'exec sleep 600' {port}", "step", "SERVER_SILENCE_LIMIT=5s");
    let script = format!("cd {}; {MST} run; test $? = 12", space.path().display());
    let job = cluster.submit(&["--mem=800"], &script);
    cluster.await_state(&job, &["COMPLETED"]);
    assert!(walk(&space.results(), "trial.json").is_empty());
    assert_eq!(status(&space).unwrap()["state"], "ended");
}

/// Sends a signal to the server's process; all nodes are on this machine.
pub(super) fn signal(space: &Workspace, signal: Signal) {
    let pid = status(space).unwrap()["pid"].as_i64().unwrap() as i32;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
}

#[test]
fn a_servers_job_does_not_outlive_its_driver() {
    let Some(cluster) = Cluster::start() else { return };
    let space = workspace("job", "");
    let mut child = start(&cluster, &space, "20");
    let server = in_mid_trial(&space);
    crate::support::kill(&mut child);
    cluster.await_state(&server, &["COMPLETED"]);
    let ended = status(&space).unwrap();
    assert_eq!(ended["exit"]["why"], "was ended: its driver is gone", "{ended}");
}

#[test]
fn the_key_reaches_a_servers_job_by_a_file_that_only_its_owner_reads() {
    const KEY: &str = "sk-server-0123456789-not-to-be-found";
    let Some(cluster) = Cluster::start() else { return };
    let command = format!("{MST} serve --profile demo --listen {{host}}:{{port}} --api-key-env MST_API_KEY");
    let space = with_command(&command, "job", &format!("API_KEY={KEY}\nITERATION_HARD_LIMIT=2"));
    let output = start(&cluster, &space, "0.05").wait_with_output().unwrap();
    assert_eq!(
        space.trials("8_8").values().flatten().count(),
        2,
        "{}",
        stderr(&output)
    );
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(space.results())
        .into_iter()
        .map(Result::unwrap)
    {
        let holds = entry.file_type().is_file()
            && std::fs::read(entry.path())
                .unwrap()
                .windows(KEY.len())
                .any(|w| w == KEY.as_bytes());
        if holds {
            found.push(entry.into_path());
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with("api-key"), "{found:?}");
    assert_eq!(found[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_refused_server_job_is_told_with_the_batch_systems_exit_code() {
    let Some(cluster) = Cluster::start() else { return };
    let space = workspace("job", "");
    let profile = PROFILE.replace("gpus: 0", "gpus: 99");
    std::fs::write(space.path().join("slurm/cluster.yml"), profile).unwrap();
    let output = cluster.mst(space.path()).arg("run").output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(11), "{said}");
    assert!(said.contains("sbatch refused"), "{said}");
}

/// A server that takes all memory as soon as a trial runs, once.
pub(super) fn hungry(place: &str) -> Workspace {
    let space = with_command("sh server.sh {host}:{port}", place, "");
    let mark = space.path().join("hungry");
    std::fs::write(
        space.path().join("server.sh"),
        format!(
            "{MST} serve --profile demo --listen $1 &\nwhile [ ! -e {0} ]; do sleep 0.1; done\nrm {0}\n\
             rm -f {0}.pipe; mkfifo {0}.pipe\n{{ head -c 900000000 /dev/zero; sleep 60; }} >{0}.pipe &\n\
             exec tail -n 1 {0}.pipe >/dev/null\n",
            mark.display()
        ),
    )
    .unwrap();
    space
}

pub(super) fn make_hungry(space: &Workspace) {
    std::fs::write(space.path().join("hungry"), "").unwrap();
}

#[test]
fn a_server_that_the_kernel_ends_for_want_of_memory_is_told_as_such() {
    let Some(cluster) = Cluster::with(&[("CGROUP", "1")]) else {
        return;
    };
    let space = hungry("job");
    let child = start(&cluster, &space, "2");
    in_mid_trial(&space);
    make_hungry(&space);
    let said = assert_answer(&space, &child.wait_with_output().unwrap());
    assert!(
        said.contains("ran out of memory") && said.contains("started again"),
        "{said}"
    );
}

#[test]
fn a_server_that_slurm_ends_for_want_of_memory_is_told_as_such() {
    let Some(cluster) = Cluster::with(&[("EXTRA", "JobAcctGatherFrequency=task=1")]) else {
        return;
    };
    let space = hungry("job");
    let child = start(&cluster, &space, "4");
    in_mid_trial(&space);
    make_hungry(&space);
    let output = child.wait_with_output().unwrap();
    let said = assert_answer(&space, &output);
    assert!(
        said.contains("ran out of memory") && said.contains("started again"),
        "{said}"
    );
}
