use proptest::prelude::*;

use super::*;
use crate::criterion::{Ruling, Verdict};
use crate::trial::Estimate;

const DURATION_S: f64 = 1800.0;

fn config(start: f64) -> AdaptiveConfig {
    AdaptiveConfig {
        start: Rate::per_minute(start),
        duration_s: DURATION_S,
        stop: StopRule::Relative(0.05),
        limit: 40,
        budget_s: None,
        prior: None,
        confirm: true,
    }
}

/// A number in -1..1 that looks random.
fn noise(key: f64) -> f64 {
    let bits = key
        .to_bits()
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .rotate_left(31)
        .wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (bits >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// A service of this capacity, seen with an error of up to `error`, as a share.
fn judged(probe: &Probe, capacity: f64, error: f64) -> (Verdict, f64) {
    let rate = probe.rate.as_per_minute();
    let error = error * (DURATION_S / probe.duration_s.unwrap_or(DURATION_S)).sqrt();
    let off = noise(rate + f64::from(probe.attempt)) * error;
    let drift = (1.0 - capacity / rate).max(0.0) + off;
    let ruling = if drift + error < 0.01 {
        Ruling::Sustainable
    } else if drift - error > 0.0 && drift > 0.01 {
        Ruling::Unsustainable
    } else {
        Ruling::Unsure
    };
    let around = |value: f64, half: f64| Estimate {
        value,
        low: value - half,
        high: value + half,
    };
    let failed = ruling == Ruling::Unsustainable;
    let verdict = Verdict {
        criterion: "oracle".to_owned(),
        ruling,
        margin: Some(around(drift, error)),
        bound: Some(0.01),
        capacity_hint: failed.then(|| around(rate * (1.0 - drift), rate * error)),
        reasons: Vec::new(),
        statistics: serde_json::Value::Null,
    };
    let longest_s = probe.duration_s.unwrap_or(DURATION_S);
    let load_s = match probe.goal {
        Goal::Locate { at_least_s, .. } if ruling != Ruling::Unsure => (0.5 * longest_s).max(at_least_s),
        _ => longest_s,
    };
    (verdict, load_s)
}

type Seen = (Probe, Verdict, f64);

fn observed((probe, verdict, load_s): &Seen) -> Observed<'_> {
    Observed {
        probe,
        verdict,
        offered: probe.rate,
        load_s: *load_s,
    }
}

fn run(search: &mut Adaptive, mut oracle: impl FnMut(&Probe) -> (Verdict, f64)) -> (Answer, Vec<Seen>) {
    let mut all = Vec::new();
    loop {
        match search.next() {
            Step::Done(answer) => return (answer, all),
            Step::Probe(probe) => {
                let (verdict, load_s) = oracle(&probe);
                all.push((probe, verdict, load_s));
                search.observe(&observed(&all[all.len() - 1]));
            }
        }
    }
}

#[test]
fn a_prior_saves_the_ramp_and_a_wrong_one_is_given_up() {
    for (believed, most) in [(1020.0, 4), (400.0, 9), (3000.0, 9)] {
        let prior = Prior {
            capacity: Rate::per_minute(believed),
            low: Rate::per_minute(0.93 * believed),
            high: Rate::per_minute(1.07 * believed),
        };
        let mut search = Adaptive::new(AdaptiveConfig {
            prior: Some(prior),
            ..config(40.0)
        });
        let (answer, trials) = run(&mut search, |probe| judged(probe, 1000.0, 0.003));
        let rate = answer.rate.unwrap().as_per_minute();
        assert!((rate / 1000.0 - 1.0).abs() < 0.03, "{believed}: {answer:?}");
        assert!(trials.len() <= most, "{believed}: {trials:#?}");
    }
}

#[test]
fn what_short_probes_promise_and_a_long_one_refutes_is_told() {
    // Short probes never see the pause that comes every half hour.
    let mut search = Adaptive::new(config(40.0));
    let (answer, _) = run(&mut search, |probe| {
        let short = probe.duration_s.unwrap() < DURATION_S;
        judged(probe, if short { 1060.0 } else { 1000.0 }, 0.003)
    });
    assert!(answer.reason.contains("was expected to hold"), "{answer:?}");
    assert!(
        (answer.rate.unwrap().as_per_minute() / 1000.0 - 1.0).abs() < 0.03,
        "{answer:?}"
    );
    assert!(answer.low.unwrap().as_per_minute() < 1000.0 && answer.high.unwrap().as_per_minute() > 1000.0);
}

#[test]
fn a_budget_ends_it_with_the_best_answer() {
    let mut search = Adaptive::new(AdaptiveConfig {
        budget_s: Some(1200.0),
        ..config(40.0)
    });
    let (answer, trials) = run(&mut search, |probe| judged(probe, 1000.0, 0.003));
    assert!(trials.iter().map(|t| t.2).sum::<f64>() <= 1200.0);
    assert_eq!(answer.status, Status::Undecided);
    assert!(
        (answer.rate.unwrap().as_per_minute() / 1000.0 - 1.0).abs() < 0.05,
        "{answer:?}"
    );
}

#[test]
fn without_confirmation_the_answer_is_an_estimate() {
    let mut search = Adaptive::new(AdaptiveConfig {
        confirm: false,
        ..config(40.0)
    });
    let (answer, trials) = run(&mut search, |probe| judged(probe, 1000.0, 0.003));
    assert_eq!((answer.status, answer.confirmed_s), (Status::Estimated, None));
    assert!(trials.iter().all(|t| t.2 < DURATION_S));
}

#[test]
fn nothing_and_everything_are_told() {
    let mut nothing = Adaptive::new(config(40.0));
    let (answer, _) = run(&mut nothing, |probe| {
        let (verdict, load_s) = judged(probe, 1e-9, 0.003);
        (
            Verdict {
                capacity_hint: None,
                ..verdict
            },
            load_s,
        )
    });
    assert_eq!((answer.status, answer.rate), (Status::UpperBoundOnly, None));
    let mut everything = Adaptive::new(config(40.0));
    let (answer, _) = run(&mut everything, |probe| judged(probe, 1e300, 0.003));
    assert_eq!((answer.status, answer.high), (Status::LowerBoundOnly, None));
}

#[test]
fn a_hint_above_what_was_offered_is_no_contradiction_in_terms() {
    // A service that may refuse one in twenty is said to be able to do more than it was offered.
    let mut search = Adaptive::new(config(1000.0));
    let verdict = |ruling, hint: Option<f64>| Verdict {
        ruling,
        capacity_hint: hint.map(|value| Estimate {
            value,
            low: 0.99 * value,
            high: 1.01 * value,
        }),
        ..judged(&probe_at(1000.0), 2000.0, 0.003).0
    };
    let trials = [
        (
            probe_at(1000.0),
            verdict(Ruling::Unsustainable, Some(1010.0)),
            300.0,
        ),
        (probe_at(1100.0), verdict(Ruling::Sustainable, None), 300.0),
    ];
    for trial in &trials {
        search.observe(&observed(trial));
    }
    assert!(
        search
            .belief
            .is_some_and(|b| b.low < b.median && b.median < b.high)
    );
}

#[test]
fn an_unsure_trial_far_below_is_no_refutation() {
    // Trials of three seconds: the first tells nothing, the second saturates the service.
    let mut search = Adaptive::new(AdaptiveConfig {
        duration_s: 3.0,
        ..config(3000.0)
    });
    let (at, far) = (probe_at(3000.0), probe_at(12_000.0));
    let (mut unsure, overloaded) = (judged(&at, 11_000.0, 0.015).0, judged(&far, 11_000.0, 0.015).0);
    unsure.ruling = Ruling::Unsure;
    search.observe(&observed(&(at, unsure, 3.0)));
    search.observe(&observed(&(far, overloaded, 3.0)));
    let Step::Probe(next) = search.next() else {
        panic!("the search is done");
    };
    assert!(next.rate.as_per_minute() > 10_000.0, "{next:?}");
}

#[test]
fn a_ramp_goes_on_after_a_short_clear_trial_beside_a_long_unclear_one() {
    let mut search = Adaptive::new(config(50.0));
    let at = probe_at(50.0);
    let mut unsure = judged(&at, 1000.0, 0.015).0;
    (unsure.ruling, unsure.margin) = (Ruling::Unsure, None);
    search.observe(&observed(&(at, unsure, 60.0)));
    search.observe(&observed(&(at, judged(&at, 1000.0, 0.015).0, 22.0)));
    let Step::Probe(next) = search.next() else {
        panic!("the search is done");
    };
    assert_eq!(next.rate.as_per_minute(), 200.0);
}

fn probe_at(per_minute: f64) -> Probe {
    Probe {
        rate: Rate::per_minute(per_minute),
        stage: 2,
        attempt: 0,
        pooled: false,
        goal: Goal::Decide,
        duration_s: Some(300.0),
    }
}

proptest! {
    /// Whatever the capacity and the start: the answer is near, confirmed, within the interval, and no probe comes twice.
    #[test]
    fn the_capacity_is_found(capacity in 30.0f64..1e6, start in 0.01f64..3.0, error in 0.0005f64..0.004) {
        let mut search = Adaptive::new(config((capacity * start).max(1.0)));
        let (answer, trials) = run(&mut search, |probe| judged(probe, capacity, error));
        let rate = answer.rate.unwrap().as_per_minute();
        prop_assert!((rate / capacity - 1.0).abs() < 0.05, "{answer:?} {trials:#?}");
        prop_assert!(answer.low.unwrap().as_per_minute() <= rate && rate <= answer.high.unwrap().as_per_minute());
        prop_assert_eq!(answer.confirmed_s, Some(DURATION_S));
        let different: std::collections::BTreeSet<_> = trials.iter().map(|t| (t.0.rate.as_per_minute().to_bits(), t.0.attempt)).collect();
        prop_assert_eq!(different.len(), trials.len());
    }

    /// A search that is given what another one saw, in any order, goes on as that one would have.
    #[test]
    fn what_is_recalled_counts_as_seen(capacity in 30.0f64..1e5, split in 0usize..8, turn in 0usize..8) {
        let oracle = |probe: &Probe| judged(probe, capacity, 0.003);
        let (answer, trials) = run(&mut Adaptive::new(config(50.0)), oracle);
        let split = split.min(trials.len());
        let mut stored: Vec<&Seen> = trials[..split].iter().collect();
        stored.rotate_left(turn % split.max(1));
        let mut resumed = Adaptive::new(config(50.0));
        for trial in stored {
            resumed.recall(&observed(trial));
        }
        let (again, rest) = run(&mut resumed, oracle);
        prop_assert_eq!(&again, &answer);
        prop_assert_eq!(&rest[..], &trials[split..]);
    }

    /// Against any rulings it ends within its limit.
    #[test]
    fn any_oracle_ends(seed in any::<u32>(), start in 1.0f64..1e5) {
        let mut search = Adaptive::new(config(start));
        let mut count = 0u32;
        let (_, trials) = run(&mut search, |probe| {
            count += 1;
            let (mut verdict, load_s) = judged(probe, 1000.0, 0.01);
            let pick = noise(f64::from(seed) + f64::from(count));
            verdict.ruling = if pick < -0.3 { Ruling::Unsure } else if pick < 0.3 { Ruling::Sustainable } else { Ruling::Unsustainable };
            (verdict, load_s)
        });
        prop_assert!(trials.len() <= 40);
    }
}
