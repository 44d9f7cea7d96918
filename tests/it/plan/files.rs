//! What a plan is made from beside a profile, and what it leaves.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{golden, mst, verified};
use crate::support;

/// A request that is answered in a second: few configurations of one GPU.
fn request(dir: &Path, space: &str) -> PathBuf {
    let path = dir.join("request.yaml");
    let text = format!(
        "workload: {{arrival_rate_range: [2, 60]}}\nconstraints: {{max_ttft_p95_ms: 2000, max_tbt_p99_ms: 200}}\n\
         config_space: {{{space}, schedulers: [vllm_v1], max_batch_sizes: [64]}}\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn planned(args: &[&str]) -> Value {
    let (code, stdout, stderr) =
        mst(&[args, &["--format", "json", "--requests", "400", "--seeds", "2"]].concat());
    assert_eq!(code, 0, "{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn telemetry_calibrates_first_and_a_calibration_is_a_profile() {
    let dir = tempfile::tempdir().unwrap();
    let request = request(
        dir.path(),
        "gpu_types: [A100, H100], num_gpus: [1], num_replicas: [1]",
    );
    let telemetry = dir.path().join("telemetry.json");
    std::fs::write(&telemetry, crate::calibrate::steps::log().to_string()).unwrap();
    let config = dir.path().join("profile");
    std::fs::create_dir(&config).unwrap();
    std::fs::copy(
        golden("documented/fitted_profile.json"),
        config.join("fitted_profile.json"),
    )
    .unwrap();
    let metadata = json!({"model_name": crate::calibrate::MODEL, "fitted_profile": "fitted_profile.json", "hardware": {"gpu": "NVIDIA A100"}});
    std::fs::write(config.join("metadata.json"), metadata.to_string()).unwrap();
    let label = |report: &Value, gpu: &str| {
        let all = report["all_candidates"].as_array().unwrap();
        let of = all.iter().find(|c| c["config"]["gpu_type"] == gpu).unwrap();
        of["labels"]["max_qps"].as_str().unwrap().to_owned()
    };
    let (request, telemetry) = (request.to_str().unwrap(), telemetry.to_str().unwrap());
    let report = planned(&[
        "--profile",
        config.to_str().unwrap(),
        "--workload",
        request,
        "--telemetry",
        telemetry,
    ]);
    assert_eq!(report["calibrated"], true);
    assert_eq!(label(&report, "A100-80 SXM"), "calibrated");
    assert_eq!(label(&report, "H100 SXM"), "scaled");

    let output = Command::new(env!("CARGO_BIN_EXE_mst"))
        .current_dir(dir.path())
        .args([
            "calibrate",
            telemetry,
            "--model",
            crate::calibrate::MODEL,
            "--device",
            "a100",
        ])
        .output()
        .unwrap();
    assert!(output.status.success());
    let file = dir.path().join("calibrated.json");
    let launch = dir.path().join("launch");
    let again = planned(&[
        "--profile",
        file.to_str().unwrap(),
        "--workload",
        request,
        "--launch",
        launch.to_str().unwrap(),
    ]);
    assert_eq!(
        again["best_configuration"]["performance"],
        report["best_configuration"]["performance"]
    );
    // The verification expects what was calibrated.
    let found = verified(&launch);
    let best = again["best_configuration"]["gpu_type"].as_str().unwrap();
    let origin = if best.starts_with("A100") {
        "calibrated"
    } else {
        "scaled"
    };
    assert_eq!(found[0]["origin"], format!("simulator, {origin}"));
    let notes = found[0]["notes"].to_string();
    assert!(notes.contains("server.yml let expect"), "{notes}");
}

#[test]
fn a_plan_goes_on_where_it_was_and_other_objectives_use_what_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let request = request(
        dir.path(),
        "gpu_types: [A100], num_gpus: [1, 2], num_replicas: [1, 2]",
    );
    let output = dir.path().join("plan.json");
    let args = [
        "--model",
        "llama-2-7b",
        "--workload",
        request.to_str().unwrap(),
        "--output",
        output.to_str().unwrap(),
    ];
    let first = planned(&args);
    // Killed in the middle of a line: what is before it counts.
    let probes = dir.path().join("plan.probes.jsonl");
    let known = text(&probes);
    let half = known.len() / 2;
    std::fs::write(&probes, &known[..half]).unwrap();
    let second = planned(&args);
    let third = planned(&args);
    let told = |report: &Value, key: &str| report["summary"][key].as_u64().unwrap();
    assert_eq!(told(&third, "simulations_reused"), told(&third, "simulations"));
    let reused = told(&second, "simulations_reused");
    assert!(reused > told(&first, "simulations_reused") && reused < told(&second, "simulations"));
    for other in [&second, &third] {
        for key in [
            "best_configuration",
            "pareto_frontier",
            "all_candidates",
            "dropped",
        ] {
            assert_eq!(first[key], other[key], "{key}");
        }
    }
    // A damaged line is told with its place.
    std::fs::write(&probes, format!("{{\n{known}")).unwrap();
    let (code, _, stderr) = mst(&args);
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("plan.probes.jsonl:1: "), "{stderr}");
}

#[test]
fn the_launch_files_start_and_verify_what_is_recommended() {
    let dir = tempfile::tempdir().unwrap();
    let request = request(dir.path(), "gpu_types: [A100], num_gpus: [2], num_replicas: [2]");
    let launch = dir.path().join("launch");
    let report = planned(&[
        "--model",
        "llama-2-7b",
        "--workload",
        request.to_str().unwrap(),
        "--launch",
        launch.to_str().unwrap(),
    ]);
    let command = report["launch"]["command"].as_str().unwrap();
    for part in [
        "vllm serve meta-llama/Llama-2-7b-hf",
        "--tensor-parallel-size 2",
        "--data-parallel-size 2",
        "--max-num-seqs 64",
        "--enable-chunked-prefill",
    ] {
        assert!(command.contains(part), "{part}: {command}");
    }
    assert!(text(&launch.join("serve.sh")).contains("--port \"$port\""));
    let cost = &report["launch"]["verification"];
    let hours = cost["seconds"].as_f64().unwrap() / 3600.0 * 4.0;
    assert!((cost["gpu_hours"].as_f64().unwrap() - hours).abs() < 1e-9);
    // The capacity search of the same deployment on the simulator finds what the plan says.
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_mst"))
            .current_dir(&launch)
            .args(args)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            said,
        )
    };
    let (code, stdout, stderr) = run(&[
        "capacity",
        "verify.yml",
        "--target",
        "simulator",
        "--format",
        "json",
    ]);
    assert!(matches!(code, Some(0 | 5)), "{stderr}");
    let found: Value = serde_json::from_str(&stdout).unwrap();
    let (found, planned) = (
        found[0]["capacity_qps"].as_f64().unwrap(),
        report["best_configuration"]["performance"]["max_sustainable_qps"]
            .as_f64()
            .unwrap(),
    );
    assert!((found / planned).ln().abs() < 0.2, "{found} {planned}");
    let (code, stdout, stderr) = run(&[
        "capacity",
        "verify.yml",
        "--target",
        "endpoint",
        "--submit",
        "--dry-run",
    ]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(asks_for_four(&stdout), "{stdout}");
    let (code, stdout, stderr) = run(&["submit", "--dry-run"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(asks_for_four(&stdout), "{stdout}");
}

#[test]
fn the_page_shows_its_drawings_in_a_browser() {
    let dir = tempfile::tempdir().unwrap();
    let request = request(
        dir.path(),
        "gpu_types: [A100, L40S], num_gpus: [1], num_replicas: [1, 2]",
    );
    let page = dir.path().join("plan.html");
    let report = planned(&[
        "--model",
        "llama-2-7b",
        "--workload",
        request.to_str().unwrap(),
        "--html",
        page.to_str().unwrap(),
    ]);
    let html = text(&page);
    assert_eq!(html.matches("<svg").count(), 2);
    assert!(
        !html.contains("http://")
            || html.matches("http://").count() == html.matches("http://www.w3.org").count()
    );
    let browser = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--dump-dom",
        ])
        .arg(format!(
            "--user-data-dir={}",
            dir.path().join("browser").display()
        ))
        .arg(format!("file://{}", page.display()))
        .output();
    let dom = match browser {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            support::skipped("chromium is not installed");
            return;
        }
        output => output.unwrap(),
    };
    let dom = String::from_utf8_lossy(&dom.stdout).into_owned();
    // As the browser understood it: drawings with their marks inside, and a row for each option.
    let count = |what: &str| dom.matches(what).count();
    assert_eq!(count("<svg"), 2, "{dom}");
    assert_eq!(count("</svg>"), 2);
    assert!(count("<circle") >= report["pareto_frontier"].as_array().unwrap().len());
    let table = &dom[dom.find("id=\"options\"").unwrap()..];
    let table = &table[..table.find("</table>").unwrap()];
    assert_eq!(
        table.matches("<tr").count(),
        1 + report["pareto_frontier"].as_array().unwrap().len()
    );
    let sentence = report["summary"]["recommendation"].as_str().unwrap();
    assert!(dom.contains(sentence), "{sentence}");
}

fn asks_for_four(script: &str) -> bool {
    script
        .lines()
        .any(|line| line.starts_with("#SBATCH --gpus") && line.ends_with("=4"))
}

#[test]
fn policies_that_differ_in_a_number_only_are_not_mixed_up() {
    let dir = tempfile::tempdir().unwrap();
    let request = dir.path().join("request.yaml");
    let text = "workload: {arrival_rate_range: [2, 60]}\nconstraints: {max_tbt_p99_ms: 40}\n\
        config_space: {gpu_types: [A100], num_gpus: [1], num_replicas: [1], max_batch_sizes: [64],\n  \
        schedulers: [{scheduler: sarathi, chunk_size: [128, 2048]}]}\n";
    std::fs::write(&request, text).unwrap();
    let report = planned(&["--model", "llama-2-7b", "--workload", request.to_str().unwrap()]);
    let of = |chunk: u32| {
        let all = report["all_candidates"].as_array().unwrap();
        let found = all
            .iter()
            .find(|c| c["config"]["batching"]["chunk_size"] == chunk);
        found.unwrap()["metrics"]["p99_tbt_ms"].as_f64().unwrap()
    };
    // Large chunks hold up the tokens of the others.
    assert!(of(2048) > 1.5 * of(128), "{} {}", of(2048), of(128));
}
