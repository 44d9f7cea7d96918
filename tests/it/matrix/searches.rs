//! What searches answer.

use super::{FILE, Space, said};
use crate::support::mst;

/// The keys that programs rely on.
const KEYS: [&str; 10] = [
    "name",
    "capacity_qps",
    "interval_qps",
    "status",
    "binding_slo",
    "slos",
    "trials",
    "trials_reused",
    "load_seconds",
    "error",
];

#[test]
fn the_answer_has_the_keys_that_programs_rely_on() {
    let space = Space::new(FILE);
    let (output, answer) = space.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let found = &answer[0];
    for key in KEYS {
        assert!(found.get(key).is_some(), "{key}: {found}");
    }
    assert_eq!(found["name"], "small/pairs/loose");
    let none = serde_json::json!({"trial_s": null, "total_s": null});
    assert_eq!(found["limits"], none);
    assert_eq!(found["status"], "bracketed");
    for key in ["metric", "statistic", "bound", "observed", "margin", "met"] {
        assert!(found["slos"][0].get(key).is_some(), "{key}");
    }
    assert_eq!(found["slos"][0]["met"], true);
    let (low, high) = (
        found["interval_qps"][0].as_f64().unwrap(),
        found["interval_qps"][1].as_f64().unwrap(),
    );
    assert!(low < high && found["capacity_qps"].as_f64() == Some(low));
    for name in [
        "outcomes.json",
        "outcomes.csv",
        "small_pairs_loose_curve.svg",
        "small_pairs_loose_ttft.csv",
    ] {
        assert!(space.results().join("outcomes").join(name).is_file(), "{name}");
    }
}

#[test]
fn what_is_stored_is_not_measured_again_whatever_the_objective() {
    let space = Space::new(FILE);
    let (_, first) = space.run(&[]);
    let trials = first[0]["trials"].as_u64().unwrap();
    let (_, again) = space.run(&[]);
    assert_eq!(again[0]["trials_reused"].as_u64(), Some(trials));
    assert_eq!(again[0]["capacity_qps"], first[0]["capacity_qps"]);
    assert_eq!(again[0]["load_seconds"], 0.0);
    // The same objective, written differently: nothing of it is in the key.
    let (_, other) = space.run(&["--slo-type", "tbt_ttft", "--tbt-slo", "0.2", "--ttft-slo", "1.0"]);
    assert_eq!(other[0]["trials_reused"].as_u64(), Some(trials));
    assert_eq!(space.trials().len() as u64, trials);
}

#[test]
fn the_adaptive_rule_agrees_with_the_published_one_and_ends_where_it_ended() {
    let space = Space::new(&format!("{FILE}sustained: false\n"));
    let (_, published) = space.run(&[]);
    let (output, adaptive) = space.run(&["--rule", "adaptive"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let qps = |answer: &serde_json::Value| answer[0]["capacity_qps"].as_f64().unwrap();
    assert!((qps(&adaptive) / qps(&published) - 1.0).abs() < 0.1, "{adaptive}");
    let (_, again) = space.run(&["--rule", "adaptive"]);
    assert_eq!(again[0]["load_seconds"], 0.0);
    assert!((qps(&again) / qps(&adaptive) - 1.0).abs() < 0.05);
}

#[test]
fn one_rate_is_checked() {
    let space = Space::new(FILE);
    let (_, answer) = space.run(&[]);
    let qps = answer[0]["capacity_qps"].as_f64().unwrap();
    for (rate, code) in [(0.5 * qps, 0), (2.0 * qps, 4)] {
        let output = space
            .verb("check")
            .args(["--rate", &rate.to_string()])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
    }
    // Near the capacity a trial of two hundred requests is not beyond doubt.
    let output = space
        .verb("check")
        .args(["--sure", "--rate", &qps.to_string()])
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(5),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn an_endpoint_is_searched_by_the_same_file() {
    let file = FILE
        .replace(
            "    deployment:",
            "    endpoint: {settings: {DRAIN: 2s}}\n    deployment:",
        )
        .replace("8}", "400}");
    let file = file
        .replace(
            "search: {rule: etalon}",
            "search: {rule: rates, rates: [100, 5000]}",
        )
        .replace("256:32", "16:8")
        .replace("ttft_slo: 1", "ttft_slo: 0.1");
    let space = Space::new(&file);
    let (output, answer) = space.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(answer[0]["origin"], "endpoint");
    assert_eq!(answer[0]["status"], "bracketed", "{answer}");
    assert_eq!(answer[0]["capacity_qps"], 100.0);
    let (output, answer) = space.run(&["--target", "simulator"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(answer[0]["origin"].as_str().unwrap().starts_with("simulator"));
}

#[test]
fn one_search_needs_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let output = mst()
        .current_dir(dir.path())
        .args([
            "check",
            "--url",
            "embedded",
            "--tokens",
            "16:8",
            "--requests",
            "50",
            "--rate",
            "50",
            "--format",
            "json",
        ])
        .args(["--slo-type", "ttft_tpot", "--ttft-slo", "2", "--tpot-slo", "1"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn the_example_is_a_file_that_runs() {
    let output = mst().args(["capacity", "--example"]).output().unwrap();
    let space = Space::new(&String::from_utf8(output.stdout).unwrap());
    let output = space.verb("capacity").arg("--dry-run").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        told.contains("chunked-512/chat/interactive") && told.contains("4 searches"),
        "{told}"
    );
}
