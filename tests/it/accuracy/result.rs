//! What a bench prints and writes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{SMALL, bench, file};
use crate::support::{long, mst};

/// The keys that every line has.
const KEYS: [&str; 15] = [
    "search",
    "evaluation",
    "arrival",
    "duration_s",
    "searches",
    "within_2pct",
    "within_3pct",
    "within_5pct",
    "error_percent",
    "coverage",
    "interval_width_percent",
    "hours",
    "trials",
    "wrong_ruling_share",
    "unsure_share",
];

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn every_combination_has_a_line_with_every_key() {
    let json = bench(
        SMALL,
        &[
            "--searches",
            "2",
            "--search",
            "adaptive,stages-legacy",
            "--evaluation",
            "drift,welch",
            "--duration",
            "900s",
            "--filter-buffer",
            "120",
            "--seed",
            "3",
        ],
    );
    let servers = json["servers"].as_array().unwrap();
    assert_eq!(servers.len(), 2);
    assert!((number(&servers[0]["true_capacity_per_minute"]) - 400.0).abs() < 0.1);
    assert!(servers[0]["method"].as_str().unwrap().contains("closed form"));
    let mut combinations = BTreeSet::new();
    let lines = servers.iter().flat_map(|s| s["results"].as_array().unwrap());
    for line in lines.chain(json["overall"].as_array().unwrap()) {
        for key in KEYS {
            assert!(line.get(key).is_some(), "{key} in {line}");
        }
        for key in ["p1", "p5", "p50", "p95", "p99"] {
            assert!(line["error_percent"][key].is_number(), "{key} in {line}");
        }
        for key in ["interval_width_percent", "hours", "trials"] {
            assert!(line[key].get("p50").is_some() && line[key].get("p95").is_some());
        }
        combinations.insert(format!(
            "{} {} {}",
            line["search"], line["evaluation"], line["arrival"]
        ));
    }
    assert_eq!(combinations.len(), 4);
    assert!(combinations.contains("\"stages-legacy\" \"welch\" \"poisson\""));
    assert!(combinations.contains("\"adaptive\" \"drift\" \"stratified\""));
    assert_eq!(json["overall"].as_array().unwrap().len(), 4);
    assert_eq!(json["overall"][0]["searches"], 4);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let with = |jobs: &str| {
        bench(
            SMALL,
            &[
                "--searches",
                "3",
                "--duration",
                "600s",
                "--rulings",
                "2",
                "--jobs",
                jobs,
            ],
        )
    };
    let one = with("1");
    assert!(one == with("2"), "two threads find something else than one");
    let other = bench(
        SMALL,
        &[
            "--searches",
            "3",
            "--duration",
            "600s",
            "--rulings",
            "2",
            "--seed",
            "2",
        ],
    );
    assert!(one != other, "another seed begins elsewhere");
}

#[test]
fn answers_are_near_the_truth() {
    let searches = if long() { "60" } else { "6" };
    let json = bench(
        SMALL,
        &["--searches", searches, "--search", "adaptive", "--rulings", "2"],
    );
    for server in json["servers"].as_array().unwrap() {
        let line = &server["results"][0];
        assert!(number(&line["within_3pct"]) >= 0.95, "{server}");
        assert!(number(&line["hours"]["p50"]) < 1.5, "{server}");
        assert!(number(&line["wrong_ruling_share"]) <= 0.02, "{server}");
    }
}

#[test]
fn every_search_can_be_looked_into() {
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("searches.jsonl");
    let output = mst()
        .arg("accuracy")
        .arg("--servers")
        .arg(file(folder.path(), SMALL))
        .args([
            "--searches",
            "2",
            "--only",
            "plain",
            "--duration",
            "600s",
            "--svg",
        ])
        .arg(folder.path().join("plots"))
        .arg("--dump")
        .arg(&dump)
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    for word in ["duration 600 s", "plain", "all servers", "within floor", "unsure"] {
        assert!(text.contains(word), "{word} in {text}");
    }
    let lines: Vec<Value> = std::fs::read_to_string(&dump)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    for line in &lines {
        let truth = number(&line["truth"]);
        let start = number(&line["start"]);
        assert!((0.03..=0.06).contains(&(start / truth)), "{start} of {truth}");
        let trials = line["trials"].as_array().unwrap();
        let load: f64 = trials.iter().map(|t| number(&t["load_s"])).sum();
        assert!((load / 3600.0 - number(&line["hours"])).abs() < 1e-9);
        assert!(trials.iter().all(|t| t["ruling"].is_string()));
        assert_eq!(line["rulings"].as_array().unwrap().len(), 1);
    }
    for name in ["errors.svg", "hours.svg"] {
        let svg = std::fs::read_to_string(folder.path().join("plots").join(name)).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains("plain"), "{name}");
    }
}

#[test]
fn a_grid_is_cheaper_with_its_neighbours() {
    let json = bench(
        "
servers:
  - name: small
    engine: {batch: 32, step_ms: 20, step_ms_per_sequence: 0.3, prefill_ms_per_token: 0.02}
    grid: {input: [16, 128, 512], output: [16, 64, 256]}
",
        &["--campaign", "--searches", "1", "--duration", "900s"],
    );
    let lines = json["campaigns"].as_array().unwrap();
    let names: Vec<&str> = lines.iter().map(|l| l["campaign"].as_str().unwrap()).collect();
    assert_eq!(names, ["independent", "CONFIRM=always", "CONFIRM=edges"]);
    let hours: Vec<f64> = lines.iter().map(|l| number(&l["hours_per_pair"])).collect();
    assert!(hours[0] > hours[1] && hours[1] > hours[2], "{hours:?}");
    for line in lines {
        assert_eq!((&line["name"], &line["pairs"]), (&"small".into(), &9.into()));
        assert_eq!(line["searches"], 9);
    }
    assert!(number(&lines[2]["confirmed"]) < number(&lines[1]["confirmed"]));
}
