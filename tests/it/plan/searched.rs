//! What a capacity is searched with: runs that are long enough, ceilings, lone requests, and what is told of it.

use serde_json::Value;

use super::mst;

/// Plans for Llama-2-7B without a profile, with other arguments; the exit code and the report.
fn planned(request: &str, more: &[&str]) -> (i32, Value) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("request.yaml");
    std::fs::write(&path, request).unwrap();
    let args = [
        "--model",
        "llama-2-7b",
        "--workload",
        path.to_str().unwrap(),
        "--format",
        "json",
    ];
    let (code, stdout, stderr) = mst(&[&args, more].concat());
    let report = serde_json::from_str(&stdout);
    (code, report.unwrap_or_else(|_| panic!("{stdout}{stderr}")))
}

fn number(value: &Value, pointer: &str) -> f64 {
    value
        .pointer(pointer)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("{pointer}: {value}"))
}

fn candidates(report: &Value) -> &Vec<Value> {
    report["all_candidates"].as_array().unwrap()
}

#[test]
fn batches_that_fill_are_not_overload_however_few_requests_are_asked_for() {
    let request = "workload: {arrival_rate_range: [30, 1000]}\n\
         constraints: {max_ttft_p95_ms: 2000, max_tbt_p99_ms: 200}\n\
         config_space: {gpu_types: [H100], num_gpus: [1], num_replicas: [4], schedulers: [sarathi], max_batch_sizes: [256]}\n";
    let with = |requests: &str| {
        let (code, report) = planned(request, &["--requests", requests, "--seeds", "2"]);
        assert_eq!(code, 0, "{report}");
        number(&report, "/best_configuration/performance/max_sustainable_qps")
    };
    // 4 replicas hold a thousand requests at once: 300 would all be running before the first has ended.
    let (few, many) = (with("300"), with("9000"));
    assert!((few / many).ln().abs() < 0.15, "{few} and {many}");
}

#[test]
fn a_ceiling_that_holds_is_its_own_lower_end() {
    for range in ["[10, 10]", "[10, 11]", "[10, 13]", "[10.03, 10.03]"] {
        let request = format!(
            "workload: {{arrival_rate_range: {range}}}\nconstraints: {{max_ttft_p95_ms: 2000, max_tbt_p99_ms: 200}}\n\
             config_space: {{gpu_types: [H100], num_gpus: [1], num_replicas: [4], schedulers: [sarathi], max_batch_sizes: [64]}}\n"
        );
        let (code, report) = planned(&request, &["--requests", "300", "--seeds", "3"]);
        assert_eq!(code, 0, "{range}: {report}");
        let best = &report["best_configuration"];
        assert_eq!(best["status"], "ceiling-reached", "{range}");
        let low = number(best, "/simulated_interval/0");
        assert!(low >= number(&report, "/needed_qps"), "{range}: {low}");
    }
}

#[test]
fn without_any_bound_the_load_itself_is_one() {
    let request = "workload: {}\ndemand_qps: 1\n\
         config_space: {gpu_types: [A100], num_gpus: [1], num_replicas: [1], schedulers: [orca, vllm, sarathi], max_batch_sizes: [64]}\n";
    let (code, report) = planned(request, &["--requests", "300", "--seeds", "2"]);
    assert_eq!(code, 0, "{report}");
    for candidate in candidates(&report) {
        let qps = number(candidate, "/max_qps");
        // One GPU computes the prompts alone in no less than a fortieth of a second.
        assert!((1.2..40.0).contains(&qps), "{candidate}");
        assert_eq!(candidate["binding_slo"], "load", "{candidate}");
    }
}

#[test]
fn what_a_lone_request_breaks_no_rate_keeps() {
    let space = "config_space: {gpu_types: [A100, L4], num_gpus: [1], num_replicas: [1, 2], schedulers: [sarathi], max_batch_sizes: [64]}\n";
    let request = format!(
        "workload: {{}}\ndemand_qps: 0.002\nconstraints: {{max_latency_p99_ms: 1000, max_tbt_p99_ms: 200}}\n{space}"
    );
    let (code, report) = planned(&request, &["--seeds", "2"]);
    assert_eq!(code, 4, "{report}");
    for candidate in candidates(&report) {
        assert_eq!(candidate["status"], "infeasible", "{candidate}");
        assert_eq!(candidate["binding_slo"], "latency_p99", "{candidate}");
        let slos = candidate["slo_compliance"]["slos"].as_array().unwrap();
        assert_eq!(slos.len(), 2);
        for slo in slos {
            let broken = slo["slo"] == "latency_p99";
            assert_eq!(
                number(slo, "/observed_ms") > number(slo, "/bound_ms"),
                broken,
                "{slo}"
            );
            assert_eq!(number(slo, "/margin") < 0.0, broken, "{slo}");
        }
    }
    // Rare as they may be, hundreds of requests are simulated.
    let request = format!("workload: {{}}\ndemand_qps: 0.0001\nobjective: latency\n{space}");
    let (code, report) = planned(&request, &["--requests", "300", "--seeds", "2"]);
    assert_eq!(code, 0, "{report}");
    let requests = number(&report, "/best_configuration/performance/requests");
    assert!(requests >= 300.0, "{requests}");
}

#[test]
fn few_requests_are_made_up_for_by_time() {
    let request = "workload: {arrival_rate_range: [0.02, 0.05]}\nconstraints: {max_ttft_p95_ms: 2000}\n\
         config_space: {gpu_types: [A100], num_gpus: [1], num_replicas: [1], schedulers: [sarathi], max_batch_sizes: [64]}\n\
         simulation: {duration: 60, warmup_duration: 30}\n";
    let (code, report) = planned(request, &["--seeds", "2"]);
    assert_eq!(code, 0, "{report}");
    // Three would come in a minute; half of them would count.
    let requests = number(&report, "/best_configuration/performance/requests");
    assert!((400.0..500.0).contains(&requests), "{requests}");
}

#[test]
fn answers_of_one_token_have_no_gaps() {
    let request = "workload: {arrival_rate_range: [5, 50], prompt_length: {distribution: fixed, tokens: 300}, \
         output_length: {distribution: fixed, tokens: 1}}\nconstraints: {max_ttft_p95_ms: 1000, max_tbt_p99_ms: 100}\n\
         config_space: {gpu_types: [H100], num_gpus: [1], num_replicas: [1], schedulers: [sarathi], max_batch_sizes: [64]}\n";
    let (code, report) = planned(request, &["--requests", "300", "--seeds", "2"]);
    assert_eq!(code, 0, "{report}");
    assert_eq!(
        report["best_configuration"]["slo_compliance"]["tbt_slo_met"],
        true
    );
}

#[test]
fn one_run_with_unlucky_lengths_does_not_decide() {
    let lengths = "{distribution: lognormal, mean: 300, std: 900, max: 4000}";
    let request = format!(
        "workload: {{arrival_rate_range: [1, 100], prompt_length: {lengths}, output_length: {lengths}}}\n\
         constraints: {{max_ttft_p95_ms: 2000, max_tbt_p99_ms: 200}}\n\
         config_space: {{gpu_types: [A100, H100], num_gpus: [1], num_replicas: [1, 2], schedulers: [sarathi], max_batch_sizes: [64]}}\n"
    );
    let (_, report) = planned(&request, &["--requests", "500", "--seeds", "3"]);
    for pair in candidates(&report).chunks(2) {
        let (one, two) = (number(&pair[0], "/max_qps"), number(&pair[1], "/max_qps"));
        assert!(two > 1.2 * one && one > 0.5, "{one} and {two}");
    }
}

#[test]
fn shadow_prices_and_costs_are_those_of_the_reported_rate() {
    let request = "workload: {arrival_rate_range: [5, 500], output_length: {distribution: lognormal, mean: 200, std: 300}}\n\
         constraints: {max_ttft_p95_ms: 2000, max_tbt_p99_ms: 200}\n\
         config_space: {gpu_types: [H100], num_gpus: [1], num_replicas: [1, 2], schedulers: [sarathi], max_batch_sizes: [128]}\n";
    let (code, report) = planned(request, &["--requests", "500", "--seeds", "2"]);
    assert_eq!(code, 0, "{report}");
    let best = &report["best_configuration"];
    let qps = number(best, "/performance/max_sustainable_qps");
    let shadows = best["shadow_prices"].as_array().unwrap();
    assert!(shadows.len() >= 4, "{best}");
    for shadow in shadows {
        let wanted = qps * (1.0 + number(shadow, "/gain"));
        assert!(
            (number(shadow, "/max_qps") / wanted - 1.0).abs() < 1e-9,
            "{shadow}"
        );
    }
    let hour = number(best, "/cost/cost_per_hour");
    let by_tokens = 1e6 * hour / 3600.0 / number(best, "/performance/output_tokens_per_s");
    let told = number(best, "/cost/cost_per_1m_output_tokens");
    assert!((told / by_tokens - 1.0).abs() < 0.01, "{told} and {by_tokens}");
}
