//! Whether the intervals of the adaptive rule hold the truth: searches of a simulated system with many seeds, against the
//! rate at which half of the trials meet the objective, from hundreds of trials about it.

use std::path::Path;

use mst::matrix::file::{File, Rule, SearchRule};
use mst::matrix::{Conduct, Input, Outcome};
use mst::store::Store;

use super::FILE;
use crate::support::long;

struct Nobody;

impl mst::report::Observer for Nobody {
    fn see(&mut self, _event: &mst::report::Event) {}
}

/// Of the last objective; the others come before it and leave their trials.
fn outcome(file: &File) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let conduct = Conduct {
        input: Input {
            file,
            base: Path::new(""),
            side: None,
            cluster_profile: None,
            environment: &[],
            profile: &mst::store::prefill::PrefillProfile::load,
        },
        store: &store,
        threads: 1,
        stored: false,
        time_left: &|_| Ok(()),
        interrupted: &|| false,
        told: &|_| {},
    };
    conduct.run(&mut Nobody).unwrap().pop().unwrap()
}

/// The logarithm of bound over observed value at every trial of an outcome, with the logarithm of the rate.
fn margins(outcome: &Outcome) -> Vec<(f64, f64)> {
    outcome
        .curve
        .iter()
        .map(|point| {
            let log = |seen: &mst::slo::objective::Seen| {
                let observed = seen.observed.unwrap_or(f64::INFINITY);
                if seen.statistic == "share" {
                    ((1.0 - seen.bound) / (1.0 - observed).max(2.5e-4)).ln()
                } else {
                    (seen.bound / observed).ln()
                }
            };
            let least = point.slos.iter().map(log).fold(f64::INFINITY, f64::min);
            (point.qps.ln(), least.clamp(-1.0, 1.0))
        })
        .collect()
}

/// The rate at which half of the trials meet their objective: where a straight line through the margins crosses zero, fitted
/// by least absolute deviations (reweighted least squares).
fn crossing(points: &[(f64, f64)]) -> f64 {
    let (mut level, mut slope) = (0.0, 0.0);
    for _ in 0..50 {
        let mut sums = [0.0; 5];
        for (x, y) in points {
            let weight = 1.0 / (y - level - slope * x).abs().max(1e-3);
            for (sum, term) in sums.iter_mut().zip([1.0, *x, *y, x * x, x * y]) {
                *sum += weight * term;
            }
        }
        let [n, x, y, xx, xy] = sums;
        slope = (n * xy - x * y) / (n * xx - x * x);
        level = (y - slope * x) / n;
    }
    (-level / slope).exp()
}

const TTFT: &str = "{name: loose, metric: ttft, quantile: 0.9, max: 0.3}";
const PAIR: &str = "tokens: \"512:64\"";
const DRAWN: &str = "lengths: {separate: {input: {distribution: lognormal, mean: 1000, std: 800, max: 6000}, \
                     output: {distribution: lognormal, mean: 250, std: 200, max: 2000}}}";

/// What is searched for.
struct Case {
    name: &'static str,
    slo: &'static str,
    /// What was searched for before, and left its trials.
    after: Option<&'static str>,
    workload: &'static str,
}

#[test]
fn intervals_of_the_adaptive_rule_hold_the_truth() {
    let searches = if long() { 60 } else { 8 };
    let mut lines = Vec::new();
    let case = |name, slo, after, workload| Case {
        name,
        slo,
        after,
        workload,
    };
    for case in [
        case("ttft-p90", TTFT, None, PAIR),
        case(
            "e2e-p99",
            "{name: loose, metric: e2e, quantile: 0.99, max: 3}",
            None,
            PAIR,
        ),
        case(
            "goodput",
            "{name: loose, goodput: 0.95, all: [{metric: ttft, max: 0.3}, {metric: tpot, max: 0.04}]}",
            None,
            PAIR,
        ),
        case("ttft-p90, drawn lengths", TTFT, None, DRAWN),
        case(
            "the same after ttft-p90 <= 1",
            TTFT,
            Some("{name: before, metric: ttft, quantile: 0.9, max: 1}"),
            DRAWN,
        ),
    ] {
        let Case {
            name, slo, workload, ..
        } = case;
        let text = FILE
            .replace("{name: loose, type: tbt_ttft, tbt_slo: 0.2, ttft_slo: 1}", slo)
            .replace("tokens: \"256:32\"", workload)
            .replace("requests: 200", "requests: 1000")
            .replace("rule: etalon", "rule: adaptive");
        let mut file = File::parse(&text, "test".as_ref()).unwrap();
        let first = outcome(&file).capacity_qps.unwrap();
        // Two rounds: the second about the crossing of the first.
        let mut truth = first;
        // As wide as trials scatter: one of drawn lengths is 7 % off.
        let reaches = if workload == DRAWN {
            [0.1, 0.07]
        } else {
            [0.05, 0.02]
        };
        for (round, reach) in reaches.into_iter().enumerate() {
            let mut points = Vec::new();
            let trials = if long() { 300 } else { 100 };
            for trial in 0..trials {
                // Arrivals and lengths of its own for every trial.
                file.seed = 1_000 * (round as u64 + 1) + trial;
                let place = 2.0 * (trial as f64 + 0.5) / trials as f64 - 1.0;
                file.search = SearchRule {
                    rule: Rule::Rates,
                    rates: vec![truth * (1.0 + reach * place)],
                    ..SearchRule::default()
                };
                points.extend(margins(&outcome(&file)));
            }
            truth = crossing(&points);
        }
        if let Some(before) = case.after {
            let both = text.replace(slo, &format!("{before}\n  - {slo}"));
            file = File::parse(&both, "test".as_ref()).unwrap();
        }
        file.search = SearchRule {
            start_qps: 2.0,
            ..SearchRule::default()
        };
        let (mut held, mut errors, mut trials, mut widths) = (0, Vec::new(), 0, Vec::new());
        for seed in 0..searches {
            file.seed = 5_000 + seed;
            let found = outcome(&file);
            let (qps, [low, high]) = (
                found.capacity_qps.unwrap(),
                found.interval_qps.map(Option::unwrap),
            );
            held += u64::from((low..=high).contains(&truth));
            errors.push((qps / truth - 1.0).abs());
            widths.push((high - low) / (2.0 * qps));
            trials += found.trials;
        }
        errors.sort_by(f64::total_cmp);
        widths.sort_by(f64::total_cmp);
        let coverage = held as f64 / searches as f64;
        let line = format!(
            "{name}: truth {truth:.3}, coverage {:.0} %, error p50 {:.2} % p95 {:.2} %, half width p50 {:.2} %, {:.1} trials",
            100.0 * coverage,
            100.0 * errors[errors.len() / 2],
            100.0 * errors[errors.len() * 95 / 100],
            100.0 * widths[widths.len() / 2],
            trials as f64 / searches as f64
        );
        lines.push(line);
        assert!(coverage >= if long() { 0.9 } else { 0.6 }, "{lines:?}");
        assert!(errors[errors.len() / 2] < 0.03, "{lines:?}");
    }
    for line in lines {
        println!("{line}");
    }
}
