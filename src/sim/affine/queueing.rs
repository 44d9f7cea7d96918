//! Queueing theory and properties that any replica must obey.

use std::collections::HashMap;

use proptest::prelude::*;

use super::{Admission, Event, EventKind, Replica, ReplicaConfig, Request, Time, run};
use crate::trial::{Outcome, RequestRecord};
use crate::units::{Rate, TokenPair, TokenRange};
use crate::workload::{Arrival, LengthClass, PromptSource, PromptSpec, WorkloadSpec, plan};

/// One server without batching: a step of a millisecond, prefill of 100 us a prompt token.
fn single() -> ReplicaConfig {
    ReplicaConfig {
        batch_cap: 1,
        step_base_us: 900.0,
        step_per_seq_us: 100.0,
        prefill_us_per_token: 100.0,
        prefill_base_us: 0.0,
        ..ReplicaConfig::default()
    }
}

fn poisson(input: TokenRange, output: TokenRange) -> WorkloadSpec {
    WorkloadSpec {
        classes: vec![LengthClass {
            pair: TokenPair { input, output },
            share: 1.0,
        }],
        arrival: Arrival::Poisson,
        prompts: PromptSpec {
            source: PromptSource::Builtin,
            unique_prefix: false,
        },
        lengths: None,
    }
}

/// Mean and standard error of a stationary, autocorrelated series, by 40 batch means.
fn batch_means(series: &[f64]) -> (f64, f64) {
    let size = series.len() / 40;
    let means: Vec<f64> = series
        .chunks_exact(size)
        .map(|b| b.iter().sum::<f64>() / size as f64)
        .collect();
    let mean = means.iter().sum::<f64>() / means.len() as f64;
    let variance = means.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / (means.len() - 1) as f64;
    (mean, (variance / means.len() as f64).sqrt())
}

/// Mean time in system in seconds with its standard error, for a stable load.
fn time_in_system(config: &ReplicaConfig, workload: &WorkloadSpec, rate: Rate) -> (f64, f64) {
    let count = 200_000.0;
    let requests = plan(workload, rate, count / rate.as_per_second(), 11);
    let records = run(config, &requests, Time::MAX).unwrap();
    let times: Vec<f64> = records.iter().map(|r| r.e2e_ms().unwrap() / 1e3).collect();
    // The first tenth is the way from an empty system.
    batch_means(&times[times.len() / 10..])
}

/// Pollaczek-Khinchine: W = lambda E[S^2] / (2 (1 - rho)), time in system = W + E[S].
fn pollaczek_khinchine(rate: f64, service: &[f64]) -> f64 {
    let moment = |k: i32| service.iter().map(|s| s.powi(k)).sum::<f64>() / service.len() as f64;
    rate * moment(2) / (2.0 * (1.0 - rate * moment(1))) + moment(1)
}

#[test]
fn one_slot_is_an_m_g_1_queue() {
    let uniform = TokenRange { min: 1, max: 19 };
    let ten = TokenRange::exactly(10);
    // Ten tokens and a prompt of ten: 11 ms, always. Uniform lengths: i + j / 10 ms.
    let fixed = vec![0.011];
    let varied: Vec<f64> = (1..=19)
        .flat_map(|out| (1..=19).map(move |inp| f64::from(out) * 1e-3 + f64::from(inp) * 1e-4))
        .collect();
    for (workload, service) in [(poisson(ten, ten), fixed), (poisson(uniform, uniform), varied)] {
        for load in [0.3, 0.7] {
            let rate = load / 0.011;
            let (mean, error) = time_in_system(&single(), &workload, Rate::per_second(rate));
            let theory = pollaczek_khinchine(rate, &service);
            assert!(error < 0.05 * theory, "{error} is too wide to tell");
            assert!(
                (mean - theory).abs() < 4.0 * error,
                "load {load}: {mean} +- {error}, theory {theory}"
            );
        }
    }
}

#[test]
fn littles_law_holds() {
    let config = ReplicaConfig::demo();
    let workload = poisson(TokenRange::exactly(32), TokenRange { min: 1, max: 31 });
    let requests = plan(&workload, Rate::per_minute(9_000.0), 60.0, 3);
    // The mean number in system, integrated over time from the replica's own counts.
    let mut replica = Replica::new(config.clone()).unwrap();
    let (mut area, mut last) = (0.0, Time::ZERO);
    let step_to = |replica: &mut Replica, area: &mut f64, last: &mut Time, until: Time| {
        while let Some(at) = replica.next_event_at().filter(|&at| at < until) {
            let counts = replica.counts();
            *area += f64::from(counts.running + counts.waiting) * (at - *last).as_seconds();
            *last = at;
            replica.advance(at);
        }
        let counts = replica.counts();
        *area += f64::from(counts.running + counts.waiting) * (until - *last).as_seconds();
        *last = until;
    };
    for (id, r) in requests.iter().enumerate() {
        let at = Time::from_ns(r.intended_ns);
        step_to(&mut replica, &mut area, &mut last, at);
        let request = Request {
            id: id as u64,
            input_tokens: r.input_tokens,
            output_tokens: r.output_tokens,
        };
        assert_eq!(replica.offer(at, request), Admission::Queued);
    }
    step_to(&mut replica, &mut area, &mut last, Time::from_seconds(200.0));
    let sum: f64 = run(&config, &requests, Time::MAX)
        .unwrap()
        .iter()
        .map(|r| r.e2e_ms().unwrap() / 1e3)
        .sum();
    assert!((area / sum - 1.0).abs() < 1e-6, "{area} {sum}");
}

#[test]
fn throughput_is_offered_below_capacity_and_capacity_above() {
    let config = ReplicaConfig::demo();
    let workload = poisson(TokenRange::exactly(64), TokenRange::exactly(32));
    let capacity = super::true_capacity(&config, &workload.classes).unwrap().rate;
    for (load, expected) in [(0.9, 0.9), (1.5, 1.0)] {
        let rate = Rate::per_second(capacity.as_per_second() * load);
        let records = run(
            &config,
            &plan(&workload, rate, 300.0, 5),
            Time::from_seconds(300.0),
        )
        .unwrap();
        let done = records.iter().filter(|r| r.outcome == Outcome::Ok).count() as f64;
        let share = done / 300.0 / capacity.as_per_second();
        assert!((share - expected).abs() < 0.01, "{load}: {share}");
    }
}

fn any_replica() -> impl Strategy<Value = ReplicaConfig> {
    let times = (1.0..5_000.0, 0.0..200.0, 0.0..50.0, 0.0..1_000.0);
    let limits = (
        proptest::option::of(40u64..400),
        proptest::option::of(0u32..10),
        0.0..0.5,
        0.0..0.02,
    );
    (1u32..12, times, limits, any::<u64>()).prop_map(|(batch_cap, times, limits, seed)| ReplicaConfig {
        batch_cap,
        step_base_us: times.0,
        step_per_seq_us: times.1,
        prefill_us_per_token: times.2,
        prefill_base_us: times.3,
        kv_tokens: limits.0,
        queue_limit: limits.1,
        jitter: limits.2,
        startup_s: limits.3,
        seed,
        ..ReplicaConfig::default()
    })
}

/// Gap before it in microseconds, input, output, and whether its client goes away at the next arrival.
fn any_load() -> impl Strategy<Value = Vec<(u64, u32, u32, bool)>> {
    let request = (0u64..4_000, 0u32..60, 1u32..20, proptest::bool::weighted(0.1));
    proptest::collection::vec(request, 1..80)
}

/// Replays a load with cancellations, checking the state on the way.
fn replay(config: &ReplicaConfig, load: &[(u64, u32, u32, bool)]) -> (Vec<Event>, Vec<Admission>, Vec<bool>) {
    let mut replica = Replica::new(config.clone()).unwrap();
    let (mut events, mut admissions, mut cancelled) = (Vec::new(), Vec::new(), Vec::new());
    let mut now = Time::ZERO;
    for (id, &(gap, input_tokens, output_tokens, _)) in load.iter().enumerate() {
        now += Time::from_us(gap as f64);
        events.extend(replica.advance(now));
        let request = Request {
            id: id as u64,
            input_tokens,
            output_tokens,
        };
        admissions.push(replica.offer(now, request));
        let gone = id > 0 && load[id - 1].3 && replica.cancel(id as u64 - 1);
        if id > 0 {
            cancelled.push(gone);
        }
        let counts = replica.counts();
        assert!(counts.running <= config.batch_cap);
        assert!(counts.kv_used <= config.kv_tokens.unwrap_or(u64::MAX));
        // Work conservation: whoever waits has a step to wait for, or is about to start.
        assert!(counts.running + counts.waiting == 0 || replica.next_event_at().is_some());
    }
    cancelled.push(false);
    events.extend(replica.advance(Time::MAX - Time::from_ps(1)));
    assert_eq!(replica.counts(), super::Counts::default());
    (events, admissions, cancelled)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_request_ends_exactly_once(config in any_replica(), load in any_load()) {
        let (events, admissions, cancelled) = replay(&config, &load);
        let mut seen: HashMap<u64, Vec<Event>> = HashMap::new();
        for pair in events.windows(2) {
            prop_assert!(pair[0].at <= pair[1].at);
        }
        for event in &events {
            seen.entry(event.id).or_default().push(*event);
        }
        for (id, &(_, input, output, _)) in load.iter().enumerate() {
            let of = seen.get(&(id as u64)).map_or(&[][..], Vec::as_slice);
            let count = |kind| of.iter().filter(|e| e.kind == kind).count();
            match admissions[id] {
                Admission::Queued if cancelled[id] => prop_assert_eq!(count(EventKind::Done), 0),
                Admission::Queued => {
                    prop_assert_eq!(of.first().map(|e| e.kind), Some(EventKind::Started));
                    prop_assert_eq!(of.get(1).map(|e| e.kind), Some(EventKind::FirstToken));
                    prop_assert_eq!(count(EventKind::Token) + 1, output as usize);
                    prop_assert_eq!(of.last().map(|e| e.kind), Some(EventKind::Done));
                    prop_assert_eq!(count(EventKind::Done), 1);
                }
                Admission::Rejected => prop_assert!(of.is_empty() && config.queue_limit.is_some()),
                Admission::NeverFits => {
                    prop_assert!(of.is_empty() && u64::from(input + output) > config.kv_tokens.unwrap());
                }
            }
        }
        // First come, first served.
        let started: Vec<u64> =
            events.iter().filter(|e| e.kind == EventKind::Started).map(|e| e.id).collect();
        prop_assert!(started.is_sorted());
    }

    #[test]
    fn the_same_seed_gives_the_same_run(config in any_replica(), load in any_load()) {
        prop_assert_eq!(replay(&config, &load), replay(&config, &load));
    }

    /// How often the replica is looked at does not change what it does.
    #[test]
    fn looking_does_not_change_the_run(config in any_replica(), gaps in proptest::collection::vec(0u64..3_000, 1..60)) {
        let workload = poisson(TokenRange { min: 1, max: 19 }, TokenRange { min: 1, max: 19 });
        let requests = plan(&workload, Rate::per_second(300.0), 0.2, 1);
        let whole: Vec<RequestRecord> = run(&config, &requests, Time::MAX).unwrap();
        let mut replica = Replica::new(config.clone()).unwrap();
        let mut done = HashMap::new();
        let (mut now, mut looks) = (Time::ZERO, gaps.iter().cycle());
        let mut note = |events: Vec<Event>| for e in events {
            if e.kind == EventKind::Done { done.insert(e.id, e.at.as_ns() as i64); }
        };
        for (id, r) in requests.iter().enumerate() {
            let at = Time::from_ns(r.intended_ns);
            while let Some(gap) = looks.next().filter(|&&gap| now + Time::from_us(gap as f64) + Time::from_ps(1) < at) {
                now += Time::from_us(*gap as f64) + Time::from_ps(1);
                note(replica.advance(now));
            }
            note(replica.advance(at - Time::from_ps(1)));
            let request = Request { id: id as u64, input_tokens: r.input_tokens, output_tokens: r.output_tokens };
            replica.offer(at, request);
        }
        note(replica.advance(Time::MAX));
        for (id, record) in whole.iter().enumerate() {
            let end = record.done_ns.filter(|_| record.outcome == Outcome::Ok);
            prop_assert_eq!(end, done.get(&(id as u64)).copied());
        }
    }
}
