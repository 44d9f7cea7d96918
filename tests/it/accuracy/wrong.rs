//! What is told when a file or an argument is wrong.

use super::{SMALL, file};
use crate::support::mst;

/// Exit code and message of a bench over `SMALL` with `from` replaced by `to`.
fn told(from: &str, to: &str, arguments: &[&str]) -> (Option<i32>, String) {
    assert!(SMALL.contains(from), "{from}");
    let folder = tempfile::tempdir().unwrap();
    file(folder.path(), &SMALL.replacen(from, to, 1));
    let output = mst()
        .current_dir(folder.path())
        .args(["accuracy", "--searches", "1", "--servers", "servers.yml"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.stdout.is_empty());
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn mistakes_in_a_file_are_named_with_their_line() {
    for (from, to, words) in [
        (
            "step_ms:",
            "stepms:",
            "servers.yml:4: `stepms` is not a key here; did you mean step_ms?",
        ),
        (
            "batch: 16",
            "batch: 0",
            "servers.yml:4: server `plain`: batch: 0 does not do",
        ),
        (
            "name: uniform",
            "name: plain",
            "servers.yml:8: server `plain`: another server has this name",
        ),
        (
            "engine: {batch: 16, step_ms: 37.5}\n",
            "\n",
            "a server needs either `engine` or `deployment`",
        ),
    ] {
        let (code, message) = told(from, to, &[]);
        assert_eq!(code, Some(3), "{message}");
        assert!(message.contains(words), "{words} in {message}");
    }
}

#[test]
fn mistakes_in_arguments_are_told() {
    for (arguments, code, words) in [
        (&["--only", "nobody"][..], 3, "there are plain, uniform"),
        (&["--campaign"][..], 3, "no server has a `grid`"),
        (&["--start-from", "0.5"][..], 2, "above --start-to"),
        (&["--search", "best"][..], 2, "adaptive"),
        (&["--arrival", "sometimes"][..], 2, "stratified"),
        (&["--duration", "0"][..], 2, "1800s"),
    ] {
        let (got, message) = told("name: plain", "name: plain", arguments);
        assert_eq!(got, Some(code), "{arguments:?}: {message}");
        assert!(message.contains(words), "{words} in {message}");
    }
    let missing = mst()
        .args(["accuracy", "--servers", "nowhere.yml"])
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(3));
}
