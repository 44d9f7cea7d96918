//! Systems whose model server is ours: it is up for all searches of its system, it may die, and it is ended.

use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{Space, said};
use crate::support::{processes, program, read_json, wait_for, walk};

/// How long a server or a trial may take to begin on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);

/// A system with `mst serve` as its server, and more settings.
fn system(name: &str, settings: &str) -> String {
    format!(
        "  - name: {name}\n    endpoint:\n      settings:\n        \
         SERVER_COMMAND: \"{} serve --profile demo --jitter 0 --listen {{host}}:{{port}}\"\n        \
         TARGET_LABEL: {name}\n        DRAIN: 2s\n{settings}",
        program()
    )
}

/// Two workloads and two objectives; a trial takes about two seconds.
fn file(systems: &str) -> String {
    format!(
        "systems:\n{systems}workloads:\n\
         \x20 - {{name: short, tokens: \"8:4\", requests: 100}}\n\
         \x20 - {{name: long, tokens: \"16:8\", requests: 100}}\n\
         slos:\n\
         \x20 - {{name: loose, type: tbt_ttft, tbt_slo: 2, ttft_slo: 5}}\n\
         \x20 - {{name: strict, type: tbt_ttft, tbt_slo: 1.0e-6, ttft_slo: 5}}\n\
         search: {{rule: rates, rates: [40, 50]}}\n"
    )
}

/// What the servers of all runs told, oldest first.
fn servers(space: &Space) -> Vec<Value> {
    let mut files = walk(&space.results().join(".runs"), "server.json");
    files.sort();
    files.iter().map(|file| read_json(file)).collect()
}

fn pid(server: &Value) -> Pid {
    Pid::from_raw(server["pid"].as_i64().unwrap() as i32)
}

fn has_no_strays(space: &Space) {
    let strays = processes(&space.path().display().to_string());
    assert!(strays.is_empty(), "{strays:?}");
    for server in servers(space) {
        assert!(kill(pid(&server), None).is_err(), "{server}");
    }
}

fn start(space: &Space) -> Child {
    let mut command = space.verb("capacity");
    command
        .args(["--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Waits until a trial is stored and another one runs; the process of the server.
fn amid_the_second_trial(space: &Space) -> Pid {
    wait_for("a second trial runs", LIMIT, || {
        !space.trials().is_empty() && !walk(&space.results().join(".staging"), "process.json").is_empty()
    });
    pid(&servers(space)[0])
}

#[test]
fn a_server_is_up_for_all_searches_of_its_system_and_cleared_before_each_trial() {
    let reset = "        SERVER_RESET: sh -c 'echo x >>resets'\n";
    let space = Space::new(&file(&system("own", reset)));
    let (output, answer) = space.run(&[]);
    // The strict objective is met at no rate.
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    let outcomes = answer.as_array().unwrap();
    let told: Vec<_> = outcomes
        .iter()
        .map(|o| {
            (
                o["name"].as_str().unwrap(),
                o["trials"].as_u64().unwrap(),
                o["error"].is_null(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("own/short/loose", 2, true),
            ("own/short/strict", 2, true),
            ("own/long/loose", 2, true),
            ("own/long/strict", 2, true)
        ]
    );
    assert_eq!(space.trials().len(), 4);

    // One server, once, which was ended in order; trials know where it was.
    let told = servers(&space);
    assert_eq!(told.len(), 1);
    assert_eq!(
        (&told[0]["state"], &told[0]["exit"]["code"], &told[0]["number"]),
        (&"ended".into(), &0.into(), &1.into()),
        "{}",
        told[0]
    );
    has_no_strays(&space);
    let trial = read_json(&space.trials()[0].join("trial.json"));
    assert_eq!(trial["url"], format!("http://127.0.0.1:{}", told[0]["port"]));
    assert_eq!(trial["server"]["host"], told[0]["machine"]);
    let resets = std::fs::read_to_string(space.path().join("resets")).unwrap();
    assert_eq!(resets.lines().count(), 4);
    // People see it as a run.
    let mut list = crate::support::mst();
    let list = list
        .current_dir(space.path())
        .args(["status", "--results", "results", "--format", "json"])
        .output()
        .unwrap();
    let runs: Value = serde_json::from_slice(&list.stdout).unwrap_or_else(|_| panic!("{}", said(&list)));
    assert_eq!(runs[0]["state"], "done", "{runs}");

    // With everything stored no server is started, whatever is asked.
    for more in [
        &[][..],
        &["--stored"],
        &[
            "--tbt-slo",
            "0.000002",
            "--ttft-slo",
            "5",
            "--slo-type",
            "tbt_ttft",
        ],
    ] {
        let (output, again) = space.run(more);
        assert_eq!(output.status.code(), Some(4), "{}", said(&output));
        assert_eq!(
            (&again[0]["load_seconds"], &again[0]["trials_reused"]),
            (&0.0.into(), &2.into())
        );
        assert_eq!(servers(&space).len(), 1);
    }
}

#[test]
fn a_server_that_dies_is_started_again_and_its_trial_measured_anew() {
    let space = Space::new(&file(&system("own", "")));
    let child = start(&space);
    let server = amid_the_second_trial(&space);
    kill(server, Signal::SIGKILL).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(
        answer.as_array().unwrap().iter().all(|o| o["error"].is_null()),
        "{answer}"
    );
    assert_eq!(servers(&space)[0]["number"], 2);
    assert!(said(&output).contains("signal 9"), "{}", said(&output));
    assert_eq!(space.trials().len(), 4);
    has_no_strays(&space);
}

#[test]
fn an_interrupted_search_ends_its_server_and_goes_on_later() {
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let space = Space::new(&file(&system("own", "")));
        let mut child = start(&space);
        let server = amid_the_second_trial(&space);
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        let status = child.wait().unwrap();
        if signal == Signal::SIGINT {
            assert_eq!(status.code(), Some(130));
        }
        // Killed, its wrapper sees to it.
        wait_for("the server is gone", LIMIT, || kill(server, None).is_err());
        // One that was whole and not in its place when the program was killed is put there later.
        let mut kept = space.trials();
        kept.retain(|trial| !trial.starts_with(space.results().join(".staging")));
        let (output, answer) = space.run(&["--only", "own/short"]);
        assert_eq!(output.status.code(), Some(4), "{}", said(&output));
        assert_eq!(answer.as_array().unwrap().len(), 2);
        assert!(kept.iter().all(|trial| trial.join("trial.json").is_file()));
        assert!(
            space
                .results()
                .join("outcomes/only/own_short/outcomes.json")
                .is_file()
        );
        has_no_strays(&space);
    }
}

#[test]
fn a_server_that_does_not_start_costs_its_own_searches_only() {
    let bad = "  - {name: bad, endpoint: {settings: {SERVER_COMMAND: \"sh -c 'echo no weights; exit 3' {port}\"}}}\n";
    let space = Space::new(&file(&format!("{bad}{}", system("own", ""))));
    let (output, answer) = space.run(&[]);
    assert_eq!(output.status.code(), Some(12), "{}", said(&output));
    let error = answer[0]["error"].as_str().unwrap();
    assert!(
        error.contains("status 3") && error.contains("no weights"),
        "{error}"
    );
    assert!(answer[0]["capacity_qps"].is_null() && answer[0]["trials"] == 0);
    assert_eq!(answer[4]["name"], "own/short/loose");
    assert!(
        answer[4]["error"].is_null() && answer[4]["trials"] == 2,
        "{answer}"
    );
    has_no_strays(&space);

    // What cannot be asked for is a mistake in the file.
    let portless = "  - {name: bad, endpoint: {settings: {SERVER_COMMAND: \"sleep 60\"}}}\n";
    let space = Space::new(&file(portless));
    let (output, _) = space.run(&[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(said(&output).contains("{port}"), "{}", said(&output));
}
