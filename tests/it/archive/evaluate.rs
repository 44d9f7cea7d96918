//! `mst evaluate` against what the older scripts and `SciPy` say.

use super::*;

/// Relative error of a number, or both absent.
fn assert_close(actual: &Value, expected: &Value, what: &str) {
    match (actual.as_f64(), expected.as_f64()) {
        (None, None) => {}
        (Some(a), Some(e)) => {
            let scale = e.abs().max(f64::MIN_POSITIVE);
            assert!((a - e).abs() / scale <= 1e-9, "{what}: {a} is not {e}");
        }
        _ => panic!("{what}: {actual} is not {expected}"),
    }
}

fn assert_statistics(entry: &Value, expected: &Value, name: &str) {
    let statistics = &expected["statistics"];
    for (ours, theirs) in [
        ("welch_t", "welch_t"),
        ("welch_df", "welch_df"),
        ("welch_p", "welch_p"),
        ("cohens_d", "cohen_d"),
        ("tost_p", "tost_p_margin_0.02"),
    ] {
        assert_close(&entry[ours], &statistics[theirs], &format!("{name} {ours}"));
    }
    let ends = |v: &Value| Some((v[0].as_f64()?, v[1].as_f64()?));
    assert_eq!(
        ends(&entry["boot_ci_ms"]).is_some(),
        ends(&statistics["bootstrap_ci95"]).is_some()
    );
    if let (Some(ours), Some(theirs)) = (ends(&entry["boot_ci_ms"]), ends(&statistics["bootstrap_ci95"])) {
        let tolerance = 0.05 * (theirs.1 - theirs.0);
        let means = [&entry["boot_diff_ms"], &statistics["bootstrap_mean_diff"]].map(|v| v.as_f64().unwrap());
        for (a, b) in [(ours.0, theirs.0), (ours.1, theirs.1), (means[0], means[1])] {
            assert!((a - b).abs() <= tolerance, "{name}: bootstrap {a} is not {b}");
        }
    }
}

/// The word for the older `TRUE` and `FALSE`.
fn word(verdict: &Value) -> &'static str {
    if verdict.as_bool().unwrap() {
        "sustainable"
    } else {
        "unsustainable"
    }
}

#[test]
fn welch_repeats_the_older_numbers_from_any_source() {
    for name in CASES {
        let expected = expected(name);
        let buffer = setting(&expected, "FILTER_BUFFER");
        let (rate, duration) = (setting(&expected, "REQ_MIN"), setting(&expected, "DURATION"));
        for source in ["results", "output", "halves"] {
            let flags = [
                "--evaluation",
                "welch",
                "--from",
                source,
                "--req-min",
                &rate,
                "--duration",
                &duration,
                "--filter-buffer",
                &buffer,
            ];
            let entries = json("evaluate", &flags, &[&case(name)], 0);
            assert_eq!(entries.len(), 1);
            let entry = &entries[0];
            let what = format!("{name} from {source}");
            assert_eq!(entry["source"], source);
            assert_eq!(
                entry["test_ruling"],
                word(&expected["evaluate_verdict"]),
                "{what}"
            );
            assert_statistics(entry, &expected, &what);
            let gate = &expected["gate"];
            if source == "halves" {
                // Halves alone lack what the gate counts, so it stops nothing.
                assert!(entry["gate_median_per_minute"].is_null() && entry["gate_passed"].is_null());
                assert_eq!(entry["ruling"], entry["test_ruling"]);
            } else {
                assert_close(
                    &entry["gate_median_per_minute"],
                    &gate["median_responded_per_min"],
                    &what,
                );
                assert_eq!(entry["ruling"], word(&expected["pipeline_verdict"]), "{what}");
                if !gate["median_responded_per_min"].is_null() {
                    assert_eq!(
                        entry["gate_passed"],
                        !gate["early_fail"].as_bool().unwrap(),
                        "{what}"
                    );
                }
            }
            if expected["counts"]["requests"] == 0 {
                assert!(entry["success_rate_percent"].is_null() && entry["gate_passed"].is_null());
            } else {
                assert_close(
                    &entry["success_rate_percent"],
                    &expected["counts"]["success_rate"],
                    &what,
                );
            }
            assert_eq!(entry["n_first"], expected["counts"]["first_half_rows"]);
            assert_eq!(entry["n_second"], expected["counts"]["second_half_rows"]);
            assert!(entry.get("drift").is_none());
        }
    }
}

#[test]
fn a_folder_says_its_rate_and_its_halves_are_taken_as_they_are() {
    for name in CASES.into_iter().filter(|n| *n != "refused_120_10s") {
        let expected = expected(name);
        let entry = &json("evaluate", &["--evaluation", "welch"], &[&case(name)], 0)[0];
        assert_eq!(
            entry["req_min"].as_f64().unwrap().to_string(),
            setting(&expected, "REQ_MIN")
        );
        assert_eq!(entry["ruling"], word(&expected["pipeline_verdict"]));
        assert_statistics(entry, &expected, name);
    }
}

#[test]
fn pairs_of_halves_agree_with_scipy() {
    let stats: Value =
        serde_json::from_slice(&std::fs::read(golden("most/stats/expected.json")).unwrap()).unwrap();
    let entries = json(
        "evaluate",
        &["--evaluation", "welch"],
        &[&golden("most/stats")],
        0,
    );
    assert_eq!(entries.len(), 5);
    for entry in &entries {
        let name = entry["path"].as_str().unwrap().rsplit('/').next().unwrap();
        let expected = &stats["cases"][name];
        for (ours, theirs) in [
            ("welch_t", "welch_t"),
            ("welch_df", "welch_df"),
            ("welch_p", "welch_p_two_sided"),
            ("cohens_d", "cohen_d"),
            ("tost_p", "tost_p"),
        ] {
            assert_close(&entry[ours], &expected[theirs], &format!("{name} {ours}"));
        }
        assert_eq!(entry["ruling"], word(&expected["verdict"]), "{name}");
    }
}

#[test]
fn no_events_are_unsustainable_and_nulls() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("results.json"),
        "{\"results\": [], \"energy\": {}}",
    )
    .unwrap();
    for evaluation in ["welch", "drift"] {
        let entry = &json("evaluate", &["--evaluation", evaluation], &[dir.path()], 0)[0];
        let fields = entry.as_object().unwrap();
        for name in ["ruling", "test_ruling"] {
            assert_eq!(fields[name], "unsustainable");
        }
        for name in [
            "gate_median_per_minute",
            "gate_passed",
            "welch_t",
            "welch_df",
            "welch_p",
            "cohens_d",
            "tost_p",
            "boot_diff_ms",
            "boot_ci_ms",
            "success_rate_percent",
        ] {
            assert_eq!(fields[name], Value::Null, "{name}");
        }
        assert_eq!(
            fields.get("drift_interval"),
            (evaluation == "drift").then_some(&Value::Null)
        );
    }
}

#[test]
fn drift_sees_overload_and_nothing_else() {
    for (name, ruling) in [
        ("sus_180_200s", "sustainable"),
        ("syn_stable_240_5min", "sustainable"),
        ("uns_900_60s", "unsustainable"),
        ("err_240_45s", "unsustainable"),
    ] {
        let entry = &json("evaluate", &["--evaluation", "drift"], &[&case(name)], 0)[0];
        assert_eq!(entry["ruling"], ruling, "{name}");
        let (low, high) = (&entry["drift_interval"][0], &entry["drift_interval"][1]);
        let drift = entry["drift"].as_f64().unwrap();
        assert!(low.as_f64().unwrap() <= drift && drift <= high.as_f64().unwrap());
    }
}

#[test]
fn people_see_both_rules_and_where_they_differ() {
    let output = run(
        "evaluate",
        &["--evaluation", "welch"],
        &[&case("syn_drift_240_5min")],
    );
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(
        out.contains("passed (235.5/min)") && out.contains("1.991e-62"),
        "{out}"
    );
    assert!(
        err.contains("welch says unsustainable, drift says sustainable"),
        "{err}"
    );
}

#[test]
fn a_closed_loop_and_a_client_that_was_late_are_void_for_drift() {
    let dir = tempfile::tempdir().unwrap();
    let text = events("sus_180_200s");
    let closed = text.replace("\"exp_req_min\": 180.0, ", "");
    let late = text.replace("\"exp_duration\": 200.0", "\"exp_duration\": 60.0");
    for (text, why) in [(closed, "closed loop"), (late, "where 60.0 s were asked for")] {
        std::fs::write(dir.path().join("results.json"), text).unwrap();
        let entry = &json("evaluate", &[], &[dir.path()], 0)[0];
        assert_eq!(entry["ruling"], "unsure");
        let reason = entry["reasons"][0].as_str().unwrap();
        assert!(reason.contains("void") && reason.contains(why), "{reason}");
    }
}

#[test]
fn what_the_folder_does_not_say_comes_from_flags() {
    let dir = tempfile::tempdir().unwrap();
    let bare = events("sus_300_60s").replace("\"exp_req_min\": 300.0, \"exp_duration\": 60.0, ", "");
    std::fs::write(
        dir.path().join("results.json"),
        bare.replace(", \"exp_num_users\": 20", ""),
    )
    .unwrap();
    let flags = [
        "--evaluation",
        "welch",
        "--req-min",
        "5/s",
        "--filter-buffer",
        "5s",
        "--duration",
        "60s",
    ];
    let entry = &json("evaluate", &flags, &[dir.path()], 0)[0];
    assert_statistics(entry, &expected("sus_300_60s"), "bare");
    assert_eq!(
        (entry["req_min"].as_f64(), entry["duration_s"].as_f64()),
        (Some(300.0), Some(60.0))
    );
    assert_eq!(entry["gate_passed"], false);
    // A single file, and without a rate: no gate, and a word about it.
    let file = dir.path().join("results.json");
    let output = run(
        "evaluate",
        &["--evaluation", "welch", "--filter-buffer", "5"],
        &[&file],
    );
    assert!(String::from_utf8_lossy(&output.stderr).contains("give it with --req-min"));
    // What the folder says goes before the flag.
    let entry = &json("evaluate", &["--req-min", "7"], &[&case("sus_300_60s")], 0)[0];
    assert_eq!(entry["req_min"], 300.0);
}

/// A table with its first `count` columns, and no more.
fn narrow(text: &str, count: usize) -> String {
    let row = |line: &str| line.split(',').take(count).collect::<Vec<_>>().join(",");
    text.lines().map(|line| row(line) + "\r\n").collect()
}

#[test]
fn the_first_form_with_four_columns_is_judged() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["output.csv", "first_half.csv", "second_half.csv"] {
        let text = std::fs::read_to_string(case("sus_300_60s").join(file)).unwrap();
        std::fs::write(dir.path().join(file), narrow(&text, 4)).unwrap();
    }
    let facts = "MODEL,GPUS,CPUS,NODE,STAGE,INPUT_TOKENS,OUTPUT_TOKENS,EVALUATION,REQ_MIN\r\n\
                 m,4,32,n7,2,16,16,True,300\r\n";
    std::fs::write(dir.path().join("results.csv"), facts).unwrap();
    for source in ["output", "halves"] {
        let entry = &json(
            "evaluate",
            &["--evaluation", "welch", "--from", source],
            &[dir.path()],
            0,
        )[0];
        assert_statistics(entry, &expected("sus_300_60s"), source);
        assert_eq!(entry["req_min"], 300.0);
    }
    // Whole seconds blur the backlog, so that a minute is nearly too short; the estimate is still that of the events.
    let entry = &json("evaluate", &["--evaluation", "drift"], &[dir.path()], 0)[0];
    assert_eq!(entry["source"], "output");
    assert_ne!(entry["ruling"], "unsustainable");
    let exact = &json("evaluate", &["--evaluation", "drift"], &[&case("sus_300_60s")], 0)[0];
    let [blurred, exact] = [entry, exact].map(|e| e["drift"].as_f64().unwrap());
    assert!((blurred - exact).abs() < 0.005, "{blurred} {exact}");
}
