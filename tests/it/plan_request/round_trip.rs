//! A request that is written can be read again, and is equal.

use std::fmt::Write;
use std::path::Path;

use mst::plan::request::PlanRequest;
use proptest::prelude::*;

/// A distribution of lengths as users write it.
fn lengths() -> impl Strategy<Value = String> {
    let (mean, std) = (1.0..4_000.0_f64, 0.5..500.0_f64);
    let moments = (
        prop::sample::select(vec!["normal", "lognormal", "gamma"]),
        mean,
        std,
        1..64_u32,
        64..9_000_u32,
        any::<bool>(),
    );
    prop_oneof![
        moments.prop_map(|(name, mean, std, min, max, bounded)| {
            let bounds = if bounded {
                format!(", min: {min}, max: {max}")
            } else {
                String::new()
            };
            format!("{{distribution: {name}, mean: {mean}, std: {std}{bounds}}}")
        }),
        (1..500_u32, 500..9_000_u32)
            .prop_map(|(min, max)| format!("{{distribution: uniform, min: {min}, max: {max}}}")),
        (1..500_u32, 500..9_000_u32, 0.0..2.0_f64).prop_map(|(min, max, theta)| format!(
            "{{distribution: zipf, min: {min}, max: {max}, theta: {theta}}}"
        )),
        (1..9_000_u32).prop_map(|tokens| format!("{{distribution: fixed, tokens: {tokens}}}")),
        prop::collection::vec(1..9_000_u32, 1..5)
            .prop_map(|v| format!("{{distribution: empirical, values: {v:?}}}")),
    ]
}

fn workload() -> impl Strategy<Value = String> {
    let pattern = prop::sample::select(vec![
        "poisson",
        "uniform",
        "burst",
        "{process: gamma, cv: 1.5}",
        "{process: recorded, gaps: [1, 2]}",
    ]);
    let keys = (0.1..50.0_f64, 1.0..10.0_f64, prop::option::of(1.0..3.0_f64));
    (keys, lengths(), lengths(), prop::option::of(pattern)).prop_map(
        |((low, times, most), prompt, output, pattern)| {
            let mut text = format!(
                "arrival_rate_range: [{low}, {}], prompt_length: {prompt}, output_length: {output}",
                low * times
            );
            if let Some(most) = most {
                let _ = write!(text, ", max_qps: {}", low * times * most);
            }
            if let Some(pattern) = pattern {
                let _ = write!(text, ", pattern: {pattern}");
            }
            text
        },
    )
}

fn constraints() -> impl Strategy<Value = String> {
    let keys = vec![
        "max_ttft_p95_ms",
        "max_tbt_p99_ms",
        "max_latency_p99_ms",
        "max_cost_per_hour",
        "min_qps",
        "slo_threshold_ms",
    ];
    (prop::sample::subsequence(keys, 0..=6), 0.5..20_000.0_f64).prop_map(|(keys, value)| {
        let all: Vec<String> = keys.iter().map(|key| format!("{key}: {value}")).collect();
        format!("{{{}}}", all.join(", "))
    })
}

fn space() -> impl Strategy<Value = String> {
    let some = |all: Vec<&'static str>| prop::option::of(prop::sample::subsequence(all, 1..=3));
    let sizes = prop::option::of(prop::sample::subsequence(vec![1, 2, 4, 8], 1..=4));
    let numbers = (sizes.clone(), sizes.clone(), sizes.clone(), sizes);
    let gpus = some(vec!["A100", "NVIDIA H100", "A10G", "l40s", "MI300X"]);
    let policies = some(vec![
        "vllm",
        "orca",
        "{scheduler: sarathi, chunk_size: [128, 256]}",
        "vllm_v1",
        "lightllm",
    ]);
    (gpus, policies, numbers).prop_map(|(gpus, policies, (tp, pp, replicas, batches))| {
        let mut keys = Vec::new();
        keys.extend(gpus.map(|all| format!("gpu_types: [{}]", all.join(", "))));
        keys.extend(policies.map(|all| format!("schedulers: [{}]", all.join(", "))));
        for (key, all) in [
            ("tp_sizes", tp),
            ("pipeline_parallel", pp),
            ("num_replicas", replicas),
            ("max_batch_sizes", batches),
        ] {
            keys.extend(all.map(|all| format!("{key}: {all:?}")));
        }
        format!("{{{}}}", keys.join(", "))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_written_request_reads_back_equal(
        (workload, constraints, space) in (workload(), constraints(), space()),
        (duration, warmup, seed) in (60.0..2_000.0_f64, 0.0..50.0_f64, 0..u64::from(u32::MAX)),
        (headroom, demand) in (0.0..2.0_f64, prop::option::of(0.1..500.0_f64)),
        objective in prop::sample::select(vec!["cost", "qps_per_dollar", "latency", "throughput_per_gpu"]),
        model in prop::option::of(prop::sample::select(vec!["llama-7b", "shapes/config.json"])),
    ) {
        let mut text = format!(
            "workload: {{{workload}}}\nconstraints: {constraints}\nconfig_space: {space}\nheadroom: {headroom}\n\
             objective: {objective}\nsimulation: {{duration: {duration}, warmup_duration: {warmup}, random_seed: {seed}}}\n"
        );
        if let Some(demand) = demand {
            let _ = writeln!(text, "demand_qps: {demand}");
        }
        if let Some(model) = model {
            let _ = writeln!(text, "model: {model}");
        }
        let catalog = super::catalog();
        let first = PlanRequest::parse(&text, Path::new("request.yaml"), &catalog);
        let first = first.unwrap_or_else(|error| panic!("{error}\n{text}"));
        let written = serde_json::to_string_pretty(&first).unwrap();
        let mut again = PlanRequest::parse(&written, Path::new("again.json"), &catalog)
            .unwrap_or_else(|error| panic!("{error}\n{written}"));
        again.notes.clone_from(&first.notes);
        prop_assert_eq!(&again, &first);
        // What follows from it.
        prop_assert!(first.config_space.layouts().0.iter().all(|l| l.tensor_parallel * l.pipeline_parallel == l.num_gpus));
        prop_assert!(!first.config_space.layouts().0.is_empty());
        prop_assert!(first.needed_qps() >= first.demand().unwrap().qps);
        prop_assert!(first.ceiling_qps().unwrap() >= first.needed_qps());
        prop_assert_eq!(first.demand_qps.is_some(), first.demand().unwrap().from == "demand_qps");
    }
}
