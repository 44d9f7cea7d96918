//! The most that a configuration bears: bisection on each of several seeds, and an interval over them.

use serde::Serialize;

use super::bench::{Bench, Deployed, Probed};
use super::times::Trust;
use super::vary::MORE;
use crate::deployment::DeploymentError;
use crate::explore::cell_search::verdict;
use crate::search::{Bracketing, BracketingConfig, Observed, Search, Step};
use crate::stats::student_t;
use crate::units::Rate;

/// Width of a bracket, as a share of its upper end, that is narrow enough.
const GRANULARITY: f64 = 0.02;
/// Most bisections.
const BISECTIONS: u32 = 10;
/// Below this rate nothing is searched, requests a second.
pub const LOWEST: f64 = 1e-3;
/// First step down from the mean of the seeds, where that is not verified.
const STEP_DOWN: f64 = 0.99;
/// Seeds of runs that verify; further ones follow below.
const VERIFYING: u64 = u32::MAX as u64;
/// How many times as long these are.
const LONGER: u64 = 5;
/// The same where one seed is all.
const COARSE: f64 = 0.04;
/// Width of a bracket that is compared with another one of the same seed.
const FINE: f64 = 0.005;

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// A rate that holds and one that does not are known.
    Bracketed,
    /// The highest rate that was allowed holds.
    CeilingReached,
    /// No rate holds.
    Infeasible,
}

/// What a configuration bears.
#[derive(Clone, Debug)]
pub struct Capacity {
    /// How the search ended.
    pub status: Status,
    /// Highest verified rate, requests a second; 0 where none holds.
    pub qps: f64,
    /// 95 % interval of the simulated capacity, over seeds.
    pub simulated: [f64; 2],
    /// The same with the doubt about iteration times.
    pub interval: [f64; 2],
    /// What comes out at the reported rate, or at the lowest that was tried.
    pub at: Probed,
    /// The bound that breaks beyond; `None`: the load itself.
    pub binding: Option<usize>,
    /// How far it is to be trusted.
    pub trust: Trust,
    /// Seeds.
    pub seeds: u32,
    /// Simulations.
    pub probes: u32,
    /// Requests of all of them.
    pub requests: u64,
}

impl Capacity {
    /// Of so many replicas, before they are simulated together.
    pub(super) fn times(&self, replicas: u32, most: f64) -> Self {
        let times = |range: [f64; 2]| range.map(|qps| qps * f64::from(replicas));
        let (qps, simulated) = (self.qps * f64::from(replicas), times(self.simulated));
        let mut all = Self {
            qps: qps.min(most),
            simulated,
            interval: times(self.interval),
            ..self.clone()
        };
        if qps >= most {
            all.status = Status::CeilingReached;
            all.simulated = [simulated[0].min(most), f64::INFINITY];
            all.interval = [all.interval[0].min(most), f64::INFINITY];
        }
        all
    }
}

/// One search.
struct Found {
    low: Option<Probed>,
    high: Option<Probed>,
    capped: bool,
}

/// Searches of a configuration.
pub struct Searching<'a> {
    /// Simulates.
    pub bench: &'a Bench<'a>,
    /// What is searched.
    pub deployed: &'a Deployed,
    /// Requests of a simulation.
    pub requests: u64,
    /// The bound that may be broken by a tenth.
    pub relaxed: Option<usize>,
    probes: u32,
    spent: u64,
}

impl<'a> Searching<'a> {
    /// Nothing is known yet.
    pub fn new(bench: &'a Bench<'a>, deployed: &'a Deployed, requests: u64) -> Self {
        Self {
            bench,
            deployed,
            requests,
            relaxed: None,
            probes: 0,
            spent: 0,
        }
    }

    fn probe(&mut self, qps: f64, seed: u64, requests: u64) -> Result<Probed, DeploymentError> {
        let mut probed = self.bench.probe(self.deployed, qps, seed, requests)?;
        self.count(&probed);
        if let Some(margin) = self.relaxed.and_then(|bound| probed.margins.get_mut(bound)) {
            *margin += MORE.ln();
        }
        Ok(probed)
    }

    fn count(&mut self, probed: &Probed) {
        self.probes += 1;
        self.spent += probed.summary.requests.arrived;
    }

    /// The bracket on one seed, begun at a rate, in steps of a factor, down to a width.
    fn bracket(
        &mut self,
        start: f64,
        factor: f64,
        granularity: f64,
        seed: u64,
    ) -> Result<Found, DeploymentError> {
        let (most, limit) = (self.bench.ceiling(), self.bench.limit(self.deployed));
        let mut found = Found {
            low: None,
            high: None,
            capped: false,
        };
        let mut search = Bracketing::new(BracketingConfig {
            start: Rate::per_second(start.min(most).min(limit).max(LOWEST)),
            factor,
            granularity,
            lowest: Rate::per_second(LOWEST),
            bisections: BISECTIONS,
            known: Vec::new(),
        });
        while let Step::Probe(probe) = search.next() {
            let qps = probe.rate.rounded_per_second().min(most);
            // What cannot be is not tried.
            let possible = qps <= limit.max(LOWEST);
            let probed = possible
                .then(|| self.probe(qps, seed, self.requests))
                .transpose()?;
            let holds = probed.as_ref().is_some_and(Probed::holds);
            search.observe(&Observed {
                probe: &probe,
                verdict: &verdict(holds),
                offered: probe.rate,
                load_s: 0.0,
            });
            let side = if holds { &mut found.low } else { &mut found.high };
            let is_nearer = side
                .as_ref()
                .is_none_or(|known| if holds { qps > known.qps } else { qps < known.qps });
            if is_nearer && probed.is_some() {
                *side = probed;
            }
            if holds && qps >= most {
                found.capped = true;
                break;
            }
        }
        Ok(found)
    }

    /// On so many seeds, from a first guess of the rate.
    ///
    /// # Errors
    /// When it cannot be simulated.
    pub fn capacity(mut self, guess: f64, seeds: u32) -> Result<Capacity, DeploymentError> {
        let alone = self.bench.alone(self.deployed)?;
        self.count(&alone);
        if !alone.is_possible() {
            return Ok(self.infeasible(alone));
        }
        // Of one seed alone more is not to be known.
        let width = if seeds > 1 { GRANULARITY } else { COARSE };
        let first = self.bracket(guess, 2.0, width, 0)?;
        let (Some(low), mut capped) = (first.low, first.capped) else {
            return Ok(self.infeasible(first.high.unwrap_or(alone)));
        };
        let mut binding = match &first.high {
            Some(high) => high.binding(),
            None if capped => low.binding(),
            // Beyond is what cannot be.
            None => None,
        };
        let mut rates = vec![low.qps];
        let mut at = low;
        for seed in 1..u64::from(seeds) {
            let found = self.bracket(rates[0], 1.0 + 2.0 * GRANULARITY, GRANULARITY, seed)?;
            capped &= found.capped;
            rates.push(found.low.map_or(LOWEST, |low| low.qps));
        }
        if seeds > 1 {
            // A ceiling is tried as it is, not rounded below what is needed.
            let from = if capped { rates[0] } else { rounded(mean(&rates)) };
            (at, binding) = self.verified(from, binding)?;
            if !at.holds() {
                return Ok(self.infeasible(at));
            }
            capped &= at.qps >= rates[0];
        }
        let status = if capped {
            Status::CeilingReached
        } else {
            Status::Bracketed
        };
        let [low, high] = spread(&rates, capped);
        let trust = self.deployed.trust;
        let doubt = (1.96 * trust.doubt).exp();
        Ok(Capacity {
            status,
            qps: at.qps,
            simulated: [low.min(at.qps), high.max(at.qps)],
            interval: [low.min(at.qps) / doubt, high.max(at.qps) * doubt],
            at,
            binding,
            trust,
            seeds,
            probes: self.probes,
            requests: self.spent,
        })
    }

    /// The mean capacity on so many seeds, near a rate, finely: to compare what differs a little. 0 where nothing holds.
    ///
    /// # Errors
    /// When it cannot be simulated.
    pub(super) fn near(&mut self, rate: f64, seeds: u32) -> Result<f64, DeploymentError> {
        let mut sum = 0.0;
        for seed in 0..u64::from(seeds) {
            let found = self.bracket(rate, 1.05, FINE, seed)?;
            sum += found.low.map_or(0.0, |low| low.qps);
        }
        Ok(sum / f64::from(seeds))
    }

    /// Simulations until now, and their requests.
    pub(super) fn spent(&self) -> (u64, u64) {
        (u64::from(self.probes), self.spent)
    }

    fn infeasible(&self, at: Probed) -> Capacity {
        Capacity {
            status: Status::Infeasible,
            qps: 0.0,
            simulated: [0.0, 0.0],
            interval: [0.0, 0.0],
            binding: at.binding(),
            at,
            trust: self.deployed.trust,
            seeds: 1,
            probes: self.probes,
            requests: self.spent,
        }
    }

    /// The highest rate, from this one down, at which a long run keeps everything, down to the width of a bracket, with the
    /// bound that broke last; where no rate does, the run at the lowest.
    fn verified(
        &mut self,
        from: f64,
        mut broken: Option<usize>,
    ) -> Result<(Probed, Option<usize>), DeploymentError> {
        let (mut qps, mut step) = (from, STEP_DOWN);
        let mut failed = None;
        let mut held = loop {
            let probed = self.long(qps)?;
            if probed.holds() {
                break probed;
            }
            broken = probed.binding();
            if qps <= LOWEST {
                return Ok((probed, broken));
            }
            failed = Some(qps);
            qps = rounded((qps * step).max(LOWEST));
            // Where it is far below, not in a hundred steps.
            step *= step;
        };
        while let Some(high) = failed.filter(|high| high - held.qps > GRANULARITY * high) {
            let probed = self.long(rounded(f64::midpoint(held.qps, high)))?;
            if probed.holds() {
                held = probed;
            } else {
                broken = probed.binding();
                failed = Some(probed.qps);
            }
        }
        Ok((held, broken))
    }

    /// A run of its own, five times as long. Where it breaks something, two others decide: one run may have drawn what comes
    /// once in a hundred.
    fn long(&mut self, qps: f64) -> Result<Probed, DeploymentError> {
        let long = LONGER * self.requests;
        let first = self.probe(qps, VERIFYING, long)?;
        if first.holds() || !self.probe(qps, VERIFYING - 1, long)?.holds() {
            return Ok(first);
        }
        let last = self.probe(qps, VERIFYING - 2, long)?;
        Ok(if last.holds() { last } else { first })
    }
}

/// Four significant digits of requests a second.
fn rounded(qps: f64) -> f64 {
    Rate::per_second(qps).rounded_per_second()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// 95 % interval of the mean of seeds, on the logarithm, and half a bracket beside.
fn spread(rates: &[f64], capped: bool) -> [f64; 2] {
    let half_bracket = GRANULARITY;
    if rates.len() < 2 {
        // What seeds differ by is not known.
        let [low, high] = [rates[0] * 0.85, rates[0] * 1.15];
        return [low, if capped { f64::INFINITY } else { high }];
    }
    if capped {
        // It holds on all of them.
        return [rates[0], f64::INFINITY];
    }
    let logs: Vec<f64> = rates.iter().map(|rate| rate.ln()).collect();
    let (n, middle) = (logs.len() as f64, mean(&logs));
    let variance = logs.iter().map(|x| (x - middle).powi(2)).sum::<f64>() / (n - 1.0);
    let half = student_t::two_sided_critical(0.05, n - 1.0) * (variance / n).sqrt();
    [(middle - half).exp(), (middle + half + half_bracket).exp()]
}
