//! Laws that hold in every run: what comes in goes out, memory is finite, work takes its time, nothing is random.

use mst::sim::Iteration;
use mst::sim::source::{SessionPlan, Sessions, SessionsConfig};
use mst::workload::Gaps;

use super::*;

/// All that can be seen of a run.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    records: Vec<Record>,
    iterations: Vec<Iteration>,
    gaps: Vec<(Time, u64)>,
}

impl Observer for Seen {
    const ITERATIONS: bool = true;

    fn request(&mut self, record: &Record) {
        self.records.push(*record);
    }

    fn iteration(&mut self, iteration: &Iteration) {
        self.iterations.push(*iteration);
    }

    fn gaps(&mut self, gap: Time, count: u64) {
        self.gaps.push((gap, count));
    }
}

impl Seen {
    fn record(&self, id: u64) -> Option<&Record> {
        self.records.iter().find(|r| r.id == id)
    }
}

fn watch(
    config: &ClusterConfig,
    source: &mut dyn Source,
    prefixes: &Arc<PrefixTable>,
    limit: Time,
) -> (Seen, Totals) {
    config.engine.check().unwrap();
    let mut seen = Seen::default();
    let totals = simulate(config, source, prefixes, limit, &mut seen);
    (seen, totals)
}

fn list(requests: &[Request]) -> List<'_> {
    List(requests.iter())
}

fn all(config: &ClusterConfig, requests: &[Request], prefixes: &Arc<PrefixTable>) -> (Seen, Totals) {
    watch(config, &mut list(requests), prefixes, Time::MAX)
}

fn end_of(iteration: &Iteration) -> Time {
    iteration.start + iteration.time * iteration.count
}

fn cases(count: u64) -> std::ops::Range<u64> {
    let long = std::env::var("MST_TEST_LONG").is_ok_and(|v| v == "1");
    0..if long { 20 * count } else { count }
}

/// Every request ends once, is refused, or is still there; and up to its limit a run is the start of the whole one.
#[test]
fn who_arrives_ends_is_refused_or_is_still_there() {
    let (mut cut_short, mut refused, mut too_long) = (0, 0, 0);
    for seed in cases(150) {
        let (mut config, mut requests, prefixes) = draw(seed);
        if seed % 3 == 0 {
            // Too little is left for the longest prompts.
            config.engine.watermark = 0.9;
        }
        for request in requests.iter_mut().skip(5).step_by(10) {
            request.output_tokens = config.engine.max_model_len;
            too_long += 1;
        }
        let (whole, totals) = all(&config, &requests, &prefixes);
        assert_eq!(totals.arrived, requests.len() as u64, "seed {seed}");
        assert_eq!(totals.completed + totals.refused, totals.arrived, "seed {seed}");
        refused += totals.refused;
        let limit = Time::from_ps(totals.end.as_ps() / 16 * (seed % 16 + 1));
        let (part, cut) = watch(&config, &mut list(&requests), &prefixes, limit);
        let arrived = requests.iter().filter(|r| r.arrival < limit).count() as u64;
        assert_eq!(
            (cut.arrived, cut.completed),
            (arrived, part.records.len() as u64),
            "seed {seed}"
        );
        assert!(cut.completed + cut.refused <= cut.arrived, "seed {seed}");
        assert!(cut.end < limit || cut.iterations == 0, "seed {seed}");
        let in_time = whole.records.iter().filter(|r| r.completed < limit);
        for record in in_time.clone() {
            assert_eq!(part.record(record.id), Some(record), "seed {seed}");
        }
        assert_eq!(in_time.count(), part.records.len(), "seed {seed}");
        cut_short += arrived - cut.completed - cut.refused;
    }
    assert!(
        cut_short > 100 && refused > too_long,
        "too tame: {cut_short} cut short, {refused} refused, {too_long} at the door"
    );
}

/// What a request must have computed: its prompt but for what was cached, and each token of the response but the last.
#[test]
fn tokens_are_those_of_the_requests() {
    let mut exact = 0;
    for seed in cases(200) {
        let (config, requests, prefixes) = draw(seed);
        let (seen, totals) = all(&config, &requests, &prefixes);
        let (mut tokens, mut pairs, mut cached) = (0, 0, 0);
        for r in &seen.records {
            assert!(
                r.cached_tokens < r.input_tokens + r.output_tokens,
                "seed {seed}: {r:?}"
            );
            assert!(
                r.restarts > 0 || r.cached_tokens < r.input_tokens,
                "seed {seed}: {r:?}"
            );
            assert!(
                r.arrival <= r.first_scheduled && r.first_scheduled < r.first_token,
                "{r:?}"
            );
            assert!(
                r.first_token <= r.completed && r.execution <= r.completed - r.first_scheduled,
                "{r:?}"
            );
            let reached = u64::from(r.input_tokens + r.output_tokens - 1);
            tokens += reached - u64::from(r.cached_tokens);
            // A token attends over all up to itself.
            let over = |tokens: u64| tokens * (tokens + 1) / 2;
            pairs += over(reached) - over(u64::from(r.cached_tokens));
            cached += u64::from(r.cached_tokens);
        }
        if totals.restarts == 0 {
            assert_eq!(
                [totals.tokens, totals.pairs, totals.cached_tokens],
                [tokens, pairs, cached],
                "seed {seed}"
            );
            exact += 1;
        } else {
            assert!(totals.cached_tokens >= cached, "seed {seed}");
        }
        let restarts: u64 = seen.records.iter().map(|r| u64::from(r.restarts)).sum();
        assert!(totals.restarts >= restarts, "seed {seed}");
    }
    assert!(exact > 50, "{exact}");
}

/// No block is given twice, and no stage does two things at once.
#[test]
fn memory_is_finite_and_work_takes_its_time() {
    for seed in cases(200) {
        let (mut config, requests, prefixes) = draw(seed);
        config.stepwise = seed % 2 == 0;
        let (seen, totals) = all(&config, &requests, &prefixes);
        let engine = &config.engine;
        let mut free: BTreeMap<(u32, u32), Time> = BTreeMap::new();
        let (mut busy, mut count, mut tokens) = (0, 0, 0);
        for iteration in &seen.iterations {
            assert!(iteration.kv_used <= engine.blocks, "seed {seed}: {iteration:?}");
            assert!(0 < iteration.shape.sequences && iteration.shape.sequences <= engine.batch_size_cap);
            let free = free.entry((iteration.replica, iteration.stage)).or_default();
            assert!(*free <= iteration.start, "seed {seed}: {iteration:?}");
            *free = end_of(iteration);
            busy += iteration.time.as_ps() * u64::from(iteration.count);
            count += u64::from(iteration.count);
            if iteration.stage == 0 {
                tokens += u64::from(iteration.shape.tokens) * u64::from(iteration.count);
            }
        }
        assert_eq!(
            [totals.busy.as_ps(), totals.iterations, totals.tokens],
            [busy, count, tokens],
            "seed {seed}"
        );
        assert_eq!(Some(totals.end), free.into_values().max(), "seed {seed}");
        let stages = u64::from(engine.pipeline_stages * config.replicas);
        assert!(busy <= stages * totals.end.as_ps(), "seed {seed}");
        assert!(
            totals.kv_mean <= totals.kv_peak && totals.kv_peak <= 1.0,
            "seed {seed}"
        );
    }
}

#[test]
fn mean_memory_is_the_integral_over_the_iterations() {
    for seed in cases(200) {
        let (mut config, requests, prefixes) = draw(seed);
        config.engine.pipeline_stages = 1;
        // By Vidur's rules room is lost for good, also while nothing runs.
        config.engine.rules = Rules::Engine;
        config.stepwise = true;
        let (seen, totals) = all(&config, &requests, &prefixes);
        let areas = seen
            .iterations
            .iter()
            .map(|i| u128::from(i.kv_used) * u128::from(i.time.as_ps()));
        let room = f64::from(config.replicas * config.engine.blocks) * totals.end.as_ps() as f64;
        let mean = areas.sum::<u128>() as f64 / room;
        assert!(
            (mean - totals.kv_mean).abs() <= 1e-12 * mean,
            "seed {seed}: {mean}, {}",
            totals.kv_mean
        );
        config.stepwise = false;
        let (_, at_once) = all(&config, &requests, &prefixes);
        assert_eq!(at_once, totals, "seed {seed}");
    }
}

/// Little's law without an error: what was there over time is what the requests spent there. Who arrives within an
/// iteration is not in its record, and is added.
#[test]
fn who_is_there_over_time_is_the_time_spent_there() {
    let mut held = 0;
    for seed in cases(200) {
        let (mut config, requests, prefixes) = draw(seed);
        config.stepwise = seed % 2 == 0;
        config.engine.pipeline_stages = 1;
        config.engine.batching = match config.engine.batching {
            // Everybody admitted must be in every iteration.
            Batching::VllmV1 { .. } => Batching::VllmV1 { chunk_size: 1 << 16 },
            Batching::Sarathi { .. } => Batching::Sarathi { chunk_size: 1 << 16 },
            _ => Batching::Orca {},
        };
        let (seen, totals) = all(&config, &requests, &prefixes);
        if totals.refused > 0 {
            continue;
        }
        let mut there = 0;
        let mut starts: BTreeMap<u32, Vec<Time>> = BTreeMap::new();
        for i in &seen.iterations {
            there += u128::from(i.shape.sequences + i.waiting) * u128::from((i.time * i.count).as_ps());
            starts.entry(i.replica).or_default().push(i.start);
        }
        let mut spent = 0;
        for record in &seen.records {
            let starts = &starts[&record.replica];
            let next = starts.partition_point(|&start| start < record.arrival);
            there += u128::from((starts[next] - record.arrival).as_ps());
            spent += u128::from((record.completed - record.arrival).as_ps());
        }
        assert_eq!(there, spent, "seed {seed}, {config:?}");
        held += 1;
    }
    assert!(held > 100, "{held}");
}

#[test]
fn where_all_prompts_differ_nothing_is_found() {
    let (mut hits, mut restarts) = (0, 0);
    for seed in cases(300) {
        let (config, requests, prefixes) = draw(seed);
        if !config.engine.prefix_caching {
            continue;
        }
        let (_, totals) = all(&config, &requests, &prefixes);
        hits += totals.cached_tokens;
        let len = prefixes.hashes.len() as u32;
        let distinct = Arc::new(PrefixTable {
            hashes: (0..len).collect(),
            distinct: len,
            ..*prefixes
        });
        let (_, totals) = all(&config, &requests, &distinct);
        // Who is preempted may find its own pages.
        assert!(totals.restarts > 0 || totals.cached_tokens == 0, "seed {seed}");
        restarts += u64::from(totals.restarts > 0);
        // Whoever finds nothing takes as long as without a cache.
        if totals.restarts == 0 {
            let mut without = config.clone();
            without.engine.prefix_caching = false;
            let (cached, _) = all(&config, &requests, &distinct);
            let (plain, _) = all(&without, &requests, &distinct);
            assert_eq!(cached.records, plain.records, "seed {seed}");
        }
    }
    assert!(
        hits > 1_000 && restarts > 0,
        "too tame: {hits} hits, {restarts} runs with restarts"
    );
}

#[test]
fn the_same_prompt_again_is_computed_but_for_its_last_page() {
    let (mut config, ..) = draw(0);
    config.replicas = 1;
    config.engine = EngineConfig {
        batching: Batching::VllmV1 { chunk_size: 512 },
        queue: QueueOrder::Fcfs,
        batch_size_cap: 8,
        pipeline_stages: 1,
        blocks: 1_000,
        block_tokens: 16,
        prefix_caching: true,
        max_model_len: 1_000,
        ..config.engine
    };
    for (input, found) in [(160, 144), (161, 160), (175, 160), (15, 0), (16, 0), (17, 16)] {
        let prefixes = Arc::new(PrefixTable {
            hashes: (0..input / 16).collect(),
            distinct: input / 16,
            tokens_per_hash: 16,
        });
        let requests: Vec<Request> = (0..5)
            .map(|id| Request {
                id,
                arrival: Time::from_seconds(10.0 * id as f64),
                input_tokens: input,
                output_tokens: 4,
                session: None,
                deadline: Time::MAX,
                prefix: PrefixSpan {
                    start: 0,
                    len: input / 16,
                },
            })
            .collect();
        let (seen, totals) = all(&config, &requests, &prefixes);
        let cached: Vec<u32> = seen.records.iter().map(|r| r.cached_tokens).collect();
        assert_eq!(cached, [0, found, found, found, found], "prompt of {input}");
        assert_eq!(totals.cached_tokens, u64::from(4 * found));
    }
}

/// One policy after the other.
fn router(number: u64) -> RouterConfig {
    let all = RouterConfig::one_of_each();
    all[number as usize % all.len()]
}

#[test]
fn a_run_is_the_same_on_any_thread() {
    for seed in cases(130) {
        let (mut config, requests, prefixes) = draw(seed);
        config.router = router(seed);
        config.noise = if seed % 4 == 0 { 0.1 } else { 0.0 };
        let run = || all(&config, &requests, &prefixes);
        let alone = run();
        let (one, other) = std::thread::scope(|scope| {
            let threads = [scope.spawn(run), scope.spawn(run)];
            let [one, other] = threads.map(|thread| thread.join().unwrap());
            (one, other)
        });
        assert_eq!(alone, one, "seed {seed}");
        assert_eq!(alone, other, "seed {seed}");
    }
}

/// Whatever the policy, steps taken at once come to what single steps come to.
#[test]
fn every_router_sees_the_same_of_steps_taken_at_once() {
    for seed in cases(260) {
        let (mut config, requests, prefixes) = draw(seed);
        config.router = router(seed);
        let [(fast, fast_totals), (plain, plain_totals)] = [false, true].map(|stepwise| {
            config.stepwise = stepwise;
            all(&config, &requests, &prefixes)
        });
        assert_eq!(fast_totals, plain_totals, "seed {seed}, {:?}", config.router);
        for record in &plain.records {
            assert!(
                record.arrival <= record.first_scheduled,
                "seed {seed}: {record:?}"
            );
            assert_eq!(fast.record(record.id), Some(record), "seed {seed}, {config:?}");
        }
    }
}

/// A router that looks into caches cuts steps taken at once short; who came before must not begin before it came.
#[test]
fn of_two_who_come_at_once_none_begins_before() {
    let (mut config, ..) = draw(0);
    config.replicas = 1;
    config.router = RouterConfig::LopUncached;
    config.engine.batching = Batching::Orca {};
    config.engine.pipeline_stages = 1;
    config.engine.batch_size_cap = 8;
    config.engine.blocks = 10_000;
    config.cost = Arc::new(Odd { bucket: 1_000 });
    let request = |id, ms, output_tokens| Request {
        id,
        arrival: Time::from_us(1e3 * ms),
        input_tokens: 10,
        output_tokens,
        session: None,
        deadline: Time::MAX,
        prefix: PrefixSpan::default(),
    };
    let requests = [
        request(0, 0.0, 3),
        request(1, 0.1, 200),
        request(2, 50.3, 5),
        request(3, 50.3, 5),
    ];
    let (seen, _) = all(&config, &requests, &Arc::default());
    for record in &seen.records {
        assert!(record.arrival <= record.first_scheduled, "{record:?}");
    }
}

/// Conversations of up to eight turns that fit the engines of [`draw`].
fn conversations(seed: u64, sessions: u32, block_tokens: u32) -> Arc<SessionPlan> {
    let yaml = format!(
        "
sessions: {sessions}
turns: {{distribution: uniform, min: 1, max: 8}}
system_prompt: 8
input: {{distribution: uniform, min: 1, max: 25}}
output: {{distribution: uniform, min: 1, max: 15}}
think: {{mean_s: 0.02}}
max_tokens: 240
block_tokens: {block_tokens}
"
    );
    let config: SessionsConfig = serde_saphyr::from_str(&yaml).unwrap();
    Arc::new(SessionPlan::new(&config, seed).unwrap())
}

#[test]
fn a_closed_loop_is_the_same_step_by_step() {
    for seed in cases(200) {
        let (mut config, ..) = draw(seed);
        config.router = router(seed);
        let talks = conversations(seed, 20, config.engine.block_tokens);
        let rate = [5.0, 50.0, 500.0][seed as usize % 3];
        let [(fast, fast_totals), (plain, plain_totals)] = [false, true].map(|stepwise| {
            config.stepwise = stepwise;
            let mut source = Sessions::new(Arc::clone(&talks), &Gaps::Poisson, rate, seed).unwrap();
            watch(&config, &mut source, talks.prefixes(), Time::MAX)
        });
        assert_eq!(fast_totals, plain_totals, "seed {seed}");
        assert_eq!(fast.records.len(), plain.records.len(), "seed {seed}");
        for record in &plain.records {
            assert_eq!(fast.record(record.id), Some(record), "seed {seed}, {config:?}");
        }
        if plain_totals.refused == 0 {
            assert_eq!(plain_totals.completed, talks.requests() as u64, "seed {seed}");
        }
    }
}

#[test]
fn sticky_policies_keep_conversations_where_their_cache_is() {
    let (mut config, ..) = draw(0);
    config.replicas = 4;
    config.engine = EngineConfig {
        batching: Batching::VllmV1 { chunk_size: 128 },
        queue: QueueOrder::Fcfs,
        batch_size_cap: 16,
        pipeline_stages: 1,
        blocks: 2_000,
        block_tokens: 4,
        prefix_caching: true,
        max_model_len: 240,
        ..config.engine
    };
    let talks = conversations(3, 200, 4);
    let mut run = |router| {
        config.router = router;
        let mut source = Sessions::new(Arc::clone(&talks), &Gaps::Poisson, 40.0, 3).unwrap();
        let (seen, totals) = watch(&config, &mut source, talks.prefixes(), Time::MAX);
        assert_eq!(totals.completed, talks.requests() as u64);
        let mut homes: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for record in &seen.records {
            homes
                .entry(record.session.unwrap())
                .or_default()
                .push(record.replica);
        }
        (homes, totals.cached_tokens)
    };
    let (scattered, found_by_chance) = run(RouterConfig::Random);
    let moves =
        |homes: &BTreeMap<u32, Vec<u32>>| homes.values().filter(|h| h.iter().any(|r| *r != h[0])).count();
    assert!(moves(&scattered) > 100);
    for router in [
        RouterConfig::StickyRoundRobin,
        RouterConfig::StickyLor,
        RouterConfig::StickyLop,
        // All are among the best four of four.
        RouterConfig::RankedStickyLopUncached { top_k: 4 },
    ] {
        let (homes, found) = run(router);
        assert_eq!(moves(&homes), 0, "{router:?}");
        for replica in 0..4 {
            let share = homes.values().filter(|h| h[0] == replica).count();
            assert!(
                (25..=75).contains(&share),
                "{router:?}: {share} of 200 on {replica}"
            );
        }
        assert!(
            found > found_by_chance * 3 / 2,
            "{router:?}: {found} against {found_by_chance}"
        );
    }
    let (in_turn, _) = run(RouterConfig::StickyRoundRobin);
    assert!(in_turn.iter().all(|(session, homes)| homes[0] == session % 4));
}
