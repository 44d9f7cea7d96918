//! `mst process` against the files that the older scripts made.

use std::collections::BTreeSet;

use super::*;

/// Columns of the older `results.csv` that do not come from the events: model, verdict and stage from the driver, prompts
/// from the workload file, the job from Slurm.
const FROM_ELSEWHERE: [&str; 4] = ["MODEL_USED", "EVALUATION", "STAGE", "JOB_ID"];
/// Where there are no events, rate and duration come from elsewhere too.
const IN_EVENTS: [&str; 2] = ["REQ_MIN", "DURATION"];

#[test]
fn the_older_layouts_are_repeated_to_the_byte() {
    let root = tempfile::tempdir().unwrap();
    for name in CASES {
        let expected = expected(name);
        let buffer = setting(&expected, "FILTER_BUFFER");
        let trial = root.path().join("16-16_16-16").join(name);
        copy(
            name,
            &[
                ("results.json.gz", "results.json.gz"),
                ("prompts_newest.csv", "prompts.csv"),
            ],
            &trial,
        );
        for (layout, reference) in [("new", "results_newest.csv"), ("doc", "results_doc.csv")] {
            let out = root.path().join(layout).join(name);
            let flags = [
                "--layout",
                layout,
                "--filter-buffer",
                &buffer,
                "--out",
                out.to_str().unwrap(),
            ];
            let entries = json("process", &flags, &[&trial], 0);
            assert_eq!(entries[0]["status"], "written");
            assert_eq!(entries[0]["requests"], expected["counts"]["requests"]);
            for file in ["output.csv", "prompts.csv"] {
                let theirs = if file == "prompts.csv" {
                    "prompts_newest.csv"
                } else {
                    file
                };
                let theirs = std::fs::read(case(name).join(theirs)).unwrap();
                assert!(std::fs::read(out.join(file)).unwrap() == theirs, "{name} {file}");
            }
            for half in ["first_half.csv", "second_half.csv"] {
                let lines = |dir: &Path| {
                    let text = std::fs::read_to_string(dir.join(half)).unwrap();
                    assert!(!text.contains('\r'));
                    let seconds: Vec<String> = text
                        .lines()
                        .skip(1)
                        .map(|l| l.split(',').next().unwrap().to_owned())
                        .collect();
                    (seconds, text.lines().map(str::to_owned).collect::<BTreeSet<_>>())
                };
                assert!(lines(&out) == lines(&case(name)), "{name} {half}");
            }
            let reference = case(name).join(reference);
            if !reference.is_file() {
                continue;
            }
            let (ours, theirs) = (first_row(&out.join("results.csv")), first_row(&reference));
            let names = |row: &[(String, String)]| row.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>();
            assert_eq!(names(&ours), names(&theirs));
            for ((column, ours), (_, theirs)) in ours.iter().zip(&theirs) {
                let told = expected["counts"]["events"] != 0 || !IN_EVENTS.contains(&column.as_str());
                if told && !FROM_ELSEWHERE.contains(&column.as_str()) {
                    assert_eq!(ours, theirs, "{name} {layout} {column}");
                }
            }
            let text = std::fs::read_to_string(out.join("results.csv")).unwrap();
            assert_eq!(text.matches("\r\n").count(), 2);
        }
    }
}

#[test]
fn the_buffer_of_halves_that_are_there_is_found_again() {
    for name in CASES.into_iter().filter(|n| *n != "refused_120_10s") {
        let dir = tempfile::tempdir().unwrap();
        let files = [
            "results.json.gz",
            "first_half.csv",
            "second_half.csv",
            "output.csv",
        ]
        .map(|f| (f, f));
        copy(name, &files, dir.path());
        let entries = json("process", &["--layout", "new"], &[dir.path()], 0);
        assert_eq!(entries[0]["notes"], Value::Array(Vec::new()));
        for half in ["first_half.csv", "second_half.csv"] {
            let lines = |dir: &Path| {
                let text = std::fs::read_to_string(dir.join(half)).unwrap();
                text.lines().map(str::to_owned).collect::<BTreeSet<_>>()
            };
            assert!(lines(dir.path()) == lines(&case(name)), "{name} {half}");
        }
    }
}

/// A whole archive: two good trials of different generations, a damaged one, one without events, and what is no trial.
fn archive(root: &Path) {
    let good = root.join("a/16-16_16-16/2026-11-22_14-27-30");
    copy(
        "sus_300_60s",
        &[
            ("results.json.gz", "results.json.gz"),
            ("results_newest.csv", "results.csv"),
        ],
        &good,
    );
    let doc = root.join("b/16_16/2026-11-22_14-27-31");
    copy("err_240_45s", &[("results_doc.csv", "results.csv")], &doc);
    std::fs::write(doc.join("results.json"), events("err_240_45s")).unwrap();
    let bad = root.join("c/16_16/2026-11-22_14-27-32");
    std::fs::create_dir_all(&bad).unwrap();
    let text = events("err_240_45s");
    std::fs::write(bad.join("results.json"), &text[..text.len() / 2]).unwrap();
    let only = root.join("d/16_16/2026-11-22_14-27-33");
    copy("sus_300_60s", &[("output.csv", "output.csv")], &only);
    let staged = root.join(".staging/1");
    copy("sus_300_60s", &[("results.json.gz", "results.json.gz")], &staged);
    std::fs::create_dir_all(root.join("e/empty")).unwrap();
}

/// Every file below a folder with its content and time of change.
fn snapshot(root: &Path) -> Vec<(PathBuf, Vec<u8>, std::time::SystemTime)> {
    let mut files: Vec<_> = walkdir::WalkDir::new(root)
        .into_iter()
        .map(Result::unwrap)
        .filter(|e| e.file_type().is_file())
        .map(|e| {
            let changed = e.metadata().unwrap().modified().unwrap();
            (e.path().to_owned(), std::fs::read(e.path()).unwrap(), changed)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn an_archive_is_processed_whole_and_a_second_pass_changes_nothing() {
    for layout in ["mst", "latest", "new", "doc"] {
        let root = tempfile::tempdir().unwrap();
        archive(root.path());
        let flags = ["--layout", layout];
        let entries = json("process", &flags, &[root.path()], 3);
        let statuses: Vec<&str> = entries.iter().map(|e| e["status"].as_str().unwrap()).collect();
        assert_eq!(statuses, ["written", "written", "failed", "skipped"]);
        let error = entries[2]["error"].as_str().unwrap();
        assert!(
            error.contains("2026-11-22_14-27-32/results.json") && error.contains("cut off"),
            "{error}"
        );
        let first = snapshot(root.path());
        assert!(
            !first
                .iter()
                .any(|(path, ..)| path.extension().is_some_and(|e| e == "tmp"))
        );
        let statuses: Vec<String> = json("process", &flags, &[root.path()], 3)
            .iter()
            .map(|e| e["status"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(statuses, ["unchanged", "unchanged", "failed", "skipped"]);
        assert!(snapshot(root.path()) == first, "{layout}");
        for file in [
            "output.csv",
            "results_from_json.csv",
            "first_half.csv",
            "second_half.csv",
        ] {
            assert!(
                root.path()
                    .join("b/16_16/2026-11-22_14-27-31")
                    .join(file)
                    .is_file()
            );
        }
        assert!(!root.path().join(".staging/1/output.csv").exists());
    }
}

#[test]
fn what_the_events_do_not_know_is_kept_through_every_layout() {
    let root = tempfile::tempdir().unwrap();
    archive(root.path());
    let facts = "MODEL,GPUS,CPUS,NODE,STAGE,INPUT_TOKENS,OUTPUT_TOKENS,EVALUATION,REQ_MIN\r\n\
                 m,4,32,n7,2,16,16,True,384.5\r\n";
    let first = root.path().join("f/16_16/2026-01-09_10-00-00");
    copy("sus_300_60s", &[("results.json.gz", "results.json.gz")], &first);
    std::fs::write(first.join("results.csv"), facts).unwrap();
    for (pass, layout) in ["mst", "doc", "latest", "new", "mst"].into_iter().enumerate() {
        json("process", &["--layout", layout], &[root.path()], 3);
        let row = first_row(&first.join("results.csv"));
        let truth = if layout == "mst" { "True" } else { "TRUE" };
        assert_eq!(cell(&row, "EVALUATION"), truth, "pass {pass}");
        assert_eq!(
            (
                cell(&row, "MODEL_USED"),
                cell(&row, "REQ_MIN"),
                cell(&row, "STAGE")
            ),
            ("m", "384.5", "2")
        );
        // Columns that the layout lacks are appended.
        assert_eq!((cell(&row, "CPUS"), cell(&row, "NODE")), ("32", "n7"));
        assert_eq!(cell(&row, "TOTAL_REQUESTS"), "311");
        let row = first_row(&root.path().join("b/16_16/2026-11-22_14-27-31/results.csv"));
        let text = "pre-trained on vast amounts of raw, unlabeled data.";
        assert_eq!(
            (
                cell(&row, "PROMPT_TEXT"),
                cell(&row, "EVALUATION").to_uppercase().as_str()
            ),
            (text, "FALSE")
        );
        let row = first_row(&root.path().join("a/16-16_16-16/2026-11-22_14-27-30/results.csv"));
        assert_eq!(cell(&row, "SUCCESS_RATE"), "100.0");
    }
    // The latest form is right where the older ones are not: a failing event is no token.
    json("process", &["--layout", "latest"], &[root.path()], 3);
    let row = first_row(&root.path().join("b/16_16/2026-11-22_14-27-31/results.csv"));
    assert_eq!(cell(&row, "MEDIAN_RESPONSE_TOKENS"), "16.000");
    assert_eq!(cell(&row, "RESPONSES_OUTSIDE_EXPECTED_INTERVAL"), "0");
    assert_eq!(cell(&row, "ADDITIVE"), "FALSE");
}

#[test]
fn a_verdict_that_only_output_csv_has_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let files = [
        ("results.json.gz", "results.json.gz"),
        ("output_after_evaluate.csv", "output.csv"),
    ];
    copy("err_240_45s", &files, dir.path());
    json("process", &[], &[dir.path()], 0);
    assert_eq!(
        cell(&first_row(&dir.path().join("results.csv")), "EVALUATION"),
        "False"
    );
    json("process", &[], &[dir.path()], 0);
    assert_eq!(
        cell(&first_row(&dir.path().join("results.csv")), "EVALUATION"),
        "False"
    );
}

#[test]
fn every_layout_is_judged_alike() {
    for layout in ["mst", "latest", "new", "doc"] {
        let root = tempfile::tempdir().unwrap();
        let flags = [
            "--layout",
            layout,
            "--filter-buffer",
            "5s",
            "--out",
            root.path().to_str().unwrap(),
        ];
        json(
            "process",
            &flags,
            &[&case("sus_300_60s").join("results.json.gz")],
            0,
        );
        for source in ["output", "halves"] {
            let flags = ["--evaluation", "welch", "--from", source];
            let entry = &json("evaluate", &flags, &[root.path()], 0)[0];
            assert_eq!(
                (entry["n_first"].as_u64(), entry["n_second"].as_u64()),
                (Some(126), Some(126)),
                "{layout}"
            );
            assert_eq!(entry["req_min"], 300.0);
            let p = entry["welch_p"].as_f64().unwrap();
            assert!(
                (p / 1.394_749_029_035_991_1e-6 - 1.0).abs() < 1e-9,
                "{layout} {source} {p}"
            );
        }
    }
}

#[test]
fn a_mix_tells_its_shares() {
    let root = tempfile::tempdir().unwrap();
    let trial = root
        .path()
        .join("mix_1-100_1-100@0.25+16_16@0.75/2026-07-01_00-00-00");
    std::fs::create_dir_all(&trial).unwrap();
    let mut document: Value = serde_json::from_str(&events("sus_300_60s")).unwrap();
    for event in document["results"].as_array_mut().unwrap() {
        let first = event["request_idx"].as_i64().unwrap() % 2 == 0;
        event["workload_profile"] = if first { "1-100:1-100" } else { "16-16:16-16" }.into();
    }
    std::fs::write(trial.join("results.json"), document.to_string()).unwrap();
    json("process", &["--layout", "latest"], &[root.path()], 0);
    let row = first_row(&trial.join("results.csv"));
    assert_eq!(
        cell(&row, "WORKLOAD_MIX"),
        "[(1-100:1-100,0.25),(16-16:16-16,0.75)]"
    );
    assert_eq!(
        cell(&row, "ADDITIVE_EXPECTED_PROPORTIONS"),
        "{\"1-100:1-100\":0.25,\"16-16:16-16\":0.75}"
    );
    let achieved: Value = serde_json::from_str(cell(&row, "ADDITIVE_TRUE_PROPORTIONS")).unwrap();
    let sum: f64 = achieved
        .as_object()
        .unwrap()
        .values()
        .map(|v| v.as_f64().unwrap())
        .sum();
    assert!((sum - 1.0).abs() < 1e-5 && achieved["1-100:1-100"].as_f64().unwrap() > 0.4);
    assert_eq!(
        (cell(&row, "MIN_INPUT_TOKENS"), cell(&row, "ADDITIVE")),
        ("", "TRUE")
    );
    assert_eq!(cell(&row, "RESPONSES_WITHIN_EXPECTED_INTERVAL"), "311");
    let text = std::fs::read_to_string(trial.join("output.csv")).unwrap();
    assert!(text.contains(",16-16:16-16,") && text.contains(",1-100:1-100,"));
}
