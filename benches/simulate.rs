//! Benchmark: the event loop of the cluster simulator, in simulated requests per second.
//!
//! `cargo bench --bench simulate`; the workloads are generated, so no file is needed.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use mst::deployment::{BuiltCluster, CostSource, Deployment, Library, Places};
use mst::sim::batching::Batching;
use mst::sim::cluster::{Totals, simulate};
use mst::sim::cost::BatchShape;
use mst::sim::router::RouterConfig;
use mst::sim::source::{
    Order, Pacing, Replay, RequestLengths, Synthetic, SyntheticConfig, Trace, TraceFormat,
};
use mst::sim::{Observer, Record, Source, Time};
use mst::workload::{Gaps, TokenDistribution, seeds};
use rand::RngExt;

fn main() {
    divan::main();
}

/// Looks at every request, and keeps nothing.
struct Watch;

impl Observer for Watch {
    fn request(&mut self, record: &Record) {
        black_box(record);
    }
}

/// Llama-3-8B on an A100 by the roofline, changed as asked.
fn cluster(change: impl FnOnce(&mut Deployment)) -> BuiltCluster {
    let library = Library::open(Places::default()).expect("the built-in catalog is right");
    let mut deployment = Deployment::new("meta-llama/Meta-Llama-3-8B", "a100");
    deployment.cost = CostSource::Roofline;
    change(&mut deployment);
    deployment.cluster(&library, 1).expect("the model fits")
}

/// Lengths like those of a chat service; prompt and response together have at most 4,096 tokens.
fn conversations(count: u64) -> Synthetic {
    let lognormal = |mean, std, max| TokenDistribution::Lognormal {
        mean,
        std,
        min: 1,
        max: Some(max),
    };
    let config = SyntheticConfig {
        lengths: RequestLengths::Separate {
            input: lognormal(1_155.0, 1_109.0, 3_072),
            output: lognormal(211.0, 163.0, 1_024),
        },
        arrivals: Gaps::Poisson,
        rate: 4.74,
        count: Some(count),
    };
    Synthetic::new(&config, 1).expect("the settings are in range")
}

/// Runs all requests of a source.
fn serve(built: &BuiltCluster, mut source: impl Source, trace: &Trace) -> Totals {
    simulate(
        &built.config,
        &mut source,
        trace.prefixes(),
        Time::MAX,
        &mut Watch,
    )
}

/// A policy by its name.
fn batching(name: &str) -> Batching {
    match name {
        "sarathi" => Batching::Sarathi { chunk_size: 512 },
        "vllm_v1" => Batching::VllmV1 { chunk_size: 512 },
        _ => Batching::Vllm {
            max_tokens_in_batch: 4_096,
        },
    }
}

/// Ten thousand requests.
#[divan::bench(args = ["sarathi", "vllm", "vllm_v1"], sample_count = 10, sample_size = 1)]
fn policy(bencher: Bencher<'_, '_>, name: &str) {
    let built = cluster(|d| d.batching = batching(name));
    let count = 10_000;
    bencher
        .counter(ItemsCount::new(count))
        .bench(|| serve(&built, conversations(count), &Trace::default()));
}

/// How the cost grows with the number of requests.
#[divan::bench(args = [1_000, 10_000, 100_000, 1_000_000], sample_count = 3, sample_size = 1)]
fn growth(bencher: Bencher<'_, '_>, count: u64) {
    let built = cluster(|d| d.batching = batching("sarathi"));
    bencher
        .counter(ItemsCount::new(count))
        .bench(|| serve(&built, conversations(count), &Trace::default()));
}

/// Requests of conversations whose turns repeat what was said, 512 tokens a hash, as Mooncake records them.
fn mooncake() -> &'static Arc<Trace> {
    static TRACE: OnceLock<Arc<Trace>> = OnceLock::new();
    TRACE.get_or_init(|| {
        let mut rng = seeds::stream(1, "conversations");
        let mut said: Vec<Vec<u64>> = Vec::new();
        let (mut hashes, mut lines) = (0, String::new());
        for number in 0..12_000 {
            if said.len() < 2_000 || rng.random_bool(0.3) {
                said.push(Vec::new());
            }
            let turn = rng.random_range(said.len().saturating_sub(2_000)..said.len());
            for _ in 0..rng.random_range(1..12) {
                said[turn].push(hashes);
                hashes += 1;
            }
            let prompt = 512 * said[turn].len() - rng.random_range(0..512);
            let (at, response) = (150 * number, rng.random_range(1..700));
            writeln!(
                lines,
                r#"{{"timestamp": {at}, "input_length": {prompt}, "output_length": {response}, "hash_ids": {:?}}}"#,
                said[turn]
            )
            .expect("a string takes all");
        }
        let trace = Trace::read(lines.as_bytes(), TraceFormat::Mooncake, "generated");
        Arc::new(trace.expect("the lines are right"))
    })
}

/// Prefix caching on 8 replicas, with a router that looks into their caches.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn prefix_caching(bencher: Bencher<'_, '_>) {
    let trace = mooncake();
    let built = cluster(|d| {
        d.replicas = 8;
        d.prefix_caching = true;
        d.router = RouterConfig::LopUncached;
    });
    let pacing = Pacing::Recorded { time_scale: 1.0 };
    bencher.counter(ItemsCount::new(trace.len())).bench(|| {
        let source = Replay::new(Arc::clone(trace), Order::Recorded, &pacing, None, 1);
        serve(&built, source.expect("the trace has arrivals"), trace)
    });
}

/// One look at the cost model.
#[divan::bench]
fn roofline(bencher: Bencher<'_, '_>) {
    let built = cluster(|_| ());
    let mut shape = BatchShape::default();
    shape.add_decodes(60, 60_000);
    shape.add_prefill(512, 452, false);
    bencher.bench(|| built.config.cost.stage(black_box(&shape), true));
}
