//! Recorded runs of Vidur, run again. `MST_VIDUR_CASES` may name a folder with more of them.

use std::path::{Path, PathBuf};

use mst::deployment::vidur_case::replay;
use serde_json::Value;

use crate::support::{golden, mst};

fn cases(below: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(below).unwrap();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("case.json").exists())
        .collect();
    found.sort();
    found
}

#[test]
fn every_request_and_iteration_is_as_recorded() {
    let mut all = cases(&golden("vidur/cases"));
    assert!(all.len() >= 3);
    if let Some(more) = std::env::var_os("MST_VIDUR_CASES") {
        all.extend(cases(Path::new(&more)));
    }
    for folder in all {
        let report = replay(&folder, None, &[]).unwrap();
        let told = format!("{report:#?}");
        assert!(!report.mismatch, "{told}");
        assert!(report.max_abs_ttft_error_s <= 1e-6, "{told}");
        assert!(report.max_abs_e2e_error_s <= 1e-6, "{told}");
        assert!(report.max_rel_iteration_error <= 1e-9, "{told}");
        assert_eq!(report.restarts[0], report.restarts[1], "{told}");
        assert!(report.iterations > 1_000, "{told}");
    }
}

/// A copy of a case with some text of its `case.json` replaced.
fn changed(from: &str, to: &str) -> tempfile::TempDir {
    let case = golden("vidur/cases/h100_llama2-7b_tp1_sarathi512_uniform_static_offline");
    let copy = tempfile::tempdir().unwrap();
    for file in ["requests.csv.gz", "iterations.csv.gz"] {
        std::fs::copy(case.join(file), copy.path().join(file)).unwrap();
    }
    let text = std::fs::read_to_string(case.join("case.json")).unwrap();
    assert!(text.contains(from));
    std::fs::write(copy.path().join("case.json"), text.replace(from, to)).unwrap();
    copy
}

#[test]
fn another_scheduler_is_told_from_the_record() {
    let case = changed(
        "\"sarathi_scheduler_config_chunk_size\": \"512\"",
        "\"sarathi_scheduler_config_chunk_size\": \"256\"",
    );
    let report = replay(case.path(), Some(&golden("vidur/cases/tables")), &[]).unwrap();
    assert!(report.mismatch);
    assert_eq!(report.max_rel_iteration_error, f64::MAX);
    assert!(report.max_abs_ttft_error_s > 1e-3);
    assert!(
        report.places[0].starts_with("the runs part: replica 0, stage 0, iteration 0"),
        "{:?}",
        report.places
    );
}

#[test]
fn routers_that_draw_are_replayed() {
    let case = changed(
        "\"cluster_config_num_replicas\": \"1\"",
        "\"cluster_config_num_replicas\": \"2\"",
    );
    let text = std::fs::read_to_string(case.path().join("case.json")).unwrap();
    let random = text.replace(
        "\"global_scheduler_config_type\": \"round_robin\"",
        "\"global_scheduler_config_type\": \"random\"",
    );
    let tables = golden("vidur/cases/tables");
    // All of the record went to the first of the two, which only a replay does.
    let by_rule = replay(case.path(), Some(&tables), &[]).unwrap();
    assert!(!by_rule.replayed_routing && by_rule.mismatch);
    std::fs::write(case.path().join("case.json"), random).unwrap();
    let replayed = replay(case.path(), Some(&tables), &[]).unwrap();
    assert!(replayed.replayed_routing && !replayed.mismatch, "{replayed:#?}");
}

#[test]
fn the_command_prints_what_scripts_read() {
    let output = mst()
        .arg("simulate")
        .arg("--vidur-case")
        .arg(golden("vidur/cases/canary_a100_llama3-8b_vllmv1_512_conv_q5"))
        .args(["--format", "json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (told["requests"].as_u64(), told["iterations"].as_u64()),
        (Some(800), Some(7664))
    );
    assert_eq!(told["replayed_routing"], false);
    for (key, most) in [
        ("max_abs_ttft_error_s", 1e-6),
        ("max_abs_e2e_error_s", 1e-6),
        ("max_rel_iteration_error", 1e-9),
    ] {
        assert!(told[key].as_f64().unwrap() <= most, "{key}: {told}");
    }
    assert!(told["cpu_seconds"].as_f64().unwrap() > 0.0);
}

#[test]
fn a_folder_that_is_no_case_is_refused() {
    let empty = tempfile::tempdir().unwrap();
    let error = replay(empty.path(), None, &[]).unwrap_err().to_string();
    assert!(error.contains("case.json"), "{error}");
    let case = changed(
        "\"replica_scheduler_config_type\": \"sarathi\"",
        "\"replica_scheduler_config_type\": \"best\"",
    );
    let error = replay(case.path(), None, &[]).unwrap_err().to_string();
    assert!(error.contains("`best` is not modelled"), "{error}");
}
