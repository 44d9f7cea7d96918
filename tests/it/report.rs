//! `mst report` over folders of every generation.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::support::{golden, mst};

/// Runs the verb in the folder of golden trees.
fn report(args: &[&str]) -> Output {
    mst()
        .current_dir(golden("report"))
        .arg("report")
        .args(args)
        .output()
        .expect("the program starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

fn json(args: &[&str]) -> Vec<Value> {
    let output = report(&[args, &["--format", "json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).expect("one JSON value")
}

/// `pair mst [low,high] status origin trials` of each object.
fn lines(objects: &[Value]) -> Vec<String> {
    objects
        .iter()
        .map(|o| {
            format!(
                "{} {} {} {} {} {}",
                o["pair"].as_str().expect("text"),
                o["mst_per_minute"],
                o["interval_per_minute"],
                o["status"].as_str().expect("text"),
                o["origin"].as_str().expect("text"),
                o["trials"].as_array().expect("an array").len()
            )
        })
        .collect()
}

#[test]
fn every_generation_is_read() {
    assert_eq!(
        lines(&json(&["f0"])),
        [
            "16_16 128.0 [128.0,256.0] bracketed largest-sustainable 4",
            "16_128 32.0 [32.0,null] lower-bound-only largest-sustainable 1",
            "128_16 null [null,1.0] upper-bound-only none 1",
        ]
    );
    assert_eq!(
        lines(&json(&["doc/requests_a_2"])),
        [
            "16_16 2089.0 [2089.0,3133.5] bracketed largest-sustainable 4",
            "16_128 502.0 [502.0,753.0] bracketed largest-sustainable 4",
            "128_128 256.0 [256.0,384.0] bracketed largest-sustainable 4",
        ]
    );
    assert_eq!(
        lines(&json(&["new"])),
        [
            "16_16 3072.0 [3072.0,4096.0] bracketed largest-sustainable 4",
            "100-200_1-100 700.0 [700.0,null] lower-bound-only largest-sustainable 1",
            "mix_100-200_1-100@0.75+16_16@0.25 900.0 [900.0,null] lower-bound-only largest-sustainable 1",
        ]
    );
    let latest = lines(&json(&["latest"]));
    assert_eq!(latest.len(), 21);
    for expected in [
        "mix_1-100_1-100@0.5+300-600_100-300@0.5 1500.0 [1500.0,1600.0] bracketed finished-sustainable 1",
        "1-100_1-100 4200.0 [4200.0,4369.0] bracketed finished-sustainable 4",
        "300-600_100-300 344.0 [344.0,null] lower-bound-only largest-true 1",
        "1-100_1-100 512.0 [null,512.0] upper-bound-only finished-rate 1",
    ] {
        assert!(
            latest.iter().any(|line| line == expected),
            "{expected} in {latest:#?}"
        );
    }
    assert_eq!(
        lines(&json(&["mst"])),
        [
            "16_16 2400.0 [2400.0,3200.0] undecided capacity-file 5",
            "16_64 300.0 [300.0,null] lower-bound-only largest-sustainable 1",
            "64_16 400.0 [400.0,800.0] bracketed capacity-file 2",
        ]
    );
}

#[test]
fn objects_hold_what_the_contract_names() {
    let ours = json(&["mst"]);
    let first = &ours[0];
    assert_eq!(first["load_seconds"], 204.0);
    assert_eq!(first["true_capacity_per_minute"], 2650.0);
    assert_eq!(first["evaluation"], "drift");
    assert_eq!(first["by_criterion"]["welch"], 1600.0);
    assert!(first.get("run").is_none(), "one run needs no name");
    let trial = &first["trials"][3];
    assert_eq!(trial["folder"], "mst/16_16/2026-11-20_10-02-30");
    assert_eq!(trial["rate_per_minute"], 2400.0);
    assert_eq!(trial["offered_per_minute"], 2402.4);
    assert_eq!(
        (&trial["ruling"], &trial["rulings"]["welch"]),
        (&"sustainable".into(), &"unsustainable".into())
    );
    assert_eq!(trial["margin_interval"], serde_json::json!([-0.002, 0.0082]));
    assert_eq!(trial["success_rate_percent"], 100.0);
    assert_eq!(first["trials"][2]["stopped_early"], true);
    assert_eq!(first["trials"][4]["ruling"], "unsure");
    assert_eq!(ours[1]["trials"][0]["offered_per_minute"], 300.0);

    let older = json(&["f0"]);
    assert_eq!(
        older[0]["load_seconds"],
        Value::Null,
        "the first form has no DURATION"
    );
    assert_eq!(older[0]["trials"][0]["rulings"], serde_json::json!({}));

    let several = json(&["doc"]);
    let flagged: Vec<String> = several
        .iter()
        .filter(|o| !o["outlier"].as_array().unwrap().is_empty())
        .map(|o| format!("{} {} {}", o["run"], o["pair"], o["outlier"]))
        .collect();
    assert_eq!(flagged, [r#""requests_a_3" "16_128" ["mad","ratio"]"#]);
}

#[test]
fn both_rulings_stand_side_by_side_and_differences_are_warned_of() {
    let output = report(&["mst", "--trials"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0));
    assert!(text.contains("drift 2400, welch 1600"), "{text}");
    assert!(
        text.contains(
            "warning: 16_16 (mst): the criteria differ on 1 of 5 trials, req/min: 2400 (drift sustainable, welch \
             unsustainable)"
        ),
        "{text}"
    );
    assert!(
        text.contains("warning: 16_64 (mst): no trial is marked FINISHED"),
        "{text}"
    );
    let line = text
        .lines()
        .find(|l| l.starts_with("2026-11-20_10-02-30"))
        .unwrap();
    for part in [
        "2400",
        "2402.4",
        "sustainable !",
        "0.31 % (-0.20 to 0.82)",
        "100.0 %",
        "60 s",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert!(!text.contains("nonsense") && !stderr(&output).contains(".staging"));
}

#[test]
fn the_heat_map_has_small_inputs_at_the_bottom_and_empty_cells() {
    let text = stdout(&report(&["latest/Experiment_MST_2026-08-01_20-00-00"]));
    let map = "\
input tokens
600-1000        1584        546        330        236
 300-600        2000       344*        416        298        232
 100-300        2709        934        564        404        315
   1-100        4200       1448        875        626        488
               1-100    100-300    300-600   600-1000  1000-1500   output tokens
";
    assert!(text.contains(map), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours but on a terminal");
    let without = stdout(&report(&[
        "latest/Experiment_MST_2026-08-01_20-00-00",
        "--no-map",
    ]));
    assert!(!without.contains("output tokens"), "{without}");
    let mixed = stdout(&report(&["latest"]));
    assert!(mixed.contains("not in the map: mix_1-100_1-100@0.5+300-600_100-300@0.5: 1500 req/min"));
    // A rate that failed is no answer: it does not enter the mean of the cell.
    assert!(mixed.contains("   1-100        4200 "), "{mixed}");
}

#[test]
fn the_heat_map_is_drawn() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("map.svg");
    let output = report(&[
        "latest",
        "--svg",
        file.to_str().unwrap(),
        "--title",
        "Ours & theirs",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let svg = std::fs::read_to_string(&file).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    for text in [
        "Ours &amp; theirs",
        "4200",
        "344*",
        "1000-1500",
        "input tokens",
        "req/min, log",
    ] {
        assert!(svg.contains(&format!("\n{text}\n")), "{text}");
    }
    let only_mix = report(&[
        "latest/Experiment_MIX_2026-08-03_20-00-00",
        "--svg",
        file.to_str().unwrap(),
    ]);
    assert_eq!(only_mix.status.code(), Some(3), "a mix has no place in a map");
}

fn table(path: &Path) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_path(path)
        .expect("the file is there");
    reader
        .records()
        .map(|r| r.expect("a row").iter().map(ToOwned::to_owned).collect())
        .collect()
}

#[test]
fn runs_are_compared_and_outliers_flagged() {
    let dir = tempfile::tempdir().unwrap();
    let (pairs, runs) = (dir.path().join("pairs.csv"), dir.path().join("runs.csv"));
    let output = report(&[
        "doc/requests_a_1",
        "doc/requests_a_2",
        "doc/requests_a_3/",
        "--csv",
        pairs.to_str().unwrap(),
        "--compare-csv",
        runs.to_str().unwrap(),
    ]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        text.contains("outlier: 16_128 in requests_a_3: 1536 req/min (mad+ratio)"),
        "{text}"
    );
    let wide = table(&runs);
    assert_eq!(
        wide[0].join(","),
        "pair,experiment_type,requests_a_1,requests_a_2,requests_a_3,runs,mean,min,max,spread_percent,clean_runs,\
         clean_mean,outliers"
    );
    assert_eq!(
        wide[2].join(","),
        "16_128,MST,512,502,1536,3,850,502,1536,121.647,2,507,requests_a_3:mad+ratio"
    );
    assert_eq!(wide[3].join(","), "128_128,MST,256,256,,2,256,256,256,0,2,256,");
    let long = table(&pairs);
    assert_eq!(long.len(), 1 + 8);
    assert_eq!(
        long[8].join(","),
        "requests_a_3,16_128,MST,16,16,128,128,1536,1536,2304,bracketed,largest-sustainable,,4,7200,,mad+ratio"
    );
    // One folder that holds the runs is the same as naming each.
    assert_eq!(json(&["doc"]).len(), 8);
}

#[test]
fn an_archive_is_merged() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("all.csv");
    let merge = |paths: &[&str], more: &[&str]| {
        let output = report(&[paths, &["--merge", file.to_str().unwrap()], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        (table(&file), stderr(&output))
    };
    let (merged, told) = merge(&["f0", "doc", "new"], &[]);
    assert_eq!(merged.len(), 1 + 6 + 32 + 5);
    assert!(told.contains("1 rows of mixes left out"), "{told}");
    let header = &merged[0];
    assert_eq!(
        header[..12].join(","),
        "IDENTIFIER,DATE,MODEL,GPUS,CPUS,NODE,STAGE,INPUT_TOKENS,OUTPUT_TOKENS,EVALUATION,REQ_MIN,MODEL_USED"
    );
    let at = |name: &str| header.iter().position(|h| h == name).unwrap();
    let row = |identifier: &str, date: &str| {
        merged
            .iter()
            .find(|r| r[0] == identifier && r[1] == date)
            .unwrap_or_else(|| panic!("{identifier} {date}"))
    };
    let doc = row("requests_a_1/16_128", "2026-01-23_09-38-00");
    assert_eq!(
        (doc[at("REQ_MIN")].as_str(), doc[at("MODEL")].as_str()),
        ("768.0", "")
    );
    assert_eq!(doc[at("PROMPT_TEXT")], "A prompt, with a comma");
    let new = row("new/16-16_16-16", "2026-03-20_09-38-00");
    assert_eq!(
        new[at("INPUT_TOKEN_PERCENTILES")],
        r#"{"p50":16,"p90":16,"p95":16,"p99":16}"#
    );
    let (with, _) = merge(&["new"], &["--mixes"]);
    assert_eq!(with.len(), 1 + 6);
    assert_eq!(with[1][0], "100-200_1-100", "one run: its pairs need no prefix");
    assert!(std::fs::read_to_string(&file).unwrap().contains("\r\n"));
}

#[test]
fn damaged_folders_are_named_and_stop_nothing() {
    let output = report(&["broken", "f0", "no-such-folder"]);
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(stdout(&output).contains("16_16"));
    assert!(told.contains("cannot be read: 8"), "{told}");
    for part in [
        "2026-01-09_10-36-00: results.csv has no row",
        "2026-01-09_11-07-00/results.csv",
        "2026-01-09_11-38-00/results.csv",
        "there is no column `REQ_MIN`",
        "2026-01-09_13-11-00/trial.json",
        "2026-01-09_13-42-00: there is no rate",
        "capacity.json",
        "no-such-folder",
        "2026-01-09_12-40-00",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
}

#[test]
fn nothing_to_report_says_what_was_looked_for() {
    let empty = tempfile::tempdir().unwrap();
    for path in [
        empty.path().to_str().unwrap(),
        "no-such-folder",
        "broken/16_16/2026-01-09_10-36-00",
    ] {
        let output = report(&[path]);
        assert_eq!(output.status.code(), Some(3), "{path}");
        let told = stderr(&output);
        assert!(
            told.contains("results.csv or trial.json") && told.contains(path),
            "{told}"
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_trial_is_counted_once_however_it_is_named() {
    assert_eq!(
        lines(&json(&[
            "f0",
            "f0/16_16",
            "./f0/../f0",
            "f0/16_16/2026-01-09_10-05-00"
        ])),
        lines(&json(&["f0"]))
    );
    assert_eq!(
        lines(&json(&["f0/16_16/2026-01-09_10-05-00"])),
        ["16_16 64.0 [64.0,null] lower-bound-only largest-sustainable 1"]
    );
}

#[test]
fn the_documented_transcripts_are_real() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/report.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut seen = 0;
    for block in page.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let (command, expected) = block.split_once('\n').unwrap();
        let words: Vec<&str> = command.split_whitespace().collect();
        assert_eq!(words[..3], ["$", "mst", "report"], "{command}");
        assert_eq!(stdout(&report(&words[3..])), expected, "{command}");
        seen += 1;
    }
    assert!(seen >= 3);
}
