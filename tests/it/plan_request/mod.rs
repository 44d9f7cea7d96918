//! What a plan is asked: the documented samples, profiles, prices, telemetry.

mod mistakes;
mod round_trip;

use std::path::{Path, PathBuf};

use mst::calibration::{Phase, Telemetry};
use mst::deployment::CostSource;
use mst::plan::prices::Prices;
use mst::plan::request::{Latency, Objective, PlanLengths, PlanRequest, ProfileFolder, Wanted, name_of};
use mst::sim::catalog::Catalog;
use mst::workload::{Gaps, TokenDistribution};

use serde_json::Value;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/plan")
        .join(name)
}

fn catalog() -> Catalog {
    Catalog::built_in().unwrap()
}

fn read(names: &[&str]) -> PlanRequest {
    let files: Vec<PathBuf> = names.iter().map(|name| golden(name)).collect();
    PlanRequest::read(&files, &catalog()).unwrap()
}

fn profile(name: &str) -> ProfileFolder {
    ProfileFolder::read(&golden(name), Wanted::default(), &catalog()).unwrap()
}

fn normal(mean: f64, std: f64, min: u32, max: Option<u32>) -> TokenDistribution {
    TokenDistribution::Normal { mean, std, min, max }
}

#[test]
fn the_documented_request_is_read_as_it_stands() {
    let request = read(&["documented/request.yaml"]);
    assert_eq!(request.workload.arrival_rate_range, Some([1.0, 100.0]));
    assert_eq!(
        request.workload.lengths,
        PlanLengths::Drawn {
            prompt_length: normal(512.0, 128.0, 1, None),
            output_length: normal(256.0, 64.0, 1, None),
        }
    );
    assert_eq!(request.workload.pattern, Some(Gaps::Poisson));
    let (prompt, response) = request.workload.lengths.mean_tokens();
    assert!(
        (prompt - 512.0).abs() < 0.1 && (response - 256.0).abs() < 0.1,
        "{prompt} {response}"
    );
    let bounds: Vec<_> = request
        .constraints
        .bounds()
        .iter()
        .map(|b| (b.latency, b.quantile, b.limit_s))
        .collect();
    assert_eq!(
        bounds,
        [
            (Latency::Ttft, 0.95, 2.0),
            (Latency::Tbt, 0.99, 0.2),
            (Latency::E2e, 0.99, 10.0)
        ]
    );
    assert_eq!(request.constraints.max_cost_per_hour, Some(100.0));
    let space = &request.config_space;
    assert_eq!(space.gpu_types, ["A100", "H100", "A10G"]);
    let names: Vec<&str> = space.schedulers.iter().map(|s| name_of(*s)).collect();
    assert_eq!(names, ["vllm", "orca", "sarathi"]);
    assert_eq!(space.max_batch_sizes, [32, 64, 128, 256]);
    let (kept, dropped) = space.layouts();
    // One GPU: 1x1; two: 2x1, 1x2; four: 4x1, 2x2; eight: 8x1, 4x2; of 4 x 4 x 2 combinations.
    assert_eq!((kept.len(), dropped.len()), (7, 25));
    assert!(
        kept.iter()
            .all(|l| l.tensor_parallel * l.pipeline_parallel == l.num_gpus)
    );
    assert!(dropped.iter().any(|d| d.reason == "7 of 8 GPUs would be idle"));
    assert_eq!(space.size(3), 3 * 7 * 4 * 3 * 4);
    let simulation = request.simulation;
    assert_eq!(
        (
            simulation.duration,
            simulation.warmup_duration,
            simulation.random_seed
        ),
        (600.0, 60.0, 42)
    );
    // Nothing is said of these.
    assert_eq!((request.headroom, request.objective), (0.2, Objective::Cost));
    let demand = request.demand().unwrap();
    assert_eq!((demand.qps, demand.from), (10.0, "min_qps"));
    assert_eq!((request.needed_qps(), request.ceiling_qps()), (12.0, Some(100.0)));
    assert_eq!(
        request.notes,
        ["A100 is taken to be A100-80 SXM", "H100 is taken to be H100 SXM"]
    );
}

#[test]
fn the_documented_fragments_are_read_with_the_documents_defaults() {
    let growth = read(&["documented/growth.yaml"]);
    assert_eq!(growth.workload.lengths, PlanLengths::documented());
    assert_eq!(growth.notes.len(), 2, "{:?}", growth.notes);
    let demand = growth.demand().unwrap();
    assert_eq!(
        (demand.qps, demand.from, growth.ceiling_qps()),
        (40.0, "arrival_rate_range", Some(80.0))
    );
    assert_eq!(growth.config_space, mst::plan::request::ConfigSpace::default());
    assert!(growth.config_space.gpu_types.is_empty());

    let search = read(&["documented/search.json"]);
    let layouts = search.config_space.layouts().0;
    let four: Vec<_> = layouts
        .iter()
        .filter(|l| l.num_gpus == 4)
        .map(|l| l.tensor_parallel)
        .collect();
    assert_eq!(four, [1, 2, 4]);
    assert_eq!(search.config_space.schedulers.len(), 2);
    assert_eq!(search.constraints.min_qps, None);
}

#[test]
fn the_documented_profile_is_read_and_its_memory_called_out() {
    let profile = profile("documented/fitted_profile.json");
    assert_eq!(
        (profile.model_name.as_str(), profile.gpu_name.as_deref()),
        ("llama-7b", Some("NVIDIA A100"))
    );
    assert_eq!(profile.model.name, "meta-llama/Llama-2-7b-hf");
    assert_eq!(profile.gpu.as_ref().unwrap().name, "A100-80 SXM");
    assert_eq!(
        profile.cost(),
        CostSource::Fitted(golden("documented/fitted_profile.json"))
    );
    for note in [
        "llama-7b is taken to be meta-llama/Llama-2-7b-hf",
        "NVIDIA A100 is taken to be A100-80 SXM",
    ] {
        assert!(profile.notes.iter().any(|n| n == note), "{:?}", profile.notes);
    }
    // 2 GiB of activations; the file is of this model, its bytes a token are not.
    assert_eq!(profile.reserved_bytes(), 2.0 * f64::from(1 << 30));
    assert_eq!(profile.warnings.len(), 1, "{:?}", profile.warnings);
    assert!(profile.warnings[0].contains("kv_cache_per_token_bytes is 256"));
    assert!(profile.warnings[0].contains("gives 524288"));
    let noise = profile.fitted.as_ref().unwrap().noise();
    assert!(
        (noise - f64::midpoint(0.03 / 69.75, 0.04 / 19.34)).abs() < 1e-12,
        "{noise}"
    );
    let at = profile.warnings_at(128).unwrap();
    assert!(
        at.iter()
            .any(|w| w.contains("up to batch_size 8; 128 is 16 times beyond")),
        "{at:?}"
    );
    // By its folder, and by its metadata.
    for name in ["documented", "documented/metadata.json"] {
        let again = self::profile(name);
        assert_eq!(
            (again.file, again.warnings),
            (profile.file.clone(), profile.warnings.clone())
        );
    }
}

#[test]
fn a_memory_file_of_another_model_is_left_aside() {
    let profile = profile("gpt2/fitted_profile.json");
    assert!(profile.memory.is_none());
    assert_eq!(profile.reserved_bytes(), 0.0);
    assert_eq!(profile.model.weight_bytes, 2);
    let warnings = profile.warnings_at(128).unwrap();
    let told = |words: &str| {
        assert!(
            warnings.iter().any(|w| w.contains(words)),
            "{words}: {warnings:?}"
        );
    };
    told("is of another model and is left aside: it has 124439808 parameters");
    told("is the cache used?");
    told("ms for 1 new token");
    told("64 times beyond");
    assert!(
        profile
            .notes
            .iter()
            .any(|n| n == "metadata.json: not used: predictors"),
        "{:?}",
        profile.notes
    );
}

#[test]
fn what_metadata_does_not_say_is_taken_from_request_and_folders() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("a100/llama-7b");
    std::fs::create_dir_all(&place).unwrap();
    let file = place.join("fitted_profile.json");
    std::fs::copy(golden("gpt2/fitted_profile.json"), &file).unwrap();
    let read = |wanted| ProfileFolder::read(&file, wanted, &catalog());
    let found = read(Wanted::default()).unwrap();
    assert_eq!(found.model.name, "meta-llama/Llama-2-7b-hf");
    assert!(found.warnings.iter().any(|w| w.contains("no metadata.json")));
    assert!(found.notes.iter().any(|n| n.contains("no model_memory.json")));
    let asked = read(Wanted {
        model: Some("mistral-7b"),
        gpu: Some("H100"),
    })
    .unwrap();
    assert_eq!(asked.model.name, "mistralai/Mistral-7B-v0.1");
    assert_eq!(asked.gpu.unwrap().name, "H100 SXM");
    // Neither says anything.
    let bare = folder.path().join("fitted_profile.json");
    std::fs::copy(golden("gpt2/fitted_profile.json"), &bare).unwrap();
    let error = ProfileFolder::read(&bare, Wanted::default(), &catalog())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("of which model") && error.contains("model_name"),
        "{error}"
    );
    let error = ProfileFolder::read(
        &bare,
        Wanted {
            model: Some("llama-7b"),
            gpu: None,
        },
        &catalog(),
    );
    assert!(error.unwrap_err().to_string().contains("one GPU in gpu_types"));
    // The profile of one model for another is told.
    let other = Wanted {
        model: Some("llama-13b"),
        gpu: None,
    };
    let other = ProfileFolder::read(&golden("gpt2"), other, &catalog()).unwrap();
    assert!(
        other
            .warnings
            .iter()
            .any(|w| w.contains("its times are not those of that model"))
    );
}

#[test]
fn a_config_of_hugging_face_is_a_model_for_the_roofline() {
    for by_name in [false, true] {
        let file = golden("config/llama-2-7b/config.json");
        let read = if by_name {
            let request = golden("config/request.yaml");
            ProfileFolder::of_model("llama-2-7b/config.json", &request, Wanted::default(), &catalog())
                .unwrap()
        } else {
            profile("config/llama-2-7b")
        };
        assert_eq!(read.file.as_deref(), Some(file.as_path()));
        assert_eq!((read.cost(), read.gpu.is_none()), (CostSource::Roofline, true));
        let known = catalog();
        let known = known.model("llama-7b").unwrap();
        assert!(read.model.same_layers(known));
        assert_eq!(read.model.parameters(), known.parameters());
    }
    let named = Wanted {
        model: None,
        gpu: Some("NVIDIA H100 80GB HBM3"),
    };
    let named = ProfileFolder::of_model("llama-3-8b", Path::new("request.yaml"), named, &catalog()).unwrap();
    assert_eq!((named.file, named.gpu.unwrap().name.as_str()), (None, "H100 SXM"));
}

#[test]
fn presets_without_heads_and_later_constraints_are_joined() {
    let request = read(&[
        "flat/chat.yaml",
        "documented/request.yaml",
        "flat/strict.yaml",
        "flat/chat.yaml",
    ]);
    assert_eq!(request.workload.max_qps, Some(60.0));
    assert_eq!(
        request.workload.lengths,
        PlanLengths::Drawn {
            prompt_length: normal(300.0, 80.0, 32, Some(1500)),
            output_length: normal(140.0, 40.0, 8, Some(600)),
        }
    );
    // What the last says counts, and its other keys stay.
    assert_eq!(request.constraints.max_ttft_p95_ms, Some(800.0));
    assert_eq!(request.constraints.slo_threshold_ms, Some(400.0));
    assert_eq!(request.config_space.gpu_types.len(), 3);
    let back = read(&["flat/chat.yaml", "flat/strict.yaml", "documented/request.yaml"]);
    assert_eq!(back.constraints.max_ttft_p95_ms, Some(2000.0));
    assert_eq!(back.constraints.slo_threshold_ms, Some(400.0));
    assert_eq!(back.workload.max_qps, None);
}

#[test]
fn older_names_of_keys_and_ranges_are_read() {
    let text = "
arrival_rate_range: [2, 20]
decode_length: {distribution: uniform, min: 10, max: 90}
pattern: burst
config_space:
  gpu_types: [NVIDIA A100, a100-80gb]
  tp_sizes: {from: 1, to: 4, factor: 2}
  pp_sizes: 1
  schedulers: [vllm, {scheduler: sarathi, chunk_size: [256, 1024]}]
";
    let request = PlanRequest::parse(text, Path::new("older.yaml"), &catalog()).unwrap();
    let PlanLengths::Drawn { output_length, .. } = &request.workload.lengths else {
        panic!("a trace")
    };
    assert_eq!(*output_length, TokenDistribution::Uniform { min: 10, max: 90 });
    assert_eq!(request.workload.pattern, Some(Gaps::Gamma { cv: 2.0 }));
    let space = &request.config_space;
    assert_eq!(space.gpu_types, ["NVIDIA A100"], "both are one GPU");
    assert_eq!(space.num_gpus, [1, 2, 4]);
    assert_eq!((space.layouts().0.len(), space.schedulers.len()), (3, 3));
    assert!(
        request
            .notes
            .iter()
            .any(|n| n.contains("coefficient of variation of 2")),
        "{:?}",
        request.notes
    );
}

#[test]
fn a_trace_takes_the_place_of_distributions() {
    let traces = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/traces");
    let name = "mooncake_conversation_first300.jsonl";
    let alone = PlanRequest::read(&[traces.join(name)], &catalog()).unwrap();
    let PlanLengths::Recorded { facts, .. } = &alone.workload.lengths else {
        panic!("no trace")
    };
    assert_eq!((facts.requests, alone.workload.pattern.as_ref()), (300, None));
    let demand = alone.demand().unwrap();
    assert_eq!((Some(demand.qps), demand.from), (facts.qps, "trace_file"));
    // Named by a request beside it; its lengths count.
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(traces.join(name), folder.path().join(name)).unwrap();
    let file = folder.path().join("request.yaml");
    let lengths = "prompt_length: {distribution: fixed, tokens: 5}";
    std::fs::write(
        &file,
        format!("workload:\n  trace_file: {name}\n  {lengths}\n  pattern: poisson\n"),
    )
    .unwrap();
    let named = PlanRequest::read(&[&file], &catalog()).unwrap();
    assert!(
        named.notes.iter().any(|n| n.contains("takes the place")),
        "{:?}",
        named.notes
    );
    let workload = named.workload.at(5.0, 600.0);
    let mut source = workload
        .open(Path::new(""), 200_000, 1)
        .unwrap()
        .source()
        .unwrap();
    let (mut count, mut tokens) = (0, 0);
    while let Some(request) = source.next() {
        count += 1;
        tokens += u64::from(request.input_tokens);
    }
    // 3000 expected, standard deviation 55: ten rounds of the trace.
    assert!((2_750..3_250).contains(&count), "{count}");
    assert!(tokens / count > 1_000, "{tokens}");
}

#[test]
fn drawn_requests_follow_the_rate_and_the_lengths() {
    let request = read(&["documented/request.yaml"]);
    let mut source = request
        .workload
        .at(20.0, 500.0)
        .open(Path::new(""), 131_072, 7)
        .unwrap()
        .source()
        .unwrap();
    let (mut count, mut prompts, mut responses) = (0.0, 0.0, 0.0);
    while let Some(one) = source.next() {
        count += 1.0;
        prompts += f64::from(one.input_tokens);
        responses += f64::from(one.output_tokens);
    }
    assert!((count - 10_000.0_f64).abs() < 500.0, "{count}");
    assert!((prompts / count - 512.0_f64).abs() < 7.0, "{}", prompts / count);
    assert!(
        (responses / count - 256.0_f64).abs() < 4.0,
        "{}",
        responses / count
    );
}

#[test]
fn the_older_price_list_gives_the_cost_of_the_documented_report() {
    let report: Value =
        serde_json::from_str(&std::fs::read_to_string(golden("documented/report.json")).unwrap()).unwrap();
    let catalog = catalog();
    let prices = Prices::named(Some("simfaasinfer"), &catalog).unwrap().unwrap();
    let best = &report["best_configuration"];
    let gpu = catalog.gpu(best["gpu_type"].as_str().unwrap()).unwrap();
    let cost = prices.of_gpu(gpu).unwrap().default * best["total_gpus"].as_f64().unwrap();
    assert!(
        (cost - best["cost"]["cost_per_hour"].as_f64().unwrap()).abs() < 1e-9,
        "{cost}"
    );
    assert!(
        prices
            .of_gpu(catalog.gpu("L4").unwrap())
            .unwrap_err()
            .contains("--prices none")
    );
}

#[test]
fn prices_are_built_in_overridden_or_left_out() {
    let catalog = catalog();
    assert_eq!(
        Prices::named(None, &catalog).unwrap(),
        Some(Prices::built_in(&catalog).unwrap())
    );
    assert_eq!(Prices::named(Some("none"), &catalog).unwrap(), None);
    let gpu = |name: &str| catalog.gpu(name).unwrap();
    let text =
        "prices:\n  date: 2026-05-01\n  gpus:\n    A100: 2.5\n    H100: {low: 2, high: 4, default: 3}\n";
    let parse = |text: &str| Prices::parse(text, Path::new("prices.yaml"), &catalog).unwrap();
    let mine = parse(text);
    let a100 = mine.price(gpu("A100-80 SXM")).unwrap();
    assert_eq!((a100.low, a100.default, a100.high), (2.5, 2.5, 2.5));
    assert_eq!(a100.source, "prices.yaml, 2026-05-01");
    let h100 = mine.price(gpu("h100")).unwrap();
    assert_eq!((h100.low, h100.default, h100.high), (2.0, 3.0, 4.0));
    // Not in the file: the built-in price, which says so.
    assert_eq!(mine.price(gpu("L4")).unwrap().source, "built-in, 2026-05");
    // In another currency nothing is mixed in.
    let francs = parse(&text.replace("  gpus:", "  currency: CHF\n  gpus:"));
    assert_eq!((francs.gpus.len(), francs.price(gpu("L4"))), (2, None));
}

#[test]
fn telemetry_is_read_with_its_times() {
    let telemetry = Telemetry::read(&golden("telemetry.json")).unwrap();
    let [prefill, decode] = telemetry.samples.as_slice() else {
        panic!("two samples")
    };
    assert_eq!(
        (prefill.phase, prefill.total_ms(), prefill.batch_id.as_str()),
        (Phase::Prefill, 9.75, "1")
    );
    assert_eq!((decode.phase, decode.total_ms()), (Phase::Decode, 7.0));
    assert_eq!(
        decode.batch_composition[0].kv_bytes - prefill.batch_composition[0].kv_bytes,
        524_288
    );
    let text = serde_json::to_string(&telemetry).unwrap();
    assert_eq!(
        Telemetry::parse(&text, Path::new("again.json")).unwrap().samples,
        telemetry.samples
    );
    let list = serde_json::to_string(&telemetry.samples).unwrap();
    assert_eq!(
        Telemetry::parse(&list, Path::new("list.json")).unwrap().samples,
        telemetry.samples
    );
}
