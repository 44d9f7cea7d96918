//! What other programs rely on: the answer as JSON, and the exit codes.

use serde::Deserialize;

use super::{Server, Workspace, stderr, walk};

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Status {
    Bracketed,
    LowerBoundOnly,
    UpperBoundOnly,
    Undecided,
}

/// One object a pair.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    pair: String,
    mst_per_minute: Option<f64>,
    interval_per_minute: [Option<f64>; 2],
    status: Status,
    trials: u32,
    trials_reused: u32,
    load_seconds: f64,
    reason: String,
    true_capacity_per_minute: Option<f64>,
}

/// Runs with variables for the scripted load generator.
fn run(space: &Workspace, variables: &[(&str, &str)]) -> (Option<i32>, Vec<Row>) {
    let mut command = space.run(&["--format", "json"]);
    command.envs(variables.iter().copied());
    let output = command.output().unwrap();
    let rows = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", stderr(&output)));
    (output.status.code(), rows)
}

#[test]
fn the_answer_is_an_array_with_an_object_a_pair() {
    let space = Workspace::scripted("TOKENS_LIST=8:8,9-10:8\nREQ_MIN_START=800\nSTOP_THRESHOLD=0.1");
    let (code, rows) = run(&space, &[]);
    assert_eq!(code, Some(0));
    assert_eq!(
        rows.iter().map(|r| &*r.pair).collect::<Vec<_>>(),
        ["8_8", "9-10_8"]
    );
    for row in &rows {
        assert_eq!(row.status, Status::Bracketed);
        assert_eq!(row.mst_per_minute, row.interval_per_minute[0]);
        assert!(row.interval_per_minute[1] > row.interval_per_minute[0]);
        assert!(
            row.trials >= 4 && row.trials_reused == 0 && row.load_seconds >= 60.0,
            "{row:?}"
        );
        assert!(!row.reason.is_empty());
        let on_the_embedded_server = row.true_capacity_per_minute.is_some();
        assert!(on_the_embedded_server, "URL is empty, so the truth is told");
    }
}

#[test]
fn only_the_embedded_server_has_a_known_truth() {
    let server = Server::start(&["--port", "0"], None);
    let space = Workspace::scripted(&format!(
        "URL={}\nITERATION_COOLDOWN_SECONDS=0\nFILTER_BUFFER=1\nREQ_MIN_START=400\nSTOP_THRESHOLD=0.5",
        server.url
    ));
    let output = space.run(&["--format", "json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let row = rows[0].as_object().unwrap();
    assert!(
        !row.contains_key("true_capacity_per_minute"),
        "absent, not null: {row:?}"
    );
}

#[test]
fn nothing_sustainable_is_exit_code_4() {
    let space = Workspace::scripted("REQ_MIN_START=4\nDURATION=7200s");
    let (code, rows) = run(&space, &[("SCRIPTED_SERVICE", "100")]);
    assert_eq!((code, rows[0].mst_per_minute), (Some(4), None), "{rows:?}");
    assert_eq!(rows[0].status, Status::UpperBoundOnly, "{rows:?}");
    assert_eq!(rows[0].interval_per_minute[0], None);
    assert!(
        rows[0].interval_per_minute[1].is_some_and(|high| high >= 1.0),
        "{rows:?}"
    );
}

#[test]
fn an_undecided_search_is_exit_code_5() {
    // One percent more than the service takes is what the criterion draws its line at.
    let space = Workspace::scripted("ITERATION_HARD_LIMIT=2\nREQ_MIN_START=1010");
    let (code, rows) = run(&space, &[]);
    assert_eq!((code, rows[0].status), (Some(5), Status::Undecided), "{rows:?}");
}

#[test]
fn the_exit_code_is_that_of_the_worst_pair() {
    let space = Workspace::scripted("REQ_MIN_START=4\nDURATION=7200s");
    run(&space, &[("SCRIPTED_SERVICE", "100")]);
    // What is stored answers for the first pair; the second is measured, faster.
    let more = ["--tokens", "8:8,9:8", "--format", "json"];
    let output = space.run(&more).env("SCRIPTED_SERVICE", "2").output().unwrap();
    let rows: Vec<Row> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0].trials_reused, rows[0].trials);
    assert!(rows[1].mst_per_minute.is_some(), "{rows:?}");
    assert_eq!(output.status.code(), Some(4), "{rows:?}");
    assert_eq!(walk(&space.results(), "capacity.json").len(), 2);
}
