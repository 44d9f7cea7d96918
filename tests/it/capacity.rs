//! Recorded decisions of etalon, sarathi-serve and veeksha are decided the same here, and altered records are found.

use mst::replay::{Replayed, replay};
use serde_json::{Value, json};

use crate::support::{clean, golden};

fn text(name: &str) -> String {
    std::fs::read_to_string(golden("slo").join(name)).unwrap()
}

/// A golden file; its infinities as text, which is read as well.
fn file(name: &str) -> Value {
    serde_json::from_str(&text(name).replace(": Infinity", ": \"Infinity\"")).unwrap()
}

fn replayed(file: &Value) -> Replayed {
    replay(&file.to_string()).unwrap()
}

/// The first difference of a file.
fn difference(file: &Value) -> Option<String> {
    let cases = replayed(file).cases;
    cases.into_iter().find_map(|case| case.first_difference)
}

/// Every value at the end of a path.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                leaves(value, &format!("{path}/{index}"), found);
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                leaves(value, &format!("{path}/{key}"), found);
            }
        }
        _ => found.push(path.to_owned()),
    }
}

fn alter(value: &mut Value) {
    *value = match &*value {
        Value::Null => json!(7),
        Value::Bool(flag) => json!(!*flag),
        Value::Number(number) => json!(number.as_f64().unwrap() + 0.5),
        other => json!(format!("{}x", other.as_str().unwrap())),
    };
}

/// Alters what `is_recorded` picks, one value at a time in a file of that case alone; each must be found. Returns how many.
fn every_alteration_is_found(name: &str, list: &str, is_recorded: impl Fn(&str) -> bool) -> usize {
    let whole = file(name);
    let mut altered = 0;
    for case in whole[list].as_array().unwrap() {
        let mut alone = whole.clone();
        for other in [
            "algorithm_cases",
            "full_cases",
            "slo_cases",
            "request_metric_cases",
            "audio_fluidity_cases",
        ] {
            alone.as_object_mut().unwrap().remove(other);
        }
        alone[list] = json!([case]);
        assert_eq!(difference(&alone), None, "{name}: {}", case["id"]);
        let mut found = Vec::new();
        leaves(case, "", &mut found);
        found.retain(|path| is_recorded(path));
        // Of long lists some.
        let stride = found.len().div_ceil(60).max(1);
        for path in found.iter().step_by(stride) {
            let mut changed = alone.clone();
            alter(changed.pointer_mut(&format!("/{list}/0{path}")).unwrap());
            assert!(difference(&changed).is_some(), "{name}: {} {path}", case["id"]);
            altered += 1;
        }
    }
    altered
}

fn one_of(words: &[&str], path: &str) -> bool {
    words.iter().any(|word| path.contains(word))
}

#[test]
fn every_recorded_case_is_equal() {
    for (name, cases) in [
        ("timelines_etalon.json", 12),
        ("populations_etalon.json", 2),
        ("prefill_predictor_etalon.json", 4),
        ("search_etalon.json", 12),
        ("search_sarathi.json", 7),
        ("search_veeksha.json", 15),
        ("slo_eval_veeksha.json", 19),
        ("job_keys_etalon.json", 10),
        ("gpu_allocation_etalon.json", 2),
        ("truncated_poisson.json", 3),
    ] {
        let replayed = replay(&text(name)).unwrap();
        assert_eq!(replayed.cases.len(), cases, "{name}");
        for case in replayed.cases {
            assert!(case.equal, "{name} {}: {:?}", case.id, case.first_difference);
        }
    }
}

#[test]
fn the_first_difference_names_the_place() {
    let mut timelines = file("timelines_etalon.json");
    timelines["cases"][2]["expected"]["prefix_missed"][7] = json!(14);
    assert_eq!(
        difference(&timelines).unwrap(),
        "cases[2].expected.prefix_missed[7]: 13, expected 14"
    );
    let cases = replayed(&timelines).cases;
    assert_eq!(cases.iter().filter(|case| !case.equal).count(), 1);

    let mut searches = file("search_sarathi.json");
    searches["searches"][5]["trials"][2]["bounds_before"][1] = json!(3.5);
    assert_eq!(
        difference(&searches).unwrap(),
        "searches[5].trials[2].bounds_before[1]: 3, expected 3.5"
    );
    let mut searches = file("search_etalon.json");
    searches["searches"][0]["trials"][3]["qps"] = json!(2.87);
    assert_eq!(
        difference(&searches).unwrap(),
        "searches[0].trials[3].qps: 2.88, expected 2.87"
    );

    let mut jobs = file("job_keys_etalon.json");
    jobs["jobs"][1]["max_tokens"] = json!(4096);
    assert_eq!(
        difference(&jobs).unwrap(),
        "jobs[1].max_tokens: 8192, expected 4096"
    );
}

/// Small changes within the tolerances are none, larger ones are.
#[test]
fn tolerances_are_kept() {
    let path = "/cases/2/expected/min_tbt_deadline_for_target_miss_rate/0.1";
    let with = |path: &str, change: f64| {
        let mut timelines = file("timelines_etalon.json");
        let value = timelines.pointer_mut(path).unwrap();
        *value = json!(value.as_f64().unwrap() + change);
        difference(&timelines).is_none()
    };
    assert!(with(path, 9e-5) && !with(path, 2e-4));
    assert!(with("/cases/2/expected/tpot", 5e-10) && !with("/cases/2/expected/tpot", 5e-9));
    let sketch = |share: f64| {
        let mut searches = file("search_sarathi.json");
        let value = searches
            .pointer_mut("/searches/0/returned/tbt_at_max_qps")
            .unwrap();
        *value = json!(value.as_f64().unwrap() * (1.0 + share));
        difference(&searches).is_none()
    };
    assert!(sketch(9e-4) && !sketch(2e-3));
}

#[test]
fn altered_timelines_and_populations_are_found() {
    let deadlines = |path: &str| path.contains("miss_rate_vs_tbt_deadline") && path.ends_with("/0");
    let altered = every_alteration_is_found("timelines_etalon.json", "cases", |path| {
        path.starts_with("/expected") && !deadlines(path)
    });
    assert!(altered > 300, "{altered}");
    let words = [
        "observed",
        "under_slo",
        "per_request",
        "service_level",
        "token_rates",
        "quantiles",
    ];
    let altered = every_alteration_is_found("populations_etalon.json", "populations", |path| {
        one_of(&words, path)
    });
    assert!(altered > 50, "{altered}");
}

#[test]
fn altered_searches_are_found() {
    let words = [
        "/qps",
        "bounds",
        "under_slo",
        "executed",
        "num_trials",
        "returned",
        "gpu_release_calls",
        "highest_passing_trial",
    ];
    for (name, least) in [("search_etalon.json", 300), ("search_sarathi.json", 150)] {
        let altered = every_alteration_is_found(name, "searches", |path| one_of(&words, path));
        assert!(altered > least, "{name}: {altered}");
    }
    let words = ["/trials/", "/order/", "/best", "/iterations", "/repeated_values/"];
    let altered = every_alteration_is_found("search_veeksha.json", "algorithm_cases", |path| {
        one_of(&words, path)
    });
    assert!(altered > 150, "{altered}");
    let words = [
        "/history/",
        "/knobs_set/",
        "/best_value",
        "/iterations_run",
        "/searched_knob",
    ];
    let altered = every_alteration_is_found("search_veeksha.json", "full_cases", |path| one_of(&words, path));
    assert!(altered > 150, "{altered}");
}

#[test]
fn other_altered_records_are_found() {
    let slos = every_alteration_is_found("slo_eval_veeksha.json", "slo_cases", |path| {
        path == "/met" || path == "/observed"
    });
    let requests = every_alteration_is_found("slo_eval_veeksha.json", "request_metric_cases", |path| {
        !one_of(&["/id", "/inter_chunk", "/num_output"], path)
    });
    let audio = every_alteration_is_found("slo_eval_veeksha.json", "audio_fluidity_cases", |path| {
        path.contains("/result")
    });
    let jobs = every_alteration_is_found("job_keys_etalon.json", "jobs", |path| path != "/file");
    let gpus = every_alteration_is_found("gpu_allocation_etalon.json", "sequences", |path| {
        path.contains("/granted")
    });
    assert_eq!((slos, requests, audio), (18, 18, 25));
    assert!(jobs == 80 && gpus > 40, "{jobs} {gpus}");
    let mut poisson = file("truncated_poisson.json");
    poisson["measured_cv"] = json!(1.0);
    assert!(
        difference(&poisson).unwrap().starts_with("measured_cv: 0.87974"),
        "{:?}",
        difference(&poisson)
    );
    let mut predictor = file("prefill_predictor_etalon.json");
    predictor["predictions"][3][1] = json!(0.02);
    assert!(difference(&predictor).unwrap().starts_with("predictions[3][3]: "));
}

/// Jobs of sarathi-serve: no record ships here, so one is made from what the rule says.
#[test]
fn jobs_of_sarathi_are_expanded() {
    let job = json!({
        "file": "mistral7b_strict.yml", "model": "mistral-7b", "trace": "arxiv", "max_seq_len": 16384,
        "num_requests": 2048, "start_qps": 2, "scheduler": "sarathi_512", "batch_size": 128, "chunk_size": 512,
        "num_gpus": 1, "key": "mistral-7b_arxiv_tk16384_rq2048_sarathi_bs128_cs512_tp1_pp1",
        "hash": mst::capacity::jobs::hash("mistral-7b_arxiv_tk16384_rq2048_sarathi_bs128_cs512_tp1_pp1"),
    });
    assert_eq!(difference(&json!({"jobs": [job]})), None);
    for key in [
        "model",
        "trace",
        "max_seq_len",
        "start_qps",
        "scheduler",
        "chunk_size",
        "num_gpus",
        "key",
        "hash",
    ] {
        let mut changed = json!({"jobs": [job]});
        alter(&mut changed["jobs"][0][key]);
        assert!(difference(&changed).is_some(), "{key}");
    }
}

#[test]
fn whole_searches_of_the_other_knobs_and_with_errors() {
    let results = |met: bool, observed: f64| {
        json!({"all_slos_met": met, "results": [{
            "met": met, "slo_metric_key": "tpot_p50", "observed_value": observed, "threshold": 0.04,
            "percentile": 0.5, "metric": "tpot", "name": null, "lower_is_better": true}]})
    };
    let trial = |at: f64, c: f64| {
        let met = at <= c;
        json!({"value": at, "all_slos_met": met, "slo_results": results(met, 0.04 * at / c)})
    };
    let params = json!({"start_value": 2, "max_value": 8, "expansion_factor": 2.0, "max_iterations": 9, "precision": 2});
    let slos = json!([{"metric": "tpot", "percentile": 0.5, "value": 0.04, "name": null}]);
    let order = [2.0, 4.0, 3.0, 4.0];
    let mut case = json!({
        "id": "sessions", "params": params, "slos": slos, "error": null, "traffic_scheduler_type": "concurrent",
        "searched_knob": "traffic_scheduler.target_concurrent_sessions", "best_value": 3.0, "iterations_run": 4,
        "history": order.map(|at| trial(at, 3.0)),
        "knobs_set": order.map(|at| json!({"target_concurrent_sessions": at as i64, "rampup_seconds": at as i64})),
    });
    assert_eq!(difference(&json!({"full_cases": [case]})), None);
    // The run at 4 leaves no results: the search is lost with an error.
    case["error"] = json!("FileNotFoundError: Missing SLO results");
    case["best_value"] = json!(null);
    case["history"] = json!([trial(2.0, 3.0)]);
    case["knobs_set"] =
        json!([2, 4].map(|at| json!({"target_concurrent_sessions": at, "rampup_seconds": at})));
    assert_eq!(difference(&json!({"full_cases": [case]})), None);
    // The same, where the history was lost with the search.
    let mut lost = case.clone();
    lost.as_object_mut().unwrap().remove("history");
    assert_eq!(difference(&json!({"full_cases": [lost]})), None);
    lost["knobs_set"][1]["target_concurrent_sessions"] = json!(5);
    assert!(difference(&json!({"full_cases": [lost]})).is_some());
    case["error"] = json!(null);
    assert!(difference(&json!({"full_cases": [case]})).is_some());
    // Without objectives no verdict is written: an error after the first trial.
    let none = json!({
        "id": "none", "params": params, "slos": [], "error": "FileNotFoundError", "traffic_scheduler_type": "rate",
        "knobs_set": [{"interval": 0.5}],
    });
    assert_eq!(difference(&json!({"full_cases": [none]})), None);
}

#[test]
fn what_cannot_be_replayed_is_refused() {
    let told = |text: &str| replay(text).unwrap_err().to_string();
    assert!(told("{").starts_with("this is not JSON: "));
    let unknown = told(r#"{"cases": []}"#);
    assert!(
        unknown.contains("these can:\n  timelines: ") && unknown.contains("jobs[]"),
        "{unknown}"
    );
}

#[test]
fn a_case_that_cannot_be_replayed_leaves_the_others() {
    let mut timelines = file("timelines_etalon.json");
    timelines["cases"][0]
        .as_object_mut()
        .unwrap()
        .remove("ttft_deadline_s");
    timelines["cases"][1].as_object_mut().unwrap().remove("id");
    timelines["cases"][2]["id"] = json!(7);
    timelines["cases"][2]["ignore_first_token"] = json!(null);
    let cases = replayed(&timelines).cases;
    let told = cases[0].first_difference.as_deref().unwrap();
    assert!(
        told.contains("cases[0]: missing field `ttft_deadline_s`"),
        "{told}"
    );
    assert!(cases[1..].iter().all(|case| case.equal), "{cases:?}");
    assert_eq!([&cases[1].id, &cases[2].id], ["cases[1]", "7"]);
}

#[test]
fn numbers_and_nothing_may_be_written_in_several_ways() {
    let params = |iterations: Value| {
        json!({
            "start_value": 1, "max_value": 8, "expansion_factor": 2, "max_iterations": iterations, "precision": 1.0,
        })
    };
    let case = |params: Value, trials: Value, error: Value| json!({"algorithm_cases": [{"id": "x", "params": params, "trials": trials, "error": error}]});
    assert_eq!(
        difference(&case(params(json!(1.0)), json!([[1, false]]), json!(null))),
        None
    );
    let refused = "max_iterations must be > 0";
    assert_eq!(
        difference(&case(params(json!(-1)), json!([]), json!(refused))),
        None
    );
    assert!(difference(&case(params(json!(1.5)), json!([]), json!(refused))).is_some());
}

#[test]
fn the_exit_code_tells() {
    let run = |arguments: &[&str]| {
        let mut command = clean(env!("CARGO_BIN_EXE_mst"));
        let output = command.arg("capacity").args(arguments).output().unwrap();
        let code = output.status.code().unwrap();
        (
            code,
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let path = golden("slo/search_veeksha.json");
    let (code, out, _) = run(&["--replay", path.to_str().unwrap(), "--format", "json"]);
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, answer["cases"].as_array().unwrap().len()), (0, 15));
    assert_eq!(answer["cases"][0]["id"], "rate_c5p55_prec1");
    assert_eq!(answer["cases"][0]["equal"], true);
    assert!(answer["cases"][0]["first_difference"].is_null());

    let folder = tempfile::tempdir().unwrap();
    let altered = folder.path().join("any-name.json");
    let mut timelines = file("timelines_etalon.json");
    timelines["cases"][0]["expected"]["missed_deadlines"] = json!(1);
    std::fs::write(&altered, timelines.to_string()).unwrap();
    let (code, out, _) = run(&["--replay", altered.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(
        out.contains("11 of 12 cases equal\n  all_met: cases[0].expected.missed_deadlines: 0, expected 1\n"),
        "{out}"
    );

    std::fs::write(&altered, "{}").unwrap();
    // What can be replayed is told all the same.
    let both = [altered.to_str().unwrap(), path.to_str().unwrap()];
    let (code, out, error) = run(&["--replay", both[0], both[1]]);
    assert!(
        code == 3 && error.contains("any-name.json: the file is of no kind"),
        "{error}"
    );
    assert!(out.contains("15 of 15 cases equal"), "{out}");
    let (code, _, error) = run(&[]);
    assert!(code == 2 && error.contains("--example"), "{error}");
}
