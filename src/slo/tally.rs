//! From the requests of a run to judgements.

use serde::{Deserialize, Serialize};

use super::{Joint, Metric, SloConfig};
use crate::sim::Record;
use crate::stats::quantile::quantile;

/// What became of one objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Whether it was kept.
    pub pass: bool,
    /// One bound: the quantile of its metric. Several: the share of requests that keep the objective. Nothing where the
    /// quantile falls on a request that was not finished, or the run was ended early.
    pub measured: Option<f64>,
    /// Room left: one bound: the share of the bound that is left; several: share minus quantile. Negative when it was not
    /// kept.
    pub margin: Option<f64>,
    /// The metric that decides: with `and` the one nearest to its bound or furthest beyond it, with `or` the one with most
    /// room.
    pub binding: Metric,
    /// The quantile of that metric divided by its bound.
    pub binding_ratio: Option<f64>,
}

/// Counts the requests of a run against several objectives.
#[derive(Clone, Debug)]
pub struct Tally<'a> {
    slos: &'a [SloConfig],
    total: usize,
    metrics: Vec<Metric>,
    /// By metric, a value a finished request.
    values: Vec<Vec<f64>>,
    /// By objective: the places of its metrics in `metrics`, and requests that do not keep it.
    places: Vec<Vec<usize>>,
    violations: Vec<usize>,
    open: usize,
}

impl<'a> Tally<'a> {
    /// For a run of `total` requests.
    pub fn new(slos: &'a [SloConfig], total: usize) -> Self {
        let mut metrics: Vec<Metric> = slos
            .iter()
            .flat_map(|s| s.slos.iter().map(|b| b.metric))
            .collect();
        metrics.sort_unstable();
        metrics.dedup();
        let place = |metric| metrics.iter().position(|m| *m == metric).unwrap_or(0);
        let places: Vec<Vec<usize>> = slos
            .iter()
            .map(|slo| slo.slos.iter().map(|bound| place(bound.metric)).collect())
            .collect();
        Self {
            slos,
            total,
            values: vec![Vec::with_capacity(total); metrics.len()],
            metrics,
            places,
            violations: vec![0; slos.len()],
            open: slos.len(),
        }
    }

    /// Adds a finished request.
    pub fn add(&mut self, record: &Record) {
        for (values, metric) in self.values.iter_mut().zip(&self.metrics) {
            values.push(metric.of(record));
        }
        for ((slo, places), violations) in self.slos.iter().zip(&self.places).zip(&mut self.violations) {
            let mut kept = slo
                .slos
                .iter()
                .zip(places)
                .map(|(bound, &at)| self.values[at].last().is_some_and(|value| *value <= bound.value));
            let good = match slo.joint {
                Joint::And => kept.all(|k| k),
                Joint::Or => kept.any(|k| k),
            };
            if !good {
                *violations += 1;
                if *violations == bearable(slo, self.total) + 1 {
                    self.open -= 1;
                }
            }
        }
    }

    /// Whether no objective can be kept any more, whatever the requests to come are like.
    pub fn is_lost(&self) -> bool {
        self.open == 0
    }

    /// Judges every objective; requests that were not added count as not finished.
    pub fn judge(mut self) -> Vec<Judgement> {
        for values in &mut self.values {
            values.resize(self.total.max(values.len()), f64::INFINITY);
            values.sort_unstable_by(f64::total_cmp);
        }
        let all = self.slos.iter().zip(&self.places).zip(&self.violations);
        all.map(|((slo, places), &violations)| {
            let unfinished = self.total - self.values.first().map_or(0, |v| finite(v));
            self.one(slo, places, violations + unfinished)
        })
        .collect()
    }

    /// The judgements of a run that was ended because nothing could be kept any more.
    pub fn judge_lost(self) -> Vec<Judgement> {
        let all = self.slos.iter().zip(&self.places);
        all.map(|(_, places)| Judgement {
            pass: false,
            measured: None,
            margin: None,
            binding: self.metrics[places[0]],
            binding_ratio: None,
        })
        .collect()
    }

    fn one(&self, slo: &SloConfig, places: &[usize], violations: usize) -> Judgement {
        let of = |at: usize| quantile(&self.values[at], slo.quantile).unwrap_or(f64::INFINITY);
        let ratios = slo
            .slos
            .iter()
            .zip(places)
            .map(|(bound, &at)| (bound.metric, of(at) / bound.value));
        let (binding, ratio) = match slo.joint {
            Joint::And => ratios.reduce(|a, b| if b.1 > a.1 { b } else { a }),
            Joint::Or => ratios.reduce(|a, b| if b.1 < a.1 { b } else { a }),
        }
        .unwrap_or((self.metrics[0], f64::INFINITY));
        let known = |value: f64| value.is_finite().then_some(value);
        let (pass, measured, margin) = if let ([bound], [at]) = (slo.slos.as_slice(), places) {
            let value = of(*at);
            (
                value <= bound.value,
                known(value),
                known(1.0 - value / bound.value),
            )
        } else {
            let good = self.total - violations.min(self.total);
            let share = good as f64 / self.total.max(1) as f64;
            let pass = self.total > 0 && share >= slo.quantile;
            (pass, Some(share), Some(share - slo.quantile))
        };
        Judgement {
            pass,
            measured,
            margin,
            binding,
            binding_ratio: known(ratio),
        }
    }
}

/// How many of ascending values are finite.
fn finite(sorted: &[f64]) -> usize {
    sorted.partition_point(|value| value.is_finite())
}

/// Most violations with which an objective may still be kept, for certain not with one more.
fn bearable(slo: &SloConfig, total: usize) -> usize {
    if slo.slos.len() == 1 {
        // With more violations than this, both order statistics that the quantile lies between are beyond the bound.
        let below = ((total.saturating_sub(1)) as f64 * slo.quantile).floor() as usize;
        return total.saturating_sub(below + 1);
    }
    // The largest number of violations whose share of good requests reaches the quantile.
    let guess = (total as f64 * (1.0 - slo.quantile)).ceil() as usize + 1;
    let kept = |bad: usize| (total.saturating_sub(bad)) as f64 / total.max(1) as f64 >= slo.quantile;
    (0..=guess.min(total)).rev().find(|&bad| kept(bad)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Bound;
    use super::*;
    use crate::sim::Time;

    fn record(ttft: f64, tpot: f64) -> Record {
        let at = Time::from_seconds;
        Record {
            id: 0,
            replica: 0,
            arrival: at(0.0),
            first_scheduled: at(0.0),
            first_token: at(ttft),
            completed: at(ttft + 10.0 * tpot),
            input_tokens: 100,
            output_tokens: 11,
            cached_tokens: 0,
            execution: at(ttft),
            max_tbt: at(tpot),
            restarts: 0,
            session: None,
        }
    }

    fn slo(joint: Joint, quantile: f64, bounds: &[(Metric, f64)]) -> SloConfig {
        let slos = bounds
            .iter()
            .map(|&(metric, value)| Bound { metric, value })
            .collect();
        SloConfig {
            name: "s".to_owned(),
            joint,
            quantile,
            slos,
        }
    }

    fn judged(slo: SloConfig, total: usize, records: &[Record]) -> Judgement {
        let slos = [slo];
        let mut tally = Tally::new(&slos, total);
        for record in records {
            tally.add(record);
        }
        tally.judge().remove(0)
    }

    #[test]
    fn one_bound_is_held_against_the_quantile() {
        let records: Vec<Record> = (1..=4).map(|i| record(f64::from(i), 0.1)).collect();
        let at = |value| slo(Joint::And, 0.5, &[(Metric::PrefillE2eTime, value)]);
        let judgement = judged(at(2.5), 4, &records);
        assert!(judgement.pass);
        assert_eq!((judgement.measured, judgement.margin), (Some(2.5), Some(0.0)));
        assert!(!judged(at(2.49), 4, &records).pass);
        // Three of seven were not finished: the median is the fourth.
        assert_eq!(judged(at(4.0), 7, &records).measured, Some(4.0));
        let judgement = judged(at(4.0), 8, &records);
        assert_eq!(
            (judgement.pass, judgement.measured, judgement.margin),
            (false, None, None)
        );
    }

    #[test]
    fn several_bounds_are_joined_request_by_request() {
        let records = [
            record(1.0, 0.2),
            record(3.0, 0.1),
            record(1.0, 0.1),
            record(3.0, 0.2),
        ];
        let bounds = [(Metric::PrefillE2eTime, 2.0), (Metric::Tpot, 0.15)];
        let judgement = judged(slo(Joint::And, 0.25, &bounds), 4, &records);
        assert_eq!((judgement.pass, judgement.measured), (true, Some(0.25)));
        let judgement = judged(slo(Joint::Or, 0.8, &bounds), 4, &records);
        assert_eq!((judgement.pass, judgement.measured), (false, Some(0.75)));
        // One more request, unfinished, keeps none.
        assert_eq!(
            judged(slo(Joint::Or, 0.6, &bounds), 5, &records).measured,
            Some(0.6)
        );
    }

    #[test]
    fn the_binding_metric_is_the_one_nearest_to_its_bound() {
        let bounds = [(Metric::PrefillE2eTime, 10.0), (Metric::Tpot, 0.1)];
        let records = [record(1.0, 0.09)];
        let judgement = judged(slo(Joint::And, 0.99, &bounds), 1, &records);
        assert_eq!(judgement.binding, Metric::Tpot);
        assert!((judgement.binding_ratio.unwrap() - 0.9).abs() < 1e-9);
        assert_eq!(
            judged(slo(Joint::Or, 0.99, &bounds), 1, &records).binding,
            Metric::PrefillE2eTime
        );
    }

    #[test]
    fn wrong_objectives_are_refused() {
        let good = slo(Joint::And, 0.99, &[(Metric::Tpot, 0.1)]);
        assert_eq!(good.check(), Ok(()));
        for bad in [
            SloConfig {
                quantile: 99.0,
                ..good.clone()
            },
            SloConfig {
                slos: Vec::new(),
                ..good.clone()
            },
            slo(Joint::And, 0.5, &[(Metric::Tpot, -1.0)]),
            slo(Joint::And, 0.5, &[(Metric::Tpot, f64::NAN)]),
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }

    proptest! {
        /// What is said to be lost is lost, whatever comes; and one violation earlier it need not be.
        #[test]
        fn lost_means_lost(total in 1usize..300, quantile in 0.01f64..=1.0, joint in prop::bool::ANY, single in prop::bool::ANY) {
            let joint = if joint { Joint::And } else { Joint::Or };
            let bounds = [(Metric::PrefillE2eTime, 1.0), (Metric::Tpot, 1.0)];
            let slos = [slo(joint, quantile, &bounds[..if single { 1 } else { 2 }])];
            let mut tally = Tally::new(&slos, total);
            let mut bad = 0;
            while bad < total && !tally.is_lost() {
                tally.add(&record(2.0, 2.0));
                bad += 1;
            }
            let with = |bad: usize| {
                let records: Vec<Record> =
                    (0..total).map(|i| if i < bad { record(1.0 + 1e-9, 2.0) } else { record(0.0, 0.0) }).collect();
                judged(slos[0].clone(), total, &records).pass
            };
            if tally.is_lost() {
                prop_assert!(!with(bad));
            }
            // A hair beyond the bound, interpolated with zero, may pass: the single bound waits for certainty.
            prop_assert!(with(bad.saturating_sub(1)) || (!single && bad == 0));
        }
    }
}
