//! Queueing theory: what the simulator must come to where the answer is known.
//!
//! A tolerance is four standard errors by batch means, and where a token at a time stands for a continuum, what that can
//! amount to. The seeds are fixed.

use mst::sim::source::{RequestLengths, Synthetic, SyntheticConfig};
use mst::stats::batch_means::batch_means;
use mst::workload::{Gaps, TokenDistribution};

use super::*;

const TICK: Time = Time::from_ns(1_000_000);

/// What an iteration takes.
#[derive(Clone, Copy, Debug)]
enum Clock {
    /// A tick a token: with one sequence a single server, with many that decode a shared processor.
    PerToken,
    /// A tick, whatever it holds: each sequence has a server of its own.
    Constant,
}

impl CostModel for Clock {
    fn stage(&self, shape: &BatchShape, _last: bool) -> StageTime {
        StageTime {
            total: match self {
                Self::PerToken => TICK * shape.tokens,
                Self::Constant => TICK,
            },
            ..StageTime::default()
        }
    }

    fn steady(&self, _shape: &BatchShape) -> u32 {
        u32::MAX
    }
}

/// Replicas with more memory than they need.
fn roomy(batching: Batching, cap: u32, clock: Clock) -> ClusterConfig {
    ClusterConfig {
        replicas: 1,
        router: RouterConfig::RoundRobin,
        engine: EngineConfig {
            batching,
            queue: QueueOrder::Fcfs,
            batch_size_cap: cap,
            pipeline_stages: 1,
            blocks: 1 << 20,
            block_tokens: 256,
            watermark: 0.01,
            preallocate_tokens: 64,
            prefix_caching: false,
            rules: Rules::Engine,
            max_model_len: 1 << 17,
        },
        replay: None,
        cost: Arc::new(clock),
        seed: 7,
        noise: 0.0,
        stepwise: false,
    }
}

const ORCA: Batching = Batching::Orca {};
const SARATHI: Batching = Batching::Sarathi { chunk_size: 1 << 16 };
const V1: Batching = Batching::VllmV1 { chunk_size: 1 << 16 };

/// Lengths with their first two moments.
#[derive(Clone, Debug)]
struct Law {
    lengths: TokenDistribution,
    mean: f64,
    variance: f64,
}

/// Always the same.
fn fixed(tokens: u32) -> Law {
    Law {
        lengths: TokenDistribution::Fixed { tokens },
        mean: f64::from(tokens),
        variance: 0.0,
    }
}

/// Gamma; exponential if the coefficient of variation is one. Rounding adds a twelfth to the variance, no more.
fn gamma(mean: f64, cv: f64) -> Law {
    Law {
        lengths: TokenDistribution::Gamma {
            mean,
            std: cv * mean,
            min: 1,
            max: None,
        },
        mean,
        variance: (cv * mean).powi(2),
    }
}

/// Short ones, and one in `of` that is long.
fn mixed(short: u32, long: u32, of: u32) -> Law {
    let (a, b, share) = (f64::from(short), f64::from(long), 1.0 / f64::from(of));
    Law {
        lengths: TokenDistribution::Empirical {
            values: vec![short, long],
            weights: Some(vec![1.0 - share, share]),
        },
        mean: a + share * (b - a),
        variance: share * (1.0 - share) * (b - a).powi(2),
    }
}

#[derive(Default)]
struct Records(Vec<Record>);

impl Observer for Records {
    fn request(&mut self, record: &Record) {
        self.0.push(*record);
    }
}

/// Requests so long that each replica works `load` of the time for each of its `servers`; all that ended, by number.
fn serve(config: &ClusterConfig, [input, output]: [&Law; 2], load: f64, count: u64) -> Vec<Record> {
    // The end of the prefill yields a token at no cost.
    let work = (input.mean + output.mean - 1.0) * TICK.as_seconds();
    let synthetic = SyntheticConfig {
        lengths: RequestLengths::Separate {
            input: input.lengths.clone(),
            output: output.lengths.clone(),
        },
        arrivals: Gaps::Poisson,
        rate: load / work,
        count: Some(count),
    };
    let mut source = Synthetic::new(&synthetic, config.seed).unwrap();
    let mut records = Records::default();
    let totals = simulate(config, &mut source, &Arc::default(), Time::MAX, &mut records);
    assert_eq!((totals.completed, totals.restarts), (count, 0));
    records.0.sort_unstable_by_key(|r| r.id);
    records.0
}

/// How much longer the runs are than they need be to find a gross fault.
fn size(count: u64) -> u64 {
    if std::env::var("MST_TEST_LONG").is_ok_and(|v| v == "1") {
        20 * count
    } else {
        count
    }
}

/// Whether a stationary series has the mean that theory gives it, but for `slack`; the first tenth, the way from an empty
/// system, is left out. Its standard error must be below `width` times the mean, or the test would tell nothing.
#[track_caller]
fn agrees(series: impl Iterator<Item = f64>, theory: f64, slack: f64, width: f64, what: &str) {
    let series: Vec<f64> = series.collect();
    let found = batch_means(&series[series.len() / 10..], 40).unwrap();
    let off = found.mean - theory;
    assert!(
        found.standard_error < width * theory,
        "{what}: {found:?} is too wide to tell from {theory}"
    );
    assert!(
        off.abs() < 4.0 * found.standard_error + slack,
        "{what}: {found:?}, theory {theory}"
    );
}

fn wait_in_ticks(record: &Record) -> f64 {
    record.scheduling_delay() / TICK.as_seconds()
}

fn e2e_in_ticks(record: &Record) -> f64 {
    record.e2e() / TICK.as_seconds()
}

/// Mean wait of M/G/1 by Pollaczek and Khinchine, in mean service times.
fn pollaczek_khinchine(load: f64, mean: f64, variance: f64) -> f64 {
    load / (1.0 - load) * (1.0 + variance / (mean * mean)) / 2.0 * mean
}

/// Mean wait of M/M/c by Erlang's C, in service times.
fn erlang_c(servers: u32, load: f64) -> f64 {
    let offered = f64::from(servers) * load;
    // Erlang's B by its recursion, then C.
    let blocked = (1..=servers).fold(1.0, |b, n| offered * b / (f64::from(n) + offered * b));
    let waits = blocked / (1.0 - load * (1.0 - blocked));
    waits / (f64::from(servers) * (1.0 - load))
}

/// Probability that the wait in M/D/1 is at most `t` service times (Erlang).
fn md1_wait_cdf(load: f64, t: f64) -> f64 {
    let mut term = 1.0;
    let sum: f64 = (0..=t as u32)
        .map(|k| {
            let x = load * (f64::from(k) - t);
            term = (1..=k).fold(1.0, |p, n| p * x / f64::from(n));
            term * (-x).exp()
        })
        .sum();
    (1.0 - load) * sum
}

/// Mean wait of `E_k/M/1` in service times: the root of `s = A(1 - s)`, `A` the transform of the gaps.
fn erlang_arrivals_wait(k: u32, load: f64) -> f64 {
    let rate = f64::from(k) * load;
    let root = (0..10_000).fold(load, |s, _| (rate / (rate + 1.0 - s)).powi(k as i32));
    root / (1.0 - root)
}

/// First come, first served, one at a time: each begins when it has come and the one before has gone.
fn is_lindley(records: &[Record]) {
    let mut free = Time::ZERO;
    for record in records {
        assert_eq!(record.first_scheduled, record.arrival.max(free), "{record:?}");
        free = record.first_scheduled + TICK * (record.input_tokens + record.output_tokens - 1);
        assert_eq!(record.completed, free, "{record:?}");
    }
}

#[test]
fn one_sequence_at_a_time_is_an_m_g_1_queue() {
    let one = fixed(1);
    for (name, batching, input, output) in [
        ("M/M/1", SARATHI, &one, &gamma(500.0, 1.0)),
        ("M/D/1", ORCA, &fixed(400), &one),
        // Chunks of a prompt, and decodes.
        (
            "M/G/1",
            Batching::VllmV1 { chunk_size: 100 },
            &mixed(50, 950, 10),
            &gamma(200.0, 0.7),
        ),
        (
            "M/G/1",
            Batching::Vllm {
                max_tokens_in_batch: 1 << 16,
            },
            &gamma(300.0, 2.0),
            &gamma(100.0, 1.0),
        ),
    ] {
        for (load, count, width) in [(0.5, 50_000, 0.05), (0.8, 100_000, 0.06), (0.9, 150_000, 0.1)] {
            let records = serve(
                &roomy(batching, 1, Clock::PerToken),
                [input, output],
                load,
                size(count),
            );
            is_lindley(&records);
            let mean = input.mean + output.mean - 1.0;
            let theory = pollaczek_khinchine(load, mean, input.variance + output.variance);
            let waits = records.iter().map(wait_in_ticks);
            agrees(waits, theory, 0.0, width, &format!("{name} at {load}"));
        }
    }
}

#[test]
fn waits_have_the_distribution_of_m_m_1_and_of_m_d_1() {
    let (load, mean) = (0.7, 500.0);
    let one = fixed(1);
    let exponential = gamma(mean, 1.0);
    let config = roomy(SARATHI, 1, Clock::PerToken);
    let by_chance = serve(&config, [&one, &exponential], load, size(100_000));
    let always = serve(&config, [&fixed(500), &one], load, size(100_000));
    for t in [0.0, 0.5, 1.0, 2.5, 5.0] {
        let within = |r: &Record| f64::from(u8::from(wait_in_ticks(r) <= t * mean));
        let theory = 1.0 - load * f64::exp(-(1.0 - load) * t);
        let what = format!("M/M/1 waits within {t}");
        agrees(by_chance.iter().map(within), theory, 0.0, 0.03, &what);
        let what = format!("M/D/1 waits within {t}");
        agrees(always.iter().map(within), md1_wait_cdf(load, t), 0.0, 0.03, &what);
    }
}

/// The same requests on a processor that is shared without any grain: their times in the system, in ticks.
fn shared_processor(records: &[Record]) -> Vec<f64> {
    let mut times = vec![0.0; records.len()];
    // Who is there, and the service at which it will have had enough, if each has had `service` since the start.
    let mut present: Vec<(f64, usize)> = Vec::new();
    let (mut now, mut service) = (0.0, 0.0);
    let arrivals = records.iter().map(|r| r.arrival.as_seconds() / TICK.as_seconds());
    for (next, arrival) in arrivals.clone().chain([f64::INFINITY]).enumerate() {
        while let Some(first) = (0..present.len()).min_by(|&a, &b| present[a].0.total_cmp(&present[b].0)) {
            let (enough, id) = present[first];
            let end = now + (enough - service) * present.len() as f64;
            if end > arrival {
                break;
            }
            present.swap_remove(first);
            (now, service) = (end, enough);
            times[id] += end;
        }
        if let Some(record) = records.get(next) {
            service += (arrival - now) / present.len().max(1) as f64;
            now = arrival;
            present.push((service + f64::from(record.output_tokens), next));
        }
    }
    times
        .iter()
        .zip(arrivals)
        .map(|(end, arrival)| end - arrival)
        .collect()
}

/// Iterations that take as long as they have sequences share the processor among them. In time `E[T | n] = n / (1 - load)`,
/// whatever the lengths are distributed like.
#[test]
fn a_cost_by_the_sequence_shares_the_processor() {
    /// What iterations instead of a continuum amount to in the mean, in ticks.
    const GRAIN: f64 = 2.0;
    let load = 0.7;
    for (batching, output) in [
        (ORCA, fixed(300)),
        (V1, mixed(150, 1_500, 9)),
        (SARATHI, gamma(300.0, 1.0)),
    ] {
        let config = roomy(batching, 1_000, Clock::PerToken);
        let records = serve(&config, [&fixed(1), &output], load, size(20_000));
        let name = format!("{batching:?}");
        // A request begins with an iteration, not within one, and so do those it shares with.
        let without_grain = shared_processor(&records);
        let late = records
            .iter()
            .zip(&without_grain)
            .map(|(r, t)| e2e_in_ticks(r) - t);
        assert!(late.clone().all(|l| l.abs() < 64.0), "{name}");
        let mean_late = late.sum::<f64>() / records.len() as f64;
        assert!(mean_late.abs() < GRAIN, "{name}: {mean_late}");
        let theory = output.mean / (1.0 - load);
        agrees(records.iter().map(e2e_in_ticks), theory, GRAIN, 0.08, &name);
        let (short, long): (Vec<_>, Vec<_>) = records
            .iter()
            .filter(|r| r.output_tokens >= 100)
            .partition(|r| f64::from(r.output_tokens) <= output.mean);
        for class in [short, long].iter().filter(|c| !c.is_empty()) {
            let stretch = class.iter().map(|r| e2e_in_ticks(r) / f64::from(r.output_tokens));
            let what = format!("{name}, of one length");
            agrees(stretch, 1.0 / (1.0 - load), GRAIN / 100.0, 0.08, &what);
        }
    }
}

#[test]
fn iterations_of_one_length_are_an_m_m_c_queue() {
    let mean = 300.0;
    for (batching, servers, load) in [(SARATHI, 4, 0.8), (V1, 8, 0.7), (ORCA, 2, 0.6)] {
        let config = roomy(batching, servers, Clock::Constant);
        let load_of_all = load * f64::from(servers);
        let records = serve(&config, [&fixed(1), &gamma(mean, 1.0)], load_of_all, size(50_000));
        // Each begins when the first server is free, or less than an iteration later.
        let mut free = vec![Time::ZERO; servers as usize];
        for record in &records {
            let server = free.iter_mut().min().unwrap();
            let start = record.arrival.max(*server);
            assert!(
                start <= record.first_scheduled && record.first_scheduled < start + TICK,
                "{record:?}"
            );
            *server = start + TICK * record.output_tokens;
        }
        let theory = erlang_c(servers, load) * mean;
        let waits = records.iter().map(wait_in_ticks);
        agrees(waits, theory, 1.0, 0.1, &format!("M/M/{servers} at {load}"));
    }
}

/// Replicas that serve one at a time. By chance each is an M/M/1 queue, in turn an `E_8/M/1` queue; the shortest queue is
/// better than both, but not better than a common one.
#[test]
fn routing_parts_the_stream_as_theory_says() {
    let (load, mean, replicas) = (0.8, 300.0, 8);
    let wait = |router, count| {
        let mut config = roomy(SARATHI, 1, Clock::PerToken);
        config.replicas = replicas;
        config.router = router;
        let laws = [&fixed(1), &gamma(mean, 1.0)];
        serve(&config, laws, load * f64::from(replicas), size(count))
    };
    let waits = |records: &[Record]| records.iter().map(wait_in_ticks).collect::<Vec<_>>().into_iter();
    let by_chance = wait(RouterConfig::Random, 150_000);
    let theory = pollaczek_khinchine(load, mean, mean * mean);
    agrees(waits(&by_chance), theory, 0.0, 0.05, "random");
    let in_turn = wait(RouterConfig::RoundRobin, 150_000);
    let theory = erlang_arrivals_wait(replicas, load) * mean;
    agrees(waits(&in_turn), theory, 0.0, 0.05, "round robin");
    let mean_ttft = |records: &[Record]| records.iter().map(Record::ttft).sum::<f64>() / records.len() as f64;
    let shortest = wait(RouterConfig::Lor, 60_000);
    let common = (erlang_c(replicas, load) * mean + 1.0) * TICK.as_seconds();
    let [shortest, in_turn, by_chance] = [&shortest, &in_turn, &by_chance].map(|r| mean_ttft(r));
    assert!(common < shortest && shortest < in_turn && in_turn < by_chance);
}
