//! `mst capacity` on files of ours: searches, what is stored, what goes wrong.

mod accuracy;
mod classes;
mod faults;
mod follow_up;
mod hosted;
mod prior;
mod searches;
mod stored;
mod submit;

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::support::mst;

/// A small deployment under short requests: a trial takes milliseconds.
pub(crate) const FILE: &str = "\
systems:
  - name: small
    deployment: {model: meta-llama/Meta-Llama-3-8B, device: a100, batching: {scheduler: sarathi, chunk_size: 512}}
workloads:
  - {name: pairs, tokens: \"256:32\", requests: 200, start_qps: 8}
slos:
  - {name: loose, type: tbt_ttft, tbt_slo: 0.2, ttft_slo: 1}
search: {rule: etalon}
";

/// A folder with a file in it.
pub(crate) struct Space(tempfile::TempDir);

impl Space {
    pub(crate) fn new(file: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("capacity.yml"), file).unwrap();
        Self(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn results(&self) -> std::path::PathBuf {
        self.path().join("results")
    }

    /// Runs `mst capacity capacity.yml --output-dir results --format json` with more arguments.
    pub(crate) fn run(&self, more: &[&str]) -> (Output, Value) {
        let output = self
            .verb("capacity")
            .args(["--format", "json"])
            .args(more)
            .output()
            .unwrap();
        let answer = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        (output, answer)
    }

    pub(crate) fn verb(&self, verb: &str) -> std::process::Command {
        let mut command = mst();
        command
            .current_dir(self.path())
            .args([verb, "capacity.yml", "--output-dir", "results"]);
        command
    }

    /// Folders of stored trials, by name.
    pub(crate) fn trials(&self) -> Vec<std::path::PathBuf> {
        let mut all: Vec<_> = walkdir::WalkDir::new(self.results())
            .into_iter()
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name() == "trial.json")
            .map(|entry| entry.path().parent().unwrap().to_owned())
            .collect();
        all.sort();
        all
    }
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
