use super::*;
use crate::accuracy::trial::tests::server;
use crate::accuracy::truth_run::LongRun;

/// What a long run at a share of the capacity shows.
fn at_share(server: &Server, truth: &Truth, share: f64) -> LongRun {
    let settled = server.settled(1_800.0);
    at_rate(
        &settled,
        share * truth.capacity.as_per_second(),
        enough(&settled),
        9,
    )
}

/// Servers with a formula, one of each kind.
const FORMULAS: [&str; 6] = [
    "
name: fixed lengths
engine: {batch: 64, step_ms: 20, step_ms_per_sequence: 0.25, prefill_ms_per_token: 0.01}
lengths: {input: {distribution: fixed, tokens: 64}, output: {distribution: fixed, tokens: 128}}
",
    "
name: heavy tails and noise
engine: {batch: 32, step_ms: 10, step_ms_per_sequence: 0.5, prefill_ms_per_token: 0.05}
noise: 0.2
lengths:
  input: {distribution: lognormal, mean: 200, std: 300, max: 4000}
  output: {distribution: lognormal, mean: 60, std: 60, max: 600}
",
    "
name: three replicas
engine: {batch: 16, step_ms: 10, step_ms_per_sequence: 0.5, prefill_ms_per_token: 0.05}
replicas: 3
lengths: {input: {distribution: fixed, tokens: 64}, output: {distribution: uniform, min: 1, max: 63}}
",
    "
name: stalls
engine: {batch: 16, step_ms: 10, step_ms_per_sequence: 0.5, prefill_ms_per_token: 0.05}
stalls: {every_s: 60, for_s: 4}
lengths: {input: {distribution: fixed, tokens: 64}, output: {distribution: uniform, min: 1, max: 63}}
",
    "
name: neighbour
engine: {batch: 16, step_ms: 10, step_ms_per_sequence: 0.5, prefill_ms_per_token: 0.05}
neighbour:
  per_minute: 600
  on_s: 100
  off_s: 200
  lengths: {input: {distribution: fixed, tokens: 64}, output: {distribution: fixed, tokens: 64}}
lengths: {input: {distribution: fixed, tokens: 64}, output: {distribution: uniform, min: 1, max: 63}}
",
    "
name: warm cache and heat
engine: {batch: 16, step_ms: 10, prefill_ms_per_token: 0.1, prefix_caching: true}
prefixes: {count: 50, tokens: 256}
slow_down: {to_speed: 0.8, over_s: 900}
lengths: {input: {distribution: fixed, tokens: 64}, output: {distribution: uniform, min: 1, max: 63}}
",
];

#[test]
fn formulas_agree_with_long_runs() {
    for yaml in FORMULAS {
        let server = server(yaml);
        let truth = true_capacity(&server, 1_800.0);
        assert_eq!(truth.relative_error, 0.0, "{}", truth.method);
        let low = at_share(&server, &truth, 0.985);
        assert!(low.keeps_up(0.95), "{}: {low:?}", server.name());
        let high = at_share(&server, &truth, 1.015);
        assert!(!high.keeps_up(0.95), "{}: {high:?}", server.name());
        // What is too much is left undone; a neighbour's share of it is not counted.
        let undone = high.growth / (0.015 / 1.015);
        assert!((0.6..1.3).contains(&undone), "{}: {high:?}", server.name());
    }
}

#[test]
fn saturated_runs_agree_with_formulas() {
    for yaml in &FORMULAS[..3] {
        let server = server(yaml);
        let truth = true_capacity(&server, 1_800.0).capacity.as_per_second();
        let (rate, error) = saturated(&server, 60_000.0);
        assert!(
            (rate / truth - 1.0).abs() < 4.0 * error + 1e-3,
            "{}: {rate} +- {error}, {truth}",
            server.name()
        );
        assert!(error < 0.005, "{error}");
    }
}

#[test]
fn where_there_is_no_formula_long_runs_find_it() {
    let capacity = |more: &str| {
        let yaml = format!(
            "
name: short of memory
engine: {{batch: 64, step_ms: 20, step_ms_per_sequence: 0.25, prefill_ms_per_token: 0.02{more}}}
lengths: {{input: {{distribution: uniform, min: 100, max: 300}}, output: {{distribution: uniform, min: 1, max: 255}}}}
"
        );
        true_capacity(&server(&yaml), 1_800.0)
    };
    let free = capacity("");
    let tight = capacity(", kv_tokens: 8000");
    assert!(tight.capacity < free.capacity, "{tight:?}");
    assert!(
        tight.relative_error > 0.0 && tight.relative_error < 0.003,
        "{tight:?}"
    );
    // Chunks as large as the longest prompt and all decodes change little.
    let chunked = capacity(", chunk_tokens: 512");
    let ratio = chunked.capacity.as_per_minute() / free.capacity.as_per_minute();
    assert!((0.99..1.005).contains(&ratio), "{chunked:?}");
}

/// Memory runs out at once for many: beyond its capacity the server computes much of it twice, and serves less than it
/// could.
#[test]
fn a_server_that_does_less_when_it_has_too_much_is_bisected() {
    let falls = server(
        "
name: falls
engine: {batch: 128, step_ms: 20, step_ms_per_sequence: 0.1, prefill_ms_per_token: 0.1, kv_tokens: 30000}
lengths: {input: {distribution: fixed, tokens: 256}, output: {distribution: uniform, min: 1, max: 511}}
",
    );
    let truth = true_capacity(&falls, 1_800.0);
    assert!(truth.method.starts_with("bisected 3 times"), "{truth:?}");
    assert!(truth.relative_error < 0.015, "{truth:?}");
    let saturated = saturated(&falls, 40_000.0).0 / truth.capacity.as_per_second();
    assert!(saturated < 0.985, "{saturated}");
    assert!(at_share(&falls, &truth, 0.97).keeps_up(0.95));
    assert!(!at_share(&falls, &truth, 1.03).keeps_up(0.95));
}

#[test]
fn refusals_count_up_to_what_is_allowed() {
    let capacity = |more: &str| {
        let yaml = format!(
            "
name: refuses
engine: {{batch: 32, step_ms: 20}}
lengths: {{input: {{distribution: fixed, tokens: 16}}, output: {{distribution: fixed, tokens: 64}}}}
{more}
"
        );
        true_capacity(&server(&yaml), 1_800.0)
    };
    // 32 / 64 / 0.02 = 25 requests a second.
    let bounded = capacity("queue_limit: 96");
    let expected = 1_500.0 / 0.95;
    assert!(
        (bounded.capacity.as_per_minute() / expected - 1.0).abs() < 0.003,
        "{bounded:?}"
    );
    let limited = capacity("rate_limit: {per_minute: 900, burst: 60}");
    let ratio = limited.capacity.as_per_minute() / (900.0 / 0.95);
    assert!((0.98..1.005).contains(&ratio), "{limited:?}");
    let generous = capacity("rate_limit: {per_minute: 3000, burst: 60}");
    assert_eq!(generous.capacity.as_per_minute().round() as u32, 1_500);
}

#[test]
fn what_passes_does_not_count() {
    let capacity = |more: &str| {
        let yaml = format!("{}{more}\n", FORMULAS[0]);
        true_capacity(&server(&yaml), 1_800.0).capacity.as_per_minute()
    };
    let plain = capacity("");
    assert_eq!(capacity("slow_start: {for_s: 60, speed: 0.3}"), plain);
    assert_eq!(
        capacity("slow_down: {to_speed: 0.8, over_s: 3600}").round(),
        (0.9 * plain).round()
    );
    let neighbour = |period: f64| {
        let lengths =
            "{input: {distribution: fixed, tokens: 64}, output: {distribution: fixed, tokens: 128}}";
        let half = period / 2.0;
        capacity(&format!(
            "neighbour: {{per_minute: 200, on_s: {half}, off_s: {half}, lengths: {lengths}}}"
        ))
    };
    assert_eq!(neighbour(600.0).round(), (plain - 100.0).round());
    assert_eq!(neighbour(3_600.0).round(), (plain - 200.0).round());
}

/// The capacities of a panel, and what they cost: `MST_PANEL=FILE cargo test --release --lib panel_truths -- --ignored
/// --nocapture`; without `MST_PANEL` those in `examples/accuracy`.
#[test]
#[ignore = "a measurement"]
fn panel_truths() {
    let files = std::env::var("MST_PANEL").map_or_else(
        |_| {
            let folder = std::fs::read_dir("examples/accuracy").unwrap();
            folder.map(|entry| entry.unwrap().path()).collect()
        },
        |file| vec![std::path::PathBuf::from(file)],
    );
    for file in files {
        for server in crate::accuracy::read(&file).unwrap() {
            let cells: Vec<Server> = if server.pairs().is_empty() {
                vec![server]
            } else {
                server.pairs().iter().map(|pair| server.at(*pair)).collect()
            };
            for server in cells {
                let start = std::time::Instant::now();
                let truth = true_capacity(&server, 1_800.0);
                println!(
                    "{}: {:.2} a minute +- {:.2} %, {} ({:.2} s)",
                    server.name(),
                    truth.capacity.as_per_minute(),
                    100.0 * truth.relative_error,
                    truth.method,
                    start.elapsed().as_secs_f64()
                );
                for share in [0.95, 0.97, 0.985, 1.0, 1.015, 1.03, 1.05] {
                    let long = at_share(&server, &truth, share);
                    let trial = crate::accuracy::Load {
                        rate: Rate::per_minute(share * truth.capacity.as_per_minute()),
                        duration_s: 1_800.0,
                        arrival: crate::workload::Arrival::Stratified,
                        seed: 11,
                    };
                    let seen = server.trial(&trial, &mut |_| crate::criterion::Flow::Continue);
                    let open = seen.backlog().open();
                    println!(
                        "   {share}: growth {:+.4}, success {:.4}; in half an hour {:.0}, {:.0}, {:.0} open",
                        long.growth, long.success, open[200], open[400], open[600]
                    );
                }
            }
        }
    }
}
