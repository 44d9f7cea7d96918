//! Adaptive searches: by a scripted load generator of known capacity, and against the embedded endpoint in real time.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::{Workspace, kill, read_json, stderr, wait_for};

/// A service that takes 1,000 requests a minute.
const CAPACITY: f64 = 1000.0;

fn scripted(extra: &str) -> Workspace {
    Workspace::scripted(&format!(
        "SEARCH=adaptive\nSTOP_THRESHOLD=0.05\nARRIVAL=\n{extra}"
    ))
}

fn file(space: &Workspace, pair: &str, name: &str) -> Value {
    read_json(&space.results().join(pair).join(name))
}

fn no_trial_twice(space: &Workspace, pair: &str) {
    for (id, folders) in space.trials(pair) {
        assert_eq!(folders.len(), 1, "trial {id}: {folders:?}");
    }
}

#[test]
fn the_answer_is_told_with_its_interval_and_evidence() {
    let space = scripted("");
    let output = space.run(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("95 % interval")
            && said.contains("sustained for 1 min; ")
            && said.contains(" is not; "),
        "{said}"
    );
    let stored = file(&space, "8_8", "capacity.json");
    assert_eq!(
        (&stored["schema"], &stored["search"]),
        (&2.into(), &"adaptive".into())
    );
    let answer = &stored["answer"];
    let number = |value: &Value| value.as_f64().unwrap();
    assert_eq!(
        (&answer["status"], &answer["confirmed_s"]),
        (&"bracketed".into(), &60.0.into())
    );
    assert!(
        number(&answer["low"]) <= CAPACITY && CAPACITY <= number(&answer["high"]),
        "{answer}"
    );
    assert!(
        (number(&answer["rate"]) / CAPACITY - 1.0).abs() < 0.03,
        "{answer}"
    );
    let evidence = stored["evidence"].as_array().unwrap();
    let load: f64 = evidence.iter().map(|line| number(&line["load_s"])).sum();
    assert_eq!(number(&stored["load_seconds"]), load);
    assert_eq!(stored["conditions"]["arrival"], "stratified");
    let curve = std::fs::read_to_string(space.results().join("8_8/capacity.svg")).unwrap();
    assert_eq!(
        curve.matches("<circle").count() + far(&stored),
        evidence.len(),
        "{curve}"
    );

    // Again: everything is known, nothing is run, the answer is the same to the letter.
    let before = space.capacity("8_8");
    let (again, rows) = space.answer(&[]);
    assert_eq!(again.status.code(), Some(0));
    assert_eq!(rows[0]["trials_reused"].as_u64(), Some(evidence.len() as u64));
    assert_eq!(rows[0]["in_words"].as_str().unwrap(), words(&said));
    assert_eq!(space.capacity("8_8"), before);
    let report = crate::support::mst()
        .current_dir(space.path())
        .args(["report", "--no-map"])
        .output()
        .unwrap();
    let told = String::from_utf8(report.stdout).unwrap();
    assert!(told.contains(&words(&said)), "{told}");
}

/// Trials so far above the answer that the curve leaves them out.
fn far(stored: &Value) -> usize {
    let high = stored["answer"]["high"].as_f64().unwrap();
    let offered = |line: &&Value| line["offered"].as_f64().unwrap() > 2.0 * high;
    stored["evidence"]
        .as_array()
        .unwrap()
        .iter()
        .filter(offered)
        .count()
}

/// The sentence below the table.
fn words(said: &str) -> String {
    let line = said.lines().find_map(|line| line.strip_prefix("8_8: "));
    line.unwrap_or_else(|| panic!("{said}")).to_owned()
}

#[test]
fn a_search_that_is_killed_at_any_trial_ends_as_if_it_had_not_been() {
    let whole = scripted("");
    whole.answer(&[]);
    let (expected, trials) = (whole.capacity("8_8"), whole.trials("8_8").len());
    assert!(trials >= 4, "{expected}");
    for after in 0..trials {
        let space = scripted("");
        let mut child = space
            .run(&[])
            .env("SCRIPTED_SLEEP", "0.4")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let folder = space.results().join("8_8");
        wait_for(|| folder.exists() && space.trials("8_8").len() >= after);
        // Into the next trial, or out of it.
        std::thread::sleep(Duration::from_millis(137 * (after as u64 % 4)));
        kill(&mut child);
        let (output, _) = space.answer(&[]);
        assert_eq!(
            space.capacity("8_8"),
            expected,
            "after {after} trials: {}",
            stderr(&output)
        );
        no_trial_twice(&space, "8_8");
        assert_eq!(space.trials("8_8").len(), trials);
    }
}

#[test]
fn what_another_search_measured_counts_if_it_measured_the_same_thing() {
    let space = scripted("");
    let stages = ["--search", "stages", "--set", "STOP_THRESHOLD=0.2"];
    let (_, before) = space.answer(&[&stages[..], &["--arrival", "stratified"]].concat());
    let (output, rows) = space.answer(&[]);
    assert_eq!(
        rows[0]["trials_reused"],
        before[0]["trials"],
        "{}",
        stderr(&output)
    );
    no_trial_twice(&space, "8_8");
    let fewer = rows[0]["trials"].as_u64().unwrap() - rows[0]["trials_reused"].as_u64().unwrap();
    let alone = scripted("").answer(&[]).1[0]["trials"].as_u64().unwrap();
    assert!(
        fewer < alone,
        "{fewer} new trials against {alone} without what is known"
    );
    // Other arrivals are another load, and another seed is the same service.
    let (_, other) = space.answer(&["--arrival", "poisson"]);
    assert_eq!(other[0]["trials_reused"], 0);
    let (_, seeded) = space.answer(&["--seed", "7"]);
    assert_eq!(seeded[0]["trials_reused"], seeded[0]["trials"]);
}

#[test]
fn a_repetition_never_takes_the_place_of_a_stored_trial() {
    // The budget ends the first search; other seeds go on with other trials at the same rates.
    let space = scripted("");
    let mut known = 0;
    for (seed, budget) in [("1", "130s"), ("2", "200s"), ("1", "600s")] {
        let (output, rows) = space.answer(&["--seed", seed, "--budget", budget]);
        assert!(matches!(output.status.code(), Some(0 | 5)), "{}", stderr(&output));
        assert_eq!(rows[0]["trials_reused"].as_u64(), Some(known));
        known = rows[0]["trials"].as_u64().unwrap();
        assert_eq!(space.trials("8_8").len() as u64, known, "each trial was stored");
        no_trial_twice(&space, "8_8");
    }
    assert!(known >= 4);
}

#[test]
fn a_budget_ends_a_search_with_the_best_answer_within_it() {
    let space = scripted("");
    let (output, rows) = space.answer(&["--budget", "130s"]);
    let row = &rows[0];
    assert_eq!(
        (output.status.code(), &row["status"]),
        (Some(5), &"undecided".into()),
        "{row}"
    );
    assert!(row["load_seconds"].as_f64().unwrap() <= 130.0, "{row}");
    assert!(row["reason"].as_str().unwrap().contains("budget"), "{row}");
    // More of it goes on where the first ended.
    let (output, more) = space.answer(&["--budget", "1h"]);
    assert_eq!(output.status.code(), Some(0), "{more}");
    assert_eq!(more[0]["trials_reused"], row["trials"]);
}

#[test]
fn a_grid_is_searched_in_an_order_in_which_its_pairs_inform_each_other() {
    let pairs = ["8:8", "9:8", "10:8", "11:8", "12:8"];
    let space = scripted(&format!("TOKENS_LIST={}\nCONFIRM=edges", pairs.join(",")));
    let (output, rows) = space.answer(&[]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let names: Vec<&str> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["pair"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["8_8", "9_8", "10_8", "11_8", "12_8"],
        "told as they were given"
    );
    assert!(said.contains("saved; ramp and bisection"), "{said}");
    let events = std::fs::read_to_string(space.results().join("events.jsonl")).unwrap();
    let searched: Vec<String> = events
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["event"] == "pair-started")
        .map(|event| event["pair"].as_str().unwrap().to_owned())
        .collect();
    let mut begun = Vec::new();
    for (place, pair) in searched.iter().enumerate() {
        let search = file(&space, pair, "search.json");
        assert_eq!(
            search["neighbours"].as_array().unwrap().len(),
            place,
            "{pair} of {searched:?}"
        );
        assert_eq!(search["prior"].is_null(), place == 0);
        assert_eq!(file(&space, pair, "capacity.json")["prior"], search["prior"]);
        begun.push(search);
    }
    for row in rows.as_array().unwrap() {
        let (low, high) = (&row["interval_per_minute"][0], &row["interval_per_minute"][1]);
        assert!(
            low.as_f64().unwrap() <= CAPACITY && CAPACITY <= high.as_f64().unwrap(),
            "{row}"
        );
        let is_corner = ["8_8", "12_8"].contains(&row["pair"].as_str().unwrap());
        assert!(!is_corner || row["confirmed_seconds"] == 60.0, "{row}");
    }
    let estimated = rows
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["status"] == "estimated")
        .count();
    assert!(estimated >= 1, "{rows}");
    // With all answers known, every search still begins as it did.
    let (_, again) = space.answer(&[]);
    for (pair, search) in searched.iter().zip(begun) {
        assert_eq!(file(&space, pair, "search.json"), search, "{pair}");
    }
    assert!(
        again
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["trials_reused"] == row["trials"])
    );
}

#[test]
fn a_dry_run_tells_the_likely_hours() {
    let output = scripted("").run(&["--dry-run"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("8_8: 100, 400, 1600")
            && said.contains("until the 95 % interval is within 5 % of its upper end"),
        "{said}"
    );
    assert!(
        said.contains("hours in all are likely") && said.contains("Search adaptive, judged by drift"),
        "{said}"
    );
}

#[test]
fn the_likely_hours_leave_out_confirmations_that_are_not_asked_for() {
    let lengths = ["8", "9", "10"];
    let pairs: Vec<String> = lengths
        .iter()
        .flat_map(|i| lengths.map(|o| format!("{i}:{o}")))
        .collect();
    let space = scripted(&format!("TOKENS_LIST={}\nCONFIRM=edges", pairs.join(",")));
    let (_, outline) = space.answer(&["--dry-run"]);
    let of = |pair: &str| {
        let pairs = outline["pairs"].as_array().unwrap();
        let found = pairs.iter().find(|p| p["pair"] == pair).unwrap();
        let seconds = 3600.0 * found["likely_hours"].as_f64().unwrap();
        (found["likely_trials"].as_u64().unwrap(), seconds)
    };
    let (corner, middle) = (of("8_8"), of("9_9"));
    assert_eq!(corner, of("10_8"));
    assert_eq!(corner.0, middle.0 + 1, "{corner:?} {middle:?}");
    assert!(corner.1 - middle.1 >= 60.0 - 1e-6, "{corner:?} {middle:?}");
}

#[test]
fn the_interval_holds_the_embedded_servers_capacity() {
    let space =
        Workspace::native("SEARCH=adaptive\nARRIVAL=\nTOKENS_LIST=32:16\nREQ_MIN_START=3000\nDURATION=6s");
    let (output, rows) = space.answer(&[]);
    let said = stderr(&output);
    assert!(matches!(output.status.code(), Some(0 | 5)), "{said}");
    let number = |value: &Value| value.as_f64().unwrap();
    let (row, truth) = (&rows[0], number(&rows[0]["true_capacity_per_minute"]));
    let (low, high) = (
        number(&row["interval_per_minute"][0]),
        number(&row["interval_per_minute"][1]),
    );
    assert!(
        low <= truth && truth <= high,
        "{low} to {high} against {truth}\n{said}"
    );
    assert!(
        (number(&row["mst_per_minute"]) / truth - 1.0).abs() < 0.1,
        "{row}\n{said}"
    );
}

#[test]
fn a_budget_too_small_for_one_trial_is_told_and_loses_nothing() {
    let space = scripted("");
    let (output, rows) = space.answer(&["--budget", "5s"]);
    let row = &rows[0];
    assert_eq!(output.status.code(), Some(4), "{row}\n{}", stderr(&output));
    assert_eq!(
        (&row["mst_per_minute"], &row["trials"], &row["load_seconds"]),
        (&Value::Null, &0.into(), &0.0.into()),
        "{row}"
    );
    assert_eq!(
        row["reason"],
        "the next trial of up to 20 s does not fit the budget of 5 s of load, of which 0 s are spent"
    );
    // With room for it, it goes on; and what was measured is the answer however small the budget is after that.
    let (output, found) = space.answer(&["--budget", "1h"]);
    assert_eq!(output.status.code(), Some(0), "{found}");
    let trials = space.trials("8_8");
    let (output, again) = space.answer(&["--budget", "5s"]);
    assert_eq!(output.status.code(), Some(0), "{again}\n{}", stderr(&output));
    assert_eq!(again[0]["mst_per_minute"], found[0]["mst_per_minute"]);
    assert_eq!(again[0]["trials_reused"], found[0]["trials"]);
    assert_eq!(
        space.trials("8_8"),
        trials,
        "nothing was measured, and nothing is gone"
    );
}

#[test]
fn answers_to_another_question_tell_nothing_of_other_pairs() {
    let space = scripted("");
    space.answer(&[]);
    let neighbours = |pair: &str, variables: &[(&str, &str)]| {
        let tokens = pair.replace('_', ":");
        let mut command = space.run(&["--tokens", &tokens]);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let search = file(&space, pair, "search.json");
        assert_eq!(
            search["prior"].is_null(),
            search["neighbours"] == serde_json::json!([])
        );
        search["neighbours"].clone()
    };
    let nobody = serde_json::json!([]);
    assert_eq!(neighbours("9_8", &[("SUCCESS_RATE_THRESHOLD", "90")]), nobody);
    assert_eq!(neighbours("10_8", &[("DURATION", "90s")]), nobody);
    // Those two do not count here either.
    assert_eq!(neighbours("11_8", &[]), serde_json::json!(["8_8"]));
}

#[test]
fn a_simulated_deployment_saves_the_ramp_and_a_wrong_one_is_given_up() {
    let trials = |deployment: &str| {
        let space = scripted("PRIOR=server.yml");
        std::fs::write(space.path().join("server.yml"), deployment).unwrap();
        let output = space.run(&[]).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(
            said.contains("the deployment of server.yml lets expect "),
            "{said}"
        );
        let search = file(&space, "8_8", "search.json");
        let stored = file(&space, "8_8", "capacity.json");
        assert_eq!(search["simulated"], "server.yml");
        assert_eq!(stored["prior"], search["prior"]);
        let answer = stored["answer"]["rate"].as_f64().unwrap();
        assert!((answer / CAPACITY - 1.0).abs() < 0.03, "{answer}");
        let expected = search["prior"]["capacity"].as_f64().unwrap();
        (expected, stored["evidence"].as_array().unwrap().len())
    };
    let server = |cap: u32| {
        format!(
            "deployment: {{model: meta-llama/Meta-Llama-3-8B, device: a100, cost: roofline, batch_size_cap: {cap}}}\n"
        )
    };
    // One request at a time: some 800 a minute. A whole batch: many times as many.
    let (near, few) = trials(&server(1));
    assert!((500.0..1500.0).contains(&near), "{near}");
    let (far, more) = trials(&server(128));
    assert!(far > 20.0 * CAPACITY, "{far}");
    assert!(few <= 6 && more <= 8, "{few} {more}");

    let space = scripted("PRIOR=server.yml");
    std::fs::write(
        space.path().join("server.yml"),
        "deployment: {model: llama-3-8b}\n",
    )
    .unwrap();
    let output = space.run(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("server.yml"), "{}", stderr(&output));
}
