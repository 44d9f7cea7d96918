//! The model server of a submitted run, beside its driver in the same job: out of memory, killed, never well.

use nix::sys::signal::Signal;

use super::super::cluster::{Cluster, LIMIT, wait_for};
use super::super::runs::Run;
use super::super::server::{hungry, make_hungry, signal, status, with_command};
use crate::support::{Workspace, read_json, walk};

/// Makes each trial take two seconds.
fn slowly(space: Workspace) -> Workspace {
    let file = space.path().join(".env");
    let text = std::fs::read_to_string(&file).unwrap();
    let slow = text.replace("LOADGEN_COMMAND=sh ", "LOADGEN_COMMAND=env SCRIPTED_SLEEP=1 sh ");
    std::fs::write(&file, slow).unwrap();
    space
}

fn submitted(cluster: &Cluster, space: Workspace) -> Run<'_> {
    let mut run = Run::of(cluster, space);
    let output = run.mst("submit").output().unwrap();
    run.was_submitted(&output);
    run
}

/// What the drivers of the run wrote.
fn said(run: &Run<'_>) -> String {
    let logs = std::fs::read_dir(run.folder().join("logs")).unwrap();
    logs.map(|log| std::fs::read_to_string(log.unwrap().path()).unwrap())
        .collect()
}

/// The answer of the search, whatever the server did.
fn found_the_capacity(run: &Run<'_>) {
    let answer = &read_json(&run.space.results().join("8_8/capacity.json"))["answer"];
    assert_eq!(
        (answer["rate"].as_f64(), answer["high"].as_f64()),
        (Some(1000.0), Some(1013.0)),
        "{answer}"
    );
    run.is_gone();
}

#[test]
fn a_server_that_the_kernel_ends_is_told_from_load_and_replaced() {
    let Some(cluster) = Cluster::with(&[("CGROUP", "1")]) else {
        return;
    };
    let run = submitted(&cluster, slowly(hungry("child")));
    run.await_trial();
    make_hungry(&run.space);
    let last = run.await_state("done");
    let said = said(&run);
    assert!(
        said.contains("ran out of memory") && said.contains("started again"),
        "{said}"
    );
    // Slurm may call the job OUT_OF_MEMORY: the files of the run know better.
    assert_eq!(last["exit"], 0, "{last}");
    found_the_capacity(&run);
}

#[test]
fn a_server_that_is_killed_or_stopped_in_mid_trial_is_replaced() {
    let Some(cluster) = Cluster::start() else { return };
    let command = format!(
        "{} serve --profile demo --listen {{host}}:{{port}}",
        crate::support::program()
    );
    let run = submitted(&cluster, slowly(with_command(&command, "child", "")));
    run.await_trial();
    let number = |run: &Run<'_>| status(&run.space).and_then(|s| s["number"].as_u64());
    for (blow, count) in [(Signal::SIGKILL, 2), (Signal::SIGSTOP, 3)] {
        signal(&run.space, blow);
        wait_for("another server", LIMIT, || number(&run) == Some(count));
        run.await_trial();
    }
    run.await_state("done");
    let said = said(&run);
    for words in [
        "was ended by signal 9 (SIGKILL)",
        "is stopped",
        "started again (2 of 2)",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    found_the_capacity(&run);
}

#[test]
fn a_server_that_never_gets_well_fails_the_run_soon() {
    let Some(cluster) = Cluster::start() else { return };
    let space = with_command(
        "sh -c 'exec sleep 600' {port}",
        "child",
        "SERVER_SILENCE_LIMIT=5s",
    );
    let run = submitted(&cluster, space);
    let last = run.await_state("failed");
    assert_eq!(last["exit"], 12, "{last}");
    assert!(
        last["why"].as_str().unwrap().contains("SERVER_SILENCE_LIMIT"),
        "{last}"
    );
    assert!(
        walk(&run.space.results(), "trial.json").is_empty(),
        "a verdict came of it"
    );
    run.is_gone();
}
