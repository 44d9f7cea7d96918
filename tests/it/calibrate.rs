//! `mst calibrate`: planted truth. A simulated server with hidden factors stands for the live one.

mod coverage;
mod expected;
pub(crate) mod steps;
mod token_times;

use std::path::Path;
use std::process::Output;

use mst::calibration::{CalibrationError, Server, Trials, from_aggregates};
use mst::deployment::calibrated::{Calibration, Kept, Label, Level};
use mst::deployment::{Deployment, Library, Places};
use mst::sim::catalog::Efficiency;

use crate::support::mst;

pub(crate) const MODEL: &str = "meta-llama/Meta-Llama-3-8B";

/// A GPU of the catalog with other factors, as a catalog file.
pub(crate) fn hidden_gpu(e: &Efficiency) -> String {
    let efficiency = serde_json::to_string(e).unwrap();
    format!(
        "gpus:\n  - name: a100\n    memory_gib: 80\n    bandwidth_gb_s: 2039\n    bf16_tflops: 312\n    \
         link: {{name: NVLink3, gb_s: 600}}\n    watts: 400\n    efficiency: {efficiency}\n"
    )
}

/// A server whose factors nobody is told.
pub(crate) const HIDDEN: Efficiency = Efficiency {
    weights: 1.9,
    gemm: 1.2,
    kv: 2.0,
    attention: 2.0,
    communication: 1.3,
    layer_us: 5.0,
    sequence_us: 9.0,
    step_us: 600.0,
};

/// Measures a hidden server at some rates: trials in `results` of a folder.
pub(crate) fn measure(dir: &Path, hidden: &Efficiency, rates: &str, requests: u32, seed: u64) {
    std::fs::write(dir.join("hidden.yml"), hidden_gpu(hidden)).unwrap();
    let file = format!(
        "catalog: [hidden.yml]\nseed: {seed}\nsystems:\n  - name: hidden\n    deployment: {{model: {MODEL}, device: a100, \
         batching: {{scheduler: vllm_v1, chunk_size: 512}}, noise: 0.05, cost: roofline}}\nworkloads:\n  \
         - {{name: mixed, tokens: \"100-1500:20-400\", requests: {requests}, start_qps: 2}}\nslos:\n  \
         - {{name: loose, type: tbt_ttft, tbt_slo: 0.2, ttft_slo: 1}}\nsearch: {{rule: rates, rates: {rates}}}\n"
    );
    std::fs::write(dir.join("capacity.yml"), file).unwrap();
    let output = mst()
        .current_dir(dir)
        .args(["capacity", "capacity.yml", "--output-dir", "results"])
        .output()
        .unwrap();
    assert!(dir.join("results").is_dir(), "{}", said(&output));
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn library() -> Library {
    Library::open(Places::default()).unwrap()
}

/// A way to calibrate from trials.
pub(crate) type FromTrials = fn(&Server, &Trials) -> Result<Calibration, CalibrationError>;

/// Calibrates in this process, from quantiles.
pub(crate) fn calibrate(dir: &Path, batching: serde_json::Value) -> Calibration {
    calibrate_by(from_aggregates, dir, batching)
}

/// Calibrates in this process.
pub(crate) fn calibrate_by(from: FromTrials, dir: &Path, batching: serde_json::Value) -> Calibration {
    let mut deployment = Deployment::new(MODEL, "a100");
    deployment.batching = serde_json::from_value(batching).unwrap();
    let server = Server::new(&deployment, &library(), "test").unwrap();
    let trials = Trials::read(&[dir.join("results")]).unwrap();
    assert!(trials.left_out.is_empty(), "{:?}", trials.left_out);
    from(&server, &trials).unwrap()
}

/// Mean held-out error of a metric.
fn held_out(calibration: &Calibration, metric: &str) -> f64 {
    let row = calibration
        .errors
        .iter()
        .find(|row| row.metric == metric)
        .unwrap();
    row.hold_out.unwrap().mape
}

#[test]
fn a_hidden_server_is_found_and_its_file_is_a_cost_model() {
    let dir = tempfile::tempdir().unwrap();
    measure(dir.path(), &HIDDEN, "[1, 3, 5, 6]", 400, 1);
    let output = mst()
        .current_dir(dir.path())
        .args([
            "calibrate",
            "results",
            "--model",
            MODEL,
            "--device",
            "a100",
            "--format",
            "json",
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let told: Calibration = serde_json::from_slice(&output.stdout).unwrap();
    let written = Calibration::read(&dir.path().join("calibrated.json")).unwrap();
    assert_eq!(told, written);
    assert_eq!(
        (told.level, told.label, told.kept),
        (Level::C, Label::Calibrated, Kept::Factors)
    );
    assert_eq!((told.operating_points, told.sources.len()), (4, 4));
    for (metric, most) in [
        ("tpot_p50", 0.01),
        ("tpot_p99", 0.02),
        ("e2e_p95", 0.02),
        ("ttft_p50", 0.05),
    ] {
        let row = told.errors.iter().find(|row| row.metric == metric).unwrap();
        assert!(row.hold_out.unwrap().mape < most, "{row:?}");
        assert!(
            row.hold_out.unwrap().mape < row.uncalibrated.unwrap().mape,
            "{row:?}"
        );
    }
    assert_eq!(simulated_label(dir.path()), "calibrated");
}

/// The label of a run of `mst simulate` with the file beside it.
fn simulated_label(dir: &Path) -> String {
    let example = mst().args(["simulate", "--example"]).output().unwrap();
    let example = String::from_utf8(example.stdout).unwrap();
    let mut scenario: serde_json::Value = serde_saphyr::from_str(&example).unwrap();
    scenario["deployment"]["model"] = MODEL.into();
    scenario["deployment"]["device"] = "a100".into();
    scenario["deployment"]["cost"] = serde_json::json!({"calibrated": "calibrated.json"});
    let sub = dir.join("beside");
    std::fs::create_dir(&sub).unwrap();
    std::fs::copy(dir.join("calibrated.json"), sub.join("calibrated.json")).unwrap();
    std::fs::write(sub.join("run.yml"), scenario.to_string()).unwrap();
    let output = mst()
        .current_dir(dir)
        .args(["simulate", "beside/run.yml", "--no-files", "--format", "json"])
        .output()
        .unwrap();
    let answer: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(&output)));
    answer["cost"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_wrong_scheduler_shows_where_rates_are_held_out() {
    let dir = tempfile::tempdir().unwrap();
    measure(dir.path(), &HIDDEN, "[2, 4, 6]", 400, 2);
    let right = calibrate(
        dir.path(),
        serde_json::json!({"scheduler": "vllm_v1", "chunk_size": 512}),
    );
    let wrong = calibrate(
        dir.path(),
        serde_json::json!({"scheduler": "vllm", "max_tokens_in_batch": 4096}),
    );
    assert_eq!(right.label, Label::Calibrated);
    assert_eq!(wrong.label, Label::Fitted, "{:?}", wrong.errors);
    assert!(held_out(&wrong, "tpot_p99") > 5.0 * held_out(&right, "tpot_p99"));
    assert!(
        wrong
            .notes
            .iter()
            .any(|note| note.contains("deployed as described"))
    );
}

#[test]
fn one_rate_holds_nothing_out_and_a_damaged_trial_is_told() {
    let dir = tempfile::tempdir().unwrap();
    measure(dir.path(), &HIDDEN, "[3]", 300, 1);
    let one = calibrate(
        dir.path(),
        serde_json::json!({"scheduler": "vllm_v1", "chunk_size": 512}),
    );
    assert_eq!(
        (one.label, one.operating_points, one.s_disc),
        (Label::Fitted, 1, 0.2)
    );
    assert!(one.errors.iter().all(|row| row.hold_out.is_none()));
    let trial = walkdir::WalkDir::new(dir.path().join("results"))
        .into_iter()
        .filter_map(Result::ok)
        .find(|entry| entry.file_name() == "measured.bin")
        .unwrap();
    std::fs::write(trial.path(), "nothing").unwrap();
    let told = |arguments: &[&str]| {
        let output = mst()
            .current_dir(dir.path())
            .arg("calibrate")
            .args(arguments)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        said(&output)
    };
    let server = ["--model", MODEL, "--device", "a100"];
    let error = told(&[&["results"], &server[..]].concat());
    assert!(
        error.contains("no trial can be used") && error.contains("measured.bin"),
        "{error}"
    );
    assert!(told(&[&["nowhere"], &server[..]].concat()).contains("there is no such folder"));
}
