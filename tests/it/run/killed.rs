//! SIGKILL of the driver while the native load generator measures a server that stays.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Server, Workspace, kill, processes, stderr};
use crate::support::long;

/// Numbers of a fixed sequence between 0 and 1, so that a failure can be repeated.
struct Moments(u64);

impl Iterator for Moments {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        Some((self.0 >> 11) as f64 / (1u64 << 53) as f64)
    }
}

/// Rates of three quarters of the server's capacity and less, and of 1.1 times and more: their verdicts are not in doubt.
fn workspace(server: &Server) -> Workspace {
    Workspace::native(&format!(
        "URL={}\nTOKENS_LIST=32:4\nREQ_MIN_START=15000\nREQ_MIN_INCREASE_MULTIPLIER=1.5\nSTOP_THRESHOLD=0.35",
        server.url
    ))
}

fn interval(row: &Value) -> (f64, f64) {
    let end = |i: usize| row["interval_per_minute"][i].as_f64().unwrap();
    (end(0), end(1))
}

#[test]
fn a_killed_native_search_resumes_and_measures_nothing_twice() {
    let server = Server::start(&["--port", "0"], None);
    let whole = workspace(&server);
    let started = Instant::now();
    let (output, answer) = whole.answer(&[]);
    let took = started.elapsed();
    assert!(matches!(output.status.code(), Some(0 | 5)), "{}", stderr(&output));
    let expected = interval(&answer[0]);
    let mut moments = Moments(20);
    for run in 0..if long() { 20 } else { 2 } {
        let space = workspace(&server);
        let (mut kills, mut ended) = (0, false);
        while kills < if long() { 3 } else { 2 } && !ended {
            let mut child = space
                .run(&[])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let deadline =
                Instant::now() + took.mul_f64(0.5 * moments.next().unwrap()) + Duration::from_millis(20);
            while Instant::now() < deadline && !ended {
                ended = child.try_wait().unwrap().is_some();
                std::thread::sleep(Duration::from_millis(1));
            }
            if ended {
                child.wait().unwrap();
            } else {
                kill(&mut child);
                kills += 1;
            }
        }
        let (output, answer) = space.answer(&[]);
        let said = stderr(&output);
        assert!(matches!(output.status.code(), Some(0 | 5)), "{said}");
        let (low, high) = interval(&answer[0]);
        assert!(
            low <= expected.1 && high >= expected.0,
            "run {run} after {kills} kills: {low} to {high} against {expected:?}\n{said}"
        );
        for (id, folders) in space.trials("32_4") {
            assert_eq!(
                folders.len(),
                1,
                "trial {id} was measured more than once: {folders:?}"
            );
        }
        assert_eq!(
            space.trials("32_4").len() as u64,
            answer[0]["trials"].as_u64().unwrap()
        );
        assert!(
            !space.results().join(".staging").exists(),
            "nothing is left in staging"
        );
        assert!(!space.results().join("32_4/.lease").exists());
        let strays = processes(&space.path().display().to_string());
        assert!(strays.is_empty(), "{strays:?}");
    }
}

#[test]
fn a_load_generator_that_was_started_but_not_noted_is_ended_as_well() {
    let space = Workspace::scripted("");
    let mut first = space
        .run(&[])
        .env("SCRIPTED_SLEEP", "600")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let here = space.path().display().to_string();
    let script = || {
        processes(&here)
            .into_iter()
            .filter(|p| p.contains("scripted.sh"))
            .count()
    };
    super::wait_for(|| script() == 1 && !super::walk(&space.results(), "process.json").is_empty());
    kill(&mut first);
    for note in super::walk(&space.results(), "process.json") {
        std::fs::remove_file(note).unwrap();
    }
    assert_eq!(script(), 1, "it outlives its driver");
    let (output, _) = space.answer(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(script(), 0);
}
