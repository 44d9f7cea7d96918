//! What is wrong with a file is told with its line and what to write.

use std::path::Path;

use mst::calibration::Telemetry;
use mst::plan::prices::Prices;
use mst::plan::request::{PlanRequest, ProfileFolder, Wanted};

const RATES: &str = "workload:\n  arrival_rate_range: [1, 10]\n";

#[test]
fn requests() {
    let after = |text: &str| format!("{RATES}{text}");
    let cases = [
        (
            "workload: {arival_rate_range: [1, 2]}".to_owned(),
            1,
            "did you mean arrival_rate_range?",
        ),
        (
            after("constrains: {min_qps: 1}\n"),
            3,
            "did you mean constraints?",
        ),
        (
            after("constraints:\n  max_ttft_p99_ms: 100\n"),
            4,
            "did you mean max_ttft_p95_ms?",
        ),
        (
            after("constraints:\n  max_ttft_p95_ms: -5\n"),
            4,
            "write milliseconds, above 0",
        ),
        (
            after("constraints:\n  max_cost_per_hour: 0\n"),
            4,
            "max_cost_per_hour: 0 does not do",
        ),
        (
            after("constraints:\n  min_qps: many\n"),
            4,
            "`min_qps: many`: invalid floating point; write a number",
        ),
        (
            after("constraints: {min_qps: 5}\nmax_tbt_p99_ms: 4\n"),
            3,
            "write all of them in one place",
        ),
        (
            after("prompt_length: {distribution: fixed, tokens: 4}\n"),
            2,
            "write all of them in one place",
        ),
        (
            "workload:\n  arrival_rate_range: [10]\n".to_owned(),
            2,
            "write two rates",
        ),
        (
            "workload:\n  arrival_rate_range: [10, 1]\n".to_owned(),
            2,
            "the lower one first",
        ),
        (
            "workload:\n  arrival_rate_range: [0, 1]\n".to_owned(),
            2,
            "above 0",
        ),
        (
            "workload:\n  arrival_rate_range: [current_qps, current_qps * 2]\n".to_owned(),
            2,
            "`arrival_rate_range: [current_qps, current_qps * 2]`: invalid",
        ),
        (
            "workload:\n  arrival_rate_range: [5, 9]\n  max_qps: 2\n".to_owned(),
            3,
            "below the lower end",
        ),
        (
            after("  prompt_length:\n    distribution: bell\n    mean: 5\n"),
            4,
            "`bell` is no distribution",
        ),
        (
            after("  prompt_length:\n    mean: 5\n    std: 1\n"),
            4,
            "`distribution` is missing",
        ),
        (
            after("  prompt_length:\n    distribution: normal\n    mean: 5\n"),
            4,
            "normal lengths need `std`",
        ),
        (
            after("  prompt_length:\n    distribution: fixed\n    tokens: 5\n    std: 1\n"),
            6,
            "fixed lengths have no `std`",
        ),
        (
            after("  output_length:\n    distribution: normal\n    mean: 5\n    std: -1\n"),
            6,
            "`std` of the normal lengths is -1",
        ),
        (
            after("  output_length:\n    distribution: uniform\n    min: 9\n    max: 2\n"),
            6,
            "`max` of the uniform lengths is 2",
        ),
        (
            after("  output_length: {distribution: fixed, tokns: 2}\n"),
            3,
            "did you mean tokens?",
        ),
        (
            after("  prompt_length: {distribution: normal, mean: .nan, std: 1}\n"),
            3,
            "prompt_length: `mean` is NaN; write a number",
        ),
        (
            after("  prompt_length:\n    distribution: normal\n    mean: 300\n    std: 0\n"),
            6,
            "for one length write {distribution: fixed, tokens: 300}",
        ),
        (
            after("  prompt_length: 0.5\n"),
            3,
            "prompt_length: 0.5 is no number of tokens",
        ),
        (
            after("  prompt_length: [100, 200]\n"),
            3,
            "`prompt_length: [100, 200]`: invalid type: sequence, expected a number of tokens",
        ),
        (
            after("demand_qps: 5\ndemand_qps: 6\n"),
            4,
            "`demand_qps`: the key is there twice; remove one",
        ),
        (
            "workload: 5\n".to_owned(),
            1,
            "`workload: 5`: keys with their values are expected here",
        ),
        (after("  pattern: diurnal\n"), 3, "plan for its peak"),
        (after("  pattern: gamma\n"), 3, "write {process: gamma, cv: 2}"),
        (after("  trace_file: not_there.jsonl\n"), 3, "not_there.jsonl"),
        (
            after("config_space:\n  gpu_types: [A100, V1000]\n"),
            4,
            "no GPU `V1000` is known",
        ),
        (after("config_space:\n  gpu_types: []\n"), 4, "the list is empty"),
        (
            after("config_space:\n  num_gpus: [1, 0]\n"),
            4,
            "a whole number of at least 1",
        ),
        (
            after("config_space:\n  tensor_parallel: [2]\n  tp_sizes: [2]\n"),
            4,
            "`tensor_parallel`; write it once",
        ),
        (
            after("config_space:\n  num_gpus: [4]\n  tensor_parallel: [3]\n"),
            0,
            "write sizes whose product is",
        ),
        (
            after("config_space:\n  schedulers: [vlm]\n"),
            4,
            "`vlm` is not known; known are vllm",
        ),
        (
            after("config_space:\n  schedulers:\n    - {scheduler: orca, chunk_size: 4}\n"),
            5,
            "it has no chunk_size",
        ),
        (
            after("config_space:\n  max_batch_size: [4]\n"),
            4,
            "did you mean max_batch_sizes?",
        ),
        (
            after("simulation:\n  duration: 60\n  warmup_duration: 60\n"),
            5,
            "lengthen duration",
        ),
        (
            after("simulation:\n  random_seed: -4\n"),
            4,
            "`random_seed: -4`: invalid",
        ),
        (after("headroom: -0.1\n"), 3, "write a share as 0.2"),
        (after("demand_qps: 0\n"), 3, "demand_qps: 0 does not do"),
        (after("objective: cheapest\n"), 3, "qps_per_dollar"),
        (after("model: ' '\n"), 3, "the path of a config.json"),
        (
            "workload: {max_qps: 5}\n".to_owned(),
            0,
            "how much is to be served is not said",
        ),
        (
            "constraints: {min_qps: 5}\n".to_owned(),
            0,
            "no workload is described",
        ),
        ("# nothing\n".to_owned(), 0, "the file says nothing"),
    ];
    let catalog = super::catalog();
    let mut wrong = Vec::new();
    for (text, line, words) in cases {
        let error = PlanRequest::parse(&text, Path::new("request.yaml"), &catalog);
        let Err(error) = error else {
            wrong.push(format!("accepted: {text}"));
            continue;
        };
        let error = error.to_string();
        let place = if line == 0 {
            "request.yaml: ".to_owned()
        } else {
            format!("request.yaml:{line}: ")
        };
        if !(error.starts_with(&place) && error.contains(words)) || error.contains(" at line ") {
            wrong.push(format!("{place}{words}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_file_that_is_wrong_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let good = write("good.yaml", RATES);
    let told = |last: std::path::PathBuf| {
        let error = PlanRequest::read(&[&good, &last], &super::catalog()).unwrap_err();
        assert_eq!(error.path, last);
        error.to_string()
    };
    assert!(told(write("bad.yaml", "\nmin_qps: 0\n")).contains("bad.yaml:2: min_qps"));
    assert!(told(write("t.csv", "num_prefill_tokens,num_decode_tokens\n5,5\n5,x\n")).contains("t.csv:3: "));
    assert!(told(folder.path().join("none.yaml")).contains("check its name"));
}

#[test]
fn profiles_prices_and_telemetry() {
    let mut wrong = Vec::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fitted_profile.json");
    let metadata = |text: &str| std::fs::write(folder.path().join("metadata.json"), text).unwrap();
    let memory = |text: &str| std::fs::write(folder.path().join("model_memory.json"), text).unwrap();
    let good = std::fs::read_to_string(super::golden("gpt2/fitted_profile.json")).unwrap();
    let named = r#"{"model_name": "llama-7b", "hardware": {"gpu": "A100"}}"#;
    let told = || {
        ProfileFolder::read(&path, Wanted::default(), &super::catalog())
            .unwrap_err()
            .to_string()
    };
    for (profile, of, memory_file, words) in [
        ("[{\n\"type\": ", named, "{}", "fitted_profile.json:2: EOF"),
        (
            "[]",
            named,
            "{}",
            "fitted_profile.json: has no prefill entry; measure some",
        ),
        ("4", named, "{}", "name a fitted_profile.json"),
        ("{\"a\": 1}", named, "{}", "`num_attention_heads` is missing"),
        (
            &good.replace("10.22, \"std_ms\": 0.011", "-1, \"std_ms\": 0.011"),
            named,
            "{}",
            "entry 2: -1 ms",
        ),
        (
            &good.replace("\"std_ms\": 0.011", "\"std_ms\": -0.011"),
            named,
            "{}",
            "entry 2: std_ms is -0.011",
        ),
        (
            &good,
            "{\n\"model_name\": 4}",
            "{}",
            "metadata.json:2: invalid type",
        ),
        (
            &good,
            r#"{"model_name": "lama-7b", "hardware": {"gpu": "A100"}}"#,
            "{}",
            "no model `lama-7b` is known",
        ),
        (
            &good,
            r#"{"model_name": "llama-7b", "hardware": {"gpu": "Z9"}}"#,
            "{}",
            "no GPU `Z9` is known",
        ),
        (
            &good,
            named,
            r#"{"param_bytes": -4}"#,
            "model_memory.json: param_bytes is -4",
        ),
        (
            &good,
            named,
            r#"{"param_bytes": "many"}"#,
            "model_memory.json:1: ",
        ),
    ] {
        std::fs::write(&path, profile).unwrap();
        metadata(of);
        memory(memory_file);
        let error = told();
        if !error.contains(words) {
            wrong.push(format!("{words}: {error}"));
        }
    }

    let catalog = super::catalog();
    let list = |rest: &str| format!("prices:\n  date: 2026-05-01\n  gpus:\n{rest}");
    for (text, line, words) in [
        (
            list("    V1000: 2\n"),
            4,
            "no GPU `V1000` is known; add it to a file and name that file in the catalog; known are A10G",
        ),
        (list("    A100: -2\n"), 4, "write 0 <= low"),
        (list("    A100: 0\n"), 4, "gpus, A100: the price is 0"),
        (
            list("    A100: {low: 3, high: 2, default: 2.5}\n"),
            4,
            "write 0 <= low",
        ),
        (list("    A100: {low: 3, high: 4}\n"), 4, "default"),
        (list("    A100: cheap\n"), 4, "a price for a GPU-hour as 2.2"),
        (
            list("    A100: 2\n    A100-80 SXM: 3\n"),
            5,
            "which is there twice",
        ),
        ("prices:\n  gpus: {A100: 2}\n".to_owned(), 0, "date"),
        (
            "prices:\n  date: May\n  gpus: {A100: 2}\n".to_owned(),
            2,
            "as 2026-05-01",
        ),
        ("prices:\n  dat: 2026-05-01\n".to_owned(), 2, "did you mean date?"),
    ] {
        let error = Prices::parse(&text, Path::new("prices.yaml"), &catalog)
            .expect_err(&text)
            .to_string();
        let placed = line == 0 || error.starts_with(&format!("prices.yaml:{line}: "));
        if !(placed && error.contains(words)) {
            wrong.push(format!("{line}: {words}: {error}"));
        }
    }

    let good = std::fs::read_to_string(super::golden("telemetry.json")).unwrap();
    for (text, words) in [
        (
            good.replace("\"time_ms\": 2.5", "\"time_ms\": -2.5"),
            "t.json:8: time_ms is -2.5",
        ),
        (good.replace("0.41", "41"), "t.json:9: gpu_mfu is 41"),
        (
            good.replace("\"decode\"", "\"decoding\""),
            "t.json:14: unknown variant `decoding`",
        ),
        (
            good.replace("batch_id", "batch"),
            "t.json:6: unknown field `batch`",
        ),
        (
            good.replace("\"batch_id\": 1", "\"batch_id\": [1]"),
            "write a text or a number",
        ),
        ("{\"samples\": []}".to_owned(), "t.json: there is no sample"),
        (
            good.replace(
                "[{\"name\": \"attn_decode\", \"time_ms\": 0.5}, {\"name\": \"mlp\", \"time_ms\": 6.5}]",
                "[]",
            ),
            "number 2: operator_timings is empty",
        ),
    ] {
        let error = Telemetry::parse(&text, Path::new("t.json"))
            .expect_err(&text)
            .to_string();
        if !error.contains(words) {
            wrong.push(format!("{words}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
