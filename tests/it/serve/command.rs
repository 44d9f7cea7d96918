//! The verb.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::client::get;
use crate::support::mst;

/// Ends the program where a test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `mst serve --port 0` and reads its first line.
fn serve(args: &[&str]) -> (Running, String) {
    let mut child = mst()
        .args(["serve", "--port", "0"])
        .args(args)
        .env("SERVE_TEST_KEY", "secret")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    (Running(child), line)
}

#[test]
fn it_tells_where_it_is_and_ends_cleanly() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (mut running, line) = serve(&["--format", "json", "--profile", "demo", "--tokens", "32:16"]);
        let told: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(told["model"], "simulated");
        let capacity = told["true_capacity_per_minute"].as_f64().unwrap();
        assert!((11_029.0..11_030.0).contains(&capacity), "{capacity}");
        let address = told["url"].as_str().unwrap().strip_prefix("http://").unwrap();
        assert_eq!(get(address.parse().unwrap(), "/health").status, 200);
        let pid = Pid::from_raw(i32::try_from(running.0.id()).unwrap());
        kill(pid, signal).unwrap();
        assert_eq!(running.0.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn it_speaks_to_people_too() {
    let flags = ["--tokens", "100:1-100", "--kv-tokens", "4000", "--model", "m"];
    let (_running, line) = serve(&flags);
    assert!(line.contains(" model m true capacity for 100:1-100: "), "{line}");
    assert!(line.contains("(simulated, +-"), "{line}");
    let (_running, line) = serve(&["--api-key-env", "SERVE_TEST_KEY", "--step-base", "9ms"]);
    let address = line.split(' ').next().unwrap().strip_prefix("http://").unwrap();
    assert_eq!(get(address.parse().unwrap(), "/v1/models").status, 401);
}

#[test]
fn wrong_input_is_told_with_its_remedy() {
    for (args, code, words) in [
        (
            &["--api-key-env", "NOT_SET_ANYWHERE"][..],
            3,
            "NOT_SET_ANYWHERE is not set",
        ),
        (&["--batch-cap", "0"], 3, "batch_cap is 0"),
        (
            &["--kv-tokens", "10", "--tokens", "9:9"],
            3,
            "the KV cache holds 10 tokens",
        ),
        (&["--listen", "192.0.2.1:1"], 3, "cannot listen on 192.0.2.1:1"),
        (&["--tokens", "9"], 2, "write input:output"),
        (&["--overload-status", "500"], 2, "write 429 or 503"),
        (&["--step-base", "8"], 2, "--step-base"),
    ] {
        let output = mst().arg("serve").args(args).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(words), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty());
    }
}
