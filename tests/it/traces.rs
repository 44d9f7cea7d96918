//! Recorded traces and conversations through every routing policy.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use mst::sim::batching::{Batching, QueueOrder};
use mst::sim::cluster::{ClusterConfig, EngineConfig, Rules, Totals, simulate};
use mst::sim::cost::{BatchShape, CostModel, StageTime};
use mst::sim::router::RouterConfig;
use mst::sim::source::{Order, Pacing, Replay, SessionPlan, Sessions, Trace, TraceFormat};
use mst::sim::{Observer, PrefixTable, Record, Source, Time};
use mst::workload::Gaps;

fn trace(file: &str) -> Trace {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/traces")
        .join(file);
    let reader = BufReader::new(File::open(path).unwrap());
    Trace::read(reader, TraceFormat::of_name(file), file).unwrap()
}

#[test]
fn the_mooncake_excerpt_is_read() {
    let trace = trace("mooncake_conversation_first300.jsonl");
    assert_eq!((trace.len(), trace.longest()), (300, 121_213));
    let table = trace.prefixes();
    assert_eq!(table.tokens_per_hash, 512);
    for row in trace.rows() {
        assert_eq!(row.prefix.len, row.input_tokens.div_ceil(512));
        assert_eq!(table.of(row.prefix)[0], 0);
        assert!(table.of(row.prefix).iter().all(|h| *h < table.distinct));
    }
    assert_eq!(trace.row(0).session, Some(0));
}

#[test]
fn the_splitwise_excerpt_is_read() {
    let trace = trace("splitwise_conv_first300.csv");
    let first = trace.row(0);
    assert_eq!(
        (trace.len(), first.input_tokens, first.output_tokens),
        (300, 374, 44)
    );
    assert_eq!(trace.row(1).arrival, Some(Time::from_us(4_314_579.0)));
    assert!(!trace.has_sessions() && trace.prefixes().hashes.is_empty());
}

/// A millisecond, and a microsecond a token.
#[derive(Debug)]
struct Plain;

impl CostModel for Plain {
    fn stage(&self, shape: &BatchShape, _last: bool) -> StageTime {
        StageTime {
            total: Time::from_ns(1_000_000 + 1_000 * u64::from(shape.tokens)),
            ..StageTime::default()
        }
    }

    fn steady(&self, _shape: &BatchShape) -> u32 {
        u32::MAX
    }
}

fn cluster(router: RouterConfig) -> ClusterConfig {
    ClusterConfig {
        replicas: 4,
        router,
        engine: EngineConfig {
            batching: Batching::VllmV1 { chunk_size: 2_048 },
            queue: QueueOrder::Fcfs,
            batch_size_cap: 64,
            pipeline_stages: 1,
            blocks: 20_000,
            block_tokens: 16,
            watermark: 0.0,
            preallocate_tokens: 64,
            prefix_caching: true,
            rules: Rules::Engine,
            max_model_len: 131_072,
        },
        replay: None,
        cost: Arc::new(Plain),
        seed: 1,
        noise: 0.0,
        stepwise: false,
    }
}

#[derive(Default)]
struct Where(Vec<(u64, u32, Option<u32>)>);

impl Observer for Where {
    fn request(&mut self, record: &Record) {
        self.0.push((record.id, record.replica, record.session));
    }
}

fn run(router: RouterConfig, source: &mut dyn Source, prefixes: &Arc<PrefixTable>) -> (Totals, Where) {
    let mut seen = Where::default();
    let totals = simulate(&cluster(router), source, prefixes, Time::MAX, &mut seen);
    seen.0.sort_unstable();
    (totals, seen)
}

#[test]
fn every_policy_serves_the_whole_trace() {
    let trace = Arc::new(trace("mooncake_conversation_first300.jsonl"));
    for policy in RouterConfig::one_of_each() {
        let mut ways = Vec::new();
        for rate in [2.0, 2.0, 20.0] {
            let pacing = Pacing::Gaps {
                gaps: Gaps::Poisson,
                rate,
            };
            let mut source = Replay::new(Arc::clone(&trace), Order::Recorded, &pacing, None, 3).unwrap();
            let (totals, seen) = run(policy, &mut source, trace.prefixes());
            assert_eq!(
                (totals.arrived, totals.completed, totals.refused),
                (300, 300, 0),
                "{policy}"
            );
            // The system prompt alone is half a thousand tokens.
            assert!(
                totals.cached_tokens >= 512 * 290,
                "{policy}: {}",
                totals.cached_tokens
            );
            ways.push(seen.0);
        }
        assert_eq!(ways[0], ways[1], "{policy}");
    }
}

#[test]
fn sticky_policies_keep_conversations_and_find_what_was_said() {
    let config = serde_json::json!({
        "sessions": 60,
        "turns": {"distribution": "fixed", "tokens": 5},
        "system_prompt": 64,
        "input": {"distribution": "uniform", "min": 50, "max": 400},
        "output": {"distribution": "uniform", "min": 20, "max": 200},
        "think": {"mean_s": 1.0},
    });
    let plan = Arc::new(SessionPlan::new(&serde_json::from_value(config).unwrap(), 2).unwrap());
    let mut cached = Vec::new();
    for policy in RouterConfig::one_of_each() {
        let mut source = Sessions::new(Arc::clone(&plan), &Gaps::Poisson, 10.0, 2).unwrap();
        let (totals, seen) = run(policy, &mut source, plan.prefixes());
        assert_eq!(totals.completed, plan.requests() as u64, "{policy}");
        let mut homes = vec![Vec::new(); 60];
        for (_, replica, session) in seen.0 {
            homes[session.unwrap() as usize].push(replica);
        }
        let moved = homes.iter().filter(|h| h.iter().any(|r| *r != h[0])).count();
        match policy {
            RouterConfig::StickyRoundRobin | RouterConfig::StickyLor | RouterConfig::StickyLop => {
                assert_eq!(moved, 0, "{policy}");
            }
            RouterConfig::Random | RouterConfig::RoundRobin => assert!(moved > 50, "{policy}: {moved}"),
            // The others follow load and cache.
            _ => {}
        }
        cached.push((policy, totals.cached_tokens));
    }
    let of = |policy| cached.iter().find(|(p, _)| *p == policy).unwrap().1;
    assert!(of(RouterConfig::StickyLop) > of(RouterConfig::Lop));
    assert!(of(RouterConfig::StickyLor) > of(RouterConfig::Lor));
    assert!(of(RouterConfig::LopUncached) > of(RouterConfig::Lop));
}
