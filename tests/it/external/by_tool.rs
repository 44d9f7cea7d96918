//! `GuideLLM`, `AIPerf` and `inference-perf`, on outputs that they wrote.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err as fs;
use mst::loadgen::aiperf::Aiperf;
use mst::loadgen::guidellm::Guidellm;
use mst::loadgen::inference_perf::InferencePerf;
use mst::loadgen::tool::{Tool, ToolConfig};
use mst::loadgen::{Api, Command, TrialJob};
use mst::trial::Measurement;
use mst::units::{Rate, TokenRange};
use mst::workload::{Arrival, ListedLengths, PromptSource};

use super::{execute, job, text};
use crate::support::golden;

fn config(program: &Path) -> ToolConfig {
    ToolConfig {
        argv: vec![program.to_str().unwrap().to_owned()],
        tokenizer: golden("external/tokenizers/byte-level.json"),
        api_key: false,
    }
}

fn all() -> [Box<dyn Tool>; 3] {
    let config = config(Path::new("/opt/tool"));
    [
        Box::new(Guidellm::new(config.clone())),
        Box::new(Aiperf::new(config.clone())),
        Box::new(InferencePerf::new(config)),
    ]
}

/// Ten requests a second for six seconds.
fn minute(arrival: Arrival) -> TrialJob {
    let mut job = job(Rate::per_second(10.0), 6.0);
    job.spec.workload.arrival = arrival;
    job
}

/// Where a program writes, below the trial's folder.
const GUIDELLM: &str = "guidellm/benchmarks.json";
const AIPERF: &str = "aiperf/profile_export.jsonl";
const INFERENCE_PERF: &str = "inference-perf/per_request_lifecycle_metrics.json";

/// A trial's folder in which a program has left this.
fn left(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

fn recorded(name: &str) -> Vec<u8> {
    fs::read(golden(&format!("loadgen/{name}"))).unwrap()
}

fn outcomes(measured: &Measurement) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for record in &measured.records {
        *counts.entry(record.outcome.to_string()).or_default() += 1;
    }
    counts
}

fn counted(pairs: &[(&str, usize)]) -> BTreeMap<String, usize> {
    pairs.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()
}

fn near(value: f64, expected: f64) {
    assert!((value - expected).abs() < 1e-3, "{value}, not {expected}");
}

#[test]
fn guidellm_tells_its_schedule_and_no_token_times() {
    let [guidellm, ..] = all();
    let dir = left(&[(GUIDELLM, &recorded("guidellm.json"))]);
    let job = minute(Arrival::Constant);
    let measured = guidellm.read(&job, dir.path()).unwrap();
    assert_eq!(
        outcomes(&measured),
        counted(&[("ok", 47), ("http-503", 9), ("broken-stream", 4)])
    );
    let first = &measured.records[0];
    assert_eq!(
        (first.intended_ns, first.input_tokens, first.output_tokens),
        (0, 27, 16)
    );
    near(first.lateness_ms().unwrap(), 8.906);
    near(first.ttft_ms().unwrap(), 54.093);
    near(first.e2e_ms().unwrap(), 178.849);
    // Sixty requests, a tenth of a second apart.
    near(measured.offered().as_per_second(), 10.0);
    near(measured.client.lateness_p50_ms.unwrap(), 4.419);
    near(measured.client.lateness_max_ms.unwrap(), 9.037);
    assert_eq!(measured.client.void, None);
    assert_eq!(measured.epoch_ns / 1_000_000, 1_795_361_019_174);
    // A cut stream has its first token and the moment at which it broke.
    let cut = measured
        .records
        .iter()
        .find(|r| r.outcome.to_string() == "broken-stream");
    let cut = cut.unwrap();
    assert_eq!(cut.output_tokens, 8);
    near(
        cut.ttft_ms().unwrap(),
        1_795_361_019.722_117e3 - 1_795_361_019.674_851_7e3,
    );
    assert!(guidellm.token_times(&job, dir.path()).unwrap().is_none());
    assert!(!guidellm.capabilities().token_times && guidellm.capabilities().schedule);
}

#[test]
fn aiperf_tells_schedule_and_chunks() {
    let [_, aiperf, _] = all();
    let dir = left(&[(AIPERF, &recorded("aiperf.jsonl")), ("aiperf/inputs.json", b"{}")]);
    let job = minute(Arrival::Poisson);
    let measured = aiperf.read(&job, dir.path()).unwrap();
    assert_eq!(
        outcomes(&measured),
        counted(&[("ok", 47), ("http-503", 8), ("broken-stream", 5)])
    );
    let first = &measured.records[0];
    assert_eq!((first.input_tokens, first.output_tokens), (27, 16));
    near(first.lateness_ms().unwrap(), 1.439);
    near(first.ttft_ms().unwrap(), 1.439 + 52.015);
    // The last of sixty came after 5.31 s.
    near(measured.offered_s, 5.313_611 * 60.0 / 59.0);
    assert_eq!(measured.client.void, None);
    assert_eq!(measured.epoch_ns, 1_795_361_010_116_863_667);
    let times = aiperf.token_times(&job, dir.path()).unwrap().unwrap();
    assert_eq!(times.len(), 60);
    assert_eq!(times.gaps_us(0).len(), 15);
    assert_eq!(times.gaps_us(0)[..3], [7784, 6644, 8335]);
    for (record, i) in measured.records.iter().zip(0..) {
        let gaps = times.gaps_us(i);
        assert_eq!(gaps.len(), if record.outcome.is_ok() { 15 } else { 0 });
        // The gaps lead from the first token to the end, but for what the end of the stream took.
        if record.outcome.is_ok() {
            let decoded = (record.done_ns.unwrap() - record.first_token_ns.unwrap()) / 1000;
            let sum: i64 = gaps.iter().map(|g| i64::from(*g)).sum();
            assert!((decoded - sum).abs() < 2_000, "{decoded} {sum}");
        }
    }
    assert!(!dir.path().join("aiperf/inputs.json").exists());
}

#[test]
fn inference_perf_tells_chunks_and_its_delay_in_sum() {
    let [.., inference_perf] = all();
    let dir = left(&[
        (INFERENCE_PERF, &recorded("inference-perf.json")),
        (
            "inference-perf/stage_0_lifecycle_metrics.json",
            &recorded("inference-perf-stage.json"),
        ),
        (
            "inference-perf/inference-perf.partial.stage_0.yaml",
            &recorded("inference-perf-report.yaml"),
        ),
    ]);
    let mut job = minute(Arrival::Poisson);
    let measured = inference_perf.read(&job, dir.path()).unwrap();
    // Six of the 46 whole answers have the sixteen tokens that are asked for here.
    assert_eq!(
        outcomes(&measured),
        counted(&[
            ("ok", 6),
            ("wrong-length", 40),
            ("http-503", 9),
            ("broken-stream", 5)
        ])
    );
    let good = &measured.records[1];
    assert_eq!((good.input_tokens, good.output_tokens), (28, 17));
    near(good.intended_ns as f64 / 1e6, 57.488);
    near(good.ttft_ms().unwrap(), 32.217);
    near(good.e2e_ms().unwrap(), 157.192);
    near(measured.client.lateness_p50_ms.unwrap(), 0.204);
    near(measured.client.lateness_p99_ms.unwrap(), 1.369);
    assert_eq!(measured.epoch_ns, 1_795_361_241_303_477_000);
    // Sixty requests over 7.5 s: what it calls poisson is another rate than was asked.
    let void = measured.client.void.unwrap();
    assert!(
        void.contains("7.84 requests/s where 10.00 were asked for"),
        "{void}"
    );
    let times = inference_perf.token_times(&job, dir.path()).unwrap().unwrap();
    assert!(times.gaps_us(0).is_empty());
    assert_eq!(times.gaps_us(1)[..4], [7983, 8285, 8913, 8142]);
    assert_eq!(times.gaps_us(1).len(), 16);
    // Without the reports the times of day come from the file's own.
    job.spec.rate = Rate::per_second(7.9);
    fs::remove_file(
        dir.path()
            .join("inference-perf/inference-perf.partial.stage_0.yaml"),
    )
    .unwrap();
    fs::remove_file(dir.path().join("inference-perf/stage_0_lifecycle_metrics.json")).unwrap();
    let measured = inference_perf.read(&job, dir.path()).unwrap();
    assert_eq!(measured.client.lateness_p50_ms, None);
    assert!(measured.epoch_ns > 1_700_000_000_000_000_000);
}

#[test]
fn broken_outputs_are_named_with_their_line() {
    let [guidellm, aiperf, inference_perf] = all();
    let cut = |name: &str, share: usize| {
        let content = recorded(name);
        content[..content.len() * share / 10].to_vec()
    };
    let row = recorded("aiperf.jsonl");
    let row = row.split(|b| *b == b'\n').next().unwrap();
    let row = String::from_utf8(row.to_vec()).unwrap();
    let cases: Vec<(&dyn Tool, &str, Vec<u8>, &str)> = vec![
        (&*guidellm, GUIDELLM, cut("guidellm.json", 5), "at line 3"),
        (&*guidellm, GUIDELLM, b"{}".to_vec(), "missing field `metadata`"),
        (
            &*guidellm,
            GUIDELLM,
            b"{\"metadata\": {\"version\": 3}, \"benchmarks\": []}".to_vec(),
            "its form has version 3; version 2 is what is known here",
        ),
        (
            &*guidellm,
            GUIDELLM,
            b"{\"metadata\": {\"version\": 2}, \"benchmarks\": []}".to_vec(),
            "it holds 0 benchmarks, not one",
        ),
        (
            &*guidellm,
            GUIDELLM,
            b"{\"metadata\": {\"version\": 2}, \"benchmarks\": [{\"requests\": {\"successful\": [], \"errored\": [], \"incomplete\": []}}]}"
                .to_vec(),
            "it holds no request",
        ),
        (&*aiperf, AIPERF, cut("aiperf.jsonl", 5), ": EOF while parsing"),
        (&*aiperf, AIPERF, b"\n{\"metadata\": {}}\n".to_vec(), "line 2: missing field"),
        (
            &*aiperf,
            AIPERF,
            row.replace("\"value\": 52.01481, \"unit\": \"ms\"", "\"value\": 52014.81, \"unit\": \"us\"")
                .into_bytes(),
            "line 1: a value is in `us` where `ms` is known",
        ),
        (&*aiperf, AIPERF, Vec::new(), "it holds no request"),
        (
            &*inference_perf,
            INFERENCE_PERF,
            cut("inference-perf.json", 5),
            "at line 32",
        ),
        (&*inference_perf, INFERENCE_PERF, b"[]".to_vec(), "it holds no request"),
    ];
    for (tool, file, content, expected) in cases {
        let dir = left(&[(file, &content)]);
        let job = minute(Arrival::Poisson);
        let error = tool.read(&job, dir.path()).unwrap_err().to_string();
        assert!(
            error.contains(file) && error.contains(expected),
            "{}: {error}, not {expected}",
            tool.name()
        );
        if expected.contains("EOF") {
            let error = tool.token_times(&job, dir.path()).unwrap_err().to_string();
            assert!(error.contains("line"), "{error}");
        }
    }
    for tool in all() {
        let dir = left(&[("loadgen.log", b"Traceback\nImportError: no luck\n\n")]);
        let error = tool
            .read(&minute(Arrival::Poisson), dir.path())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("did not write it") && error.ends_with("ends with: ImportError: no luck"),
            "{error}"
        );
    }
}

#[test]
fn open_requests_are_unfinished_and_unsent_ones_are_not_there() {
    let [guidellm, aiperf, _] = all();
    let row = |id: u32, timings: &str| {
        format!(
            "{{\"info\": {{\"timings\": {{{timings}}}, \"error\": null}}, \"prompt_tokens\": {id}, \"output_tokens\": null}}"
        )
    };
    let content = format!(
        "{{\"metadata\": {{\"version\": 2}}, \"benchmarks\": [{{\"requests\": {{\"successful\": [], \"errored\": [], \"incomplete\": [{}, {}]}}}}]}}",
        row(
            1,
            "\"targeted_start\": 5.0, \"request_start\": 5.25, \"first_token_iteration\": 6.0, \"request_end\": 9.0"
        ),
        row(2, "\"targeted_start\": 6.0, \"request_start\": null"),
    );
    let dir = left(&[(GUIDELLM, content.as_bytes())]);
    let measured = guidellm.read(&minute(Arrival::Poisson), dir.path()).unwrap();
    assert_eq!(outcomes(&measured), counted(&[("unfinished", 1)]));
    assert_eq!(
        (measured.records[0].done_ns, measured.records[0].ttft_ms()),
        (None, Some(1000.0))
    );
    assert!(
        measured
            .client
            .void
            .unwrap()
            .contains("only 1 of 60 requests were sent")
    );

    let lines = String::from_utf8(recorded("aiperf.jsonl")).unwrap();
    let open = lines.replace("\"was_cancelled\": false", "\"was_cancelled\": true");
    let warm = lines.replace(
        "\"benchmark_phase\": \"profiling\"",
        "\"benchmark_phase\": \"warmup\"",
    );
    let dir = left(&[(AIPERF, format!("{open}{warm}").as_bytes())]);
    let measured = aiperf.read(&minute(Arrival::Poisson), dir.path()).unwrap();
    assert_eq!(outcomes(&measured), counted(&[("unfinished", 60)]));
}

fn words(command: &Command) -> Vec<String> {
    let words = command.argv.iter();
    words.map(|w| w.to_str().unwrap().to_owned()).collect()
}

#[test]
fn a_trial_becomes_their_arguments() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().to_str().unwrap().to_owned();
    let [guidellm, aiperf, inference_perf] = all();
    let mut job = minute(Arrival::Poisson);
    job.endpoint.base_url.push('/');
    job.endpoint.model = "a \"model\"".to_owned();

    let [command] = <[Command; 1]>::try_from(guidellm.prepare(&job, dir.path()).unwrap()).unwrap();
    let line = words(&command);
    assert_eq!(line[..3], ["/opt/tool", "run", "--backend"]);
    let backend: serde_json::Value = serde_json::from_str(&line[3]).unwrap();
    assert_eq!(backend["target"], "http://127.0.0.1:8000");
    assert_eq!(backend["model"], "a \"model\"");
    assert_eq!(backend["request_format"], "/v1/completions");
    let line = line.join(" ");
    for expected in [
        "--profile kind=poisson,rate=10 ",
        "--constraint kind=max_requests,count=60 ",
        // 6 s, 4 standard deviations of the sixtieth arrival and a second; then the drain of 10 s.
        "--constraint kind=max_duration,seconds=20 ",
        "--data kind=synthetic_text,prompt_tokens=32,output_tokens=16 ",
        "--seed kind=static,value=42 ",
    ] {
        assert!(line.contains(expected), "{expected}: {line}");
    }
    let one_process = ("GUIDELLM__MAX_WORKER_PROCESSES".to_owned(), "1".to_owned());
    assert!(command.env.contains(&one_process));
    let even = guidellm.prepare(&minute(Arrival::Constant), dir.path()).unwrap();
    assert!(!even[0].env.contains(&one_process));
    assert!(words(&even[0]).join(" ").contains("kind=constant,rate=10 "));

    job.spec.workload.arrival = Arrival::Gamma { cv: 2.0 };
    let [command] = <[Command; 1]>::try_from(aiperf.prepare(&job, dir.path()).unwrap()).unwrap();
    let line = words(&command).join(" ");
    for expected in [
        "/opt/tool profile --streaming ".to_owned(),
        "--url http://127.0.0.1:8000 --endpoint-type completions ".to_owned(),
        "--request-rate 10 --arrival-pattern gamma --arrival-smoothness 0.25 --request-count 60 ".to_owned(),
        "--benchmark-duration 11 --benchmark-grace-period 10 --request-timeout-seconds 300 ".to_owned(),
        "--isl 32 --isl-stddev 0 --osl 16 --osl-stddev 0 ".to_owned(),
        "--extra-inputs ignore_eos:true --extra-inputs min_tokens:16 --num-dataset-entries 60 ".to_owned(),
        format!("--artifact-dir {place}/aiperf "),
    ] {
        assert!(line.contains(&expected), "{expected}: {line}");
    }
    assert!(
        command
            .env
            .contains(&("HF_HOME".to_owned(), format!("{place}/tokenizer")))
    );
    job.spec.workload.prompts.unique_prefix = false;
    let line = words(&aiperf.prepare(&job, dir.path()).unwrap()[0]).join(" ");
    assert!(line.contains("--num-dataset-entries 1 "), "{line}");

    // What an attempt before left behind does not pass for this one's.
    let old = dir.path().join(INFERENCE_PERF);
    fs::create_dir_all(old.parent().unwrap()).unwrap();
    fs::write(&old, "[]").unwrap();
    let [command] = <[Command; 1]>::try_from(
        inference_perf
            .prepare(&minute(Arrival::Poisson), dir.path())
            .unwrap(),
    )
    .unwrap();
    assert!(!old.exists());
    assert_eq!(
        words(&command),
        [
            "/opt/tool",
            "--config_file",
            &format!("{place}/inference-perf.json")
        ]
    );
    let config: serde_json::Value = serde_json::from_str(&text(dir.path(), "inference-perf.json")).unwrap();
    let stage = &config["load"]["stages"][0];
    // The whole part of rate times duration is the count.
    assert_eq!(
        (stage["rate"].as_f64().unwrap() * stage["duration"].as_f64().unwrap()) as u32,
        60
    );
    assert_eq!(config["load"]["type"], "constant");
    assert_eq!(config["load"]["request_retries"], 1);
    assert_eq!(config["data"]["output_distribution"]["mean"], 16);
    let tokenizer = PathBuf::from(
        config["tokenizer"]["pretrained_model_name_or_path"]
            .as_str()
            .unwrap(),
    );
    assert!(tokenizer.join("tokenizer.json").is_file());
}

#[test]
fn what_they_cannot_express_is_refused_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |tool: &dyn Tool, change: &dyn Fn(&mut TrialJob)| {
        let mut job = minute(Arrival::Poisson);
        change(&mut job);
        tool.prepare(&job, dir.path())
            .map_err(|e| e.to_string())
            .unwrap_err()
    };
    for tool in all() {
        let name = tool.name();
        let mixed = refused(&*tool, &|job| {
            let class = job.spec.workload.classes[0];
            job.spec.workload.classes.push(class);
        });
        assert!(
            mixed.starts_with(&format!(
                "load generator {name} cannot be used: it sends one token pair"
            )),
            "{mixed}"
        );
        let listed = refused(&*tool, &|job| {
            job.spec.workload.lengths = Some(ListedLengths::of(&[(1, 1)]));
        });
        assert!(listed.contains("from a list; use LOADGEN=native"), "{listed}");
        let range = refused(&*tool, &|job| {
            job.spec.workload.classes[0].pair.output = TokenRange { min: 1, max: 50 };
        });
        assert!(
            range.contains("responses of one length") && range.contains("TOKENS_LIST"),
            "{range}"
        );
        let arrival = refused(&*tool, &|job| job.spec.workload.arrival = Arrival::Stratified);
        assert!(
            arrival.contains("not stratified; set ARRIVAL=poisson"),
            "{arrival}"
        );
        let file = refused(&*tool, &|job| {
            job.spec.workload.prompts.source = PromptSource::File {
                digest: String::new(),
            };
        });
        assert!(file.contains("unset PROMPTS_FILE"), "{file}");
    }
    let [guidellm, _, inference_perf] = all();
    let same = refused(&*guidellm, &|job| job.spec.workload.prompts.unique_prefix = false);
    assert!(same.contains("UNIQUE_PROMPTS=true"), "{same}");
    let chat = refused(&*inference_perf, &|job| job.endpoint.api = Api::Chat);
    assert!(chat.contains("API=completions"), "{chat}");
    let even = refused(&*inference_perf, &|job| {
        job.spec.workload.arrival = Arrival::Constant;
    });
    assert!(even.contains("its arrivals are poisson, not constant"), "{even}");
    let half = refused(&*inference_perf, &|job| job.spec.duration_s = 7.5);
    assert!(half.contains("whole seconds only, not 7.5 s"), "{half}");
    let secret = Guidellm::new(ToolConfig {
        api_key: true,
        ..config(Path::new("x"))
    });
    assert!(refused(&secret, &|_| ()).contains("API key only as an argument"));
}

/// A script in place of a program, which says that it is this version.
fn script(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("tool");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    let mut permissions = fs::metadata(&path).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    fs::set_permissions(&path, permissions).unwrap();
    path
}

#[test]
fn versions_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let ask = |tool: &dyn Tool| {
        let succeeded = execute(&tool.check(dir.path()).unwrap());
        tool.explain_check(succeeded, dir.path())
            .map_err(|e| e.to_string())
    };
    let right = config(&script(dir.path(), "echo \"$1 0.13.4\""));
    assert_eq!(ask(&Aiperf::new(right.clone())).unwrap(), "0.13.4");
    let wrong = ask(&Guidellm::new(right.clone())).unwrap_err();
    assert!(
        wrong.contains("this is version 0.13.4, and the output of 0.8.x is what is known here"),
        "{wrong}"
    );
    // It does not tell its version: its interpreter is asked.
    let unknown = InferencePerf::new(right)
        .check(dir.path())
        .unwrap_err()
        .to_string();
    assert!(unknown.contains("not a Python program on the PATH"), "{unknown}");
    let interpreter = dir.path().join("python3");
    fs::rename(script(dir.path(), "echo 0.7.0"), &interpreter).unwrap();
    let program = dir.path().join("inference-perf");
    fs::write(&program, format!("#!{}\nimport sys\n", interpreter.display())).unwrap();
    assert_eq!(ask(&InferencePerf::new(config(&program))).unwrap(), "0.7.0");
}
