//! The older program's search and criterion, and `EXPERIMENT_TYPE=MIT`, from settings to files.

use serde_json::Value;

use super::{Workspace, read_json, stderr, walk};

/// Trials over several calendar minutes, as the older rules need them.
const MINUTES: &str = "DURATION=300s\nFILTER_BUFFER=60";

/// The evidence of an answer: rate, ruling, stage of the probe.
fn evidence(space: &Workspace) -> Vec<(f64, String, u64)> {
    let capacity: Value = serde_json::from_str(&space.capacity("8_8")).unwrap();
    let lines = capacity["evidence"].as_array().unwrap();
    lines
        .iter()
        .map(|e| {
            let text = |key: &str| e[key].as_str().unwrap().to_owned();
            (
                e["rate"].as_f64().unwrap(),
                text("ruling"),
                e["stage"].as_u64().unwrap(),
            )
        })
        .collect()
}

/// The rates that the older program would have asked for, given its verdicts; written from its description, apart from the
/// program's own.
fn older_rates(start: f64, multiplier: f64, stop: f64, verdicts: &[bool]) -> Vec<f64> {
    let (mut rate, mut rates) = (start, Vec::new());
    let (mut m, mut big_m): (Option<f64>, Option<f64>) = (None, None);
    let (mut stage, mut failed) = (1, false);
    for &sustained in verdicts {
        rates.push(rate);
        if stage == 2 {
            let (low, high) = (m.unwrap(), big_m.unwrap());
            if high - low <= stop * high {
                break;
            }
        }
        if !sustained && !failed {
            failed = true;
            rate = if stage == 2 {
                f64::midpoint(m.unwrap(), big_m.unwrap())
            } else {
                rate
            };
            continue;
        }
        failed = false;
        let bound = if sustained { &mut m } else { &mut big_m };
        *bound = Some(rate);
        rate = match (m, big_m) {
            (Some(m), Some(big_m)) => {
                stage = 2;
                f64::midpoint(m, big_m)
            }
            (_, None) => (rate * multiplier).round_ties_even(),
            (None, _) => (rate / multiplier).round_ties_even().max(1.0),
        };
    }
    rates
}

#[test]
fn the_older_search_and_criterion_repeat_the_older_sequence_and_show_both_rulings() {
    let space = Workspace::scripted(&format!("{MINUTES}\nSEARCH=stages-legacy\nEVALUATION=welch"));
    let output = space
        .run(&["--format", "json"])
        .env("SCRIPTED_JITTER", "0.004")
        .output()
        .unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let seen = evidence(&space);
    let verdicts: Vec<bool> = seen
        .iter()
        .map(|(_, ruling, _)| ruling == "sustainable")
        .collect();
    let rates: Vec<f64> = seen.iter().map(|(rate, ..)| *rate).collect();
    assert_eq!(rates, older_rates(100.0, 2.0, 0.02, &verdicts), "{said}");
    assert!(
        rates.iter().any(|r| r.fract() != 0.0),
        "midpoints are not rounded: {rates:?}"
    );
    for (rate, ruling, _) in &seen {
        let clear = !(950.0..1060.0).contains(rate);
        assert!(
            !clear || (ruling == "sustainable") == (*rate < 1000.0),
            "{rate}: {ruling}"
        );
    }
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = answer[0]["mst_per_minute"].as_f64().unwrap();
    assert!((900.0..=1060.0).contains(&found), "{found}");
    let verdicts = walk(&space.results(), "verdict.json");
    assert_eq!(verdicts.len(), seen.len());
    for path in verdicts {
        let verdict = read_json(&path);
        assert_eq!(verdict["criterion"], "welch");
        let of_drift = verdict["statistics"]["drift"]["ruling"].as_str();
        assert!(of_drift.is_some(), "{verdict}");
        assert!(verdict["statistics"]["welch_p"].is_number(), "{verdict}");
    }
}

#[test]
fn a_plateau_is_found_in_stage_two_as_well() {
    let space = Workspace::scripted("EXPERIMENT_TYPE=MIT\nSTOP_THRESHOLD=0.05");
    let (output, answer) = space.answer(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let found = answer[0]["mst_per_minute"].as_f64().unwrap();
    // The tolerance of the criterion is 5 %, that of the search as well.
    assert!((930.0..=1110.0).contains(&found), "{found}");
    let seen = evidence(&space);
    assert!(
        seen.iter()
            .any(|(_, ruling, stage)| *stage == 2 && ruling == "unsustainable"),
        "{seen:?}"
    );
    assert!(
        seen.iter()
            .any(|(_, ruling, stage)| *stage == 2 && ruling == "sustainable"),
        "{seen:?}"
    );
}

#[test]
fn the_older_plateau_has_no_criterion_in_stage_two() {
    let space = Workspace::scripted(&format!(
        "{MINUTES}\nEXPERIMENT_TYPE=MIT\nSEARCH=stages-legacy\nSTOP_THRESHOLD=0.1"
    ));
    let (output, answer) = space.answer(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let seen = evidence(&space);
    assert!(
        seen.iter()
            .all(|(_, ruling, stage)| *stage == 1 || ruling == "sustainable"),
        "{seen:?}"
    );
    let failed: Vec<f64> = seen
        .iter()
        .filter(|(_, ruling, _)| ruling == "unsustainable")
        .map(|s| s.0)
        .collect();
    let high = *failed.last().unwrap();
    let found = answer[0]["mst_per_minute"].as_f64().unwrap();
    assert!(
        found >= 0.85 * high && found > 1500.0,
        "{found}, the lowest rate that failed is {high}"
    );
}
