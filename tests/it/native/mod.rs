//! Integration tests: the native load generator against a scripted server on loopback.

#![allow(clippy::unwrap_used, reason = "a test may end where it fails")]

mod discovery;
mod outcomes;
mod prompts;
mod server;
mod tls;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mst::criterion::Progress;
use mst::loadgen::native::{Native, STOP_FILE};
use mst::loadgen::{LoadGenerator, TrialJob};
use mst::store::rows::RowReader;
use mst::trial::RawRow;
use mst::units::{Rate, TokenPair, TokenRange};
use mst::workload::{self, Arrival, LengthClass, PromptSource, PromptSpec, WorkloadSpec};
use serde_json::Value;

use crate::support::mst;
use server::{Server, good, quick, status};

/// What a run of `mst trial` gave.
struct Ran {
    code: Option<i32>,
    summary: Value,
    stderr: String,
}

fn trial(url: &str, more: &[&str]) -> Ran {
    run(command(url, more))
}

fn command(url: &str, more: &[&str]) -> Command {
    let mut command = mst();
    command.args(["trial", "--url", url, "--format", "json", "--drain", "5s"]);
    for (flag, value) in [
        ("--rate", "40/s"),
        ("--duration", "500ms"),
        ("--input-tokens", "6"),
        ("--output-tokens", "4"),
    ] {
        if !more.contains(&flag) {
            command.args([flag, value]);
        }
    }
    command.args(more);
    command
}

fn run(mut command: Command) -> Ran {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!stderr.contains("panicked"), "{stderr}");
    Ran {
        code: output.status.code(),
        summary: serde_json::from_slice(&output.stdout).unwrap_or_default(),
        stderr,
    }
}

fn rows(dir: &Path) -> Vec<RawRow> {
    let mut rows: Vec<RawRow> = RowReader::open(&dir.join("requests.jsonl.zst"))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    rows.sort_by_key(|r| r.i);
    rows
}

#[test]
fn a_trial_measures_what_the_server_does_and_keeps_the_contract() {
    let server = Server::start(|_, request, stream| {
        good(
            request,
            stream,
            Duration::from_millis(30),
            Duration::from_millis(5),
        )
    });
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let ran = trial(&server.url, &["--seed", "9", "--out", out.to_str().unwrap()]);
    let summary = &ran.summary;
    // A machine that is too busy voids the trial, which is not what is tested here.
    assert!(matches!(ran.code, Some(0 | 10)), "{}", ran.stderr);
    for (name, count) in [
        ("planned", 20),
        ("sent", 20),
        ("completed", 20),
        ("failed", 0),
        ("unfinished", 0),
    ] {
        assert_eq!(summary[name], count, "{name}: {summary}");
    }
    assert_eq!(summary["offered_per_second"], 40.0);
    assert_eq!(summary["model"], "first-model");
    for spread in ["ttft_ms", "ttft_from_send_ms", "tbt_ms", "e2e_ms", "lateness_ms"] {
        for value in ["mean", "p50", "p90", "p99"] {
            assert!(summary[spread][value].is_number(), "{spread}.{value}: {summary}");
        }
    }
    let at_least = |spread: &str, least: f64| {
        let mean = summary[spread]["mean"].as_f64().unwrap();
        assert!(mean >= least, "{spread} {mean}");
    };
    at_least("ttft_ms", 30.0);
    at_least("tbt_ms", 4.9);
    at_least("e2e_ms", 45.0);
    assert!(summary["cpu_seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(summary["input_tokens"]["exact"], 20);
    assert_eq!(summary["output_tokens"]["achieved_mean"], 4.0);

    // The schedule is the plan's, and every request has its row.
    let class = LengthClass {
        pair: TokenPair {
            input: TokenRange::exactly(6),
            output: TokenRange::exactly(4),
        },
        share: 1.0,
    };
    let spec = WorkloadSpec {
        classes: vec![class],
        arrival: Arrival::Poisson,
        prompts: PromptSpec {
            source: PromptSource::Builtin,
            unique_prefix: true,
        },
        lengths: None,
    };
    let plan = workload::plan(&spec, Rate::per_second(40.0), 0.5, 9);
    let rows = rows(&out);
    assert_eq!(rows.len(), plan.len());
    for (index, (row, planned)) in rows.iter().zip(&plan).enumerate() {
        assert_eq!(row.i as usize, index);
        assert_eq!(row.intended_ns, planned.intended_ns);
        assert!(row.sent_ns.unwrap() >= planned.intended_ns);
        assert!(row.written_ns >= row.sent_ns);
        assert!(row.first_us.unwrap() >= 30_000);
        assert_eq!(row.gaps_us.len(), 3);
        assert!(row.done_ns.unwrap() >= row.first_token_ns().unwrap());
    }
    let prompts: std::collections::HashSet<String> = server
        .requests()
        .iter()
        .map(|r| r.body["prompt"].to_string())
        .collect();
    assert_eq!(prompts.len(), 20);
    let body = &server.requests()[0].body;
    assert_eq!(body["ignore_eos"], true);
    assert_eq!(body["min_tokens"], 4);
    assert_eq!(body["stream_options"]["include_usage"], true);
}

#[test]
fn connections_are_kept_unless_fresh_ones_are_asked_for() {
    let server = Server::start(|_, request, stream| quick(request, stream));
    let ran = trial(&server.url, &["--arrival", "constant", "--model", "m"]);
    assert_eq!(ran.summary["completed"], 20, "{}", ran.stderr);
    let kept = server.connections.load(Ordering::SeqCst);
    assert!(kept <= 12, "{kept} connections for 21 requests");

    let server = Server::start(|_, request, stream| quick(request, stream));
    let ran = trial(&server.url, &["--fresh-connections", "--model", "m"]);
    assert_eq!(ran.summary["completed"], 20, "{}", ran.stderr);
    assert_eq!(ran.summary["connects"], 20);
    assert_eq!(server.connections.load(Ordering::SeqCst), 21);
}

#[test]
fn a_connection_that_the_server_closed_costs_no_request() {
    let server = Server::start(|_, request, stream| quick(request, stream).map(|_| server::After::Close));
    let ran = trial(&server.url, &["--model", "m"]);
    assert_eq!(ran.summary["completed"], 20, "{}", ran.summary);
}

#[test]
fn fields_that_the_server_refuses_are_dropped_before_the_trial() {
    let server = Server::start(|_, request, stream| {
        for field in ["ignore_eos", "seed"] {
            if !request.body[field].is_null() {
                let body = format!(r#"{{"error":{{"message":"Unrecognized request argument: {field}"}}}}"#);
                return status(stream, 400, "application/json", &body);
            }
        }
        quick(request, stream)
    });
    let ran = trial(&server.url, &["--model", "m"]);
    assert_eq!(ran.summary["completed"], 20, "{}", ran.stderr);
    let notes = ran.summary["notes"].to_string();
    assert!(
        notes.contains("`ignore_eos`") && notes.contains("`seed`"),
        "{notes}"
    );
    assert!(!notes.contains("`min_tokens`"), "{notes}");
    // Two refusals and a success before the trial.
    assert_eq!(server.seen.lock().unwrap().len(), 23);
}

#[test]
fn chat_sends_text_and_the_key_stays_out_of_every_file() {
    let server = Server::start(|_, request, stream| {
        if !request.head.contains("Bearer s3cret-key") {
            return status(
                stream,
                401,
                "application/json",
                r#"{"error":{"message":"no key"}}"#,
            );
        }
        quick(request, stream)
    });
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let more = [
        "--api",
        "chat",
        "--model",
        "m",
        "--api-key-env",
        "THE_KEY",
        "--out",
        out.to_str().unwrap(),
    ];
    let mut with_key = command(&server.url, &more);
    with_key.env("THE_KEY", "s3cret-key");
    let ran = run(with_key);
    assert_eq!(ran.summary["completed"], 20, "{}", ran.stderr);
    let request = &server.requests()[0];
    assert_eq!(request.path, "/v1/chat/completions");
    assert_eq!(request.body["messages"][0]["role"], "user");
    for file in std::fs::read_dir(&out).unwrap() {
        let path = file.unwrap().path();
        let bytes = match path.extension().and_then(|e| e.to_str()) {
            Some("zst") => zstd::decode_all(std::fs::File::open(&path).unwrap()).unwrap(),
            _ => std::fs::read(&path).unwrap(),
        };
        assert!(
            !String::from_utf8_lossy(&bytes).contains("s3cret"),
            "{}",
            path.display()
        );
    }
    let unset = trial(
        &server.url,
        &["--model", "m", "--api-key-env", "NOT_SET_ANYWHERE"],
    );
    assert_eq!(unset.code, Some(3), "{}", unset.stderr);
}

/// A job of a minute in `dir`, as a driver would leave it, and the command that runs it.
fn minute_job(server: &Server, dir: &Path) -> (TrialJob, Command) {
    let job: TrialJob = serde_json::from_value(serde_json::json!({
        "spec": {
            "target": {"label": "t", "model": "m", "api": "/v1/completions"},
            "workload": {
                "classes": [{"pair": {"input": {"min": 6, "max": 6}, "output": {"min": 4, "max": 4}}, "share": 1.0}],
                "arrival": "constant",
                "prompts": {"source": "builtin", "unique_prefix": true},
            },
            "rate": 1200.0, "duration_s": 60.0,
            "loadgen": {"name": "native", "version": "0", "options": []},
            "seed": 1, "attempt": 0,
        },
        "endpoint": {"base_url": server.url, "api": "completions", "model": "m"},
        "limits": {"request_s": 30.0, "ttft_s": 30.0, "tpot_s": 30.0, "drain_s": 30.0},
        "encoding": {"token-ids": {"low": 5, "high": 500}},
        "prompts_file": null, "fresh_connections": false, "results_json": "off",
    }))
    .unwrap();
    let native = Native::with_program(env!("CARGO_BIN_EXE_mst").into());
    let [planned] = native.prepare(&job, dir).unwrap().try_into().unwrap();
    let mut command = Command::new(&planned.argv[0]);
    command
        .args(&planned.argv[1..])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    (job, command)
}

/// Waits until the trial in `dir` has finished some requests.
fn wait_for_progress(job: &TrialJob, dir: &Path) -> Progress {
    let native = Native::with_program(env!("CARGO_BIN_EXE_mst").into());
    let mut reader = native.follow(job, dir).unwrap();
    let begun = Instant::now();
    loop {
        if let Some(progress) = reader.read().filter(|p| p.backlog.good.last() > Some(&10)) {
            return progress;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "no progress");
        std::thread::yield_now();
    }
}

#[test]
fn a_stop_file_ends_a_trial_with_what_it_has() {
    // Every tenth request never ends.
    let server = Server::start(|number, request, stream| {
        if number % 10 == 9 {
            std::thread::sleep(Duration::from_secs(50));
        }
        quick(request, stream)
    });
    let dir = tempfile::tempdir().unwrap();
    let (job, mut command) = minute_job(&server, dir.path());
    let begun = Instant::now();
    let mut child = command.spawn().unwrap();
    let progress = wait_for_progress(&job, dir.path());
    assert!(progress.backlog.intended.last() >= progress.backlog.finished.last());
    assert!(progress.ttft_p50_ms.is_some());
    std::fs::write(dir.path().join(STOP_FILE), "").unwrap();
    child.wait().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(30));
    let native = Native::with_program(env!("CARGO_BIN_EXE_mst").into());
    let measured = native.read(&job, dir.path()).unwrap();
    assert!(measured.stopped_early);
    assert!(
        measured.offered_s < 30.0 && measured.offered_s > 0.5,
        "{}",
        measured.offered_s
    );
    let expected = measured.offered_s * 20.0;
    assert!(
        (measured.records.len() as f64 - expected).abs() <= 3.0,
        "{} of {expected}",
        measured.records.len()
    );
    assert!(measured.records.is_sorted_by_key(|r| r.intended_ns));
    let open = measured
        .records
        .iter()
        .filter(|r| !r.outcome.is_finished())
        .count();
    assert!(open >= 1);
    assert!(
        measured
            .records
            .iter()
            .all(|r| r.outcome.is_ok() || !r.outcome.is_finished())
    );
}

#[test]
fn a_signal_ends_a_trial_too_and_a_killed_one_is_not_read() {
    let server = Server::start(|_, request, stream| quick(request, stream));
    let dir = tempfile::tempdir().unwrap();
    let (job, mut command) = minute_job(&server, dir.path());
    let mut child = command.spawn().unwrap();
    wait_for_progress(&job, dir.path());
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    let native = Native::with_program(env!("CARGO_BIN_EXE_mst").into());
    assert!(native.read(&job, dir.path()).unwrap().stopped_early);

    let dir = tempfile::tempdir().unwrap();
    let (job, mut command) = minute_job(&server, dir.path());
    let mut child = command.spawn().unwrap();
    wait_for_progress(&job, dir.path());
    child.kill().unwrap();
    child.wait().unwrap();
    let error = native.read(&job, dir.path()).unwrap_err().to_string();
    assert!(error.contains("did not end"), "{error}");
}

#[test]
fn a_client_that_was_held_up_voids_the_trial() {
    let server = Server::start(|_, request, stream| quick(request, stream));
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let more = ["--model", "m", "--duration", "3s", "--out", out.to_str().unwrap()];
    let mut held = command(&server.url, &more);
    let child = held
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let progress = out.join("progress.jsonl");
    let begun = Instant::now();
    while std::fs::read_to_string(&progress).map_or(0, |t| t.lines().count()) < 3 {
        assert!(begun.elapsed() < Duration::from_secs(30), "no progress");
        std::thread::yield_now();
    }
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    // The hold-up itself: a third of the trial.
    std::thread::sleep(Duration::from_secs(1));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGCONT).unwrap();
    let output = child.wait_with_output().unwrap();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    // Every request was sent and answered, and yet it is no measurement.
    assert_eq!(summary["completed"], 120, "{summary}");
    assert!(
        summary["client"]["void"].as_str().unwrap().contains("lateness"),
        "{summary}"
    );
    assert_eq!(output.status.code(), Some(10));
}
