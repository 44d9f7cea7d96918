//! `RESULTS_LAYOUT`: folders, columns and files after a run, and what the other verbs make of them.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::{Workspace, stderr, table};
use crate::support::mst;

/// First and last column of `results.csv`, and the folder of the pair.
const LAYOUTS: [(&str, &str, &str, &str); 4] = [
    ("mst", "8_4", "EXPERIMENT_TYPE", "TRIAL_ID"),
    ("latest", "8-8_4-4", "EXPERIMENT_TYPE", "ADDITIVE"),
    ("new", "8-8_4-4", "MODEL_USED", "ADDITIVE_TRUE_PROPORTIONS"),
    ("doc", "8_4", "MODEL_USED", "STAGE"),
];

/// Every file below a folder with its content, but for what is appended to.
fn snapshot(root: &Path) -> BTreeMap<String, Vec<u8>> {
    walkdir::WalkDir::new(root)
        .into_iter()
        .map(Result::unwrap)
        .filter(|e| e.file_type().is_file() && e.file_name() != "events.jsonl")
        .map(|e| (e.path().display().to_string(), std::fs::read(e.path()).unwrap()))
        .collect()
}

fn answer_of(space: &Workspace, arguments: &[&str]) -> Value {
    let output = mst().current_dir(space.path()).args(arguments).output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{arguments:?}: {}",
        stderr(&output)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_layout_can_be_read_by_the_other_verbs() {
    for (layout, folder, first, last) in LAYOUTS {
        let space = Workspace::native(&format!(
            "RESULTS_LAYOUT={layout}\nTOKENS_LIST=8:4\nREQ_MIN_START=9000\nITERATION_HARD_LIMIT=3"
        ));
        let (output, answer) = space.answer(&[]);
        assert!(matches!(output.status.code(), Some(0 | 5)), "{}", stderr(&output));
        let row = &answer[0];
        assert_eq!(
            row["pair"], "8_4",
            "the pair has one name, whatever its folder is called"
        );
        let trials = space.trials(folder);
        assert_eq!(trials.len() as u64, row["trials"].as_u64().unwrap(), "{layout}");
        for folders in trials.values() {
            let dir = &folders[0];
            let (columns, rows) = table(&dir.join("results.csv"));
            assert_eq!(
                (&*columns[0], &*columns[columns.len() - 1]),
                (first, last),
                "{layout}"
            );
            assert_eq!(rows.len(), 1);
            let ruling = super::read_json(&dir.join("verdict.json"))["ruling"].clone();
            let spelled = match ruling.as_str().unwrap() {
                // The older program normalised it.
                "sustainable" if layout == "mst" => "True",
                "unsustainable" if layout == "mst" => "False",
                "sustainable" => "TRUE",
                "unsustainable" => "FALSE",
                _ => "",
            };
            assert_eq!(rows[0]["EVALUATION"], spelled, "{layout}");
            let count = |file: &str| table(&dir.join(file)).1.len();
            assert!(
                count("first_half.csv") > 0 && count("second_half.csv") > 0,
                "{layout}"
            );
            assert_eq!(
                (count("output.csv") as u64).to_string(),
                rows[0]["TOTAL_REQUESTS"],
                "{layout}"
            );
            assert!(
                dir.join("prompts.csv").is_file() && dir.join("results.json").is_file(),
                "{layout}"
            );
        }

        // `process` finds its own work done, but for the file that it makes on demand.
        let run_process = || {
            answer_of(
                &space,
                &["process", "requests", "--layout", layout, "--format", "json"],
            )
        };
        let before = snapshot(&space.results());
        let made = run_process();
        for entry in made.as_array().unwrap() {
            assert_eq!(
                entry["changed"],
                serde_json::json!(["results_from_json.csv"]),
                "{layout}: {entry}"
            );
        }
        let after = snapshot(&space.results());
        for (path, content) in &before {
            assert!(after[path] == *content, "{layout}: {path} was changed");
        }
        for entry in run_process().as_array().unwrap() {
            assert_eq!(entry["status"], "unchanged", "{layout}: {entry}");
        }
        assert_eq!(snapshot(&space.results()), after, "{layout}");

        for rule in ["drift", "welch"] {
            let judged = answer_of(
                &space,
                &["evaluate", "requests", "--evaluation", rule, "--format", "json"],
            );
            assert_eq!(judged.as_array().unwrap().len(), trials.len(), "{layout}");
            for entry in judged.as_array().unwrap() {
                assert!(
                    entry["ruling"].is_string() && !entry["success_rate_percent"].is_null(),
                    "{entry}"
                );
            }
        }
        let reported = answer_of(&space, &["report", "requests", "--format", "json"]);
        let line = reported
            .as_array()
            .unwrap()
            .iter()
            .find(|r| r["pair"] == "8_4")
            .unwrap();
        assert_eq!(line["mst_per_minute"], row["mst_per_minute"], "{layout}: {line}");

        // The same again finds everything.
        let (_, again) = space.answer(&[]);
        assert_eq!(again[0]["trials_reused"], again[0]["trials"], "{layout}");
    }
}

#[test]
fn a_mix_in_the_folder_of_the_older_form_is_reported() {
    let space = Workspace::scripted(
        "RESULTS_LAYOUT=new\nWORKLOAD_MIXES=[(8:8,1),(9:8,3)]\nREQ_MIN_START=800\nSTOP_THRESHOLD=0.1",
    );
    let (output, answer) = space.answer(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(!space.trials("additive_experiment").is_empty());
    let reported = answer_of(&space, &["report", "requests", "--format", "json"]);
    let [line] = reported.as_array().unwrap().as_slice() else {
        panic!("{reported}");
    };
    assert_eq!(line["mst_per_minute"], answer[0]["mst_per_minute"], "{line}");
    assert_eq!(line["pair"], answer[0]["pair"]);
}

#[test]
fn the_seed_of_a_trial_does_not_depend_on_the_layout() {
    let ids = |layout: &str, folder: &str| -> Vec<String> {
        let space = Workspace::scripted(&format!("RESULTS_LAYOUT={layout}\nITERATION_HARD_LIMIT=2"));
        space.answer(&[]);
        space.trials(folder).into_keys().collect()
    };
    assert_eq!(ids("mst", "8_8"), ids("new", "8-8_8-8"));
}

#[test]
fn mixes_that_would_share_a_folder_are_refused() {
    let space = Workspace::scripted("RESULTS_LAYOUT=new\nWORKLOAD_MIXES=[(8:8,1),(9:9,1)],[(8:8,1),(7:7,1)]");
    let output = space.run(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let said = stderr(&output);
    assert!(
        said.contains("RESULTS_LAYOUT") && said.contains("additive_experiment"),
        "{said}"
    );
}
