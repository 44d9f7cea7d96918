//! From end to end: a hidden server is measured at three rates, calibrated, and what the calibrated simulator lets expect of it
//! spares its search most of the trials.

use std::path::Path;

use mst::store::write_json;
use serde_json::{Value, json};

use super::coverage::drawn;
use super::{MODEL, calibrate, measure, said};
use crate::support::mst;

/// Searches of a hidden server, a line of JSON each.
fn searches(dir: &Path, search: &str, more: &[&str]) -> Vec<Value> {
    let dump = dir.join(format!("{search}.jsonl"));
    let output = mst()
        .current_dir(dir)
        .args([
            "accuracy",
            "--servers",
            "servers.yml",
            "--searches",
            "2",
            "--rulings",
            "0",
            "--search",
            search,
            "--dump",
        ])
        .arg(&dump)
        .args(more)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let text = std::fs::read_to_string(dump).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_calibrated_simulator_spares_trials() {
    let seeds = if std::env::var_os("MST_TEST_LONG").is_some() {
        60
    } else {
        4
    };
    let deployment =
        json!({"model": MODEL, "device": "a100", "batching": {"scheduler": "vllm_v1", "chunk_size": 512}});
    let (mut trials, mut without, mut bisected) = (0, 0, 0);
    let (mut count, mut right, mut held) = (0usize, 0usize, 0usize);
    for seed in 0..seeds {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        measure(dir, &drawn(seed), "[1, 3, 5]", 300, seed);
        let calibration = calibrate(dir, deployment["batching"].clone());
        write_json(&dir.join("calibrated.json"), &calibration).unwrap();
        let mut described = deployment.clone();
        described["cost"] = json!({"calibrated": "calibrated.json"});
        write_json(&dir.join("described.yml"), &json!({"deployment": described})).unwrap();
        let mut server = deployment.clone();
        server["noise"] = json!(0.05);
        server["cost"] = json!("roofline");
        let of = |min: u32, max: u32| json!({"distribution": "uniform", "min": min, "max": max});
        let servers = json!({
            "catalog": ["hidden.yml"],
            "servers": [{"name": "hidden", "deployment": server, "lengths": {"input": of(100, 1500), "output": of(20, 400)}}]
        });
        write_json(&dir.join("servers.yml"), &servers).unwrap();
        let taken =
            |found: &[Value]| -> usize { found.iter().map(|s| s["trials"].as_array().unwrap().len()).sum() };
        let found = searches(dir, "adaptive", &["--prior", "described.yml"]);
        for one in &found {
            let number = |key: &str| one[key].as_f64().unwrap_or(f64::NAN);
            count += 1;
            right += usize::from((number("answer") / number("truth")).ln().abs() <= 1.05f64.ln());
            held += usize::from((number("low")..=number("high")).contains(&number("truth")));
        }
        trials += taken(&found);
        without += taken(&searches(dir, "adaptive", &[]));
        bisected += taken(&searches(dir, "stages", &[]));
    }
    let mean = |trials: usize| trials as f64 / count as f64;
    println!(
        "{count} searches of {seeds} hidden servers: {:.1} trials with what a calibration lets expect, {:.1} without, {:.1} by ramp and \
         bisection; {right} answers within 5 %, {held} intervals hold the truth",
        mean(trials),
        mean(without),
        mean(bisected)
    );
    assert!(mean(trials) <= 6.0, "{}", mean(trials));
    assert!(mean(without) > mean(trials) && mean(bisected) > 9.0);
    assert!(right as f64 >= 0.95 * count as f64, "{right} of {count}");
}
