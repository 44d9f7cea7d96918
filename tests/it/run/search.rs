//! Searches by a scripted load generator: files, kills, two drivers, trouble.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Workspace, kill, table, wait_for, walk};
use crate::support::{long, mst};

#[test]
fn a_search_ends_with_its_bracket_and_files() {
    let space = Workspace::scripted("");
    let (output, answer) = space.answer(&[]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let row = &answer[0];
    assert_eq!(row["pair"], "8_8");
    assert_eq!(row["status"], "bracketed");
    let (low, high) = (
        row["interval_per_minute"][0].as_f64().unwrap(),
        row["interval_per_minute"][1].as_f64().unwrap(),
    );
    assert_eq!(row["mst_per_minute"].as_f64(), Some(low));
    // The margin of the criterion is one percent of the load.
    assert!(
        low >= 960.0 && high <= 1060.0 && high - low <= 0.02 * high,
        "{low} to {high}"
    );
    assert!(row["trials"].as_u64().unwrap() > 5);
    for (id, folders) in space.trials("8_8") {
        assert_eq!(folders.len(), 1, "{id}");
        for file in [
            "trial.json",
            "verdict.json",
            "results.csv",
            "output.csv",
            "first_half.csv",
            "second_half.csv",
        ] {
            assert!(
                folders[0].join(file).is_file(),
                "{file} in {}",
                folders[0].display()
            );
        }
    }
    assert!(!space.path().join("requests/8_8/.lease").exists());
    let finished = walk(&space.path().join("requests"), "results.csv")
        .iter()
        .filter(|p| {
            let mut rows = csv::Reader::from_path(p).unwrap();
            let at = rows
                .headers()
                .unwrap()
                .iter()
                .position(|h| h == "FINISHED")
                .unwrap();
            rows.records()
                .any(|r| r.unwrap()[at].eq_ignore_ascii_case("true"))
        })
        .count();
    assert_eq!(finished, 1, "one row carries the answer");

    // Again: everything is found, nothing is run, the answer is the same.
    let before = space.capacity("8_8");
    let (_, again) = space.answer(&[]);
    assert_eq!(again[0]["trials_reused"], again[0]["trials"]);
    assert_eq!(space.capacity("8_8"), before);
}

#[test]
fn a_finer_search_goes_on_from_a_coarse_one_and_has_the_only_answer() {
    let space = Workspace::scripted("REQ_MIN_START=400");
    let (_, coarse) = space.answer(&["--set", "STOP_THRESHOLD=0.5"]);
    let (_, fine) = space.answer(&["--set", "STOP_THRESHOLD=0.1"]);
    assert_eq!(fine[0]["trials_reused"], coarse[0]["trials"]);
    let finished: Vec<String> = walk(&space.results(), "results.csv")
        .iter()
        .flat_map(|path| table(path).1)
        .filter(|row| row["FINISHED"] == "TRUE")
        .map(|row| row["REQ_MIN"].clone())
        .collect();
    assert_eq!(
        finished,
        [fine[0]["mst_per_minute"].to_string().trim_end_matches(".0")]
    );
}

#[test]
fn a_killed_search_resumes_to_the_same_answer() {
    let whole = Workspace::scripted("");
    let started = Instant::now();
    whole.answer(&[]);
    let took = started.elapsed();
    let expected = whole.capacity("8_8");
    let runs = if long() { 20 } else { 4 };
    // Spread over the whole search, by a fixed irrational step so that a failure can be repeated.
    for run in 0..runs {
        let space = Workspace::scripted("");
        let mut kills = 0;
        let mut at = 0.1 + 0.618 * f64::from(run);
        loop {
            at = (at + 0.382).fract();
            let mut child = space
                .run(&[])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let deadline = Instant::now() + took.mul_f64(0.05 + 0.4 * at);
            let mut ended = false;
            while Instant::now() < deadline && !ended {
                ended = child.try_wait().unwrap().is_some();
                std::thread::sleep(Duration::from_millis(1));
            }
            if ended {
                break;
            }
            kill(&mut child);
            kills += 1;
            assert!(kills < 200, "the search makes no progress between kills");
        }
        assert_eq!(space.capacity("8_8"), expected, "run {run} after {kills} kills");
        for (id, folders) in space.trials("8_8") {
            assert_eq!(
                folders.len(),
                1,
                "trial {id} was measured more than once: {folders:?}"
            );
        }
        assert_eq!(space.trials("8_8").len(), whole.trials("8_8").len());
        assert!(
            !space.path().join("requests/.staging").exists(),
            "nothing is left in staging"
        );
    }
}

#[test]
fn an_interrupt_ends_cleanly_and_can_be_resumed() {
    let space = Workspace::scripted("");
    let mut child = space
        .run(&[])
        .env("SCRIPTED_SLEEP", "30")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(|| space.path().join("requests/.staging/8_8").exists());
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.id() as i32),
        nix::sys::signal::SIGINT,
    )
    .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!space.path().join("requests/8_8/.lease").exists());
    let (output, _) = space.answer(&[]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn two_drivers_on_one_pair_do_not_meet() {
    let space = Workspace::scripted("");
    let mut first = space
        .run(&[])
        .env("SCRIPTED_SLEEP", "30")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(|| space.path().join("requests/8_8/.lease").exists());
    let second = space.run(&[]).output().unwrap();
    assert_ne!(second.status.code(), Some(0));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(
        said.contains(&format!("in use by process {}", first.id())),
        "{said}"
    );
    // Another pair of the same root is nobody's.
    let (other, answer) = space.answer(&["--tokens", "9:8"]);
    assert_eq!(
        (other.status.code(), answer[0]["pair"].as_str()),
        (Some(0), Some("9_8"))
    );
    kill(&mut first);
    let (resumed, _) = space.answer(&[]);
    assert_eq!(resumed.status.code(), Some(0));
}

#[test]
fn trouble_with_the_load_generator_is_never_a_verdict() {
    let space =
        Workspace::scripted("RETRIES=1\nLOADGEN_COMMAND=sh -c 'echo out of luck; echo really >&2; exit 3'\n");
    let output = space.run(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(10));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("out of luck\nreally") && said.contains("status 3"),
        "{said}"
    );
    assert!(space.trials("8_8").is_empty());
    assert!(walk(&space.path().join("requests"), "verdict.json").is_empty());
}

#[test]
fn a_dry_run_touches_nothing() {
    let space = Workspace::scripted("");
    let output = space.run(&["--dry-run"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("8_8: 100, 200, 400") && said.contains("at most 40 trials"),
        "{said}"
    );
    assert!(said.contains("scripted.sh"), "{said}");
    assert!(!space.path().join("requests").exists());
}

#[test]
fn an_endpoint_that_is_not_there_is_told_before_the_first_trial() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let dir = tempfile::tempdir().unwrap();
    let output = mst()
        .current_dir(dir.path())
        .args(["run", "--url", &format!("http://127.0.0.1:{port}")])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(12));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("refused"),
        "{output:?}"
    );
}

#[test]
fn the_embedded_server_is_measured_to_within_ten_percent() {
    let dir = tempfile::tempdir().unwrap();
    let output = mst()
        .current_dir(dir.path())
        .args([
            "run",
            "--format",
            "json",
            "--tokens",
            "32:16",
            "--set",
            "DURATION=3s",
            "--set",
            "REQ_MIN_START=3000",
        ])
        .output()
        .unwrap();
    let code = output.status.code();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(code == Some(0) || code == Some(5), "{said}");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (found, truth) = (
        answer[0]["mst_per_minute"].as_f64().unwrap(),
        answer[0]["true_capacity_per_minute"].as_f64().unwrap(),
    );
    assert!(
        (found / truth - 1.0).abs() < 0.1,
        "{found} against {truth}\n{said}"
    );
}
