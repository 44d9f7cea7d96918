//! What is joined into the criteria: success rate, void trials, response times, throughput.

use mst::criterion::drift::Drift;
use mst::criterion::plateau::Plateau;
use mst::criterion::{Criterion, Earlier, Ruling, Throughput};
use mst::trial::{Measurement, Outcome};
use mst::units::Rate;

use super::simulated::{Arrivals, B64_L128, DEMO, SLOW};

fn judged(criterion: &dyn Criterion, measurement: &Measurement) -> Ruling {
    criterion.judge(measurement, &Earlier::default()).ruling
}

/// Every `n`-th request failed.
fn failing(mut trial: Measurement, n: usize) -> Measurement {
    for record in trial.records.iter_mut().step_by(n) {
        record.outcome = Outcome::Http(503);
    }
    trial
}

#[test]
fn errors_make_a_rate_unsustainable() {
    let trial = || B64_L128.trial(Arrivals::Poisson, 0.8, 600.0, 1);
    let criteria: [&dyn Criterion; 2] = [&Drift::new(95.0), &Plateau::new(95.0)];
    for criterion in criteria {
        assert_eq!(judged(criterion, &trial()), Ruling::Sustainable);
        assert_eq!(judged(criterion, &failing(trial(), 33)), Ruling::Sustainable);
        assert_eq!(judged(criterion, &failing(trial(), 12)), Ruling::Unsustainable);
    }
}

#[test]
fn a_client_that_was_late_voids_the_trial() {
    let mut trial = failing(DEMO.trial(Arrivals::Poisson, 1.5, 10.0, 1), 2);
    trial.client.void = Some("p99 lateness 80 ms".to_owned());
    let criteria: [&dyn Criterion; 2] = [&Drift::new(95.0), &Plateau::new(95.0)];
    for criterion in criteria {
        let verdict = criterion.judge(&trial, &Earlier::default());
        assert_eq!(verdict.ruling, Ruling::Unsure);
        assert!(verdict.reasons[0].contains("p99 lateness 80 ms"));
    }
}

#[test]
fn a_service_that_finishes_nothing_is_overloaded_once_patience_ends() {
    let mut trial = DEMO.trial(Arrivals::Poisson, 0.5, 10.0, 1);
    for record in &mut trial.records {
        record.done_ns = None;
        record.outcome = Outcome::Unfinished;
    }
    assert_eq!(judged(&Drift::new(95.0), &trial), Ruling::Unsustainable);
    trial.observed_s = 20.0;
    assert_eq!(judged(&Drift::new(95.0), &trial), Ruling::Unsure);
    trial.records.clear();
    assert_eq!(judged(&Drift::new(95.0), &trial), Ruling::Unsure);
    assert_eq!(judged(&Plateau::new(95.0), &trial), Ruling::Unsure);
}

#[test]
fn too_few_requests_are_unsure_unless_the_service_is_idle() {
    let trial = SLOW.trial(Arrivals::Constant, 0.9, 120.0, 1);
    assert!(trial.records.len() < 50);
    let verdict = Drift::new(95.0).judge(&trial, &Earlier::default());
    assert_eq!(verdict.ruling, Ruling::Unsure, "{:?}", verdict.reasons);
    assert_eq!(verdict.margin, None);
    // Each is served long before the next one comes.
    let trial = DEMO.trial(Arrivals::Constant, 0.01, 10.0, 1);
    assert!(trial.records.len() < 50);
    let verdict = Drift::new(95.0).judge(&trial, &Earlier::default());
    assert_eq!(verdict.ruling, Ruling::Sustainable, "{:?}", verdict.reasons);
    assert_eq!(verdict.margin, None);
}

#[test]
fn response_times_that_double_are_not_sustainable() {
    // Too small a growth of the backlog to see in it: 2 s more over half an hour.
    let mut trial = B64_L128.trial(Arrivals::Poisson, 0.6, 1800.0, 1);
    let stretch = |trial: &mut Measurement, seconds: f64| {
        for record in &mut trial.records {
            let share = record.intended_ns as f64 / 1.8e12;
            record.done_ns = record.done_ns.map(|d| d + (seconds * 1e9 * share) as i64);
        }
    };
    assert_eq!(judged(&Drift::new(95.0), &trial), Ruling::Sustainable);
    stretch(&mut trial, 3.0);
    assert_eq!(judged(&Drift::new(95.0), &trial), Ruling::Unsure);
    stretch(&mut trial, 6.0);
    assert_eq!(judged(&Drift::new(95.0), &trial), Ruling::Unsustainable);
}

#[test]
fn the_plateau_is_found_in_any_stage() {
    let plateau = Plateau::new(95.0);
    let below = B64_L128.trial(Arrivals::Poisson, 0.8, 600.0, 1);
    let above = B64_L128.trial(Arrivals::Poisson, 1.3, 600.0, 1);
    // Without history, as after a bracket was found.
    assert_eq!(judged(&plateau, &below), Ruling::Sustainable);
    assert_eq!(judged(&plateau, &above), Ruling::Unsustainable);
    let served = plateau.throughput(&above).responded_per_minute;
    assert!(
        (served / (60.0 * B64_L128.capacity()) - 1.0).abs() < 0.02,
        "{served}"
    );
    let history = [plateau.throughput(&below)];
    let earlier = Earlier {
        pooled: &[],
        history: &history,
    };
    assert_eq!(plateau.judge(&above, &earlier).ruling, Ruling::Unsustainable);
}

#[test]
fn the_older_plateau_needs_three_trials_and_never_fails_in_stage_two() {
    let plateau = Plateau::legacy(0.1, 1.0, 95.0);
    let trial = B64_L128.trial(Arrivals::Poisson, 2.0, 600.0, 1);
    let own = plateau.throughput(&trial).responded_per_minute;
    let at = |responded_per_minute: f64| Throughput {
        asked: Rate::per_minute(1.0),
        responded_per_minute,
    };
    for (history, ruling) in [
        (vec![], Ruling::Sustainable),
        (vec![at(own + 10.0)], Ruling::Sustainable),
        (vec![at(1.0), at(own + 10.0)], Ruling::Unsustainable),
        (vec![at(own - 200.0), at(own - 5.0)], Ruling::Unsustainable),
        (vec![at(own - 200.0), at(own - 100.0)], Ruling::Sustainable),
    ] {
        let earlier = Earlier {
            pooled: &[],
            history: &history,
        };
        assert_eq!(plateau.judge(&trial, &earlier).ruling, ruling, "{history:?}");
    }
}
