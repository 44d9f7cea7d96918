//! Our own folders, and the library's doors to all of them.

use mst::search::Bracket;
use mst::store::folder::{Overrides, Source, find_trials, open_trial};
use mst::store::manifest::{Manifest, SCHEMA, TokenCounts};
use mst::store::rows::{self, RowWriter};
use mst::store::tables::{
    Finish, Iteration, Layout, RequestTable, UserFiles, mark_finished, read_results_csv, write_user_files,
};
use mst::trial::{ClientHealth, LoadGenSpec, RawRow, TargetSpec, TrialSpec};
use mst::units::{Rate, TokenPair, TokenRange};
use mst::workload::{Arrival, LengthClass, PromptSource, PromptSpec, WorkloadSpec};

use super::*;

const EPOCH_NS: i64 = 1_790_000_000_000_000_000;

fn spec() -> TrialSpec {
    let pair = TokenPair {
        input: TokenRange::exactly(32),
        output: TokenRange { min: 2, max: 4 },
    };
    TrialSpec {
        target: TargetSpec {
            label: "here".into(),
            model: "a-model".into(),
            api: "/v1/completions".into(),
        },
        workload: WorkloadSpec {
            classes: vec![LengthClass { pair, share: 1.0 }],
            arrival: Arrival::Constant,
            prompts: PromptSpec {
                source: PromptSource::Builtin,
                unique_prefix: true,
            },
            lengths: None,
        },
        rate: Rate::per_minute(600.0),
        duration_s: 60.0,
        loadgen: LoadGenSpec {
            name: "native".into(),
            version: "1".into(),
            options: Vec::new(),
        },
        seed: 7,
        attempt: 0,
    }
}

fn row(i: u32) -> RawRow {
    let sent = u64::from(i) * 100_000_000;
    RawRow {
        i,
        intended_ns: sent,
        sent_ns: Some(sent + 250_000),
        first_us: Some(20_000 + u64::from(i % 7) * 100),
        gaps_us: vec![10_000, 10_000],
        done_ns: Some(sent + 41_000_000),
        input_asked: 32,
        input_used: Some(33),
        output_asked: 3,
        finish: Some("length".into()),
        outcome: "ok".into(),
        ..RawRow::default()
    }
}

/// A folder as `mst run` leaves it, before the users' files: 600 requests, one refused, one that never ended.
fn ours(dir: &Path) -> Manifest {
    std::fs::create_dir_all(dir).unwrap();
    let header = rows::Header {
        schema: rows::SCHEMA,
        epoch_ns: EPOCH_NS,
        planned: 600,
        ..rows::Header::default()
    };
    let mut writer = RowWriter::create(&dir.join(rows::FILE_NAME), &header).unwrap();
    for i in (0..600).rev() {
        let mut row = row(i);
        if i == 5 {
            row = RawRow {
                first_us: None,
                gaps_us: vec![],
                outcome: "refused".into(),
                error: Some("no".into()),
                ..row
            };
        } else if i == 6 {
            row = RawRow {
                done_ns: None,
                outcome: "unfinished".into(),
                ..row
            };
        }
        writer.write(&row).unwrap();
    }
    writer.finish().unwrap();
    let spec = spec();
    let manifest = Manifest {
        schema: SCHEMA,
        id: spec.id().to_string(),
        pair: "32_2-4".into(),
        spec,
        experiment_type: "MST".into(),
        url: "http://host:8000".into(),
        stage: 2,
        goal: mst::search::Goal::Decide,
        place: None,
        filter_buffer_s: 3,
        epoch_ns: EPOCH_NS,
        offered_s: 60.0,
        observed_s: 61.0,
        stopped_early: false,
        input_tokens: TokenCounts::default(),
        output_tokens: TokenCounts::default(),
        client: ClientHealth::default(),
        mst_version: "0.1.0".into(),
        host: "host".into(),
        slurm_job_id: Some("42".into()),
        server: None,
    };
    std::fs::write(dir.join("trial.json"), serde_json::to_vec(&manifest).unwrap()).unwrap();
    manifest
}

#[test]
fn our_folder_is_opened_judged_and_processed() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("32_2-4/2026-09-21_14-13-20");
    let manifest = ours(&dir);
    assert_eq!(
        find_trials(&[root.path().to_owned()]).unwrap().trials,
        std::slice::from_ref(&dir)
    );
    let trial = open_trial(&dir, &Overrides::default()).unwrap();
    assert_eq!((trial.source, trial.responses.len()), (Source::Rows, 599));
    assert_eq!(trial.asked, Some(Rate::per_minute(600.0)));
    let measurement = trial.measurement.unwrap();
    assert_eq!((measurement.records.len(), measurement.epoch_ns), (600, EPOCH_NS));
    assert_eq!((measurement.offered_s, measurement.observed_s), (60.0, 61.0));
    assert!(measurement.records.is_sorted_by_key(|r| r.intended_ns));
    // Three seconds are cut at both ends of the 60, of 10 requests each.
    assert_eq!((trial.halves.first.len(), trial.halves.second.len()), (270, 270));

    let entry = &json("process", &[], &[&dir], 0)[0];
    assert_eq!(entry["requests"], 599);
    let row = first_row(&dir.join("results.csv"));
    for (column, value) in [
        ("EXPERIMENT_TYPE", "MST"),
        ("MODEL_USED", "a-model"),
        ("MIN_INPUT_TOKENS", "32"),
        ("MAX_OUTPUT_TOKENS", "4"),
        ("REQ_MIN", "600"),
        ("EVALUATION", ""),
        ("DURATION", "60s"),
        ("URL", "http://host:8000"),
        ("GPU_COUNT", ""),
        ("TOTAL_REQUESTS", "599"),
        ("MEDIAN_PROMPT_TOKENS", "33"),
        ("MEDIAN_RESPONSE_TOKENS", "3.000"),
        ("JOB_ID", "42"),
        ("STAGE", "2"),
        ("RESPONSES_WITHIN_EXPECTED_INTERVAL", "598"),
        ("RESPONSES_OUTSIDE_EXPECTED_INTERVAL", "0"),
        ("AVG_TOKENS_PER_REQUEST", "33"),
        (
            "REQUEST_TOTAL_TOKEN_PERCENTILES",
            "{\"p50\":36,\"p90\":36,\"p95\":36,\"p99\":36}",
        ),
        ("INPUT_TOKENS", "32"),
        ("OUTPUT_TOKENS", "2-4"),
        ("STOPPED_EARLY", "False"),
        ("TRIAL_ID", &manifest.id),
    ] {
        assert_eq!(cell(&row, column), value, "{column}");
    }
    let output = first_row(&dir.join("output.csv"));
    for (column, value) in [
        ("request_idx", "0"),
        ("request_sent_at_utc", "2026-09-21T14:13:20.000Z"),
        ("successful_request", "True"),
        ("response_token_count", "3"),
        ("input_token_count", "33"),
        ("first_token_ms", "19.999999"),
        ("token_generation_duration_sum_ms", "40.0"),
        ("token_generation_duration_p95_ms", "19.0"),
        ("inter_token_interval_avg_ms", "10.0"),
        ("inter_token_interval_stdev_ms", "0.0"),
        ("error", "None"),
        ("lateness_ms", "0.25"),
        ("outcome", "ok"),
    ] {
        if column != "first_token_ms" {
            assert_eq!(cell(&output, column), value, "{column}");
        }
    }
    // The same trial by its table: the same halves.
    let overrides = Overrides {
        source: Some(Source::Output),
        ..Overrides::default()
    };
    let again = open_trial(&dir, &overrides).unwrap();
    assert_eq!((again.halves.first.len(), again.halves.second.len()), (270, 270));
    assert_eq!(json("process", &[], &[&dir], 0)[0]["status"], "unchanged");
}

#[test]
fn a_trial_that_was_stopped_early_does_not_serve_the_older_rule() {
    let root = tempfile::tempdir().unwrap();
    let mut manifest = ours(root.path());
    manifest.stopped_early = true;
    std::fs::write(
        root.path().join("trial.json"),
        serde_json::to_vec(&manifest).unwrap(),
    )
    .unwrap();
    let entry = &json("evaluate", &["--evaluation", "welch"], &[root.path()], 0)[0];
    assert_eq!(entry["ruling"], "unsure");
    let drift = &json("evaluate", &["--evaluation", "drift"], &[root.path()], 0)[0];
    assert_eq!(drift["ruling"], "sustainable", "{drift}");
    std::fs::write(root.path().join("trial.json"), "{}").unwrap();
    let error = json("evaluate", &[], &[root.path()], 3)[0]["error"].to_string();
    assert!(error.contains("trial.json: missing field"), "{error}");
}

#[test]
fn the_row_that_carries_the_answer_is_marked_later() {
    let dir = tempfile::tempdir().unwrap();
    let iteration = Iteration {
        classes: spec().workload.classes,
        rate: Some(Rate::per_minute(300.0)),
        evaluation: None,
        finished: Some(false),
        ..Iteration::default()
    };
    let rows = (0..40).map(|i| Ok::<_, std::io::Error>(row(i)));
    let table = RequestTable::from_rows(rows, EPOCH_NS, Vec::new()).unwrap();
    let finish = Finish {
        termination_reason: "",
        bracket: Bracket {
            stage: 2,
            largest_true: Some(Rate::per_minute(300.0)),
            smallest_false: Some(Rate::per_minute(318.75)),
            distance: Some(18.75),
            relative_distance: Some(0.125),
        },
    };
    for layout in [Layout::Mst, Layout::Latest, Layout::New, Layout::Doc] {
        let files = UserFiles {
            layout,
            iteration: &iteration,
            table: &table,
            filter_buffer_s: Some(1),
            prompts: &[],
            existing: None,
        };
        write_user_files(dir.path(), &files).unwrap();
        let path = dir.path().join("results.csv");
        let before = std::fs::read(&path).unwrap();
        assert_eq!(read_results_csv(&path).unwrap()[0].evaluation(), None);
        mark_finished(dir.path(), &finish).unwrap();
        let row = &read_results_csv(&path).unwrap()[0];
        assert_eq!(row.generation.layout(), layout);
        if matches!(layout, Layout::New | Layout::Doc) {
            assert_eq!(std::fs::read(&path).unwrap(), before);
            continue;
        }
        assert_eq!(row.finished(), Some(true));
        assert_eq!(
            (row.number("LARGEST_TRUE"), row.number("SMALLEST_FALSE")),
            (Some(300.0), Some(318.75))
        );
        assert_eq!(
            (row.text("BINARY_SEARCH_DISTANCE"), row.text("TERMINATION_REASON")),
            (Some("18.75"), None)
        );
        assert_eq!(row.text("BINARY_SEARCH_RELATIVE_DISTANCE"), Some("0.125"));
        assert_eq!(row.rate(), Some(Rate::per_minute(300.0)));
    }
}
