//! `mst profile prefill`: lone prompts against the embedded endpoint, whose times are known, and against servers that
//! refuse, fail, are busy, or die.

use std::path::Path;
use std::process::Output;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use mst::endpoint::embedded::{EmbeddedConfig, EmbeddedServer};
use mst::sim::affine::ReplicaConfig;
use mst::store::PrefillProfile;
use mst::store::prefill::IdleBy;
use serde_json::Value;

use super::server::{After, Seen, Server, begin, end, good, piece, status, token};
use crate::support::{mst, stderr};

fn profile(dir: &Path, arguments: &[&str]) -> Output {
    let output = mst()
        .current_dir(dir)
        .args(["profile", "prefill"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
    output
}

/// The profile that a run left, which must be what it printed.
fn left(dir: &Path, output: &Output) -> PrefillProfile {
    assert!(output.status.success(), "{}", stderr(output));
    let written = PrefillProfile::load(&dir.join("prefill.json")).unwrap();
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed, serde_json::to_value(&written).unwrap());
    written
}

/// A server whose prompts take as long as their length says, in milliseconds a token.
fn slow(request: &Seen, stream: &mut std::net::TcpStream) -> std::io::Result<After> {
    let tokens = request.body["prompt"].as_array().map_or(0, Vec::len) as u64;
    good(request, stream, Duration::from_millis(tokens), Duration::ZERO)
}

fn tokens(request: &Seen) -> usize {
    request.body["prompt"].as_array().map_or(0, Vec::len)
}

#[test]
fn the_embedded_endpoint_is_predicted_as_it_is_made() {
    let replica = ReplicaConfig {
        step_base_us: 5_000.0,
        step_per_seq_us: 1_000.0,
        prefill_base_us: 4_000.0,
        prefill_us_per_token: 200.0,
        jitter: 0.0,
        kv_tokens: Some(2_000),
        ..ReplicaConfig::default()
    };
    let truth = |n: f64| 0.010 + 200e-6 * n;
    let server = EmbeddedServer::start(EmbeddedConfig {
        replica,
        api_key: Some("secret-key".to_owned()),
        ..EmbeddedConfig::default()
    })
    .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let url = server.base_url();
    let arguments = [
        "--url",
        &url,
        "--format",
        "json",
        "--repeats",
        "3",
        "--api-key-env",
        "KEY",
    ];
    let output = mst()
        .current_dir(dir.path())
        .args(["profile", "prefill"])
        .args(arguments)
        .env("KEY", "secret-key")
        .output()
        .unwrap();
    let profile = left(dir.path(), &output);
    let lengths: Vec<u32> = profile.lengths.iter().map(|l| l.asked_tokens).collect();
    // The server says how long a request may be, so nothing is refused.
    assert_eq!(lengths, [128, 256, 512, 1024, 1936]);
    assert_eq!(profile.refused_tokens, None);
    assert_eq!(profile.server.engine.as_deref(), Some("vllm"));
    assert_eq!(profile.server.max_model_len, Some(2_000));
    assert!(profile.idle.idle && profile.idle.by == IdleBy::Metrics);
    // Prompts are never in one's favour; a busy machine may add some milliseconds.
    for n in [128.0, 700.0, 1500.0, 1936.0] {
        let predicted = profile.curve().predict(n).seconds;
        let error = predicted - truth(n);
        assert!(
            error > -1e-3 && error < 0.05 * truth(n) + 0.025,
            "{n}: {predicted} s"
        );
    }
    for measured in &profile.measurements {
        assert_eq!(measured.tokens, measured.asked_tokens);
        assert!(measured.seconds > truth(f64::from(measured.tokens)) - 1e-3);
    }
    let text = std::fs::read_to_string(dir.path().join("prefill.json")).unwrap();
    assert!(!text.contains("secret-key"));
    // Without the key it is not answered.
    let output = super::profile::profile(dir.path(), &["--url", &url]);
    assert_eq!(output.status.code(), Some(12), "{}", stderr(&output));
}

#[test]
fn without_a_url_the_embedded_endpoint_is_profiled_in_both_apis() {
    let dir = tempfile::tempdir().unwrap();
    for api in ["completions", "chat"] {
        let output = profile(
            dir.path(),
            &[
                "--lengths",
                "64,32,256",
                "--repeats",
                "2",
                "--api",
                api,
                "--profile-dir",
                "new/dir",
            ],
        );
        assert!(output.status.success(), "{}", stderr(&output));
        let table = String::from_utf8(output.stdout).unwrap();
        assert!(
            table.contains("server idle: yes") && table.contains("lengths left out, inside"),
            "{table}"
        );
        let profile = PrefillProfile::load(&dir.path().join("new/dir")).unwrap();
        let lengths: Vec<f64> = profile.curve().points().iter().map(|p| p.tokens).collect();
        assert_eq!(lengths, [32.0, 64.0, 256.0], "{api}");
    }
    let output = profile(dir.path(), &["--min", "50", "--max", "40"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("--min and --max"), "{}", stderr(&output));
}

#[test]
fn lengths_end_where_the_server_refuses_or_fails() {
    for kind in ["refuses", "refuses in the stream", "fails", "breaks off"] {
        let server = Server::start(move |_, request, stream| {
            if !request.path.ends_with("/completions") {
                return status(stream, 404, "text/plain", "");
            }
            if tokens(request) <= 30 {
                return slow(request, stream);
            }
            let long = "This model's maximum context length is 31 tokens";
            match kind {
                "refuses" => status(
                    stream,
                    400,
                    "application/json",
                    &format!(r#"{{"message":"{long}"}}"#),
                ),
                "refuses in the stream" => {
                    begin(stream)?;
                    let frame = format!("data: {{\"error\":{{\"message\":\"{long}\",\"code\":400}}}}\n\n");
                    piece(stream, &frame)?;
                    end(stream)
                }
                "fails" => status(stream, 500, "text/plain", "out of memory"),
                _ => {
                    begin(stream)?;
                    piece(stream, &token(None))?;
                    Ok(After::Close)
                }
            }
        });
        let dir = tempfile::tempdir().unwrap();
        let output = profile(
            dir.path(),
            &[
                "--url",
                &server.url,
                "--lengths",
                "5,10,20,40,80",
                "--repeats",
                "2",
                "--format",
                "json",
            ],
        );
        let profile = left(dir.path(), &output);
        assert_eq!(
            (profile.refused_tokens, profile.longest_tokens),
            (Some(40), 20.0),
            "{kind}"
        );
        assert_eq!(profile.measurements.len(), 6);
        let note = profile
            .notes
            .iter()
            .find(|n| n.contains("of 40 tokens and more"))
            .unwrap();
        assert!(stderr(&output).contains(note), "{note}");
        assert!(profile.curve().predict(20.0).seconds >= 0.02);
        // Nobody asked for more than a token, and every prompt was another one.
        let seen = server.seen.lock().unwrap();
        let prompts: Vec<&Value> = seen
            .iter()
            .filter(|s| s.path.ends_with("/completions"))
            .map(|s| &s.body["prompt"])
            .collect();
        assert!(seen.iter().all(|s| s.tokens() <= 1));
        for (place, prompt) in prompts.iter().enumerate() {
            assert!(!prompts[..place].contains(prompt), "{kind}: {prompt}");
        }
    }
}

#[test]
fn fields_that_the_server_does_not_know_are_left_out() {
    let server = Server::start(|_, request, stream| {
        if !request.path.ends_with("/completions") {
            return status(stream, 404, "text/plain", "");
        }
        for field in ["min_tokens", "ignore_eos"] {
            if request.body.get(field).is_some() {
                let why = format!(r#"{{"detail":"Unrecognized request argument: {field}"}}"#);
                return status(stream, 422, "application/json", &why);
            }
        }
        slow(request, stream)
    });
    let dir = tempfile::tempdir().unwrap();
    let arguments = [
        "--url",
        &server.url,
        "--lengths",
        "5,9",
        "--repeats",
        "1",
        "--format",
        "json",
    ];
    let profile = left(dir.path(), &profile(dir.path(), &arguments));
    assert_eq!(profile.measurements.len(), 2);
    assert!(
        profile.notes.iter().any(|n| n.contains("min_tokens, ignore_eos")),
        "{:?}",
        profile.notes
    );
}

#[test]
fn a_server_that_dies_or_answers_nothing_is_no_profile() {
    let died = std::sync::Arc::new(Mutex::new(false));
    let dead = std::sync::Arc::clone(&died);
    let server = Server::start(move |_, request, stream| {
        if *dead.lock().unwrap() {
            return Ok(After::Close);
        }
        if request.path.ends_with("/completions") && tokens(request) > 8 {
            *dead.lock().unwrap() = true;
            return Ok(After::Close);
        }
        if request.path.ends_with("/completions") {
            return slow(request, stream);
        }
        status(stream, 404, "text/plain", "")
    });
    let dir = tempfile::tempdir().unwrap();
    let output = profile(dir.path(), &["--url", &server.url, "--lengths", "4,16"]);
    assert_eq!(output.status.code(), Some(12), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("went away at a prompt of 16 tokens"),
        "{}",
        stderr(&output)
    );
    assert!(!dir.path().join("prefill.json").exists());
    let refusing = Server::start(|_, _, stream| status(stream, 400, "text/plain", "too long"));
    let output = profile(dir.path(), &["--url", &refusing.url, "--lengths", "4,16"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("4 tokens, is not answered"),
        "{}",
        stderr(&output)
    );
    let output = profile(dir.path(), &["--url", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(12));
}

#[test]
fn a_busy_server_is_refused_unless_allowed() {
    let server = Server::start(|_, request, stream| {
        if request.path == "/metrics" {
            let page =
                "vllm:num_requests_running{engine=\"0\"} 3.0\nvllm:num_requests_waiting{engine=\"0\"} 1.0\n";
            return status(stream, 200, "text/plain", page);
        }
        if request.path.ends_with("/completions") {
            return slow(request, stream);
        }
        status(stream, 404, "text/plain", "")
    });
    let dir = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let output = profile(dir.path(), &["--url", &server.url, "--lengths", "4"]);
    assert_eq!(output.status.code(), Some(12), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("4 other requests") && stderr(&output).contains("--allow-busy"),
        "{}",
        stderr(&output)
    );
    assert!(begun.elapsed() > Duration::from_secs(10));
    let arguments = [
        "--url",
        &server.url,
        "--lengths",
        "4",
        "--repeats",
        "1",
        "--allow-busy",
        "--format",
        "json",
    ];
    let profile = left(dir.path(), &profile(dir.path(), &arguments));
    assert!(!profile.idle.idle && profile.idle.busy_looks > 0);
    assert!(
        profile.notes.iter().any(|n| n.contains("other requests")),
        "{:?}",
        profile.notes
    );
}

#[test]
fn a_simulated_deployment_is_profiled_in_virtual_time() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = [
        "--simulate",
        "--model",
        "meta-llama/Meta-Llama-3-8B",
        "--device",
        "a100",
        "--repeats",
        "2",
        "--format",
        "json",
    ];
    let profile = left(dir.path(), &super::profile::profile(dir.path(), &arguments));
    assert_eq!(profile.idle.by, IdleBy::Simulated);
    let at = |n: f64| profile.curve().predict(n).seconds;
    assert!(at(4096.0) > 3.0 * at(512.0) && at(512.0) > 0.001, "{}", at(512.0));
    // Without noise repeats are the same.
    assert_eq!(profile.repeat_spread.unwrap().largest, 0.0);
    let output = super::profile::profile(dir.path(), &["--simulate"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        stderr(&output).contains("--model and --device"),
        "{}",
        stderr(&output)
    );
}
