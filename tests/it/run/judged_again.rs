//! A stored trial that is judged again is judged as it was.

use mst::criterion::drift::Drift;
use mst::criterion::{Criterion, Earlier};
use mst::store::folder::{Overrides, open_trial};
use serde_json::Value;

use super::{Workspace, read_json, stderr};

/// What a verdict says by itself, without the statistics of the rule beside it.
fn of_drift(mut verdict: Value) -> Value {
    verdict["statistics"].as_object_mut().unwrap().remove("welch");
    verdict
}

/// The lengths vary, so that the mean of the responses is not the mean that was planned, which is the unit of progress.
#[test]
fn a_stored_trial_has_the_very_verdict_of_its_run() {
    let space = Workspace::native(
        "SEARCH=adaptive\nARRIVAL=\nTOKENS_LIST=8:4-32\nREQ_MIN_START=600\nITERATION_HARD_LIMIT=4",
    );
    let (output, rows) = space.answer(&[]);
    let trials = space.trials("8_4-32");
    assert!(trials.len() >= 2, "{rows}\n{}", stderr(&output));
    let mut told = 0;
    for folder in trials.into_values().flatten() {
        let judged = of_drift(read_json(&folder.join("verdict.json")));
        let trial = open_trial(&folder, &Overrides::default()).unwrap();
        let measured = trial.measurement.unwrap();
        assert_eq!(measured.planned_output, Some(18.0));
        let again = Drift::new(95.0).judge(&measured, &Earlier::default());
        let again = of_drift(serde_json::to_value(&again).unwrap());
        assert_eq!(again, judged, "{}", folder.display());
        told += u32::from(!judged["margin"].is_null());
    }
    assert!(told >= 1, "no trial has a drift: {rows}\n{}", stderr(&output));
}
