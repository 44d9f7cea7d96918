//! Signals, waiting for another driver, measuring anew.

use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Workspace, processes, stderr, wait_for, walk};

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

fn scripts(space: &Workspace) -> usize {
    let here = space.path().display().to_string();
    processes(&here)
        .iter()
        .filter(|p| p.contains("scripted.sh"))
        .count()
}

#[test]
fn sigterm_ends_cleanly_and_can_be_resumed() {
    let space = Workspace::scripted("");
    let child = space
        .run(&[])
        .env("SCRIPTED_SLEEP", "600")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(|| scripts(&space) == 1);
    send(&child, Signal::SIGTERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143));
    assert!(
        stderr(&output).contains("run again to resume"),
        "{}",
        stderr(&output)
    );
    assert_eq!(scripts(&space), 0);
    assert!(!space.results().join("8_8/.lease").exists());
    assert_eq!(space.answer(&[]).0.status.code(), Some(0));
}

#[test]
fn a_second_interrupt_ends_at_once() {
    let space = Workspace::scripted("");
    let mut child = space
        .run(&[])
        .env("SCRIPTED_SLEEP", "600")
        .env("SCRIPTED_STUBBORN", "1")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(|| scripts(&space) == 1 && !walk(&space.results(), "process.json").is_empty());
    send(&child, Signal::SIGINT);
    // The flags of the first signal are seen before the second comes: the driver then waits for the stubborn program.
    std::thread::sleep(std::time::Duration::from_millis(300));
    send(&child, Signal::SIGINT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    // What was left running is ended by whoever comes next.
    let (output, _) = space.answer(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(scripts(&space), 0);
    assert!(!space.results().join(".staging").exists());
}

#[test]
fn a_second_driver_waits_when_asked_to() {
    let space = Workspace::scripted("STOP_THRESHOLD=0.1");
    let first = space
        .run(&[])
        .env("SCRIPTED_SLEEP", "0.1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(|| space.results().join("8_8/.lease").exists());
    let (output, answer) = space.answer(&["--wait"]);
    assert_eq!(first.wait_with_output().unwrap().status.code(), Some(0));
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(answer[0]["trials_reused"], answer[0]["trials"]);
    assert!(stderr(&output).contains("waiting"), "{}", stderr(&output));
}

#[test]
fn waiting_can_be_interrupted() {
    let space = Workspace::scripted("");
    let mut first = space
        .run(&[])
        .env("SCRIPTED_SLEEP", "600")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(|| scripts(&space) == 1);
    let second = space.run(&["--wait"]).stderr(Stdio::piped()).spawn().unwrap();
    let waits = || {
        let handlers = std::fs::read_to_string(format!("/proc/{}/status", second.id())).unwrap();
        // SIGTERM is caught once its handler is there.
        let caught = handlers
            .lines()
            .find_map(|l| l.strip_prefix("SigCgt:"))
            .unwrap()
            .trim()
            .to_owned();
        u64::from_str_radix(&caught, 16).unwrap() & (1 << 14) != 0
    };
    wait_for(waits);
    send(&second, Signal::SIGTERM);
    let output = second.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143), "{}", stderr(&output));
    send(&first, Signal::SIGTERM);
    assert_eq!(first.wait().unwrap().code(), Some(143));
}

#[test]
fn fresh_measures_anew_and_keeps_what_was_there() {
    let space = Workspace::scripted("STOP_THRESHOLD=0.1");
    let (_, first) = space.answer(&[]);
    let before = space.trials("8_8");
    let (output, second) = space.answer(&["--fresh"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(
        (&second[0]["trials_reused"], &second[0]["trials"]),
        (&0.into(), &first[0]["trials"])
    );
    assert_eq!(second[0]["mst_per_minute"], first[0]["mst_per_minute"]);
    let after = space.trials("8_8");
    for (id, folders) in &before {
        assert_eq!(after[id].len(), 2, "{id}");
        assert!(
            after[id].contains(&folders[0]),
            "{} is gone",
            folders[0].display()
        );
    }
    let report = crate::support::mst()
        .current_dir(space.path())
        .args(["report", "requests", "--format", "json"])
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(report[0]["mst_per_minute"], first[0]["mst_per_minute"]);
}

#[test]
fn a_dry_run_for_programs() {
    let space = Workspace::scripted("TOKENS_LIST=8:8,16:8\nREQ_MIN_START=100,50");
    let (output, plan) = space.answer(&["--dry-run"]);
    assert_eq!(output.status.code(), Some(0));
    let pairs = plan["pairs"].as_array().unwrap();
    assert_eq!(pairs.len(), 2);
    assert_eq!(
        (pairs[1]["pair"].as_str(), pairs[1]["start"].as_f64()),
        (Some("16_8"), Some(50.0))
    );
    assert_eq!(pairs[0]["most_trials"], 40);
    assert!(pairs[0]["most_hours"].as_f64().unwrap() >= 40.0 * 60.0 / 3600.0);
    assert!(
        plan["commands"][0].as_str().unwrap().contains("scripted.sh"),
        "{plan}"
    );
    assert!(!space.results().exists());
}
