//! The older rule against recorded outputs of the older program.

use std::path::Path;

use chrono::NaiveDateTime;
use mst::criterion::welch::{LegacyInput, LegacyReport, evaluate, success_rate_of};
use mst::criterion::{Criterion, Earlier, Ruling, welch::Welch};
use mst::trial::{Halves, Response};
use serde_json::Value;

use super::simulated::{Arrivals, DEMO};
use crate::support::golden;

fn responses(path: &Path) -> Vec<Response> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let row = |record: csv::StringRecord| {
        let time = NaiveDateTime::parse_from_str(&record[0], "%Y%m%dT%H%M%S")
            .or_else(|_| NaiveDateTime::parse_from_str(&record[0], "%Y-%m-%d %H:%M:%S"))
            .unwrap();
        Response {
            received_ns: time.and_utc().timestamp() * 1_000_000_000,
            duration_ms: record[1].parse().unwrap(),
            success: &record[3] == "True",
        }
    };
    reader.records().map(|r| row(r.unwrap())).collect()
}

fn halves(folder: &Path) -> Halves {
    Halves {
        first: responses(&folder.join("first_half.csv")),
        second: responses(&folder.join("second_half.csv")),
    }
}

fn expected(folder: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder.join("expected.json")).unwrap()).unwrap()
}

fn assert_close(name: &str, actual: Option<f64>, expected: &Value, tolerance: f64) {
    match (actual, expected.as_f64()) {
        (None, None) => {}
        (Some(a), Some(e)) => assert!(
            (a - e).abs() <= tolerance * e.abs(),
            "{name}: {a:e}, expected {e:e}"
        ),
        (a, e) => panic!("{name}: {a:?}, expected {e:?}"),
    }
}

fn passed(ruling: Ruling) -> bool {
    ruling == Ruling::Sustainable
}

fn judged(folder: &Path, expected: &Value) -> LegacyReport {
    let all = responses(&folder.join("output.csv"));
    let seconds: Vec<i64> = all.iter().map(Response::received_s).collect();
    let buffer_s = expected["settings"]["FILTER_BUFFER"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    evaluate(&LegacyInput {
        halves: &Halves::split(&all, buffer_s),
        responded: &seconds,
        req_min: expected["settings"]["REQ_MIN"].as_str().unwrap().parse().ok(),
        success_rate_percent: success_rate_of(&all),
        success_threshold: 95.0,
    })
}

#[test]
fn recorded_runs_come_out_the_same() {
    for case in [
        "err_240_45s",
        "refused_120_10s",
        "sus_300_60s",
        "syn_stable_240_5min",
        "uns_900_60s",
    ] {
        let folder = golden("most-stats").join(case);
        let expected = expected(&folder);
        let report = judged(&folder, &expected);
        let statistics = &expected["statistics"];
        for (name, actual, value) in [
            ("t", report.welch_t, &statistics["welch_t"]),
            ("df", report.welch_df, &statistics["welch_df"]),
            ("p", report.welch_p, &statistics["welch_p"]),
            ("d", report.cohens_d, &statistics["cohen_d"]),
            ("tost", report.tost_p, &statistics["tost_p_margin_0.02"]),
            ("mean1", report.mean_first_ms, &statistics["mean1"]),
            ("mean2", report.mean_second_ms, &statistics["mean2"]),
        ] {
            assert_close(&format!("{case} {name}"), actual, value, 1e-9);
        }
        let gate = &expected["gate"];
        assert_close(
            case,
            report.gate_median_per_minute,
            &gate["median_responded_per_min"],
            1e-12,
        );
        assert_eq!(
            report.gate_passed == Some(false),
            gate["early_fail"] == true,
            "{case}"
        );
        assert_eq!(
            passed(report.test_ruling),
            expected["evaluate_verdict"] == true,
            "{case}"
        );
        assert_eq!(
            passed(report.ruling),
            expected["pipeline_verdict"] == true,
            "{case}"
        );
        if let Some([low, high]) = report.boot_ci_ms {
            let ends = &statistics["bootstrap_ci95"];
            let (e_low, e_high) = (ends[0].as_f64().unwrap(), ends[1].as_f64().unwrap());
            let mean = statistics["bootstrap_mean_diff"].as_f64().unwrap();
            let bound = 0.05 * (e_high - e_low);
            for (a, e) in [(low, e_low), (high, e_high), (report.boot_diff_ms.unwrap(), mean)] {
                assert!((a - e).abs() < bound, "{case}: {a} {e} {bound}");
            }
        } else {
            assert!(statistics.is_null(), "{case}");
        }
    }
}

#[test]
fn synthetic_pairs_come_out_as_with_scipy() {
    let root = golden("most-stats");
    let cases = expected(&root)["cases"].as_object().unwrap().clone();
    assert_eq!(cases.len(), 5);
    for (case, expected) in cases {
        let report = evaluate(&LegacyInput {
            halves: &halves(&root.join(&case)),
            responded: &[],
            req_min: None,
            success_rate_percent: Some(100.0),
            success_threshold: 95.0,
        });
        for (name, actual, key) in [
            ("t", report.welch_t, "welch_t"),
            ("df", report.welch_df, "welch_df"),
            ("p", report.welch_p, "welch_p_two_sided"),
            ("d", report.cohens_d, "cohen_d"),
            ("tost", report.tost_p, "tost_p"),
        ] {
            assert_close(&format!("{case} {name}"), actual, &expected[key], 1e-9);
        }
        assert_eq!(passed(report.ruling), expected["verdict"] == true, "{case}");
        assert_eq!(report.ruling, report.test_ruling);
        assert_eq!(report.gate_median_per_minute, None);
    }
}

#[test]
fn a_trial_of_ours_is_judged_by_the_same_rule() {
    let criterion = Welch {
        filter_buffer_s: 1,
        success_rate_percent: 95.0,
    };
    let mut trial = DEMO.trial(Arrivals::Poisson, 1.3, 10.0, 5);
    let verdict = criterion.judge(&trial, &Earlier::default());
    assert_eq!(verdict.ruling, Ruling::Unsustainable);
    assert!(verdict.statistics["welch_p"].as_f64().unwrap() < 1e-10);
    trial.stopped_early = true;
    assert_eq!(
        criterion.judge(&trial, &Earlier::default()).ruling,
        Ruling::Unsure
    );
    trial.records.clear();
    trial.stopped_early = false;
    let empty = criterion.judge(&trial, &Earlier::default());
    assert_eq!(empty.ruling, Ruling::Unsustainable);
    assert!(empty.statistics["welch_p"].is_null() && empty.statistics["boot_ci_ms"].is_null());
}
