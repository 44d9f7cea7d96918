//! What comes nearest where nothing serves the demand, and what would make it do.

use std::collections::HashSet;

use super::Report;
use super::words::{number, rounded_up};
use crate::plan::answer::Candidate;
use crate::plan::bench::observed;
use crate::plan::capacity::Status;
use crate::plan::config::{Config, configs};

/// Most of them.
const MOST: usize = 3;

/// What does not serve the demand.
pub struct Miss {
    /// What it is.
    pub config: Config,
    /// What it bears; nothing where it was not simulated.
    pub max_qps: Option<f64>,
    /// What it lacks, and what would do.
    pub lacks: String,
    /// What an hour would cost of what would do, where that is known.
    pub would_cost_per_hour: Option<f64>,
}

/// How far it is from keeping every bound: the logarithm of bound over observed value where that is least.
fn margin(candidate: &Candidate) -> f64 {
    let at = &candidate.capacity.at;
    let worst = at.margins.iter().copied().fold(f64::INFINITY, f64::min);
    if at.is_complete() && worst.is_finite() {
        worst
    } else {
        f64::NEG_INFINITY
    }
}

fn is_infeasible(candidate: &Candidate) -> bool {
    candidate.capacity.status == Status::Infeasible
}

impl Report<'_> {
    /// What came nearest to serving the demand, the nearest first, where nothing does: what bears most, then what is least
    /// beyond its bounds; at last what only the budget forbids.
    pub fn misses(&self) -> Vec<Miss> {
        if self.answer.best.is_some() {
            return Vec::new();
        }
        let mut all: Vec<&Candidate> = self.answer.candidates.iter().collect();
        let bears = |c: &Candidate| c.capacity.simulated[0];
        all.sort_by(|a, b| {
            bears(b)
                .total_cmp(&bears(a))
                .then(margin(b).total_cmp(&margin(a)))
                .then(a.price().total_cmp(&b.price()))
        });
        let mut kept: Vec<&Candidate> = Vec::new();
        for candidate in all {
            // What keeps its bounds at no rate does not do so with more replicas.
            let is_told = kept
                .iter()
                .any(|known| is_infeasible(known) && known.config.is_like(&candidate.config));
            if kept.len() < MOST && !is_told {
                kept.push(candidate);
            }
        }
        let mut misses: Vec<Miss> = kept.into_iter().map(|candidate| self.miss(candidate)).collect();
        misses.extend(self.beyond_budget((MOST - misses.len()).max(1)));
        misses
    }

    fn miss(&self, candidate: &Candidate) -> Miss {
        let mut would_cost = None;
        let lacks = if is_infeasible(candidate) {
            self.lacks_bounds(candidate)
        } else {
            let (replicas, hour) = self.would_do(candidate);
            would_cost = hour;
            format!(
                "bears {} of {} requests a second, for {}; {replicas:.0} replicas would do{}",
                number(candidate.capacity.qps),
                number(self.request().needed_qps()),
                self.binding(candidate),
                hour.map_or(String::new(), |hour| format!(", {}", self.at_cost(hour)))
            )
        };
        Miss {
            config: candidate.config.clone(),
            max_qps: Some(candidate.capacity.qps),
            lacks,
            would_cost_per_hour: would_cost,
        }
    }

    fn lacks_bounds(&self, candidate: &Candidate) -> String {
        let at = &candidate.capacity.at;
        let requests = at.summary.requests;
        if requests.refused > 0 {
            return format!(
                "cannot take {} of {} requests, longer than its KV cache or than any that is simulated: bound the lengths with \
                 `max`, or give it more memory",
                requests.refused, requests.arrived
            );
        }
        if !at.is_complete() {
            return "does not serve the load at the lowest rate that was tried".to_owned();
        }
        let all = self.bench.bounds().iter().zip(&at.margins);
        let relaxed = all.filter_map(|(bound, margin)| {
            let seen = observed(bound, &at.summary).filter(|seen| *margin < 0.0 && seen.is_finite())?;
            Some(format!(
                "{} would have to be {} ms",
                bound.key,
                rounded_up(1e3 * seen)
            ))
        });
        let relaxed: Vec<String> = relaxed.collect();
        if relaxed.is_empty() {
            return "keeps its bounds at no rate".to_owned();
        }
        format!("keeps its bounds at no rate; {}", relaxed.join(", "))
    }

    /// How many replicas would bear what is needed, and what an hour of them costs.
    pub(super) fn would_do(&self, candidate: &Candidate) -> (f64, Option<f64>) {
        let one = candidate.capacity.simulated[0] / f64::from(candidate.config.num_replicas);
        let replicas = (self.request().needed_qps() / one).ceil();
        let price = |hour: f64| hour / f64::from(candidate.config.num_replicas) * replicas;
        (replicas, candidate.cost.map(|cost| price(cost.cost_per_hour)))
    }

    /// A price in words, and whether it is within the budget.
    pub(super) fn at_cost(&self, hour: f64) -> String {
        let beyond = self.request().constraints.max_cost_per_hour;
        let beyond = beyond.filter(|most| hour > *most);
        format!(
            "for {hour:.2} an hour{}",
            beyond.map_or(String::new(), |most| format!(
                ", more than max_cost_per_hour of {most}"
            ))
        )
    }

    /// The cheapest that was dropped for the budget alone and may serve the demand, by its bound of full batches; the cheapest
    /// at all where nothing may.
    fn beyond_budget(&self, most: usize) -> Vec<Miss> {
        let (Some(budget), Some(prices)) = (
            self.request().constraints.max_cost_per_hour,
            self.facts.prices.as_ref(),
        ) else {
            return Vec::new();
        };
        let dropped: HashSet<&str> = self.answer.dropped.iter().map(|d| d.config.as_str()).collect();
        let gpus: Vec<String> = prices.gpus.keys().cloned().collect();
        let mut beyond: Vec<(f64, Config)> = configs(&self.request().config_space, &gpus)
            .0
            .into_iter()
            .filter(|config| dropped.contains(config.name().as_str()))
            .filter_map(|config| {
                let hour = prices.gpus.get(&config.gpu_type)?.default * f64::from(config.total_gpus);
                (hour > budget).then_some((hour, config))
            })
            .collect();
        beyond.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        let needed = self.request().needed_qps();
        let mut found: Vec<(f64, f64, Config)> = Vec::new();
        for least in [needed, 0.0] {
            for (hour, config) in &beyond {
                let is_told = found.iter().any(|(.., known)| {
                    (&known.gpu_type, known.total_gpus) == (&config.gpu_type, config.total_gpus)
                });
                if found.len() >= most || is_told {
                    continue;
                }
                let Ok(deployed) = self.bench.build(config) else {
                    continue;
                };
                let bears = self.bench.guess(&deployed);
                if bears >= least {
                    found.push((*hour, bears, config.clone()));
                }
            }
            if !found.is_empty() {
                break;
            }
        }
        let miss = |(hour, bears, config): (f64, f64, Config)| Miss {
            lacks: format!(
                "was not simulated: {hour:.2} an hour is more than max_cost_per_hour of {budget}; with batches always full it \
                 bears {} of {} requests a second",
                number(bears),
                number(needed)
            ),
            config,
            max_qps: None,
            would_cost_per_hour: (bears >= needed).then_some(hour),
        };
        found.into_iter().map(miss).collect()
    }
}
