use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mst::loadgen::fmperf::{Fmperf, FmperfConfig, FmperfEvents, FmperfPrompts, FmperfRequest};
use mst::loadgen::{Api, LoadGenError, LoadGenerator, TrialJob};
use mst::trial::{Measurement, Outcome};
use mst::units::{Rate, TokenPair, TokenRange};
use mst::workload::LengthClass;
use serde_json::Value;

use super::{execute, job, text};
use crate::support::golden;

/// A plain reader of `results.json`; the program uses the archive's streaming one.
fn reader(path: &Path) -> Result<FmperfEvents, LoadGenError> {
    let content: Value = serde_json::from_slice(&fs_err::read(path)?).map_err(std::io::Error::from)?;
    let events = content["results"].as_array().unwrap();
    let mut requests: BTreeMap<(u64, u64), FmperfRequest> = BTreeMap::new();
    for event in events {
        let key = (
            event["worker_idx"].as_u64().unwrap(),
            event["request_idx"].as_u64().unwrap(),
        );
        let at = event["timestamp"].as_i64().unwrap();
        let ok = event["ok"].as_bool().unwrap();
        let request = requests.entry(key).or_insert_with(|| FmperfRequest {
            worker: key.0 as u32,
            index: key.1 as u32,
            sample: event["sample_idx"].as_u64().map(|s| s as u32),
            sent_ns: at - (event["duration_ms"].as_f64().unwrap() * 1e6) as i64,
            first_token_ns: None,
            done_ns: at,
            tokens: 0,
            ok: true,
            error: None,
        });
        request.done_ns = at;
        request.ok &= ok;
        if ok {
            request.first_token_ns = request.first_token_ns.or(Some(at));
            request.tokens += 1;
        } else {
            request.error = event["error"].as_str().map(str::to_owned);
        }
    }
    let first = events.first();
    Ok(FmperfEvents {
        requests: requests.into_values().collect(),
        asked_per_minute: first.and_then(|e| e["exp_req_min"].as_f64()),
        workers: first.and_then(|e| e["exp_num_users"].as_u64()).map(|n| n as u32),
    })
}

fn config(prompts: FmperfPrompts, fake: &[(&str, &str)]) -> FmperfConfig {
    FmperfConfig {
        python: golden("external/fake-python.sh").to_string_lossy().into_owned(),
        workdir: PathBuf::from("/opt/fork"),
        prompts,
        passed_on: fake.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect(),
        api_key: false,
    }
}

fn fmperf(prompts: FmperfPrompts, fake: &[(&str, &str)]) -> Fmperf {
    Fmperf::new(config(prompts, fake), reader)
}

/// Prepares, runs and reads a trial; whether every command succeeded, and what was read.
fn run(fmperf: &Fmperf, job: &TrialJob, dir: &Path) -> (bool, Result<Measurement, String>) {
    let commands = fmperf.prepare(job, dir).unwrap();
    let succeeded = commands.iter().all(execute);
    (succeeded, fmperf.read(job, dir).map_err(|e| e.to_string()))
}

fn recorded(name: &str) -> String {
    golden(&format!("external/{name}")).to_string_lossy().into_owned()
}

#[test]
fn recorded_results_become_a_measurement() {
    let results = recorded("sus_300_60s.json.gz");
    let dir = tempfile::tempdir().unwrap();
    let fake = [
        ("FAKE", "results"),
        ("FAKE_RESULTS", results.as_str()),
        ("BACKOFF", "2s"),
    ];
    let job = job(Rate::per_minute(300.0), 60.0);
    let (succeeded, measured) = run(&fmperf(FmperfPrompts::Native, &fake), &job, dir.path());
    let measured = measured.unwrap();
    assert!(succeeded);
    assert_eq!(measured.records.len(), 311);
    assert_eq!(measured.client.void, None);
    assert_eq!(measured.success_rate_percent(), Some(100.0));
    assert_eq!(measured.records[0].intended_ns, 0);
    assert!(
        measured
            .records
            .iter()
            .all(|r| r.output_tokens == 16 && r.input_tokens == 32)
    );
    assert!(measured.observed_s > 60.0 && measured.observed_s < 90.0);
    let environment = text(&dir.path().join("fmperf"), "environment-fmperf.loadgen.run");
    let results = dir.path().join("results.json");
    for line in [
        "URL=127.0.0.1:8000".to_owned(),
        "TARGET=vllm".to_owned(),
        "REQ_MIN=300".to_owned(),
        "DURATION=60s".to_owned(),
        "BACKOFF=2s".to_owned(),
        "GRACE_PERIOD=5s".to_owned(),
        "REQUEST_TIMEOUT=300".to_owned(),
        "MIN_OUTPUT_TOKENS=".to_owned(),
        "MIN_INPUT_TOKENS=32".to_owned(),
        "REQUESTS_FILENAME=sample_requests.json".to_owned(),
        format!("RESULTS_FILENAME={}", results.display()),
    ] {
        assert!(
            environment.lines().any(|l| l == line),
            "{line} is missing in\n{environment}"
        );
    }
    assert!(!dir.path().join("fmperf/results_wid0").exists());
}

#[test]
fn failed_requests_keep_their_reason() {
    let results = recorded("err_240_45s.json.gz");
    let dir = tempfile::tempdir().unwrap();
    let fake = [("FAKE", "results"), ("FAKE_RESULTS", results.as_str())];
    let (_, measured) = run(
        &fmperf(FmperfPrompts::Native, &fake),
        &job(Rate::per_minute(240.0), 45.0),
        dir.path(),
    );
    let measured = measured.unwrap();
    let bad = measured
        .records
        .iter()
        .filter(|r| r.outcome == Outcome::BadResponse)
        .count();
    assert_eq!((measured.records.len(), bad), (193, 17));
    assert_eq!(measured.client.void, None);
}

#[test]
fn a_starved_client_voids_the_trial() {
    let results = recorded("sus_300_60s.json.gz");
    let dir = tempfile::tempdir().unwrap();
    let fake = [("FAKE", "results"), ("FAKE_RESULTS", results.as_str())];
    let generator = fmperf(FmperfPrompts::Native, &fake);
    let (_, measured) = run(&generator, &job(Rate::per_minute(900.0), 20.0), dir.path());
    assert!(
        measured
            .unwrap()
            .client
            .void
            .unwrap()
            .contains("did not keep its schedule")
    );
}

#[test]
fn the_workload_file_is_in_fmperfs_own_format() {
    let dir = tempfile::tempdir().unwrap();
    let mut job = job(Rate::per_minute(600.0), 10.0);
    let class = |input, output| LengthClass {
        pair: TokenPair {
            input: TokenRange::exactly(input),
            output,
        },
        share: 0.5,
    };
    job.spec.workload.classes = vec![
        class(32, TokenRange::exactly(16)),
        class(8, TokenRange { min: 1, max: 5 }),
    ];
    fmperf(FmperfPrompts::Native, &[])
        .prepare(&job, dir.path())
        .unwrap();
    let cases: Value = serde_json::from_str(&text(dir.path(), "fmperf/sample_requests.json")).unwrap();
    let cases = cases.as_array().unwrap();
    assert_eq!(cases.len(), 400);
    let mut seen = std::collections::HashSet::new();
    for case in cases {
        let request = &case["request"];
        let prompt = request["prompt"].as_array().unwrap();
        let (input, output) = (prompt.len() as u64, request["max_tokens"].as_u64().unwrap());
        match case["config"]["class"].as_u64() {
            Some(0) => assert_eq!((input, output), (32, 16)),
            _ => assert!(input == 8 && (1..=5).contains(&output)),
        }
        assert_eq!(request["min_tokens"], request["max_tokens"]);
        assert_eq!(case["prompt_token_count"], input);
        assert_eq!(case["config"]["in_tokens"], input);
        assert_eq!(case["expected"].as_array().unwrap().len() as u64, output);
        assert_eq!(request["stream_options"]["continuous_usage_stats"], true);
        assert_eq!(request["temperature"], 0.0);
        assert_eq!(
            case["prompt_text"].as_str().unwrap().split(' ').count() as u64,
            input
        );
        seen.insert(prompt[..4].iter().map(ToString::to_string).collect::<Vec<_>>());
    }
    assert_eq!(seen.len(), 400);
}

#[test]
fn its_own_prompts_are_found_under_either_name() {
    let results = recorded("sus_300_60s.json.gz");
    let dir = tempfile::tempdir().unwrap();
    let fake = [("FAKE", "results"), ("FAKE_RESULTS", results.as_str())];
    let generator = fmperf(FmperfPrompts::Fmperf, &fake);
    let mut job = job(Rate::per_minute(300.0), 60.0);
    let (succeeded, measured) = run(&generator, &job, dir.path());
    assert!(succeeded);
    // The stand-in's only case has another length than the pair: the pair rules, as fmperf is told to override it.
    let measured = measured.unwrap();
    assert_eq!(measured.success_rate_percent(), Some(100.0));
    let environment = text(
        &dir.path().join("fmperf"),
        "environment-fmperf.loadgen.generate-input",
    );
    assert!(environment.lines().any(|l| l == "MIN_OUTPUT_TOKENS=16"));
    job.spec.workload.classes.push(job.spec.workload.classes[0]);
    let error = generator.prepare(&job, dir.path()).unwrap_err().to_string();
    assert!(error.contains("no mixes"), "{error}");
}

#[test]
fn a_workload_file_of_the_users_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.json");
    let job = job(Rate::per_minute(300.0), 60.0);
    let generator = fmperf(FmperfPrompts::File(file.clone()), &[]);
    let error = generator.prepare(&job, dir.path()).unwrap_err().to_string();
    assert!(error.contains("mine.json"), "{error}");
    fs_err::write(&file, "[]").unwrap();
    let commands = generator.prepare(&job, dir.path()).unwrap();
    let named = commands[0]
        .env
        .iter()
        .find(|(k, _)| k == "REQUESTS_FILENAME")
        .unwrap();
    assert_eq!(named.1, file.to_string_lossy());
}

#[test]
fn no_record_at_all_is_trouble_and_not_a_verdict() {
    let job = job(Rate::per_minute(120.0), 10.0);
    for (fake, expected) in [
        ("empty", "not one connection to http://127.0.0.1:8000 came about"),
        ("upstream", "cannot hold a rate"),
        ("crash", "ends with: MemoryError: killed"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (succeeded, measured) = run(
            &fmperf(FmperfPrompts::Native, &[("FAKE", fake)]),
            &job,
            dir.path(),
        );
        let error = measured.unwrap_err();
        assert!(!succeeded && error.contains(expected), "{fake}: {error}");
    }
}

#[test]
fn upstream_results_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let closed: fn(&Path) -> Result<FmperfEvents, LoadGenError> = |path| {
        reader(path).map(|events| FmperfEvents {
            asked_per_minute: None,
            ..events
        })
    };
    let results = recorded("sus_300_60s.json.gz");
    let fake = [("FAKE", "results"), ("FAKE_RESULTS", results.as_str())];
    let generator = Fmperf::new(config(FmperfPrompts::Native, &fake), closed);
    let (_, measured) = run(&generator, &job(Rate::per_minute(300.0), 60.0), dir.path());
    assert!(measured.unwrap_err().contains("upstream fmperf"));
}

#[test]
fn what_fmperf_cannot_do_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |change: fn(&mut TrialJob, &mut FmperfConfig)| {
        let mut job = job(Rate::per_minute(120.0), 10.0);
        let mut config = config(FmperfPrompts::Native, &[]);
        change(&mut job, &mut config);
        Fmperf::new(config, reader)
            .prepare(&job, dir.path())
            .unwrap_err()
            .to_string()
    };
    assert!(refused(|job, _| job.endpoint.base_url = "https://x".to_owned()).contains("plain http"));
    assert!(refused(|job, _| job.endpoint.api = Api::Chat).contains("not chat"));
    assert!(refused(|_, config| config.api_key = true).contains("API key"));
    let tgis = refused(|_, config| config.passed_on.push(("TARGET".to_owned(), "tgis".to_owned())));
    assert!(tgis.contains("TARGET=vllm"));
}

#[test]
fn the_check_tells_the_forms_apart() {
    let dir = tempfile::tempdir().unwrap();
    let check = |workdir: &str| {
        let mut config = config(FmperfPrompts::Native, &[]);
        config.workdir = PathBuf::from(workdir);
        let fmperf = Fmperf::new(config, reader);
        let succeeded = execute(&fmperf.check(dir.path()).unwrap());
        fmperf
            .explain_check(succeeded, dir.path())
            .map_err(|e| e.to_string())
    };
    assert_eq!(check("/opt/fork").unwrap(), "0123456789ab");
    assert!(check("/opt/upstream").unwrap_err().contains("cannot hold a rate"));
    assert!(
        check("/opt/nothing")
            .unwrap_err()
            .contains("No module named 'fmperf'")
    );
}

/// The real program, by hand: set the interpreter, the folder, the address of a server and a rate; `…_SET` holds more
/// keys (`NUM_USERS=2,SAMPLE_SIZE=5`), `…_GENERATE` lets fmperf make its own prompts.
#[test]
#[ignore = "needs fmperf: MST_TEST_FMPERF_PYTHON, MST_TEST_FMPERF_DIR, MST_TEST_FMPERF_URL, MST_TEST_FMPERF_RATE"]
fn the_real_program_is_run() {
    let set = |name: &str| std::env::var(format!("MST_TEST_FMPERF_{name}")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let own = std::env::var_os("MST_TEST_FMPERF_GENERATE").is_some();
    let prompts = if own {
        FmperfPrompts::Fmperf
    } else {
        FmperfPrompts::Native
    };
    let more = std::env::var("MST_TEST_FMPERF_SET").unwrap_or_default();
    let more: Vec<(&str, &str)> = more.split(',').filter_map(|pair| pair.split_once('=')).collect();
    let mut config = config(prompts, &more);
    config.python = set("PYTHON");
    config.workdir = PathBuf::from(set("DIR"));
    let fmperf = Fmperf::new(config, reader);
    let succeeded = execute(&fmperf.check(dir.path()).unwrap());
    println!(
        "check: {:?}",
        fmperf
            .explain_check(succeeded, dir.path())
            .map_err(|e| e.to_string())
    );
    let mut job = job(set("RATE").parse().unwrap(), 10.0);
    job.endpoint.base_url = format!("http://{}", set("URL"));
    let (succeeded, measured) = run(&fmperf, &job, dir.path());
    println!("exit ok: {succeeded}");
    match measured {
        Ok(m) => {
            let mean = |f: fn(&mst::trial::RequestRecord) -> Option<f64>| {
                let values: Vec<f64> = m.records.iter().filter_map(f).collect();
                values.iter().sum::<f64>() / values.len() as f64
            };
            println!(
                "{} requests, offered {}, success {:?} %, TTFT {:.2} ms, E2E {:.2} ms, observed {:.2} s, void {:?}",
                m.records.len(),
                m.offered(),
                m.success_rate_percent(),
                mean(mst::trial::RequestRecord::ttft_ms),
                mean(mst::trial::RequestRecord::e2e_ms),
                m.observed_s,
                m.client.void
            );
        }
        Err(error) => println!("error: {error}"),
    }
}
