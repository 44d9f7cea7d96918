//! The older program's recorded searches, reproduced rate for rate.

use mst::criterion::{Ruling, Verdict};
use mst::search::{Observed, Search, StagesConfig, StagesLegacy, Step, StopRule};
use mst::units::Rate;
use serde_json::Value;

use crate::support::golden;

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .or_else(|| value.as_str().and_then(|s| s.parse().ok()))
        .expect("a number")
}

#[test]
fn recorded_sequences_are_reproduced() {
    let text = std::fs::read_to_string(golden("search/search_traces.json")).unwrap();
    let traces: Vec<Value> = serde_json::from_str(&text).unwrap();
    assert!(traces.len() >= 10);
    for trace in &traces {
        let config = &trace["config"];
        let threshold = number(&config["STOP_THRESHOLD"]);
        let stop = if config["THRESHOLD_TYPE"] == "relative" {
            StopRule::Relative(threshold)
        } else {
            StopRule::Absolute(threshold)
        };
        let start = StagesConfig {
            start: Rate::per_minute(number(&config["REQ_MIN_START"])),
            multiplier: number(&config["REQ_MIN_INCREASE_MULTIPLIER"]),
            stop,
            limit: 100,
        };
        let mut search = StagesLegacy::new(start);
        let mut answers = Vec::new();
        for (at, iteration) in trace["iterations"].as_array().unwrap().iter().enumerate() {
            let context = format!("{} iteration {}", trace["name"], at + 1);
            let Step::Probe(probe) = search.next() else {
                panic!("{context}: ended early")
            };
            assert_eq!(
                probe.rate.as_per_minute(),
                number(&iteration["req_min"]),
                "{context}"
            );
            assert_eq!(
                u64::from(probe.stage),
                iteration["stage"].as_u64().unwrap(),
                "{context}"
            );
            let ruling = if iteration["verdict"] == true {
                Ruling::Sustainable
            } else {
                Ruling::Unsustainable
            };
            let verdict = Verdict {
                criterion: String::new(),
                ruling,
                margin: None,
                bound: None,
                capacity_hint: None,
                reasons: Vec::new(),
                statistics: Value::Null,
            };
            search.observe(&Observed {
                probe: &probe,
                verdict: &verdict,
                offered: probe.rate,
                load_s: 60.0,
            });
            if let Step::Done(answer) = search.next() {
                answers.push(answer.rate.map(Rate::as_per_minute));
                search = StagesLegacy::new(start);
            }
        }
        let expected: Vec<Option<f64>> = trace["result"]
            .as_object()
            .unwrap()
            .values()
            .map(Value::as_f64)
            .collect();
        assert_eq!(answers, expected, "{}", trace["name"]);
    }
}
