//! Whether the intervals of the adaptive rule hold the truth: searches of a simulated system with many seeds, against the
//! rate at which the margin of a trial is zero on average, from hundreds of trials about it.

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
            profile: &|_| Err(String::new()),
        },
        store: &store,
        threads: 1,
        stored: false,
        time_left: &|_| Ok(()),
        interrupted: &|| false,
        told: &|_| {},
    };
    conduct.run(&mut Nobody).unwrap().remove(0)
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

/// Where a straight line through points within a tenth of `near` crosses zero.
fn crossing(points: &[(f64, f64)]) -> f64 {
    let n = points.len() as f64;
    let (mx, my) = (
        points.iter().map(|p| p.0).sum::<f64>() / n,
        points.iter().map(|p| p.1).sum::<f64>() / n,
    );
    let slope = points.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum::<f64>()
        / points.iter().map(|p| (p.0 - mx).powi(2)).sum::<f64>();
    (mx - my / slope).exp()
}

#[test]
fn intervals_of_the_adaptive_rule_hold_the_truth() {
    let searches = if long() { 60 } else { 8 };
    let mut lines = Vec::new();
    for (name, slo) in [
        ("ttft-p90", "{name: loose, metric: ttft, quantile: 0.9, max: 0.3}"),
        ("e2e-p99", "{name: loose, metric: e2e, quantile: 0.99, max: 3}"),
        (
            "goodput",
            "{name: loose, goodput: 0.95, all: [{metric: ttft, max: 0.3}, {metric: tpot, max: 0.04}]}",
        ),
    ] {
        let text = FILE
            .replace("{name: loose, type: tbt_ttft, tbt_slo: 0.2, ttft_slo: 1}", slo)
            .replace("256:32", "512:64")
            .replace("requests: 200", "requests: 1000")
            .replace("rule: etalon", "rule: adaptive");
        let mut file = File::parse(&text, "test".as_ref()).unwrap();
        let first = outcome(&file).capacity_qps.unwrap();
        // Two rounds: the second about the crossing of the first.
        let mut truth = first;
        for round in 0..2 {
            let mut points = Vec::new();
            for seed in 0..if long() { 20 } else { 6 } {
                file.seed = 1_000 + 100 * round + seed;
                file.search = SearchRule {
                    rule: Rule::Rates,
                    rates: (0..15)
                        .map(|i| truth * (0.95 + 0.1 * f64::from(i) / 14.0))
                        .collect(),
                    ..SearchRule::default()
                };
                points.extend(margins(&outcome(&file)));
            }
            truth = crossing(&points);
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
