//! Level B: iterations put together from token times.

use mst::calibration::{Server, Trials, from_token_times};
use mst::deployment::Deployment;
use mst::deployment::calibrated::{Kept, Label, Level};
use serde_json::json;

use super::{HIDDEN, MODEL, calibrate, calibrate_by, held_out, library, measure, said};
use crate::support::mst;

#[test]
fn iterations_are_put_together_from_token_times() {
    let dir = tempfile::tempdir().unwrap();
    measure(dir.path(), &HIDDEN, "[1, 3, 5, 6]", 400, 1);
    let batching = json!({"scheduler": "vllm_v1", "chunk_size": 512});
    let found = calibrate_by(from_token_times, dir.path(), batching.clone());
    assert_eq!(
        (found.level, found.label, found.kept),
        (Level::B, Label::Calibrated, Kept::Factors),
        "{:?}",
        found.notes
    );
    assert!(
        !found.notes.iter().any(|note| note.contains("do not fit")),
        "{:?}",
        found.notes
    );
    let e = &found.efficiency;
    for (name, value, truth, most) in [
        ("gemm", e.gemm, HIDDEN.gemm, 0.03),
        ("kv", e.kv, HIDDEN.kv, 0.1),
        // The constant time of an iteration is both.
        ("weights", e.weights, HIDDEN.weights, 0.1),
    ] {
        assert!(
            (value / truth).ln().abs() < most,
            "{name}: {value}, in truth {truth}"
        );
    }
    // Thousands of iterations tell more than 28 quantiles.
    let quantiles = calibrate(dir.path(), batching);
    for metric in ["tpot_p50", "tpot_p99", "e2e_p95", "ttft_p95"] {
        let (b, c) = (held_out(&found, metric), held_out(&quantiles, metric));
        assert!(b < 0.01 + c, "{metric}: {b}, of quantiles {c}");
    }
}

#[test]
fn a_budget_other_than_described_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    measure(dir.path(), &HIDDEN, "[3, 5]", 200, 3);
    let told = calibrate_by(
        from_token_times,
        dir.path(),
        json!({"scheduler": "vllm_v1", "chunk_size": 128}),
    );
    assert!(
        told.notes.iter().any(|note| note.contains("do not fit")),
        "{:?}",
        told.notes
    );
    assert_eq!(told.label, Label::Fitted);
}

#[test]
fn what_cannot_be_told_from_outside_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    measure(dir.path(), &HIDDEN, "[3]", 100, 1);
    let trials = Trials::read(&[dir.path().join("results")]).unwrap();
    let refused = |change: &dyn Fn(&mut Deployment)| {
        let mut deployment = Deployment::new(MODEL, "a100");
        change(&mut deployment);
        let server = Server::new(&deployment, &library(), "").unwrap();
        from_token_times(&server, &trials).unwrap_err().to_string()
    };
    assert!(refused(&|d| d.replicas = 2).contains("several replicas"));
    assert!(
        refused(&|d| d.batching = serde_json::from_value(json!({"scheduler": "orca"})).unwrap())
            .contains("batch policy")
    );
    let output = mst()
        .current_dir(dir.path())
        .args([
            "calibrate",
            "results",
            "--level",
            "b",
            "--model",
            MODEL,
            "--device",
            "a100",
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("level B"));
}
