//! Integration tests: stored results of every generation, read, judged and written again.

mod damaged;
mod evaluate;
mod folders;
mod process;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{golden, mst};

/// The recorded runs.
const CASES: [&str; 7] = [
    "err_240_45s",
    "refused_120_10s",
    "sus_180_200s",
    "sus_300_60s",
    "syn_drift_240_5min",
    "syn_stable_240_5min",
    "uns_900_60s",
];

/// The folder of a recorded run.
fn case(name: &str) -> PathBuf {
    golden("most").join(name)
}

/// What the older scripts made of it.
fn expected(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(case(name).join("expected.json")).unwrap()).unwrap()
}

/// A setting of a recorded run.
fn setting(expected: &Value, key: &str) -> String {
    expected["settings"][key].as_str().unwrap().to_owned()
}

/// Runs a verb and returns everything.
fn run(verb: &str, arguments: &[&str], paths: &[&Path]) -> Output {
    let mut command: Command = mst();
    command.arg(verb).args(arguments).args(paths).output().unwrap()
}

/// Runs a verb that answers in JSON; the exit code must be `code`.
fn json(verb: &str, arguments: &[&str], paths: &[&Path], code: i32) -> Vec<Value> {
    let output = run(verb, &[&["--format", "json"], arguments].concat(), paths);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    serde_json::from_slice::<Value>(&output.stdout)
        .expect(&stderr)
        .as_array()
        .unwrap()
        .clone()
}

/// Copies files of a recorded run into `dir`, which is made.
fn copy(name: &str, files: &[(&str, &str)], dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
    for (from, to) in files {
        std::fs::copy(case(name).join(from), dir.join(to)).unwrap();
    }
}

/// The plain text of a recorded `results.json.gz`.
fn events(name: &str) -> String {
    let file = std::fs::File::open(case(name).join("results.json.gz")).unwrap();
    std::io::read_to_string(flate2::read::GzDecoder::new(file)).unwrap()
}

/// The first row of a table by column.
fn first_row(path: &Path) -> Vec<(String, String)> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let header = reader.headers().unwrap().clone();
    let row = reader.records().next().unwrap().unwrap();
    header
        .iter()
        .map(str::to_owned)
        .zip(row.iter().map(str::to_owned))
        .collect()
}

/// A cell of such a row.
fn cell<'a>(row: &'a [(String, String)], column: &str) -> &'a str {
    let found = row.iter().find(|(name, _)| name == column);
    &found.unwrap_or_else(|| panic!("no column {column}")).1
}
