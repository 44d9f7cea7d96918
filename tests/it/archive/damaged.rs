//! Damaged files: each gives its error with file and place, none a panic, none a silent skip.

use super::*;

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn damaged_results_say_what_and_where() {
    let good = events("refused_120_10s");
    let whole = events("err_240_45s");
    let replaced = |from: &str, to: &str| whole.replacen(from, to, 1).into_bytes();
    let mut not_utf8 = whole.clone().into_bytes();
    not_utf8[1000] = 0xc3;
    let mut cut_gzip = std::fs::read(case("err_240_45s").join("results.json.gz")).unwrap();
    cut_gzip.truncate(20_000);
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", Vec::new(), "the file is empty"),
        ("blank", b"\n\n".to_vec(), "the file is empty"),
        (
            "truncated",
            whole.as_bytes()[..5_000].to_vec(),
            "byte 5000 (line 1): the file ends in the middle",
        ),
        (
            "no end",
            good.as_bytes()[..good.len() - 1].to_vec(),
            "the file ends in the middle of the document",
        ),
        ("not UTF-8", not_utf8, "byte 1000 (line 1): not UTF-8"),
        (
            "cut gzip",
            cut_gzip,
            "the file ends in the middle of the compressed data",
        ),
        (
            "not JSON",
            b"<html>502 Bad Gateway</html>".to_vec(),
            "byte 0 (line 1): expected `{",
        ),
        (
            "no results",
            b"{\"energy\": {}}".to_vec(),
            "there is no `results`",
        ),
        (
            "results is text",
            b"{\"results\": \"none\"}".to_vec(),
            "`results` is not a list",
        ),
        (
            "event is a number",
            b"{\"results\": [3]}".to_vec(),
            "an event is not an object",
        ),
        (
            "timestamp is text",
            replaced("\"timestamp\": 1", "\"timestamp\": \"x\", \"t\": 1"),
            "expected i64",
        ),
        (
            "timestamp beyond all",
            replaced("\"timestamp\": 1", "\"timestamp\": 9223372036854775807, \"t\": 1"),
            "not a time in nanoseconds",
        ),
        (
            "duration beyond all",
            replaced("\"duration_ms\": 708.26705", "\"duration_ms\": -1e300"),
            "longer than 31 years",
        ),
        (
            "ok is a number",
            replaced("\"ok\": true", "\"ok\": 1"),
            "expected a boolean",
        ),
        (
            "no duration",
            replaced("\"duration_ms\"", "\"duration\""),
            "missing field `duration_ms`",
        ),
        (
            "no request",
            replaced("\"request_idx\"", "\"request\""),
            "missing field `request_idx`",
        ),
        (
            "NaN",
            replaced("\"duration_ms\": 708.26705", "\"duration_ms\": NaN"),
            "expected value",
        ),
        (
            "trailing",
            format!("{whole}{whole}").into_bytes(),
            "something after the end",
        ),
        (
            "missing comma",
            replaced("}, {\"response\"", "} {\"response\""),
            "expected `,` or `]`",
        ),
    ];
    for (name, bytes, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("results.json");
        std::fs::write(&file, bytes).unwrap();
        let entry = &json("evaluate", &[], &[dir.path()], 3)[0];
        let error = entry["error"].as_str().unwrap();
        assert!(
            error.starts_with(file.to_str().unwrap()) && error.contains(expected),
            "{name}: {error}"
        );
        assert_eq!(entry["ruling"], Value::Null);
        let entry = &json("process", &[], &[dir.path()], 3)[0];
        assert_eq!(
            (entry["status"].as_str(), entry["error"].as_str()),
            (Some("failed"), Some(error))
        );
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            1,
            "{name} left something behind"
        );
    }
}

#[test]
fn damaged_tables_say_file_and_line() {
    let output = std::fs::read_to_string(case("err_240_45s").join("output.csv")).unwrap();
    let results = std::fs::read_to_string(case("err_240_45s").join("results_newest.csv")).unwrap();
    let mut not_utf8 = output.clone().into_bytes();
    let third = output.match_indices('\n').nth(1).unwrap().0 + 3;
    not_utf8[third] = 0xff;
    let row = "20261122T142725,11.335936,91.19170984455958,False,5,0,5:0\r\n";
    let with = |new: &str| output.replacen(row, new, 1).into_bytes();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("output.csv", Vec::new(), ":1: the file is empty"),
        ("output.csv", not_utf8, ":3: not UTF-8"),
        (
            "output.csv",
            output.replace("complete_response_time", "time").into_bytes(),
            "no column `request_duration_ms`",
        ),
        (
            "output.csv",
            with("yesterday,1,91.2,False,5,0,5:0\r\n"),
            ":2: `yesterday` in column received_timestamp",
        ),
        (
            "output.csv",
            with("20261122T142725,fast,91.2,False,5,0,5:0\r\n"),
            "`fast` in column complete_response_time",
        ),
        (
            "output.csv",
            with("20261122T142725,1,91.2,perhaps,5,0,5:0\r\n"),
            "`perhaps` in column success is not True or False",
        ),
        (
            "output.csv",
            with("20261122T142725,1,91.2\r\n"),
            ":2: 3 cells where the header has 7",
        ),
        (
            "results.csv",
            results.replace("REQ_MIN", "RATE").into_bytes(),
            "no column `REQ_MIN`",
        ),
        (
            "results.csv",
            results.replace(",240,", ",many,").into_bytes(),
            ":2: `many` in column REQ_MIN is not a number",
        ),
        (
            "results.csv",
            results.replace(",FALSE,", ",NO WAY,").into_bytes(),
            "`NO WAY` in column EVALUATION",
        ),
    ];
    for (name, bytes, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        copy("err_240_45s", &[("output.csv", "output.csv")], dir.path());
        let file = dir.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        let entry = &json("evaluate", &[], &[dir.path()], 3)[0];
        let error = entry["error"].as_str().unwrap();
        assert!(
            error.starts_with(file.to_str().unwrap()) && error.contains(expected),
            "{name}: {error}"
        );
    }
}

#[test]
fn a_bad_folder_does_not_hide_the_good_ones() {
    let root = tempfile::tempdir().unwrap();
    copy(
        "syn_stable_240_5min",
        &[("results.json.gz", "results.json.gz")],
        &root.path().join("good"),
    );
    std::fs::create_dir(root.path().join("bad")).unwrap();
    std::fs::write(root.path().join("bad/results.json"), "{").unwrap();
    let entries = json("evaluate", &["--filter-buffer", "30"], &[root.path()], 3);
    assert_eq!(entries.len(), 2);
    assert!(entries[0]["error"].is_string() && entries[1]["error"].is_null());
    assert_eq!(entries[1]["ruling"], "sustainable");
}

#[test]
fn a_place_that_cannot_be_looked_into_is_told_and_passed_by() {
    let root = tempfile::tempdir().unwrap();
    copy(
        "sus_300_60s",
        &[("results.json.gz", "results.json.gz")],
        &root.path().join("good"),
    );
    std::os::unix::fs::symlink("nowhere", root.path().join("dangling")).unwrap();
    std::os::unix::fs::symlink("..", root.path().join("good/loop")).unwrap();
    for verb in ["evaluate", "process"] {
        let output = run(verb, &["--format", "json"], &[root.path()]);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3));
        assert!(err.contains("dangling") && err.contains("loop"), "{err}");
        let entries: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(entries.as_array().unwrap().len(), 1);
    }
}

#[test]
fn paths_without_trials_are_refused() {
    let root = tempfile::tempdir().unwrap();
    for verb in ["evaluate", "process"] {
        let output = run(verb, &[], &[root.path()]);
        assert_eq!(output.status.code(), Some(3));
        assert!(String::from_utf8_lossy(&output.stderr).contains("there is no trial folder"));
        let output = run(verb, &[], &[&root.path().join("nowhere")]);
        assert_eq!(output.status.code(), Some(3));
        assert!(String::from_utf8_lossy(&output.stderr).contains("nowhere"));
        assert_eq!(
            run(verb, &["--filter-buffer", "soon"], &[root.path()])
                .status
                .code(),
            Some(2)
        );
        assert_eq!(
            run(verb, &["--filter-buffer", "1.5"], &[root.path()])
                .status
                .code(),
            Some(2)
        );
    }
    // Two trials for one place.
    for side in ["a", "b"] {
        copy(
            "refused_120_10s",
            &[("results.json.gz", "results.json.gz")],
            &root.path().join(side).join("x"),
        );
    }
    let (a, b) = (root.path().join("a/x"), root.path().join("b/x"));
    let out = root.path().join("out");
    let output = run("process", &["--out", out.to_str().unwrap()], &[&a, &b]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("both be written"));
}
