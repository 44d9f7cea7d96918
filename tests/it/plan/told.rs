//! What a plan says is so: misses, options, prices, labels, launch files; and what it refuses in its own words.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use mst::deployment::{Library, Places};
use mst::plan::request::PlanRequest;
use serde_json::{Value, json};

use super::{golden, mst, verified};

/// Runs a plan of a request, with more arguments, in a folder of its own.
struct Run {
    dir: tempfile::TempDir,
    code: i32,
    stdout: String,
    stderr: String,
}

fn run(request: &str, args: &[&str]) -> Run {
    let dir = tempfile::tempdir().unwrap();
    within(dir, request, args)
}

fn within(dir: tempfile::TempDir, request: &str, args: &[&str]) -> Run {
    let path = dir.path().join("request.yaml");
    std::fs::write(&path, request).unwrap();
    let args: Vec<String> = args
        .iter()
        .map(|arg| arg.replace("DIR", dir.path().to_str().unwrap()))
        .collect();
    let mut all = vec![
        "--workload",
        path.to_str().unwrap(),
        "--requests",
        "300",
        "--seeds",
        "2",
    ];
    all.extend(args.iter().map(String::as_str));
    let (code, stdout, stderr) = mst(&all);
    Run {
        dir,
        code,
        stdout,
        stderr,
    }
}

impl Run {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("{}{}", self.stdout, self.stderr))
    }
}

/// A report as JSON.
fn planned(request: &str, args: &[&str]) -> Value {
    run(request, &[args, &["--format", "json"]].concat()).json()
}

fn has(list: &Value, words: &str) -> bool {
    let list = list.as_array().unwrap();
    list.iter().any(|line| line.as_str().unwrap().contains(words))
}

fn documented() -> PathBuf {
    golden("documented/fitted_profile.json")
}

const LLAMA: [&str; 2] = ["--model", "llama-2-7b"];

#[test]
fn the_nearest_misses_say_what_would_do_and_what_it_costs() {
    let space = "config_space: {gpu_types: [A100, H100], num_gpus: [1], num_replicas: [1, 2], schedulers: [sarathi], max_batch_sizes: [64]}";
    // Within the budget there is one GPU, which bears less than is needed.
    let request = |budget: f64| {
        format!(
            "workload: {{arrival_rate_range: [15, 100]}}\nconstraints: {{max_cost_per_hour: {budget}, max_latency_p99_ms: 9000}}\n{space}\n"
        )
    };
    let report = planned(&request(4.0), &LLAMA);
    assert!(report["best_configuration"].is_null());
    let misses = report["nearest_misses"].as_array().unwrap();
    let simulated: Vec<&Value> = misses.iter().filter(|miss| !miss["max_qps"].is_null()).collect();
    assert!(!simulated.is_empty());
    for miss in simulated {
        let (lacks, cost) = (
            miss["lacks"].as_str().unwrap(),
            miss["would_cost_per_hour"].as_f64().unwrap(),
        );
        assert!(lacks.contains("replicas would do"), "{lacks}");
        assert!(lacks.contains(&format!("for {cost:.2} an hour")), "{lacks}");
        assert_eq!(
            cost > 4.0,
            lacks.contains("more than max_cost_per_hour of 4"),
            "{lacks}"
        );
    }
    // The budget allows nothing: the cheapest that would do is named, and no cheaper one would.
    let report = planned(&request(0.5), &LLAMA);
    let misses = report["nearest_misses"].as_array().unwrap();
    assert!(!misses.is_empty());
    let cheapest = misses[0]["would_cost_per_hour"].as_f64().unwrap();
    let enough = format!("constraints: {{max_cost_per_hour: {cheapest}}}");
    let freed = planned(
        &format!("workload: {{arrival_rate_range: [15, 100]}}\n{enough}\n{space}\n"),
        &LLAMA,
    );
    let best = &freed["best_configuration"]["cost"]["cost_per_hour"];
    assert!(
        best.is_null() || (best.as_f64().unwrap() - cheapest).abs() < 1e-9,
        "{best} {cheapest}"
    );
    // What keeps no bound is told once for all numbers of replicas, the nearest first.
    let tight = planned(
        &format!(
            "workload: {{arrival_rate_range: [10, 100]}}\nconstraints: {{max_tbt_p99_ms: 2}}\n{space}\n"
        ),
        &LLAMA,
    );
    let misses = tight["nearest_misses"].as_array().unwrap();
    let engine = |miss: &Value| miss["config"]["gpu_type"].as_str().unwrap().to_owned();
    assert_eq!(misses.len(), 2, "{misses:?}");
    assert_ne!(engine(&misses[0]), engine(&misses[1]));
    assert!(
        !tight["text"].as_str().unwrap().contains("inf ms"),
        "{}",
        tight["text"]
    );
}

#[test]
fn requests_that_no_engine_can_take_are_named() {
    let lengths = "{distribution: lognormal, mean: 300, std: 900}";
    let report = planned(
        &format!(
            "workload: {{arrival_rate_range: [1, 100], prompt_length: {lengths}, output_length: {lengths}}}\n\
             config_space: {{gpu_types: [A100], num_gpus: [1], num_replicas: [1], schedulers: [sarathi], max_batch_sizes: [8]}}\n"
        ),
        &LLAMA,
    );
    let lacks = report["nearest_misses"][0]["lacks"].as_str().unwrap();
    assert!(lacks.contains("cannot take"), "{report}");
    assert!(lacks.contains("bound the lengths with `max`"), "{lacks}");
}

#[test]
fn a_profile_faster_than_its_gpu_is_a_warning() {
    let request = "workload:\n  arrival_rate_range: [5, 500]\n  prompt_length: 1000\n  output_length: 1\n\
        constraints: {max_ttft_p95_ms: 1000}\n\
        config_space: {gpu_types: A100, num_gpus: [1], num_replicas: [1], schedulers: vllm, max_batch_sizes: [64]}\n";
    let report = planned(request, &["--profile", documented().to_str().unwrap()]);
    let mfu = report["best_configuration"]["performance"]["mean_mfu"].as_f64();
    assert!(mfu.unwrap() > 1.0, "{mfu:?}");
    assert!(
        has(&report["warnings"], "the profile is faster than its GPU"),
        "{}",
        report["warnings"]
    );
    assert!(has(&report["warnings"], "says 312"), "{}", report["warnings"]);
    // By the datasheet nothing is.
    let report = planned(request, &LLAMA);
    assert!(!has(&report["warnings"], "faster than its GPU"));
}

#[test]
fn options_are_beaten_by_nothing_that_is_told() {
    let request = std::fs::read_to_string(golden("documented/request.yaml")).unwrap();
    let run = run(
        &request,
        &["--profile", documented().to_str().unwrap(), "--format", "json"],
    );
    let report = run.json();
    let numbers = |value: &Value| {
        let [price, qps] = ["cost_per_hour", "max_qps"].map(|key| value[key].as_f64().unwrap());
        (price, qps)
    };
    let options = ["budget", "premium"].map(|name| &report["alternatives"][name]);
    let there: Vec<&Value> = options.into_iter().filter(|option| !option.is_null()).collect();
    assert!(!there.is_empty());
    for option in there {
        let (price, qps) = numbers(option);
        for other in report["all_candidates"].as_array().unwrap() {
            let (p, q) = numbers(other);
            assert!(
                p > price || q < qps || (p >= price && q <= qps),
                "{option} {other}"
            );
        }
    }
    let text = report["text"].as_str().unwrap();
    let below = text
        .lines()
        .find_map(|line| line.strip_prefix("For a demand of up to "));
    let budget = &report["alternatives"]["budget"];
    let serves = budget["simulated_interval"][0].as_f64().unwrap_or(f64::INFINITY) / 1.2;
    let demand = report["demand_qps"].as_f64().unwrap();
    match below {
        Some(line) => {
            let told: f64 = line.split(' ').next().unwrap().parse().unwrap();
            assert!(
                (told / serves - 1.0).abs() < 1e-3 && told < demand,
                "{line} {serves}"
            );
        }
        None => assert!(serves >= demand, "{serves}"),
    }
}

#[test]
fn the_verification_is_the_plan() {
    let dir = tempfile::tempdir().unwrap();
    let mut trace = "num_prefill_tokens,num_decode_tokens\n".to_owned();
    for i in 0..500 {
        writeln!(trace, "{},{}", 200 + i % 300, 20 + i % 60).unwrap();
    }
    std::fs::write(dir.path().join("trace.csv"), trace).unwrap();
    let request = "workload: {arrival_rate_range: [3, 100], trace_file: trace.csv, pattern: {process: gamma, cv: 4}}\n\
        constraints: {max_ttft_p95_ms: 3000}\n\
        config_space: {gpu_types: [A100], num_gpus: [1], num_replicas: [1], schedulers: [vllm_v1], max_batch_sizes: [64]}\n";
    let profile = documented();
    let run = within(
        dir,
        request,
        &[
            "--profile",
            profile.to_str().unwrap(),
            "--launch",
            "DIR/launch",
            "--format",
            "json",
        ],
    );
    let report = run.json();
    let launch = run.dir.path().join("launch");
    let verify = std::fs::read_to_string(launch.join("verify.yml")).unwrap();
    assert!(verify.contains("arrivals: \"gamma:4\""), "{verify}");
    let found = verified(&launch);
    assert_eq!(found[0]["origin"], "simulator, fitted", "{found}");
    let (found, planned) = (
        found[0]["capacity_qps"].as_f64().unwrap(),
        report["best_configuration"]["performance"]["max_sustainable_qps"]
            .as_f64()
            .unwrap(),
    );
    assert!((found / planned).ln().abs() < 0.35, "{found} {planned}");
}

#[test]
fn a_verification_says_what_it_is_not() {
    let request = "workload: {arrival_rate_range: [3, 100]}\nconstraints: {max_ttft_p95_ms: 3000, slo_threshold_ms: 2000}\n\
        config_space: {gpu_types: [H100], num_gpus: [1], num_replicas: [1], schedulers: [vllm_v1], max_batch_sizes: [64]}\n";
    let run = run(
        request,
        &[
            "--profile",
            documented().to_str().unwrap(),
            "--launch",
            "DIR/launch",
            "--format",
            "json",
        ],
    );
    let report = run.json();
    let verify = std::fs::read_to_string(run.dir.path().join("launch/verify.yml")).unwrap();
    for words in ["carried over from one A100", "slo_threshold_ms is not seen"] {
        assert!(has(&report["launch"]["notes"], words), "{}", report["launch"]);
        assert!(verify.contains(words), "{verify}");
    }
    // A plan without an answer says what is left there of another one.
    let impossible = request.replace("max_ttft_p95_ms: 3000", "max_ttft_p95_ms: 0.01");
    let again = within(
        run.dir,
        &impossible,
        &[
            "--model",
            "llama-2-7b",
            "--launch",
            "DIR/launch",
            "--format",
            "json",
        ],
    );
    assert_eq!(again.code, 4);
    let warnings = &again.json()["warnings"];
    assert!(has(
        warnings,
        "serve.sh, .env, slurm/cluster.yml, verify.yml, server.yml are of another plan"
    ));
}

#[test]
fn the_command_is_one_that_vllm_takes() {
    let request = "workload: {arrival_rate_range: [2, 100]}\nconstraints: {max_tbt_p99_ms: 500}\n\
        config_space: {gpu_types: [H100], num_gpus: [1], num_replicas: [1], \
        schedulers: {scheduler: sarathi, chunk_size: 128}, max_batch_sizes: [1024]}\n";
    let report = planned(request, &LLAMA);
    let command = report["launch"]["command"].as_str().unwrap();
    assert!(
        command.contains("--max-num-seqs 128 ") && command.contains("--max-num-batched-tokens 128"),
        "{command}"
    );
    assert!(has(
        &report["warnings"],
        "vLLM refuses --max-num-batched-tokens 128 below --max-num-seqs 1024"
    ));
    // Without chunked prefill the longest request is a batch.
    let whole = request.replace(
        "schedulers: {scheduler: sarathi, chunk_size: 128}",
        "schedulers: {scheduler: vllm, max_tokens_in_batch: 2048}",
    );
    let report = planned(&whole, &LLAMA);
    let command = report["launch"]["command"].as_str().unwrap();
    assert!(
        command.contains("--max-num-batched-tokens 2048 --max-model-len 2048"),
        "{command}"
    );
    // What the model cannot read is told, whatever the simulation makes of it.
    let long = "workload: {arrival_rate_range: [0.05, 50], prompt_length: 30000, output_length: 500}\n\
        constraints: {max_ttft_p95_ms: 60000}\n\
        config_space: {gpu_types: [H100], num_gpus: [1], num_replicas: [1], schedulers: [sarathi], max_batch_sizes: [64]}\n";
    let report = planned(long, &LLAMA);
    assert!(
        has(
            &report["warnings"],
            "requests of up to 30500 tokens, prompt and response, are longer than the 4096"
        ),
        "{}",
        report["warnings"]
    );
    let report = planned(long, &["--model", "llama-3.1-8b"]);
    assert!(!has(&report["warnings"], "longer than"), "{}", report["warnings"]);
}

#[test]
fn prices_say_which_list_they_are_from() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("prices.yaml"),
        "prices: {date: 2020-01, gpus: {A100: 99}}\n",
    )
    .unwrap();
    let request = "workload: {arrival_rate_range: [3, 100]}\nconstraints: {max_ttft_p95_ms: 3000, max_cost_per_hour: 50}\n\
        config_space: {gpu_types: [A100, H100], num_gpus: [1], num_replicas: [1], schedulers: [vllm_v1], max_batch_sizes: [64]}\n";
    let run = within(
        dir,
        request,
        &[
            "--model",
            "llama-2-7b",
            "--prices",
            "DIR/prices.yaml",
            "--format",
            "json",
        ],
    );
    let report = run.json();
    let best = &report["best_configuration"];
    assert_eq!(best["gpu_type"], "H100 SXM");
    let source = best["cost"]["price_source"].as_str().unwrap();
    assert!(source.starts_with("built-in, "), "{source}");
    assert_eq!(report["prices"]["gpus"]["H100 SXM"]["source"], source);
    assert_eq!(best["labels"]["cost_per_hour"], format!("price list ({source})"));
    let text = report["text"].as_str().unwrap();
    assert!(text.contains(&format!("price list: {source})")), "{text}");
    assert!(!text.contains("2020-01"), "{text}");
    // Without prices a budget bounds nothing, which is said.
    let report = planned(request, &["--model", "llama-2-7b", "--prices", "none"]);
    assert!(has(&report["warnings"], "max_cost_per_hour of 50 bounds nothing"));
}

#[test]
fn times_of_another_model_and_half_a_calibration_are_not_what_they_are_not() {
    let request = "workload: {arrival_rate_range: [1, 100]}\nconstraints: {max_ttft_p95_ms: 3000}\n\
        config_space: {gpu_types: [A100], num_gpus: [1], num_replicas: [1], schedulers: [vllm_v1], max_batch_sizes: [64]}\n";
    let profile = documented();
    let profile = profile.to_str().unwrap();
    let label = |report: &Value| report["best_configuration"]["labels"]["max_qps"].clone();
    assert_eq!(label(&planned(request, &["--profile", profile])), "fitted");
    let other = format!("{request}model: llama-3-8b\n");
    assert_eq!(label(&planned(&other, &["--profile", profile])), "scaled");
    // A log of decodes says nothing of prompts.
    let dir = tempfile::tempdir().unwrap();
    let mut log = crate::calibrate::steps::log();
    let samples = log["samples"].as_array_mut().unwrap();
    samples.retain(|sample| sample["phase"] == "decode");
    assert!(samples.len() >= 20, "{}", samples.len());
    std::fs::write(dir.path().join("log.json"), log.to_string()).unwrap();
    std::fs::write(
        dir.path().join("metadata.json"),
        json!({"model_name": crate::calibrate::MODEL, "fitted_profile": "fitted_profile.json", "hardware": {"gpu": "A100"}})
            .to_string(),
    )
    .unwrap();
    std::fs::copy(documented(), dir.path().join("fitted_profile.json")).unwrap();
    let run = within(
        dir,
        request,
        &[
            "--profile",
            "DIR",
            "--telemetry",
            "DIR/log.json",
            "--format",
            "json",
        ],
    );
    let report = run.json();
    assert_eq!(label(&report), "fitted");
    assert!(
        has(&report["warnings"], "the calibration saw no prompts"),
        "{}",
        report["warnings"]
    );
    let [low, high] = [0, 1].map(|i| report["best_configuration"]["interval"][i].as_f64().unwrap());
    assert!((high / low).ln() >= 2.0 * 1.96 * 0.2, "{low} {high}");
}

#[test]
fn no_file_is_lost() {
    let request = "workload: {arrival_rate_range: [3, 100]}\n\
        config_space: {gpu_types: [A100], num_gpus: [1], num_replicas: [1], schedulers: [vllm_v1], max_batch_sizes: [64]}\n";
    for (args, words) in [
        (
            vec!["--output", "DIR/plan.txt"],
            "would overwrite the report of --output",
        ),
        (
            vec!["--output", "DIR/plan.json", "--html", "DIR/../DIRNAME/plan.json"],
            "would overwrite the report of --output",
        ),
        (
            vec!["--output", "DIR/plan.json", "--html", "DIR/plan.txt"],
            "would overwrite the summary",
        ),
        (vec!["--output", "DIR/request.yaml"], "would overwrite --workload"),
        (
            vec!["--output", "DIR/plan.json", "--prices", "DIR/plan.txt"],
            "would overwrite --prices",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().file_name().unwrap().to_str().unwrap().to_owned();
        let args: Vec<String> = args.iter().map(|arg| arg.replace("DIRNAME", &name)).collect();
        let mut all: Vec<&str> = LLAMA.to_vec();
        all.extend(args.iter().map(String::as_str));
        let run = within(dir, request, &all);
        assert_eq!(run.code, 3, "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(words), "{args:?}: {}", run.stderr);
        let there: Vec<_> = std::fs::read_dir(run.dir.path()).unwrap().collect();
        assert_eq!(there.len(), 1, "{there:?}");
        let kept = std::fs::read_to_string(run.dir.path().join("request.yaml")).unwrap();
        assert_eq!(kept, request);
    }
}

#[test]
fn the_latency_that_decides_is_told() {
    let request = "workload: {arrival_rate_range: [3, 100]}\nconstraints: {max_ttft_p95_ms: 3000}\nobjective: latency\n\
        config_space: {gpu_types: [A100, H100], num_gpus: [1], num_replicas: [1], schedulers: [vllm_v1], max_batch_sizes: [64]}\n";
    let report = planned(request, &LLAMA);
    let best = report["best_configuration"]["latency_at_demand_ms"]
        .as_f64()
        .unwrap();
    let all = report["all_candidates"].as_array().unwrap();
    let least = all.iter().filter_map(|c| c["latency_at_demand_ms"].as_f64());
    assert!((least.fold(f64::INFINITY, f64::min) - best).abs() < 1e-9);
    let text = report["text"].as_str().unwrap();
    assert!(
        text.contains(&format!("At the demand:      {best:.1} ms (P95, 3.000 QPS)")),
        "{text}"
    );
}

#[test]
fn one_value_is_a_list_of_one() {
    let library = Library::open(Places::default()).unwrap();
    let read = |text: &str| PlanRequest::parse(text, Path::new("request.yaml"), library.catalog());
    let short = "workload: {arrival_rate_range: 10, prompt_length: 300, output_length: 20}\n\
        config_space: {gpu_types: A100, schedulers: sarathi}\n";
    let long = "workload:\n  arrival_rate_range: [10, 10]\n  prompt_length: {distribution: fixed, tokens: 300}\n  \
        output_length: {distribution: fixed, tokens: 20}\n\
        config_space: {gpu_types: [A100], schedulers: [sarathi]}\n";
    assert_eq!(read(short).unwrap(), read(long).unwrap());
    let one = "workload: {arrival_rate_range: 10}\nconfig_space:\n  schedulers: {scheduler: sarathi, chunk_size: [128, 256]}\n";
    assert_eq!(read(one).unwrap().config_space.schedulers.len(), 2);
}
