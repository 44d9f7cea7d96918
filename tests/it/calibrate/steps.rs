//! Level A: logs of iterations.

use mst::calibration::{Server, Telemetry, from_steps};
use mst::deployment::Deployment;
use mst::deployment::calibrated::{Calibration, Label, Level};
use mst::sim::cost::BatchShape;
use mst::sim::cost::calibrated::Calibrated;
use mst::workload::seeds;
use rand::RngExt;
use serde_json::json;

use super::{HIDDEN, MODEL, library};

/// A log of a server with hidden factors: each time off by up to 3 %.
pub(crate) fn log() -> serde_json::Value {
    let library = library();
    let (model, gpu) = (
        library.catalog().model(MODEL).unwrap(),
        library.catalog().gpu("a100").unwrap(),
    );
    let cost = Calibrated::new(model, gpu, (1, 1), HIDDEN, 1.0, None).unwrap();
    let mut rng = seeds::stream(7, "log");
    let mut samples = Vec::new();
    for batch in 0..600 {
        let kind = batch % 3;
        let mut shape = BatchShape::default();
        let mut members = Vec::new();
        let decodes = if kind == 0 { 0 } else { 1 << rng.random_range(0..8) };
        for _ in 0..decodes {
            let (prefill, decode) = (rng.random_range(50..3000), rng.random_range(1..500));
            shape.add_decode(prefill + decode);
            members.push(
                json!({"request_id": "r", "prefill_len": prefill, "decode_len": decode, "kv_bytes": 0}),
            );
        }
        if kind != 1 {
            let prefill = rng.random_range(16..8000);
            shape.add_prefill(0, prefill, true);
            members.push(json!({"request_id": "r", "prefill_len": prefill, "decode_len": 0, "kv_bytes": 0}));
        }
        let ms = cost.whole_ms(&shape) * rng.random_range(0.97..1.03);
        samples.push(json!({
            "request_id": "r", "phase": if kind == 1 { "decode" } else { "prefill" }, "batch_id": batch,
            "batch_composition": members,
            "operator_timings": [{"name": "mlp", "time_ms": 0.6 * ms}, {"name": "attention", "time_ms": 0.4 * ms}],
            "gpu_mfu": 0.4, "timestamp": 0.0
        }));
    }
    json!({ "samples": samples })
}

#[test]
fn a_log_of_iterations_gives_the_factors_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("telemetry.json");
    std::fs::write(&path, log().to_string()).unwrap();
    let server = Server::new(&Deployment::new(MODEL, "a100"), &library(), "").unwrap();
    let found: Calibration = from_steps(&server, &[Telemetry::read(&path).unwrap().steps()]).unwrap();
    assert_eq!((found.level, found.label), (Level::A, Label::Calibrated));
    // The CPU's time of a sequence is some 2 % of that of its KV cache: it is frozen, and goes into that.
    let e = &found.efficiency;
    for (name, value, truth, most) in [
        ("weights", e.weights, HIDDEN.weights, 0.05),
        ("gemm", e.gemm, HIDDEN.gemm, 0.03),
        ("kv", e.kv, HIDDEN.kv, 0.03),
        ("attention", e.attention, HIDDEN.attention, 0.1),
    ] {
        assert!(
            (value / truth).ln().abs() < most,
            "{name}: {value}, in truth {truth}"
        );
    }
    let step = found.errors.iter().find(|row| row.metric == "step").unwrap();
    assert!(step.hold_out.unwrap().mape < 0.03, "{step:?}");
    assert!(
        step.hold_out.unwrap().mape < 0.5 * step.one_ratio.unwrap().mape,
        "{step:?}"
    );
}
