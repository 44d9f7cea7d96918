//! Runs from files.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::mst;

/// A small run; `more` are further lines of the deployment.
pub(super) const SMALL: &str = "\
deployment:
  model: llama-3-8b
  device: h100
  replicas: 2
  cost: roofline
workload:
  lengths:
    separate:
      input: {distribution: uniform, min: 100, max: 900}
      output: {distribution: uniform, min: 1, max: 40}
  qps: 20
  num_requests: 300
";

pub(super) fn file(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("run.yml");
    std::fs::write(&path, text).unwrap();
    path
}

fn answer(dir: &Path, text: &str, more: &[&str]) -> Value {
    let output = mst()
        .current_dir(dir)
        .arg("simulate")
        .arg(file(dir, text))
        .args(["--format", "json"])
        .args(more)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_folder_holds_what_is_documented() {
    let dir = tempfile::tempdir().unwrap();
    let told = answer(dir.path(), SMALL, &["--chrome-trace"]);
    let folder = dir.path().join(told["folder"].as_str().unwrap());
    assert_eq!(folder.parent().unwrap(), dir.path().join("simulator_output"));
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let json = |name: &str| -> Value { serde_json::from_str(&read(name)).unwrap() };
    assert_eq!(json("config.json")["deployment"]["batch_size_cap"], 128);
    assert_eq!(json("config.json")["resolved"]["cost"]["label"], "roofline");
    assert!(
        json("config.json")["resolved"]["memory"]["blocks"]
            .as_u64()
            .unwrap()
            > 1_000
    );
    assert_eq!(json("summary.json")["requests"], told["requests"]);
    assert!(
        !json("chrome_trace.json")["traceEvents"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    for plot in [
        "prefill_e2e_time",
        "request_e2e_time",
        "batch_size",
        "kv_use",
        "queue",
        "backlog",
    ] {
        assert!(read(&format!("plots/{plot}.svg")).starts_with("<svg"));
        assert!(read(&format!("plots/{plot}.csv")).lines().count() > 2, "{plot}");
    }
    let mut rows = csv::Reader::from_reader(read("request_metrics.csv").into_bytes().leak() as &[u8]);
    let columns = rows.headers().unwrap().clone();
    assert_eq!((&columns[0], &columns[24]), ("Request Id", "replica"));
    let at = |name: &str| columns.iter().position(|c| c == name).unwrap();
    let (ttft, e2e) = (at("prefill_e2e_time"), at("request_e2e_time"));
    let mut sum = 0.0;
    let mut count = 0;
    for (i, row) in rows.records().map(Result::unwrap).enumerate() {
        assert_eq!(row[0], i.to_string());
        let number = |at: usize| row[at].parse::<f64>().unwrap();
        assert!(number(ttft) > 0.0 && number(ttft) <= number(e2e));
        sum += number(ttft);
        count += 1;
    }
    assert_eq!(count, 300);
    let mean = told["ttft_s"]["mean"].as_f64().unwrap();
    assert!(
        (sum / 300.0 / mean - 1.0).abs() < 1e-9,
        "the summary is that of the rows"
    );
}

#[test]
fn a_seed_is_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let of = |more: &[&str]| {
        let told = answer(dir.path(), SMALL, &[more, &["--no-files"]].concat());
        assert_eq!(told["folder"], Value::Null);
        told["ttft_s"].clone()
    };
    assert_eq!(of(&[]), of(&["--seed", "0"]));
    assert_ne!(of(&[]), of(&["--seed", "1"]));
    assert!(!dir.path().join("simulator_output").exists());
}

#[test]
fn files_can_be_left_out_and_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let told = answer(dir.path(), SMALL, &["--requests-file", "no", "--plots", "no"]);
    let folder = dir.path().join(told["folder"].as_str().unwrap());
    assert!(folder.join("summary.json").exists());
    assert!(!folder.join("request_metrics.csv").exists() && !folder.join("plots").exists());
    let bare = answer(dir.path(), SMALL, &["--no-files"]);
    for key in ["requests", "ttft_s", "tbt_s", "state", "kv", "mfu"] {
        assert_eq!(told[key], bare[key], "{key}");
    }
}

#[test]
fn overload_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let calm = answer(dir.path(), SMALL, &["--no-files"]);
    assert_eq!(calm["state"], "stable");
    let heavy = SMALL
        .replace("qps: 20", "qps: 2000")
        .replace("num_requests: 300", "num_requests: 20000");
    let told = answer(dir.path(), &heavy, &["--no-files"]);
    assert_eq!(told["state"], "overloaded", "{told}");
    assert!(told["drift"]["value"].as_f64().unwrap() > 0.2);
    assert!(told["busy"].as_f64().unwrap() > 0.9);
}

#[test]
fn profiles_are_used_where_there_are_any() {
    let dir = tempfile::tempdir().unwrap();
    let profiles = crate::support::golden("vidur/profiling");
    let places = ["--no-files", "--profiles", profiles.to_str().unwrap()];
    let text = SMALL
        .replace("device: h100", "device: a100")
        .replace("cost: roofline", "cost: auto");
    assert_eq!(answer(dir.path(), &text, &places)["cost"], "profile");
    let without = answer(dir.path(), &text, &["--no-files"]);
    assert_eq!(without["cost"], "roofline");
    assert!(
        without["notes"][0].as_str().unwrap().contains("--profiles"),
        "{without}"
    );
    let other = text.replace("device: a100", "device: b200");
    assert_eq!(answer(dir.path(), &other, &places)["cost"], "roofline");
}

#[test]
fn traces_and_time_limits_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    let mut trace = String::from("arrived_at,num_prefill_tokens,num_decode_tokens\n");
    for i in 0..50 {
        writeln!(trace, "{i},{},10", 100 + i).unwrap();
    }
    std::fs::write(dir.path().join("trace.csv"), trace).unwrap();
    let head = &SMALL[..SMALL.find("workload").unwrap()];
    let whole = format!("{head}workload: {{trace: trace.csv}}\n");
    let told = answer(dir.path(), &whole, &["--no-files"]);
    assert_eq!(told["requests"]["completed"], 50);
    assert!(told["virtual_s"].as_f64().unwrap() > 49.0);
    let faster = answer(
        dir.path(),
        &format!("{head}workload: {{trace: trace.csv, qps: 10}}\n"),
        &["--no-files"],
    );
    assert!(faster["virtual_s"].as_f64().unwrap() < 6.0);
    let more = answer(
        dir.path(),
        &format!("{head}workload: {{trace: trace.csv, num_requests: 60}}\n"),
        &["--no-files"],
    );
    assert!(
        more["notes"][0]
            .as_str()
            .unwrap()
            .contains("10 requests are repeated"),
        "{more}"
    );
    let limited = answer(dir.path(), &format!("{whole}time_limit: 10.5\n"), &["--no-files"]);
    assert_eq!(limited["requests"]["arrived"], 11);
    let short = format!("{head}workload: {{trace: trace.csv, duration: 10.5}}\n");
    assert_eq!(
        answer(dir.path(), &short, &["--no-files"])["requests"]["completed"],
        11
    );
}

#[test]
fn the_example_runs() {
    let dir = tempfile::tempdir().unwrap();
    let output = mst().args(["simulate", "--example"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text,
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/simulate.yml")).unwrap()
    );
    let told = answer(
        dir.path(),
        &text.replace("num_requests: 5000", "num_requests: 50"),
        &["--no-files"],
    );
    assert_eq!(told["requests"]["completed"], 50);
}

#[test]
fn a_model_can_be_added() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("mine.yml"),
        "models:\n  - {name: me/tiny, layers: 4, q_heads: 8, kv_heads: 2, head_dim: 64, embedding_dim: 512, ff_dim: 1024, \
         vocab: 32000, max_context: 4096}\n",
    )
    .unwrap();
    let text = SMALL.replace("llama-3-8b", "me/tiny");
    let told = answer(
        dir.path(),
        &format!("{text}catalog: [mine.yml]\n"),
        &["--no-files"],
    );
    assert_eq!(told["requests"]["completed"], 300);
}
