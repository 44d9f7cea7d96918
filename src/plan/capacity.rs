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
/// How far a rate that is reported may be below the mean of the seeds until it is verified.
const STEP_DOWN: f64 = 0.99;
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
        self.probes += 1;
        self.spent += requests;
        let mut probed = self.bench.probe(self.deployed, qps, seed, requests)?;
        if let Some(margin) = self.relaxed.and_then(|bound| probed.margins.get_mut(bound)) {
            *margin += MORE.ln();
        }
        Ok(probed)
    }

    /// The bracket on one seed, begun at a rate, in steps of a factor, down to a width.
    fn bracket(
        &mut self,
        start: f64,
        factor: f64,
        granularity: f64,
        seed: u64,
    ) -> Result<Found, DeploymentError> {
        let most = self.bench.ceiling();
        let mut found = Found {
            low: None,
            high: None,
            capped: false,
        };
        let mut search = Bracketing::new(BracketingConfig {
            start: Rate::per_second(start.clamp(LOWEST, most)),
            factor,
            granularity,
            lowest: Rate::per_second(LOWEST),
            bisections: BISECTIONS,
            known: Vec::new(),
        });
        while let Step::Probe(probe) = search.next() {
            let qps = probe.rate.rounded_per_second().min(most);
            let probed = self.probe(qps, seed, self.requests)?;
            let holds = probed.holds();
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
            if is_nearer {
                *side = Some(probed);
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
        // Of one seed alone more is not to be known.
        let width = if seeds > 1 { GRANULARITY } else { COARSE };
        let first = self.bracket(guess, 2.0, width, 0)?;
        let (Some(low), capped) = (first.low, first.capped) else {
            let at = first
                .high
                .map_or_else(|| self.probe(LOWEST, 0, self.requests), Ok)?;
            return Ok(self.infeasible(at));
        };
        let mut binding = first.high.as_ref().map_or_else(|| low.binding(), Probed::binding);
        let mut rates = vec![low.qps];
        let (mut at, mut status) = (low, Status::Bracketed);
        if capped {
            status = Status::CeilingReached;
        } else {
            for seed in 1..u64::from(seeds) {
                let found = self.bracket(rates[0], 1.0 + 2.0 * GRANULARITY, GRANULARITY, seed)?;
                rates.push(found.low.map_or(LOWEST, |low| low.qps));
            }
        }
        if seeds > 1 {
            (at, binding) = self.verified(mean(&rates), binding)?;
            if !at.holds() {
                return Ok(self.infeasible(at));
            }
            if capped && at.qps < rates[0] {
                status = Status::Bracketed;
            }
        }
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

    /// The highest rate, from this one down, at which a run of its own, five times as long, keeps everything, with the bound
    /// that broke last; where no rate does, the run at the lowest.
    fn verified(
        &mut self,
        from: f64,
        mut broken: Option<usize>,
    ) -> Result<(Probed, Option<usize>), DeploymentError> {
        let (mut qps, mut step) = (Rate::per_second(from).rounded_per_second(), STEP_DOWN);
        loop {
            let probed = self.probe(qps, u64::from(u32::MAX), 5 * self.requests)?;
            if probed.holds() {
                return Ok((probed, broken));
            }
            broken = probed.binding();
            if qps <= LOWEST {
                return Ok((probed, broken));
            }
            qps = Rate::per_second((qps * step).max(LOWEST)).rounded_per_second();
            // Where it is far below, not in a hundred steps.
            step *= step;
        }
    }
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
    let logs: Vec<f64> = rates.iter().map(|rate| rate.ln()).collect();
    let (n, middle) = (logs.len() as f64, mean(&logs));
    let variance = logs.iter().map(|x| (x - middle).powi(2)).sum::<f64>() / (n - 1.0);
    let half = student_t::two_sided_critical(0.05, n - 1.0) * (variance / n).sqrt();
    [(middle - half).exp(), (middle + half + half_bracket).exp()]
}
