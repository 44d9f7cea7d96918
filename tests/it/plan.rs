//! Plans: the documented request, the contract of the report, exit codes, and what must hold of every report.

mod files;
mod searched;
mod told;

use std::path::{Path, PathBuf};
use std::process::Command;

use mst::deployment::{Library, Places};
use mst::plan::answer::{Answer, Effort, Planner};
use mst::plan::bench::Bench;
use mst::plan::ledger::Ledger;
use mst::plan::prices::Prices;
use mst::plan::report::{Facts, Report, broken};
use mst::plan::request::{PlanRequest, ProfileFolder, Wanted};
use mst::plan::times::Times;
use proptest::prelude::*;
use serde_json::Value;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/plan")
        .join(name)
}

fn mst(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_mst"))
        .arg("plan")
        .args(args)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// The outcomes of the verification that a plan left, on the simulator.
fn verified(launch: &Path) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_mst"))
        .current_dir(launch)
        .args([
            "capacity",
            "verify.yml",
            "--target",
            "simulator",
            "--format",
            "json",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"))
}

/// The keys of an object and of all objects in it, as `a.b`; those of lists by their first entry.
fn keys(value: &Value, at: &str, all: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = format!("{at}{key}");
                all.push(path.clone());
                keys(value, &format!("{path}."), all);
            }
        }
        Value::Array(list) => {
            if let Some(first) = list.first() {
                keys(first, at, all);
            }
        }
        _ => {}
    }
}

#[test]
fn the_documented_request_runs_as_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("results/capacity_plan.json");
    let (code, stdout, stderr) = mst(&[
        "--profile",
        golden("documented/fitted_profile.json").to_str().unwrap(),
        "--workload",
        golden("documented/request.yaml").to_str().unwrap(),
        "--output",
        output.to_str().unwrap(),
        "--requests",
        "300",
    ]);
    assert_eq!(code, 0, "{stderr}");
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&output).unwrap()).unwrap();
    assert_eq!(
        std::fs::read_to_string(output.with_extension("txt")).unwrap(),
        stdout
    );
    // Every key of the documented report is there, elisions left out.
    let documented: Value =
        serde_json::from_str(&std::fs::read_to_string(golden("documented/report.json")).unwrap()).unwrap();
    let (mut wanted, mut found) = (Vec::new(), Vec::new());
    keys(&documented, "", &mut wanted);
    keys(&report, "", &mut found);
    for key in wanted {
        assert!(found.contains(&key), "{key} is missing");
    }
    let best = &report["best_configuration"];
    for key in ["interval", "binding_slo", "labels"] {
        assert!(!best[key].is_null(), "{key}");
    }
    assert!(
        report["dropped"]
            .as_array()
            .unwrap()
            .iter()
            .any(|d| d["reason"].is_string() && !d["config"].is_null()),
        "{report}"
    );
    let needed = report["needed_qps"].as_f64().unwrap();
    assert!((needed - 12.0).abs() < 1e-9, "{needed}");
    assert!(best["simulated_interval"][0].as_f64().unwrap() >= needed);
    assert_eq!(best["slo_compliance"]["meets_all_slos"], true);
    // At its break-even price the fewest GPUs of another type that serve the demand cost what the best costs.
    let others = best["break_even_prices"].as_array().unwrap();
    assert!(!others.is_empty());
    let cost = best["cost"]["cost_per_hour"].as_f64().unwrap();
    for other in others {
        let gpus = other["total_gpus"].as_f64().unwrap();
        assert_ne!(other["gpu_type"], best["gpu_type"]);
        assert!(
            (other["per_gpu_hour"].as_f64().unwrap() * gpus - cost).abs() < 1e-9,
            "{other}"
        );
        let fewest = report["all_candidates"].as_array().unwrap().iter();
        let fewest = fewest
            .filter(|c| c["config"]["gpu_type"] == other["gpu_type"] && c["serves_demand"] == true)
            .map(|c| c["config"]["total_gpus"].as_f64().unwrap())
            .fold(f64::INFINITY, f64::min);
        assert!((fewest - gpus).abs() < 1e-9, "{other}");
        // The best is the cheapest: every other is dearer than its break-even.
        assert!(
            other["now_per_gpu_hour"].as_f64() >= other["per_gpu_hour"].as_f64(),
            "{other}"
        );
    }
    assert!(stdout.contains("break-even of "), "{stdout}");
    // The profile is of one A100: nothing else is measured.
    for candidate in report["all_candidates"].as_array().unwrap() {
        let config = &candidate["config"];
        let is_there = config["gpu_type"] == "A100-80 SXM" && config["num_gpus_per_replica"] == 1;
        let label = if is_there { "fitted" } else { "scaled" };
        assert_eq!(candidate["labels"]["max_qps"], label, "{config}");
    }
    for section in [
        "RECOMMENDED CONFIGURATION",
        "PERFORMANCE ESTIMATES",
        "COST ANALYSIS",
        "SLO COMPLIANCE",
    ] {
        assert!(stdout.contains(section), "{section}: {stdout}");
    }
}

#[test]
fn nothing_feasible_is_an_answer_with_its_misses() {
    let dir = tempfile::tempdir().unwrap();
    let request = dir.path().join("request.yaml");
    std::fs::write(
        &request,
        "workload: {arrival_rate_range: [5, 50]}\n\
         constraints: {max_ttft_p95_ms: 2000}\n\
         config_space: {gpu_types: [A10G], num_gpus: [1], num_replicas: [1], max_batch_sizes: [64]}\n\
         headroom: 0.1\n",
    )
    .unwrap();
    let args = [
        "--model",
        "llama-2-7b",
        "--workload",
        request.to_str().unwrap(),
        "--requests",
        "300",
    ];
    let (code, stdout, stderr) = mst(&args);
    assert_eq!(code, 4, "{stdout}{stderr}");
    assert!(stdout.contains("NO CONFIGURATION SERVES THE DEMAND"), "{stdout}");
    assert!(
        stdout.contains("replicas would do") || stdout.contains("are needed"),
        "{stdout}"
    );
    // No rate keeps a bound that one request alone breaks.
    let impossible = "workload: {arrival_rate_range: [0.01, 50]}\n\
         constraints: {max_tbt_p99_ms: 0.5}\n\
         config_space: {gpu_types: [A100], num_gpus: [1], num_replicas: [1], max_batch_sizes: [64]}\n";
    std::fs::write(&request, impossible).unwrap();
    let (code, stdout, _) = mst(&args);
    assert_eq!(code, 4);
    assert!(
        stdout.contains("keeps its bounds at no rate; max_tbt_p99_ms would have to be"),
        "{stdout}"
    );
}

#[test]
fn bad_input_ends_with_three_and_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let request = dir.path().join("request.yaml");
    for (text, args, wanted) in [
        (
            "workload: {arival_rate_range: [1, 2]}\n",
            vec!["--model", "llama-2-7b"],
            "request.yaml:1: ",
        ),
        (
            "workload: {arrival_rate_range: [1, 2]}\nconfig_space: {gpu_types: [T1000]}\n",
            vec!["--model", "llama-2-7b"],
            "T1000",
        ),
        (
            "workload: {arrival_rate_range: [1, 2]}\n",
            vec!["--model", "llama-2-7b"],
            "no GPU is named",
        ),
        (
            "workload: {arrival_rate_range: [1, 2]}\n",
            vec!["--model", "lama-2-7b"],
            "lama-2-7b",
        ),
        (
            "workload: {arrival_rate_range: [1, 2]}\n",
            vec!["--profile", "/nowhere.json"],
            "/nowhere.json",
        ),
        (
            "config_space: {gpu_types: [A100]}\n",
            vec!["--model", "llama-2-7b"],
            "no workload is described",
        ),
    ] {
        std::fs::write(&request, text).unwrap();
        let mut all = args.clone();
        all.extend(["--workload", request.to_str().unwrap()]);
        let (code, _, stderr) = mst(&all);
        assert_eq!(code, 3, "{text}: {stderr}");
        assert!(stderr.contains(wanted), "{text}: {stderr}");
    }
}

fn planned(
    text: &str,
    prices: Option<&str>,
    seeds: u32,
) -> (PlanRequest, impl Fn(&PlanRequest) -> Vec<String> + use<>) {
    let library = Library::open(Places::default()).unwrap();
    let request = PlanRequest::parse(text, Path::new("request.yaml"), library.catalog()).unwrap();
    let prices = Prices::named(prices, library.catalog()).unwrap();
    let check = move |request: &PlanRequest| {
        let catalog = library.catalog();
        let profile =
            ProfileFolder::of_model("llama-2-7b", Path::new(""), Wanted::of(request), catalog).unwrap();
        let named = request.config_space.gpu_types.iter();
        let gpus: Vec<String> = named.map(|gpu| catalog.gpu(gpu).unwrap().name.clone()).collect();
        let bench = Bench::new(
            request,
            &profile.model.name,
            &library,
            Times::Datasheet,
            0.0,
            Ledger::default(),
        )
        .unwrap();
        let planner = Planner {
            bench: &bench,
            gpus: &gpus,
            prices: prices.as_ref(),
            effort: Effort {
                requests: 200,
                seeds,
                threads: 1,
            },
            stopped: &|| false,
            told: &|_| {},
        };
        let answer: Answer = planner.answer().unwrap();
        let facts = Facts {
            timestamp: String::new(),
            input_profile: String::new(),
            model_name: String::new(),
            profiling_hardware: None,
            prices: prices.clone(),
            seconds: 0.0,
            notes: Vec::new(),
            warnings: Vec::new(),
        };
        let report = Report {
            bench: &bench,
            answer: &answer,
            facts: &facts,
        };
        // It can be told, whatever it is.
        assert!(report.json().is_object());
        assert!(!mst::plan::report::summary(&report).is_empty());
        broken(&report)
    };
    (request, check)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if crate::support::long() { 200 } else { 12 }))]
    #[test]
    fn no_report_contradicts_itself(
        gpu in prop::sample::select(vec!["A100", "H100", "A10G", "L4"]),
        prompt in 16u32..3000,
        output in 1u32..400,
        demand in 0.1f64..60.0,
        ttft in prop::option::of(20.0f64..4000.0),
        tbt in prop::option::of(5.0f64..400.0),
        latency in prop::option::of(500.0f64..60_000.0),
        scheduler in prop::sample::select(vec!["vllm", "orca", "sarathi", "vllm_v1"]),
        objective in prop::sample::select(vec!["cost", "qps_per_dollar", "latency", "throughput_per_gpu"]),
        prices in prop::option::of(Just("none")),
        batch in 1u32..300,
    ) {
        let bound = |key: &str, value: Option<f64>| value.map_or(String::new(), |v| format!("  {key}: {v}\n"));
        let text = format!(
            "workload:\n  arrival_rate_range: [{demand}, {}]\n  \
             prompt_length: {{distribution: normal, mean: {prompt}, std: {}}}\n  \
             output_length: {{distribution: fixed, tokens: {output}}}\n\
             constraints:\n  max_cost_per_hour: 80\n{}{}{}\
             config_space:\n  gpu_types: [{gpu}, A100]\n  num_gpus: [1, 2]\n  num_replicas: [1, 3]\n  \
             schedulers: [{scheduler}]\n  max_batch_sizes: [{batch}]\nobjective: {objective}\n",
            demand * 4.0, prompt / 4,
            bound("max_ttft_p95_ms", ttft), bound("max_tbt_p99_ms", tbt), bound("max_latency_p99_ms", latency),
        );
        let (request, check) = planned(&text, prices, 2);
        let wrong = check(&request);
        prop_assert!(wrong.is_empty(), "{text}\n{wrong:?}");
    }
}
