//! The searches of one cell, an objective after the other. Every probe is judged by all of them, and none is made twice.
//!
//! The loop is not [`capacity::find`](crate::capacity::find): that runs trials which leave a folder and a measurement each,
//! for one criterion, while here a probe is a line that many objectives share. The search rule is of the same kind,
//! [`Bracketing`].

use std::collections::BTreeMap;

use serde::Serialize;

use super::file::SearchFor;
use super::grid::Cell;
use super::ledger::{Ledger, LedgerError, Line, SIMULATOR};
use super::probe::{Evaluator, Facts, Point, Probed};
use super::replicas::LeastReplicas;
use crate::criterion::{Ruling, Verdict};
use crate::search::{Bracketing, BracketingConfig, Observed, Search, Status, Step};
use crate::slo::SloConfig;
use crate::units::Rate;

/// How searches are carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchRules {
    /// Width of the bracket, as a share of its upper end, that is narrow enough.
    pub granularity: f64,
    /// Most bisections.
    pub bisections: u32,
    /// Below this rate, in requests per second, nothing is searched.
    pub min_qps: f64,
    /// Seeds; the first is 0.
    pub seeds: u64,
}

/// Why a cell's searches ended without answers.
#[derive(Debug)]
pub enum Halt {
    /// Time is up, or somebody pressed Ctrl-C.
    Stopped,
    /// A probe could not be made.
    Failed(String),
    /// The ledger.
    Ledger(LedgerError),
}

/// One search's answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// How well it is known; `upper-bound-only` means that nothing was found to keep the objective.
    pub status: Status,
    /// The best point that keeps the objective.
    pub best: Option<Point>,
    /// The nearest point that does not.
    pub beyond: Option<Point>,
    /// Why the search ended.
    pub reason: String,
}

/// A cell under search.
pub struct CellSearch<'a> {
    cell: &'a Cell,
    slos: &'a [SloConfig],
    keys: Vec<String>,
    evaluator: &'a dyn Evaluator,
    ledger: &'a Ledger,
    stopped: &'a (dyn Fn() -> bool + Sync),
    rules: &'a SearchRules,
    digest: String,
    asked: BTreeMap<(u64, u32, u64), (Point, Probed)>,
    simulated: usize,
}

/// What a search is carried out with.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// Carries probes out.
    pub evaluator: &'a dyn Evaluator,
    /// What is known.
    pub ledger: &'a Ledger,
    /// How.
    pub rules: &'a SearchRules,
    /// Whether to stop.
    pub stopped: &'a (dyn Fn() -> bool + Sync),
}

impl<'a> CellSearch<'a> {
    /// A cell of which nothing is known.
    pub fn new(cell: &'a Cell, facts: &Facts, slos: &'a [SloConfig], means: &Means<'a>) -> Self {
        Self {
            cell,
            slos,
            keys: slos.iter().map(SloConfig::key).collect(),
            evaluator: means.evaluator,
            ledger: means.ledger,
            stopped: means.stopped,
            rules: means.rules,
            digest: digest(cell, facts),
            asked: BTreeMap::new(),
            simulated: 0,
        }
    }

    /// Probes that were not known before.
    pub fn simulated(&self) -> usize {
        self.simulated
    }

    /// Probes that were asked for, in a fixed order.
    pub fn asked(&self) -> impl Iterator<Item = &(Point, Probed)> {
        self.asked.values()
    }

    /// The result of a probe; from the ledger where it is known.
    ///
    /// # Errors
    /// When it had to stop.
    pub fn ask(&mut self, point: Point) -> Result<&Probed, Halt> {
        if !self.asked.contains_key(&point.key()) {
            let probed = match self.ledger.find(&self.digest, point, self.slos) {
                Some(probed) => probed.clone(),
                None => self.simulate(point)?,
            };
            self.asked.insert(point.key(), (point, probed));
        }
        Ok(&self.asked[&point.key()].1)
    }

    fn simulate(&mut self, point: Point) -> Result<Probed, Halt> {
        if (self.stopped)() {
            return Err(Halt::Stopped);
        }
        let probed = self
            .evaluator
            .probe(self.cell, point, self.slos)
            .map_err(Halt::Failed)?;
        self.simulated += 1;
        let line = Line {
            digest: self.digest.clone(),
            cell: self.cell.hash.clone(),
            point,
            probed,
        };
        self.ledger.append(&line).map_err(Halt::Ledger)?;
        Ok(line.probed)
    }

    /// Whether a point keeps an objective.
    fn holds(&mut self, slo: usize, point: Point) -> Result<bool, Halt> {
        let key = self.keys[slo].clone();
        Ok(self.ask(point)?.judgements.get(&key).is_some_and(|j| j.pass))
    }

    /// What is known for an objective on a seed.
    fn known(&self, slo: usize, seed: u64) -> impl Iterator<Item = (Point, bool)> {
        let key = &self.keys[slo];
        self.asked
            .values()
            .filter(move |(point, _)| point.seed == seed)
            .filter_map(move |(point, probed)| Some((*point, probed.judgements.get(key)?.pass)))
    }

    /// Searches for what the cell asks; `guess` is where the answer is likely to be, and the steps from there are small.
    ///
    /// # Errors
    /// When it had to stop.
    pub fn search(&mut self, slo: usize, seed: u64, guess: Option<f64>) -> Result<Found, Halt> {
        match self.cell.search.search_for {
            SearchFor::Qps => self.highest_rate(slo, seed, guess),
            SearchFor::NumReplicas => self.fewest_replicas(slo, seed, guess),
            SearchFor::Isoqps => self.given_rates(slo, seed),
        }
    }

    fn highest_rate(&mut self, slo: usize, seed: u64, guess: Option<f64>) -> Result<Found, Halt> {
        let replicas = self.cell.deployment.replicas;
        let at = |qps: f64| Point { replicas, qps, seed };
        let known = self
            .known(slo, seed)
            .map(|(point, pass)| (Rate::per_second(point.qps), pass))
            .collect();
        let mut search = Bracketing::new(BracketingConfig {
            start: Rate::per_second(guess.unwrap_or(self.cell.search.qps).max(self.rules.min_qps)),
            factor: if guess.is_some() {
                1.0 + 2.0 * self.rules.granularity
            } else {
                2.0
            },
            granularity: self.rules.granularity,
            lowest: Rate::per_second(self.rules.min_qps),
            bisections: self.rules.bisections,
            known,
        });
        loop {
            match search.next() {
                Step::Probe(probe) => {
                    let pass = self.holds(slo, at(probe.rate.rounded_per_second()))?;
                    search.observe(&Observed {
                        probe: &probe,
                        verdict: &verdict(pass),
                        offered: probe.rate,
                        load_s: 0.0,
                    });
                }
                Step::Done(answer) => {
                    return Ok(Found {
                        status: answer.status,
                        best: answer.low.map(|rate| at(rate.rounded_per_second())),
                        beyond: answer.high.map(|rate| at(rate.rounded_per_second())),
                        reason: answer.reason,
                    });
                }
            }
        }
    }

    fn fewest_replicas(&mut self, slo: usize, seed: u64, guess: Option<f64>) -> Result<Found, Halt> {
        let qps = self.cell.search.qps;
        let at = |replicas: u32| Point { replicas, qps, seed };
        let start = guess.map_or(self.cell.deployment.replicas, |guess| guess as u32);
        let mut search = LeastReplicas::new(start, guess.is_some());
        for (point, pass) in self.known(slo, seed) {
            search.observe(point.replicas, pass);
        }
        while let Some(replicas) = search.next() {
            let pass = self.holds(slo, at(replicas))?;
            search.observe(replicas, pass);
        }
        let (least, beyond) = search.ends();
        Ok(Found {
            status: match (least, beyond) {
                (Some(_), Some(_)) | (Some(1), None) => Status::Bracketed,
                (Some(_), None) => Status::LowerBoundOnly,
                (None, _) => Status::UpperBoundOnly,
            },
            best: least.map(at),
            beyond: beyond.map(at),
            reason: search.reason().to_owned(),
        })
    }

    /// Every rate is tried; the best is the highest that keeps the objective.
    fn given_rates(&mut self, slo: usize, seed: u64) -> Result<Found, Halt> {
        let replicas = self.cell.deployment.replicas;
        let rates: Vec<f64> = self
            .cell
            .search
            .multipliers
            .iter()
            .map(|m| m * self.cell.search.qps)
            .collect();
        let (mut best, mut beyond): (Option<Point>, Option<Point>) = (None, None);
        for qps in rates {
            let point = Point { replicas, qps, seed };
            if self.holds(slo, point)? {
                best = best.filter(|best| best.qps > qps).or(Some(point));
            } else {
                beyond = beyond.filter(|beyond| beyond.qps < qps).or(Some(point));
            }
        }
        Ok(Found {
            status: match (best, beyond) {
                (Some(_), Some(_)) => Status::Bracketed,
                (Some(_), None) => Status::LowerBoundOnly,
                _ => Status::UpperBoundOnly,
            },
            best,
            beyond,
            reason: "the given rates were tried".to_owned(),
        })
    }
}

/// What a probe's result depends on, but the point.
fn digest(cell: &Cell, facts: &Facts) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut deployment = cell.deployment.clone();
    deployment.replicas = 1;
    for part in [
        SIMULATOR.to_owned(),
        serde_json::json!(deployment).to_string(),
        serde_json::json!(cell.workload.deadline).to_string(),
        format!("{} {}", cell.workload.max_seq_len, facts.requests),
        // Given rates are always simulated to their end.
        (cell.search.search_for == SearchFor::Isoqps).to_string(),
        facts.content.clone(),
    ] {
        hasher.update(part.as_bytes()).update(&[0]);
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

/// The verdict of a simulation that keeps its objectives, or does not.
pub(crate) fn verdict(pass: bool) -> Verdict {
    Verdict {
        criterion: "slo".to_owned(),
        ruling: if pass {
            Ruling::Sustainable
        } else {
            Ruling::Unsustainable
        },
        margin: None,
        bound: None,
        capacity_hint: None,
        reasons: Vec::new(),
        statistics: serde_json::Value::Null,
    }
}
