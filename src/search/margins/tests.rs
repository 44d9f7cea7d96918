use proptest::prelude::*;

use super::*;
use crate::criterion::Verdict;
use crate::search::testing::verdict;

fn config(start: f64) -> MarginsConfig {
    MarginsConfig {
        start: Rate::per_second(start),
        expected: None,
        limit: 30,
        tolerance: 0.025,
        lowest: Rate::per_second(1e-3),
        highest: None,
    }
}

/// A service whose value grows as a power of the rate and shoots up beyond `capacity` times 1.3.
fn judged(rate: f64, capacity: f64, slope: f64, noise: f64, se: f64) -> Verdict {
    let margin = if rate > 1.3 * capacity {
        -1.0
    } else {
        (slope * (capacity / rate).ln() + noise).clamp(-1.0, 1.0)
    };
    let ruling = if margin >= 0.0 {
        Ruling::Sustainable
    } else {
        Ruling::Unsustainable
    };
    Verdict {
        margin: Some(Estimate {
            value: margin,
            low: margin - 1.96 * se,
            high: margin + 1.96 * se,
        }),
        ..verdict(ruling)
    }
}

fn drive(search: &mut Margins, mut oracle: impl FnMut(f64) -> Verdict) -> (Answer, usize) {
    let mut trials = 0;
    loop {
        match search.next() {
            Step::Done(answer) => return (answer, trials),
            Step::Probe(probe) => {
                trials += 1;
                let verdict = oracle(probe.rate.as_per_second());
                search.observe(&Observed {
                    probe: &probe,
                    verdict: &verdict,
                    offered: probe.rate,
                    load_s: 60.0,
                });
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn it_finds_the_capacity(capacity in 0.05f64..200.0, start in 0.1f64..20.0, slope in 1.0f64..10.0) {
        let mut search = Margins::new(config(start));
        let (answer, trials) = drive(&mut search, |rate| judged(rate, capacity, slope, 0.0, 0.02));
        let found = answer.rate.unwrap().as_per_second();
        prop_assert_eq!(answer.status, Status::Bracketed);
        prop_assert!((found / capacity - 1.0).abs() < 0.04, "{found} for {capacity} in {trials}");
        prop_assert!(trials <= 30);
        prop_assert!(answer.low.unwrap() <= answer.rate.unwrap() && answer.rate.unwrap() <= answer.high.unwrap());
    }
}

#[test]
fn intervals_hold_what_they_promise() {
    use rand::RngExt;
    let mut rng = crate::workload::seeds::stream(7, "noise");
    let mut normal = || {
        let (u, v): (f64, f64) = (rng.random(), rng.random());
        (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    };
    let (mut held, mut trials, runs) = (0, 0, 120);
    for run in 0..runs {
        let capacity = 3.0 + f64::from(run) / 40.0;
        let slope = 2.0 + f64::from(run % 5);
        let mut search = Margins::new(config(2.0));
        let (answer, took) = drive(&mut search, |rate| {
            judged(rate, capacity, slope, 0.1 * normal(), 0.1)
        });
        let (low, high) = (
            answer.low.unwrap().as_per_second(),
            answer.high.unwrap().as_per_second(),
        );
        held += u32::from((low..=high).contains(&capacity));
        trials += took;
    }
    let share = f64::from(held) / f64::from(runs);
    assert!(share >= 0.9, "{share}");
    assert!(trials as f64 / f64::from(runs) < 24.0, "{trials}");
}

#[test]
fn what_is_expected_spares_the_ramp_and_is_not_believed() {
    let trials_with = |expected: Option<f64>, sd: f64| {
        let around = |capacity: f64| Prior {
            capacity: Rate::per_second(capacity),
            low: Rate::per_second(capacity * (-1.96 * sd).exp()),
            high: Rate::per_second(capacity * (1.96 * sd).exp()),
        };
        let mut search = Margins::new(MarginsConfig {
            expected: expected.map(around),
            ..config(0.25)
        });
        let (answer, trials) = drive(&mut search, |rate| judged(rate, 20.0, 3.0, 0.0, 0.02));
        let found = answer.rate.unwrap().as_per_second();
        assert!((found / 20.0 - 1.0).abs() < 0.04, "{found}");
        trials
    };
    let nothing = trials_with(None, 0.0);
    let right = trials_with(Some(21.0), 0.1);
    assert!(right + 3 <= nothing, "{right} instead of {nothing}");
    for wrong in [0.7, 300.0] {
        let trials = trials_with(Some(wrong), 0.1);
        assert!(
            trials <= nothing + 4,
            "{trials} instead of {nothing} with {wrong}"
        );
    }
}

#[test]
fn one_side_only_is_said() {
    let mut search = Margins::new(MarginsConfig {
        highest: Some(Rate::per_second(10.0)),
        ..config(1.0)
    });
    let (answer, _) = drive(&mut search, |rate| judged(rate, 1e6, 2.0, 0.0, 0.02));
    assert_eq!(answer.status, Status::LowerBoundOnly);
    assert!((answer.rate.unwrap().as_per_second() - 10.0).abs() < 1e-9);
    let mut search = Margins::new(MarginsConfig {
        lowest: Rate::per_second(0.1),
        ..config(1.0)
    });
    let (answer, _) = drive(&mut search, |rate| judged(rate, 1e-6, 2.0, 0.0, 0.02));
    assert_eq!((answer.status, answer.rate), (Status::UpperBoundOnly, None));
}

#[test]
fn what_is_stored_spares_trials() {
    let mut fresh = Margins::new(config(1.0));
    let mut kept = Vec::new();
    let (answer, trials) = drive(&mut fresh, |rate| {
        kept.push(rate);
        judged(rate, 5.0, 3.0, 0.0, 0.02)
    });
    let mut informed = Margins::new(config(1.0));
    for rate in &kept {
        let probe = Probe {
            rate: Rate::per_second(*rate),
            stage: 1,
            attempt: 0,
            pooled: false,
            goal: Goal::Decide,
            duration_s: None,
        };
        informed.learn([Observed {
            probe: &probe,
            verdict: &judged(*rate, 5.0, 3.0, 0.0, 0.02),
            offered: probe.rate,
            load_s: 60.0,
        }]);
    }
    assert_eq!(informed.next(), Step::Done(answer));
    assert!(trials > 2);
}

#[test]
fn trials_that_do_not_tell_end_it() {
    let mut search = Margins::new(config(1.0));
    let (answer, trials) = drive(&mut search, |_| verdict(Ruling::Unsure));
    assert_eq!((answer.status, trials), (Status::Undecided, 2));
    let mut search = Margins::new(config(1.0));
    let (answer, trials) = drive(&mut search, |rate| {
        if rate < 0.9 {
            verdict(Ruling::Unsure)
        } else {
            judged(rate, 0.1, 2.0, 0.0, 0.02)
        }
    });
    assert_eq!((answer.status, trials), (Status::UpperBoundOnly, 3));
}
