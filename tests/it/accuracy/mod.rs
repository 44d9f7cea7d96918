//! `mst accuracy`: searches against servers of known capacity.

mod panel;
mod result;
mod wrong;

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::mst;

/// Two quick servers of the plainest kind, of 400 and 800 requests a minute.
const SMALL: &str = "
servers:
  - name: plain
    engine: {batch: 16, step_ms: 37.5}
    lengths:
      input: {distribution: fixed, tokens: 16}
      output: {distribution: fixed, tokens: 64}
  - name: uniform
    engine: {batch: 32, step_ms: 36.9230769}
    lengths:
      input: {distribution: fixed, tokens: 16}
      output: {distribution: uniform, min: 1, max: 129}
";

/// Writes a file of servers.
fn file(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("servers.yml");
    std::fs::write(&path, text).unwrap();
    path
}

/// The JSON of a bench over `text`.
fn bench(text: &str, arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    file(folder.path(), text);
    let output = mst()
        .current_dir(folder.path())
        .args(["accuracy", "--servers", "servers.yml", "--format", "json"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}
