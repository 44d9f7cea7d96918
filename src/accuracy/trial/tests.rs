use super::*;
use crate::accuracy::ServerSpec;
use crate::deployment::{Library, Places};

pub(crate) fn server(yaml: &str) -> Server {
    let spec: ServerSpec = serde_saphyr::from_str(yaml).unwrap();
    Server::new(spec, &Library::open(Places::default()).unwrap()).unwrap()
}

pub(crate) const B64: &str = "
name: b64-l128
engine: {batch: 64, step_ms: 20, step_ms_per_sequence: 0.25, prefill_ms_per_token: 0.01}
lengths: {input: {distribution: fixed, tokens: 64}, output: {distribution: fixed, tokens: 128}}
";

pub(crate) fn load(per_minute: f64, duration_s: f64) -> Load {
    Load {
        rate: Rate::per_minute(per_minute),
        duration_s,
        arrival: Arrival::Stratified,
        seed: 7,
    }
}

#[test]
fn a_trial_tells_of_every_request() {
    let server = server(B64);
    // (64 / 128) / (0.02 + 0.25e-3 * 64 + 64 * 1e-5 * 64 / 128) = 13.77 requests a second.
    let calm = server.trial(&load(700.0, 600.0), &mut |_| Flow::Continue);
    assert_eq!(calm.records.len(), 7_000);
    assert!(!calm.stopped_early);
    assert_eq!(calm.success_rate_percent(), Some(100.0));
    assert!(
        calm.records
            .iter()
            .all(|r| r.outcome.is_ok() && r.output_tokens == 128)
    );
    assert!(calm.records.is_sorted_by_key(|r| r.intended_ns));
    assert!(calm.observed_s > 600.0 && calm.observed_s < 620.0);
    assert_eq!(calm.planned_output, Some(128.0));

    let over = server.trial(&load(1_200.0, 600.0), &mut |_| Flow::Continue);
    let finished = over.backlog().finished;
    let rate = f64::from(finished[600] - finished[200]) / 400.0;
    assert!((rate / 13.77 - 1.0).abs() < 0.01, "{rate}");
    assert_eq!(over.observed_s, 720.0);
    let open = over.records.iter().filter(|r| r.outcome == Outcome::Unfinished);
    let open = open.inspect(|r| assert!(r.done_ns.is_none())).count();
    let done = 13.77 * 720.0;
    assert!((open as f64 - (12_000.0 - done)).abs() < 100.0, "{open}");
}

/// A trial that is ended early is the beginning of the whole one, whichever part of it was simulated.
#[test]
fn the_watch_sees_what_had_happened_and_may_end_it() {
    let server = server(B64);
    let load = load(1_000.0, 1_800.0);
    let mut looks = Vec::new();
    let whole = server.trial(&load, &mut |seen| {
        looks.push(seen.clone());
        Flow::Continue
    });
    assert!(looks.len() > 30);
    assert_eq!(looks[0].elapsed_s, 5.0);
    for (look, next) in looks.iter().zip(&looks[1..]) {
        assert!((next.elapsed_s / look.elapsed_s - 1.18).abs() < 1e-9);
    }
    for stop_at in [20.0, 200.0, 1_000.0] {
        let stopped = server.trial(&load, &mut |seen| {
            if seen.elapsed_s >= stop_at {
                Flow::Stop
            } else {
                Flow::Continue
            }
        });
        assert!(stopped.stopped_early);
        let at = stopped.offered_s;
        assert!(at >= stop_at && at < 1.18 * stop_at);
        let ns = (at * 1e9) as i64;
        assert!(stopped.records.iter().all(|r| r.intended_ns < ns));
        let so_far = |m: &Measurement| {
            let sent = m.records.iter().filter(|r| r.intended_ns < ns);
            sent.map(|r| (r.intended_ns, r.done_ns.filter(|d| *d < ns)))
                .collect::<Vec<_>>()
        };
        assert_eq!(so_far(&stopped), so_far(&whole));
        let look = looks.iter().find(|l| l.elapsed_s == at).unwrap();
        assert_eq!(look.backlog.finished.last(), stopped.backlog().finished.last());
        assert!(look.ttft_p50_ms.is_some());
    }
}

#[test]
fn shared_prefixes_are_computed_once() {
    let with = |caching: bool| {
        let yaml = format!(
            "
name: cached
engine: {{batch: 32, step_ms: 20, prefill_ms_per_token: 0.1, prefix_caching: {caching}}}
prefixes: {{count: 20, tokens: 512}}
lengths: {{input: {{distribution: fixed, tokens: 64}}, output: {{distribution: fixed, tokens: 8}}}}
"
        );
        let seen = server(&yaml).trial(&load(60.0, 120.0), &mut |_| Flow::Continue);
        assert!(seen.records.iter().all(|r| r.input_tokens == 576));
        let late = seen.records[60..].iter().filter_map(RequestRecord::ttft_ms);
        late.fold(0.0, f64::max)
    };
    // Behind an iteration of 20 ms: 20 + 57.6 ms without the cache, 20 + 6.4 ms with it.
    assert!(with(false) > 77.5);
    assert!(with(true) < 70.0, "{}", with(true));
}

#[test]
fn seeds_decide() {
    let server = server(B64);
    let one = |seed| {
        let load = Load {
            seed,
            ..load(500.0, 60.0)
        };
        server.trial(&load, &mut |_| Flow::Continue).records
    };
    assert_eq!(one(1), one(1));
    assert_ne!(one(1), one(2));
}

fn whole(yaml: &str, load: &Load) -> Measurement {
    server(yaml).trial(load, &mut |_| Flow::Continue)
}

/// Half the speed is twice the time of everything: the warp against an engine that steps so.
#[test]
fn a_slower_server_is_one_whose_steps_take_longer() {
    let slow = B64.replace(
        "step_ms: 20, step_ms_per_sequence: 0.25, prefill_ms_per_token: 0.01",
        "step_ms: 40, step_ms_per_sequence: 0.5, prefill_ms_per_token: 0.02",
    );
    let load = load(380.0, 300.0);
    let warped = whole(&format!("{B64}slow_down: {{to_speed: 0.5, over_s: 0}}\n"), &load);
    let stepped = whole(&slow, &load);
    for (w, s) in warped.records.iter().zip(&stepped.records) {
        assert_eq!(w.outcome, s.outcome);
        assert!((w.e2e_ms().unwrap() - s.e2e_ms().unwrap()).abs() < 1e-3);
        assert!((w.ttft_ms().unwrap() - s.ttft_ms().unwrap()).abs() < 1e-3);
    }
}

/// Requests that are alone: each is as late as the stalls that it met, and no stall is gone through unseen.
#[test]
fn stalls_make_those_late_who_meet_them() {
    let load = load(4.0, 1_800.0);
    let plain = whole(B64, &load);
    let stalled = whole(&format!("{B64}stalls: {{every_s: 50, for_s: 5}}\n"), &load);
    let usual = plain.records[0].e2e_ms().unwrap();
    assert!(
        plain
            .records
            .iter()
            .all(|r| (r.e2e_ms().unwrap() - usual).abs() < 200.0)
    );
    let late: Vec<f64> = stalled
        .records
        .iter()
        .map(|r| r.e2e_ms().unwrap() - usual)
        .collect();
    assert!(late.iter().all(|l| (-100.0..5_200.0).contains(l)));
    // A request of 4.6 s meets one of 50 s in so many cases.
    let met = late.iter().filter(|l| **l > 200.0).count() as f64 / late.len() as f64;
    assert!((met - 9.6 / 50.0).abs() < 0.1, "{met}");
}

#[test]
fn a_slow_start_passes() {
    let seen = whole(
        &format!("{B64}slow_start: {{for_s: 100, speed: 0.25}}\n"),
        &load(400.0, 300.0),
    );
    let mean = |from: usize| {
        let part = &seen.records[from..from + 200];
        part.iter().filter_map(RequestRecord::e2e_ms).sum::<f64>() / 200.0
    };
    assert!(mean(200) > 3.0 * mean(1_700));
}

#[test]
fn a_neighbour_takes_its_part_and_is_not_counted() {
    let yaml = format!(
        "{B64}neighbour: {{per_minute: 600, on_s: 1000, off_s: 0, lengths: {{input: {{distribution: fixed, tokens: 64}}, \
         output: {{distribution: fixed, tokens: 128}}}}}}\n"
    );
    let load = load(400.0, 600.0);
    let seen = whole(&yaml, &load);
    assert_eq!(seen.records.len(), 4_000);
    let finished = f64::from(*seen.backlog().finished.last().unwrap());
    // 826 a minute for 1000 of both.
    assert!((finished / 4_000.0 - 0.826).abs() < 0.05, "{finished}");
    assert_eq!(whole(B64, &load).success_rate_percent(), Some(100.0));
}

#[test]
fn who_is_not_let_in_is_told_at_once() {
    let refused = |more: &str, status: u16| {
        let seen = whole(&format!("{B64}{more}\n"), &load(1_200.0, 600.0));
        let refused = seen.records.iter().filter(|r| r.outcome == Outcome::Http(status));
        refused
            .inspect(|r| assert!(r.done_ns == r.sent_ns && r.first_token_ns.is_none()))
            .count() as f64
    };
    let limited = refused("rate_limit: {per_minute: 600, burst: 100}", 429);
    assert!((limited - 5_900.0).abs() < 60.0, "{limited}");
    // 826 a minute are served, and 200 are inside at the end.
    let bounded = refused("queue_limit: 200", 503);
    assert!(
        (bounded - (12_000.0 - 8_260.0 - 200.0)).abs() < 100.0,
        "{bounded}"
    );
}

#[test]
fn a_client_that_is_late_says_so() {
    let seen = whole(&format!("{B64}jitter_ms: 20\n"), &load(600.0, 600.0));
    assert!(seen.records.is_sorted_by_key(|r| r.intended_ns));
    let median = seen.client.lateness_p50_ms.unwrap();
    assert!((median - 20.0 * 2f64.ln()).abs() < 1.5, "{median}");
    assert!(seen.client.lateness_max_ms.unwrap() > seen.client.lateness_p99_ms.unwrap());
    assert_eq!(seen.success_rate_percent(), Some(100.0));
}

/// How fast trials are, on a release build: `cargo test --release --lib trial_speed -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn trial_speed() {
    for (batch, output) in [(64, "fixed, tokens: 128"), (512, "uniform, min: 1, max: 127")] {
        let yaml = format!(
            "
name: speed
engine: {{batch: {batch}, step_ms: 20, step_ms_per_sequence: 0.06, prefill_ms_per_token: 0.02}}
lengths: {{input: {{distribution: fixed, tokens: 64}}, output: {{distribution: {output}}}}}
"
        );
        let server = server(&yaml);
        for rate in [900.0, 4_000.0, 8_900.0] {
            let start = std::time::Instant::now();
            let seen = server.trial(&load(rate, 1_800.0), &mut |_| Flow::Continue);
            let took = start.elapsed().as_secs_f64();
            let each = 1e9 * took / seen.records.len() as f64;
            println!("batch {batch}, {rate}/min: {took:.3} s, {each:.0} ns a request");
        }
    }
}
