//! How often the criteria are right, on servers whose capacity is known.
//!
//! The full table of `docs/criteria.md`: `RUNS=300 cargo test --release --test it -- --ignored --nocapture calibration_table`.

use std::fmt::Write;

use mst::criterion::drift::{Drift, DriftEstimate};
use mst::criterion::welch::Welch;
use mst::criterion::{Criterion, Earlier, Flow, Progress, Ruling};
use mst::search::Goal;
use mst::trial::{Backlog, Measurement, Outcome};

use super::simulated::{
    Arrivals, B64_L128, B64_UNIFORM, B256_L512, B256_UNIFORM, BOUNDED, COLD, DEMO, DEMO_UNIFORM, HEAT,
    LONG_STALLS, MEMORY, NEIGHBOUR, SLOW, STALLS, Server,
};

/// Shares of sustainable, unsure and unsustainable rulings, and of intervals that miss the true drift.
struct Shares {
    sustainable: f64,
    unsure: f64,
    unsustainable: f64,
    missed: f64,
    half_width: f64,
}

fn rulings(
    server: &Server,
    arrivals: Arrivals,
    load: f64,
    duration_s: f64,
    runs: u64,
    pooled: usize,
) -> Shares {
    let criterion = Drift::new(95.0);
    let truth = (1.0 - 1.0 / load).max(0.0);
    let (mut counts, mut missed, mut half) = ([0.0; 3], 0.0, 0.0);
    for run in 0..runs {
        let trial = |k: u64| server.trial(arrivals, load, duration_s, 1000 * k + run);
        let before: Vec<_> = (1..pooled as u64).map(trial).collect();
        let earlier = Earlier {
            pooled: &before,
            history: &[],
        };
        let verdict = criterion.judge(&trial(0), &earlier);
        counts[match verdict.ruling {
            Ruling::Sustainable => 0,
            Ruling::Unsure => 1,
            Ruling::Unsustainable => 2,
        }] += 1.0 / runs as f64;
        if let Some(margin) = verdict.margin {
            half += (margin.high - margin.low) / 2.0 / runs as f64;
            missed += f64::from(u8::from(truth < margin.low || truth > margin.high)) / runs as f64;
        }
    }
    Shares {
        sustainable: counts[0],
        unsure: counts[1],
        unsustainable: counts[2],
        missed,
        half_width: half,
    }
}

fn runs(usual: u64) -> u64 {
    std::env::var("RUNS").map_or(usual, |v| v.parse().unwrap())
}

#[test]
#[ignore = "prints the calibration table"]
fn calibration_table() {
    let runs = runs(100);
    let loads = [0.8, 0.9, 0.95, 0.97, 1.0, 1.03, 1.05, 1.1];
    let full = [
        B64_L128,
        B64_UNIFORM,
        B256_L512,
        B256_UNIFORM,
        MEMORY,
        STALLS,
        LONG_STALLS,
        NEIGHBOUR,
        HEAT,
        COLD,
        BOUNDED,
        SLOW,
    ];
    let mut cells: Vec<_> = full.map(|s| (s, 1800.0, Arrivals::Stratified)).to_vec();
    cells.extend(full.map(|s| (s, 1800.0, Arrivals::Poisson)));
    cells.extend([
        (B64_L128, 300.0, Arrivals::Poisson),
        (B64_UNIFORM, 300.0, Arrivals::Poisson),
        (B256_L512, 300.0, Arrivals::Poisson),
        (DEMO, 10.0, Arrivals::Poisson),
        (DEMO, 10.0, Arrivals::Constant),
        (DEMO_UNIFORM, 10.0, Arrivals::Poisson),
    ]);
    println!(
        "| server, duration, arrivals | {} |",
        loads.map(|l| l.to_string()).join(" | ")
    );
    for (server, duration_s, arrivals) in cells {
        let per_minute = 60.0 * server.capacity();
        let mut line = format!(
            "| {} ({per_minute:.0}/min), {duration_s} s, {arrivals:?} |",
            server.name
        );
        for load in loads {
            let s = rulings(&server, arrivals, load, duration_s, runs, 1);
            let percent = |v: f64| (1000.0 * v).round() / 10.0;
            write!(
                line,
                " {}/{}/{} ({:.2}; {}) |",
                percent(s.sustainable),
                percent(s.unsure),
                percent(s.unsustainable),
                100.0 * s.half_width,
                (100.0 * s.missed).round()
            )
            .unwrap();
        }
        println!("{line}");
    }
}

#[test]
#[ignore = "prints how well a saturated server tells its capacity"]
fn calibration_of_hints() {
    let runs = runs(50);
    let loads = [1.03, 1.05, 1.1, 1.2, 1.5, 2.0, 4.0];
    println!(
        "| server, duration | {} |",
        loads.map(|l| l.to_string()).join(" | ")
    );
    for server in [
        B64_L128,
        B64_UNIFORM,
        B256_L512,
        B256_UNIFORM,
        MEMORY,
        BOUNDED,
        COLD,
        STALLS,
    ] {
        for duration_s in [60.0, 120.0, 300.0, 600.0] {
            let mut line = format!("| {}, {duration_s} s |", server.name);
            for load in loads {
                let (mut found, mut covered, mut bias, mut half) = (0.0_f64, 0.0, 0.0, 0.0);
                for seed in 0..runs {
                    let trial = server.trial(Arrivals::Stratified, load, duration_s, seed);
                    let verdict = Drift::new(95.0).judge(&trial, &Earlier::default());
                    let Some(hint) = verdict.capacity_hint else {
                        continue;
                    };
                    let truth = 60.0 * server.capacity();
                    found += 1.0;
                    covered += f64::from(u8::from(hint.low <= truth && truth <= hint.high));
                    bias += hint.value / truth - 1.0;
                    half += (hint.high - hint.low) / 2.0 / truth;
                }
                let percent = |sum: f64| 100.0 * sum / found.max(1.0);
                let told = 100.0 * found / runs as f64;
                write!(
                    line,
                    " {told:.0}: {:+.1} ± {:.1}, {:.0} |",
                    percent(bias),
                    percent(half),
                    percent(covered)
                )
                .unwrap();
            }
            println!("{line}");
        }
    }
}

/// Looks at a trial as it runs: when it was ended, if it was.
fn stopped_s(trial: &Measurement, goal: Goal, looks: u32) -> Option<f64> {
    let criterion = Drift::new(95.0);
    let duration_s = trial.duration_s;
    (1..=looks)
        .map(|k| f64::from(k) / f64::from(looks) * duration_s)
        .find(|&elapsed_s| {
            let progress = Progress {
                elapsed_s,
                duration_s,
                backlog: Backlog::at(&trial.records, elapsed_s, trial.planned_output),
                ttft_p50_ms: None,
            };
            criterion.watch(&progress, goal) == Flow::Stop
        })
}

/// What is known of a trial that was ended after `elapsed_s`, with all its requests given up.
fn cut(mut trial: Measurement, elapsed_s: f64) -> Measurement {
    let now = (elapsed_s * 1e9) as i64;
    let begun = trial.records.partition_point(|r| r.intended_ns <= now);
    trial.records.truncate(begun);
    for record in &mut trial.records {
        let Some(done) = record.done_ns.filter(|d| *d > now) else {
            continue;
        };
        let first = record.first_token_ns.filter(|f| *f <= now);
        let part = first.map_or(0.0, |f| (now - f) as f64 / (done - f) as f64);
        record.output_tokens = (part * f64::from(record.output_tokens)) as u32;
        record.first_token_ns = first;
        record.done_ns = None;
        record.outcome = Outcome::Unfinished;
    }
    (trial.offered_s, trial.observed_s) = (elapsed_s, elapsed_s);
    trial.stopped_early = true;
    trial
}

#[test]
#[ignore = "prints when trials are ended"]
fn calibration_of_stops() {
    let runs = runs(20);
    let looks = std::env::var("LOOKS").map_or(150, |v| v.parse().unwrap());
    let loads = [0.03, 0.5, 0.8, 0.9, 0.97, 1.03, 1.1, 1.3, 2.0];
    println!("| server, goal | {} |", loads.map(|l| l.to_string()).join(" | "));
    for server in [B64_L128, B64_UNIFORM, B256_L512, B256_UNIFORM, MEMORY] {
        for goal in [locate(0.01), Goal::Decide] {
            let mut line = format!("| {}, {goal:?} |", server.name);
            for load in loads {
                let (mut at, mut wrong, mut differently) = (Vec::new(), 0, 0);
                for seed in 0..runs {
                    let trial = server.trial(Arrivals::Stratified, load, 1800.0, seed);
                    let Some(end_s) = stopped_s(&trial, goal, looks) else {
                        continue;
                    };
                    at.push(end_s);
                    let verdict = Drift::new(95.0).judge(&cut(trial, end_s), &Earlier::default());
                    let right = if load < 1.0 {
                        Ruling::Sustainable
                    } else {
                        Ruling::Unsustainable
                    };
                    differently += u32::from(verdict.ruling == Ruling::Unsure);
                    wrong += u32::from(verdict.ruling != right && verdict.ruling != Ruling::Unsure);
                }
                at.sort_by(f64::total_cmp);
                let middle = at
                    .get(at.len() / 2)
                    .map_or("-".to_owned(), |s| format!("{s:.0} s"));
                write!(line, " {} at {middle}, {wrong}/{differently} |", at.len()).unwrap();
            }
            println!("{line}");
        }
    }
}

#[test]
#[ignore = "prints how often the older rule is right"]
fn calibration_of_the_older_rule() {
    let runs = std::env::var("RUNS").map_or(20, |v| v.parse().unwrap());
    let rule = Welch {
        filter_buffer_s: 300,
        success_rate_percent: 95.0,
    };
    let loads = [0.8, 0.9, 0.95, 0.97, 1.0, 1.03, 1.05, 1.1];
    for server in [B64_L128, B64_UNIFORM, B256_L512] {
        let mut line = format!("| {}, 1800 s |", server.name);
        for load in loads {
            let passed = |seed: &u64| {
                let trial = server.trial(Arrivals::Poisson, load, 1800.0, *seed);
                rule.judge(&trial, &Earlier::default()).ruling == Ruling::Sustainable
            };
            let share = (0..runs).filter(passed).count() as f64 / runs as f64;
            write!(line, " {:.0} |", 100.0 * share).unwrap();
        }
        println!("{line}");
    }
}

#[test]
fn drift_is_right_where_it_must_be() {
    // At these true shares of rulings (see docs/criteria.md) each bound is broken by chance less than once in 10,000.
    for (server, load, duration_s, right, wrong) in [
        (&B64_L128, 0.9, 1800.0, 0.9, 0.0),
        (&B64_UNIFORM, 0.95, 1800.0, 0.8, 0.0),
        (&B64_UNIFORM, 1.05, 1800.0, 0.9, 0.0),
        (&B64_L128, 1.03, 300.0, 0.9, 0.0),
        (&DEMO, 0.8, 10.0, 0.5, 0.1),
        (&DEMO, 1.1, 10.0, 0.9, 0.0),
        (&DEMO, 0.97, 10.0, 0.0, 0.2),
        (&SLOW, 0.9, 1800.0, 0.0, 0.15),
    ] {
        let s = rulings(server, Arrivals::Poisson, load, duration_s, 30, 1);
        let (good, bad) = if load < 1.0 {
            (s.sustainable, s.unsustainable)
        } else {
            (s.unsustainable, s.sustainable)
        };
        assert!(good >= right, "{} at {load}: {good} right", server.name);
        assert!(bad <= wrong, "{} at {load}: {bad} wrong", server.name);
    }
}

#[test]
fn what_is_beyond_doubt_ends_a_trial_and_nothing_else_does() {
    let ended = |server: &Server, load: f64, duration_s: f64, seed: u64, goal: Goal| {
        stopped_s(
            &server.trial(Arrivals::Stratified, load, duration_s, seed),
            goal,
            60,
        )
    };
    for seed in 0..5 {
        // A confirmation of a rate that is sustained lasts to its end.
        assert_eq!(ended(&B64_UNIFORM, 0.97, 600.0, seed, Goal::Confirm), None);
        assert_eq!(ended(&B256_L512, 0.97, 600.0, seed, Goal::Confirm), None);
        let over = ended(&B64_L128, 1.5, 600.0, seed, Goal::Decide);
        assert!(over.is_some_and(|s| s < 60.0), "{over:?}");
        let precision = 0.01;
        for load in [0.05, 0.5, 1.2, 3.0] {
            let end = ended(&B64_UNIFORM, load, 600.0, seed, locate(precision));
            assert!(end.is_some_and(|s| s <= 120.0), "{load}: {end:?}");
        }
    }
}

fn locate(precision: f64) -> Goal {
    Goal::Locate {
        precision,
        at_least_s: 0.0,
    }
}

#[test]
fn an_ended_trial_is_judged_as_it_was_when_it_ended() {
    for seed in 0..10 {
        for (load, ruling) in [
            (0.05, Ruling::Sustainable),
            (0.7, Ruling::Sustainable),
            (1.1, Ruling::Unsustainable),
            (2.0, Ruling::Unsustainable),
        ] {
            let trial = B64_UNIFORM.trial(Arrivals::Stratified, load, 600.0, seed);
            for goal in [Goal::Decide, locate(0.01)] {
                let end_s = stopped_s(&trial, goal, 60).unwrap();
                let verdict = Drift::new(95.0).judge(&cut(trial.clone(), end_s), &Earlier::default());
                assert_eq!(verdict.ruling, ruling, "{load}, {end_s} s: {:?}", verdict.reasons);
            }
        }
    }
}

#[test]
fn two_hundred_looks_hardly_ever_err() {
    // Measured: 1 of 1,000 in all (docs/criteria.md); at that rate more than two of 100 come once in 6,000.
    let mut wrong = 0;
    for seed in 0..25 {
        for (load, ruling) in [(0.97, Ruling::Sustainable), (1.05, Ruling::Unsustainable)] {
            for server in [B64_L128, B64_UNIFORM] {
                let trial = server.trial(Arrivals::Stratified, load, 300.0, seed);
                if let Some(end_s) = stopped_s(&trial, Goal::Decide, 200) {
                    let verdict = Drift::new(95.0).judge(&cut(trial, end_s), &Earlier::default());
                    wrong += u32::from(verdict.ruling != ruling);
                }
            }
        }
    }
    assert!(wrong <= 2, "{wrong} of 100");
}

#[test]
fn a_saturated_server_tells_its_capacity() {
    // The service time is 4 s, 4 s, 28 s and 28 s.
    for (server, duration_s) in [
        (B64_L128, 60.0),
        (B64_UNIFORM, 60.0),
        (B256_L512, 150.0),
        (B256_UNIFORM, 150.0),
        (MEMORY, 300.0),
    ] {
        for (seed, load) in [(1, 1.2), (2, 1.5), (3, 2.0)] {
            let trial = server.trial(Arrivals::Stratified, load, duration_s, seed);
            let verdict = Drift::new(95.0).judge(&trial, &Earlier::default());
            let hint = verdict.capacity_hint.unwrap();
            let truth = 60.0 * server.capacity();
            let off = hint.value / truth - 1.0;
            assert!(off.abs() < 0.01, "{} at {load}: {hint:?}, {truth}", server.name);
            assert!(
                hint.low <= truth && truth <= hint.high,
                "{} at {load}: {hint:?}, {truth}",
                server.name
            );
        }
    }
}

#[test]
fn a_service_that_refuses_tells_what_it_does_well() {
    let below = BOUNDED.trial(Arrivals::Stratified, 0.97, 1800.0, 1);
    let verdict = Drift::new(95.0).judge(&below, &Earlier::default());
    assert_eq!(verdict.ruling, Ruling::Sustainable, "{:?}", verdict.reasons);
    let above = BOUNDED.trial(Arrivals::Stratified, 1.3, 600.0, 1);
    let verdict = Drift::new(95.0).judge(&above, &Earlier::default());
    assert_eq!(verdict.ruling, Ruling::Unsustainable, "{:?}", verdict.reasons);
    let (hint, truth) = (verdict.capacity_hint.unwrap(), 60.0 * BOUNDED.capacity());
    assert!((hint.value / truth - 1.0).abs() < 0.01, "{hint:?} {truth}");
}

#[test]
fn what_comes_and_goes_is_judged_by_what_is_left() {
    for (server, load, ruling) in [
        (STALLS, 0.97, Ruling::Sustainable),
        (STALLS, 1.03, Ruling::Unsustainable),
        (LONG_STALLS, 0.97, Ruling::Sustainable),
        (NEIGHBOUR, 0.97, Ruling::Sustainable),
        (NEIGHBOUR, 1.05, Ruling::Unsustainable),
        (HEAT, 0.97, Ruling::Sustainable),
        (HEAT, 1.05, Ruling::Unsustainable),
        (COLD, 0.97, Ruling::Sustainable),
        (COLD, 1.05, Ruling::Unsustainable),
    ] {
        for seed in 0..3 {
            let trial = server.trial(Arrivals::Stratified, load, 1800.0, seed);
            let verdict = Drift::new(95.0).judge(&trial, &Earlier::default());
            assert_eq!(
                verdict.ruling, ruling,
                "{} at {load}: {:?}",
                server.name, verdict.reasons
            );
        }
    }
}

#[test]
fn the_warmup_comes_from_the_data() {
    // A service time of 25 s: no fixed guess of a few seconds would do.
    let trial = B256_L512.trial(Arrivals::Poisson, 0.9, 1800.0, 1);
    let estimate = DriftEstimate::of(&trial.backlog()).unwrap();
    assert!(estimate.warmup_s > 20.0, "{estimate:?}");
    let trial = DEMO.trial(Arrivals::Poisson, 0.5, 10.0, 1);
    assert!(DriftEstimate::of(&trial.backlog()).unwrap().warmup_s < 2.5);
}
