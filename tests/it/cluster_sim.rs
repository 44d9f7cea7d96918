//! The cluster simulator against a plain one, and against queueing theory.

mod laws;
mod reference;
mod theory;

use std::collections::BTreeMap;
use std::sync::Arc;

use mst::sim::batching::{Batching, QueueOrder};
use mst::sim::cluster::{ClusterConfig, EngineConfig, Rules, Totals, simulate};
use mst::sim::cost::{BatchShape, CostModel, StageTime};
use mst::sim::router::RouterConfig;
use mst::sim::{Observer, PrefixSpan, PrefixTable, Record, Request, Source, Time};
use mst::workload::seeds;
use rand::RngExt;
use rand_pcg::Pcg64;

/// A cost that depends on everything it may depend on, and is constant within buckets of the mean KV length.
#[derive(Debug)]
struct Odd {
    bucket: u64,
}

impl CostModel for Odd {
    fn stage(&self, shape: &BatchShape, last: bool) -> StageTime {
        let mean = shape.decode_kv.checked_div(u64::from(shape.decodes)).unwrap_or(0);
        let ns = 900_001
            + 7_919 * u64::from(shape.tokens)
            + 331 * u64::from(shape.sequences)
            + 4_099 * (mean / self.bucket)
            + shape.prefill_pairs / 3
            + if last { 0 } else { 12_347 };
        StageTime {
            total: Time::from_ps(ns * 1_013),
            ..StageTime::default()
        }
    }

    fn steady(&self, shape: &BatchShape) -> u32 {
        let n = u64::from(shape.decodes);
        let next = (shape.decode_kv / n / self.bucket + 1) * self.bucket * n;
        (next - shape.decode_kv).div_ceil(n) as u32
    }
}

struct List<'a>(std::slice::Iter<'a, Request>);

impl Source for List<'_> {
    fn peek(&mut self) -> Option<Time> {
        self.0.as_slice().first().map(|r| r.arrival)
    }

    fn next(&mut self) -> Option<Request> {
        self.0.next().copied()
    }
}

#[derive(Default)]
struct Keep {
    records: BTreeMap<u64, Record>,
    gaps: u64,
}

impl Observer for Keep {
    fn request(&mut self, record: &Record) {
        assert!(
            self.records.insert(record.id, *record).is_none(),
            "a request ends once"
        );
    }

    fn gaps(&mut self, _gap: Time, count: u64) {
        self.gaps += count;
    }
}

/// A random cluster and its requests.
fn draw(seed: u64) -> (ClusterConfig, Vec<Request>, Arc<PrefixTable>) {
    let mut rng: Pcg64 = seeds::stream(seed, "reference");
    let policy = rng.random_range(0..7);
    let batching = match policy {
        0 => Batching::Vllm {
            max_tokens_in_batch: rng.random_range(200..900),
        },
        1 | 2 => Batching::Sarathi {
            chunk_size: rng.random_range(5..200),
        },
        3 => Batching::Orca {},
        4 => Batching::FasterTransformer {},
        5 => Batching::Lightllm {
            max_tokens_in_batch: rng.random_range(200..900),
            max_waiting_iterations: rng.random_range(1..12),
        },
        _ => Batching::VllmV1 {
            chunk_size: rng.random_range(5..200),
        },
    };
    let v1 = matches!(batching, Batching::VllmV1 { .. });
    let single = v1 || matches!(batching, Batching::Lightllm { .. });
    let stages = if single {
        1
    } else {
        [1, 1, 1, 2, 3][rng.random_range(0..5)]
    };
    let caching = v1 && rng.random_bool(0.7);
    let block_tokens = [1, 4, 16][rng.random_range(0..3)];
    let longest = 240_u32;
    // From plenty to hardly enough for one request.
    let room = longest * [40, 8, 3, 1][rng.random_range(0..4)] + rng.random_range(0..64);
    let engine = EngineConfig {
        batching,
        queue: if rng.random_bool(0.2) {
            QueueOrder::Edf
        } else {
            QueueOrder::Fcfs
        },
        batch_size_cap: rng.random_range(stages..stages + 24),
        pipeline_stages: stages,
        blocks: (room / block_tokens).max(longest.div_ceil(block_tokens) + 2),
        block_tokens,
        watermark: [0.0, 0.01, 0.1][rng.random_range(0..3)],
        preallocate_tokens: [0, 64][rng.random_range(0..2)],
        prefix_caching: caching,
        rules: if rng.random_bool(0.3) && !caching {
            Rules::Vidur
        } else {
            Rules::Engine
        },
        max_model_len: longest,
    };
    let config = ClusterConfig {
        replicas: rng.random_range(1..4),
        router: [RouterConfig::RoundRobin, RouterConfig::LorWaiting][rng.random_range(0..2)],
        engine,
        replay: None,
        cost: Arc::new(Odd {
            bucket: rng.random_range(1..64),
        }),
        seed,
        noise: 0.0,
        stepwise: false,
    };
    let (requests, prefixes) = draw_requests(&engine, &mut rng);
    (config, requests, prefixes)
}

/// Requests at random times; with prefix caching, turns of conversations that share what was said before.
fn draw_requests(engine: &EngineConfig, rng: &mut Pcg64) -> (Vec<Request>, Arc<PrefixTable>) {
    let (caching, block_tokens) = (engine.prefix_caching, engine.block_tokens);
    let mut prefixes = PrefixTable {
        tokens_per_hash: if caching { block_tokens } else { 0 },
        ..PrefixTable::default()
    };
    let mut conversations: Vec<Vec<u32>> = Vec::new();
    let mut at = 0;
    let gap = 10_u64.pow(rng.random_range(7..11));
    let requests = (0..rng.random_range(1..120))
        .map(|id| {
            if rng.random_bool(0.8) {
                at += rng.random_range(0..gap);
            }
            let input_tokens = rng.random_range(1..120);
            let output_tokens = if rng.random_bool(0.1) {
                1
            } else {
                rng.random_range(1..110)
            };
            let mut prefix = PrefixSpan::default();
            if caching {
                let full = ((input_tokens + output_tokens) / block_tokens) as usize;
                let mut hashes = if conversations.is_empty() || rng.random_bool(0.3) {
                    Vec::new()
                } else {
                    let old = &conversations[rng.random_range(0..conversations.len())];
                    old[..rng.random_range(0..=old.len())].to_vec()
                };
                hashes.truncate(full);
                while hashes.len() < full {
                    hashes.push(prefixes.distinct);
                    prefixes.distinct += 1;
                }
                prefix = PrefixSpan {
                    start: prefixes.hashes.len() as u32,
                    len: full as u32,
                };
                prefixes.hashes.extend(&hashes);
                conversations.push(hashes);
            }
            Request {
                id,
                arrival: Time::from_ns(at),
                input_tokens,
                output_tokens,
                session: None,
                deadline: Time::from_ns(at + rng.random_range(0..100 * gap)),
                prefix,
            }
        })
        .collect();
    (requests, Arc::new(prefixes))
}

/// The same by the reference: records by number, iterations, restarts, refused.
fn by_reference(
    config: &ClusterConfig,
    requests: &[Request],
    prefixes: &PrefixTable,
) -> (BTreeMap<u64, Record>, [u64; 3]) {
    let mut replicas: Vec<_> = (0..config.replicas)
        .map(|n| reference::Replica::new(n, config, prefixes))
        .collect();
    let mut left = requests.iter().peekable();
    let mut now = Time::ZERO;
    loop {
        let boundary = replicas.iter().filter_map(|r| r.next_at(now)).min();
        let arrival = left.peek().map(|r| r.arrival);
        let Some(next) = boundary.into_iter().chain(arrival).min() else {
            break;
        };
        now = next;
        if arrival == Some(now) {
            let request = *left.next().unwrap();
            let chosen = match config.router {
                RouterConfig::RoundRobin => (request.id % u64::from(config.replicas)) as usize,
                _ => (0..replicas.len())
                    .min_by_key(|&r| replicas[r].waiting())
                    .unwrap(),
            };
            replicas[chosen].offer(request);
        } else {
            for replica in &mut replicas {
                if replica.next_at(now) == Some(now) {
                    replica.step(now);
                }
            }
        }
    }
    let counts = |of: fn(&reference::Replica) -> u64| replicas.iter().map(of).sum();
    let counts = [
        counts(|r| r.iterations),
        counts(|r| r.restarts),
        counts(|r| r.refused),
    ];
    let records = replicas.into_iter().flat_map(|r| r.records);
    (records.map(|r| (r.id, r)).collect(), counts)
}

fn by_simulator(config: &ClusterConfig, requests: &[Request], prefixes: &Arc<PrefixTable>) -> (Keep, Totals) {
    let mut keep = Keep::default();
    let totals = simulate(config, &mut List(requests.iter()), prefixes, Time::MAX, &mut keep);
    (keep, totals)
}

#[test]
fn the_simulator_equals_the_plain_one_to_the_last_bit() {
    let cases = if std::env::var("MST_TEST_LONG").is_ok_and(|v| v == "1") {
        20_000
    } else {
        1_000
    };
    let mut restarts = 0;
    let mut hits = 0;
    for seed in 0..cases {
        let (mut config, requests, prefixes) = draw(seed);
        config.engine.check().unwrap();
        let (expected, [iterations, preempted, refused]) = by_reference(&config, &requests, &prefixes);
        for stepwise in [true, false] {
            config.stepwise = stepwise;
            let (keep, totals) = by_simulator(&config, &requests, &prefixes);
            for (id, record) in &expected {
                assert_eq!(
                    Some(record),
                    keep.records.get(id),
                    "seed {seed}, stepwise {stepwise}, request {id}, {config:?}"
                );
            }
            assert_eq!(keep.records.len(), expected.len(), "seed {seed}");
            assert_eq!(
                [totals.iterations, totals.restarts, totals.refused],
                [iterations, preempted, refused],
                "seed {seed}, stepwise {stepwise}, {config:?}"
            );
            assert_eq!(totals.completed + totals.refused, totals.arrived, "seed {seed}");
            let gaps: u64 = expected.values().map(|r| u64::from(r.output_tokens) - 1).sum();
            if totals.refused == 0 && config.engine.rules == Rules::Engine {
                assert_eq!(keep.gaps, gaps, "seed {seed}");
            }
            hits += totals.cached_tokens;
        }
        restarts += preempted;
    }
    assert!(
        restarts > cases && hits > cases,
        "the cases are too tame: {restarts} restarts, {hits} hits"
    );
}

#[test]
fn steps_taken_at_once_hold_as_much_memory_as_steps_taken_singly() {
    for seed in 0..200 {
        let (mut config, requests, prefixes) = draw(seed);
        let (_, fast) = by_simulator(&config, &requests, &prefixes);
        config.stepwise = true;
        let (_, plain) = by_simulator(&config, &requests, &prefixes);
        assert_eq!(fast, plain, "seed {seed}");
        assert!(fast.kv_peak <= 1.0 && fast.kv_mean <= fast.kv_peak, "seed {seed}");
    }
}
