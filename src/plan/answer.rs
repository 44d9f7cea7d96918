//! All configurations: which can be, what each bears and costs, and which to take.
//!
//! Every engine is searched once, on one replica and one seed; of those that could be the best, or that nothing beats, each
//! is searched again as it is, all replicas behind their router, on several seeds.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde::Serialize;

use super::bench::{Bench, Probed};
use super::capacity::{Capacity, LOWEST, Searching, Status};
use super::config::{Config, Dropped, configs};
use super::frontier::{Place, Spot, places};
use super::money::Cost;
use super::prices::{Price, Prices};
use super::request::Objective;
use super::sensitivity::{self, Sensitivity};
use crate::deployment::DeploymentError;
use crate::pool;

/// What another seed, or the router, may make of a capacity that was searched on one.
const SCREENED: f64 = 1.3;
/// Most configurations of the front that are searched again.
const MOST_ON_FRONT: usize = 16;

/// Where the curve of the best has its points, in shares of its capacity.
const CURVE: [f64; 12] = [0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2];

/// How much is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Requests of a simulation.
    pub requests: u64,
    /// Seeds of the configurations that count.
    pub seeds: u32,
    /// Threads.
    pub threads: usize,
}

/// A configuration with what it bears and costs.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What it is.
    pub config: Config,
    /// What it bears.
    pub capacity: Capacity,
    /// What it costs; nothing without prices.
    pub cost: Option<Cost>,
    /// Whether it bears the demand with its headroom: the lower end of the simulated interval does.
    pub serves: bool,
    /// Whether anything beats it.
    pub place: Place,
    /// P95 of the time to the last token at the demand, seconds, where that is what is asked for.
    pub latency_at_demand: Option<f64>,
}

impl Candidate {
    /// Whether it was searched as it is, on several seeds.
    pub fn is_refined(&self) -> bool {
        self.capacity.seeds > 1 || self.capacity.status == Status::Infeasible
    }

    /// What an hour of it costs, or its GPUs where there are no prices.
    pub fn price(&self) -> f64 {
        self.cost
            .map_or(f64::from(self.config.total_gpus), |cost| cost.cost_per_hour)
    }
}

/// How much was simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Spent {
    /// Simulations.
    pub simulations: u64,
    /// Requests of these.
    pub requests: u64,
    /// Simulations of these that were known from before, or from another search.
    pub reused: u64,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Everything that was simulated.
    pub candidates: Vec<Candidate>,
    /// What was not, and why.
    pub dropped: Vec<Dropped>,
    /// The best of those that serve the demand.
    pub best: Option<usize>,
    /// What the best depends on.
    pub sensitivity: Option<Sensitivity>,
    /// The best at rates from low to beyond its capacity.
    pub curve: Vec<Probed>,
    /// How much was simulated.
    pub spent: Spent,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Something cannot be simulated.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// Somebody pressed Ctrl-C.
    #[error("stopped")]
    Stopped,
}

/// How far a search is.
#[derive(Clone, Copy, Debug)]
pub enum Told<'a> {
    /// So many searches begin.
    Stage(&'a str, usize),
    /// One has ended.
    Searched(&'a Config),
}

/// What a search is carried out with.
pub struct Planner<'a> {
    /// Simulates.
    pub bench: &'a Bench<'a>,
    /// The GPUs, by their names in the catalog.
    pub gpus: &'a [String],
    /// What they cost.
    pub prices: Option<&'a Prices>,
    /// How much is simulated.
    pub effort: Effort,
    /// Whether to stop.
    pub stopped: &'a (dyn Fn() -> bool + Sync),
    /// Told how far it is.
    pub told: &'a (dyn Fn(Told<'_>) + Sync),
}

impl Planner<'_> {
    /// Searches everything and chooses.
    ///
    /// # Errors
    /// When something cannot be simulated, or it had to stop.
    pub fn answer(&self) -> Result<Answer, PlanError> {
        let (all, mut dropped) = configs(&self.bench.request().config_space, self.gpus);
        let mut kept = Vec::new();
        for config in all {
            match self.why_not(&config)? {
                Some(reason) => dropped.push(Dropped {
                    config: config.name(),
                    reason,
                }),
                None => kept.push(config),
            }
        }
        let spent = [AtomicU64::new(0), AtomicU64::new(0)];
        let mut candidates = self.screened(&kept, &spent)?;
        self.refine(&mut candidates, &spent)?;
        self.place(&mut candidates);
        let best = self.best(&candidates);
        let (mut sensitivity, mut curve) = (None, Vec::new());
        if let Some(best) = best {
            sensitivity = Some(self.sensitivity(&candidates[best], &spent)?);
            curve = self.curve(&candidates[best], &spent)?;
        }
        Ok(Answer {
            candidates,
            dropped,
            best,
            sensitivity,
            curve,
            spent: Spent {
                simulations: spent[0].load(Ordering::Relaxed),
                requests: spent[1].load(Ordering::Relaxed),
                reused: self.bench.ledger().reused(),
            },
        })
    }

    fn sensitivity(&self, best: &Candidate, spent: &[AtomicU64; 2]) -> Result<Sensitivity, PlanError> {
        let parts = sensitivity::parts(best);
        (self.told)(Told::Stage("what it depends on", parts.len()));
        let results = pool::run(self.effort.threads, &parts, |part| {
            if (self.stopped)() {
                return Err(PlanError::Stopped);
            }
            let found = sensitivity::search(self.bench, best, *part, self.effort.requests)?;
            spent[0].fetch_add(found.spent.0, Ordering::Relaxed);
            spent[1].fetch_add(found.spent.1, Ordering::Relaxed);
            (self.told)(Told::Searched(&best.config));
            Ok(found.qps)
        });
        let found: Result<Vec<f64>, PlanError> = results.into_iter().collect();
        Ok(Sensitivity::of(self.bench, best, &parts, &found?))
    }

    fn curve(&self, best: &Candidate, spent: &[AtomicU64; 2]) -> Result<Vec<Probed>, PlanError> {
        let deployed = self.bench.build(&best.config)?;
        let rates: Vec<f64> = CURVE.iter().map(|share| share * best.capacity.qps).collect();
        let probes = pool::run(self.effort.threads, &rates, |qps| {
            if (self.stopped)() {
                return Err(PlanError::Stopped);
            }
            let probed = self.bench.probe(&deployed, *qps, 0, self.effort.requests)?;
            spent[0].fetch_add(1, Ordering::Relaxed);
            spent[1].fetch_add(probed.summary.requests.arrived, Ordering::Relaxed);
            Ok(probed)
        });
        probes.into_iter().collect()
    }

    fn price_of(&self, config: &Config) -> Option<&Price> {
        self.prices?.gpus.get(&config.gpu_type)
    }

    /// Why a configuration is not even simulated.
    fn why_not(&self, config: &Config) -> Result<Option<String>, PlanError> {
        let request = self.bench.request();
        if self.prices.is_some() && self.price_of(config).is_none() {
            return Ok(Some(format!("no price of {} is known", config.gpu_type)));
        }
        if let (Some(price), Some(most)) = (self.price_of(config), request.constraints.max_cost_per_hour) {
            let hour = price.default * f64::from(config.total_gpus);
            if hour > most {
                return Ok(Some(format!(
                    "{} GPUs at {} cost {hour:.2} an hour, more than max_cost_per_hour of {most}",
                    config.total_gpus, price.default
                )));
            }
        }
        let (bears, limit) = match self.bench.build(config) {
            Ok(deployed) => (self.bench.guess(&deployed), self.bench.limit(&deployed)),
            Err(DeploymentError::DoesNotFit(why)) => return Ok(Some(why.to_string())),
            Err(DeploymentError::Engine(why)) => return Ok(Some(why.to_string())),
            Err(error @ DeploymentError::Value { .. }) => return Ok(Some(error.to_string())),
            Err(error) => return Err(error.into()),
        };
        let needed = request.needed_qps();
        Ok((limit < needed).then(|| {
            let replicas = (needed / bears * f64::from(config.num_replicas)).ceil();
            format!(
                "with batches always full it bears {bears:.3} requests a second, {needed:.3} are needed: at least {replicas} replicas"
            )
        }))
    }

    /// Every engine on one replica and one seed, and from that every configuration.
    fn screened(&self, kept: &[Config], spent: &[AtomicU64; 2]) -> Result<Vec<Candidate>, PlanError> {
        let mut engines: Vec<Config> = Vec::new();
        for config in kept {
            if !engines.iter().any(|engine| engine.is_like(config)) {
                engines.push(config.with_replicas(1));
            }
        }
        let found = self.search_all(&engines, 1, spent)?;
        let candidate = |config: &Config| {
            let place = engines.iter().position(|engine| engine.is_like(config))?;
            let one = &found[place];
            let capacity = if config.num_replicas == 1 {
                one.clone()
            } else {
                one.times(config.num_replicas, self.bench.ceiling())
            };
            Some(self.candidate(config.clone(), capacity))
        };
        Ok(kept.iter().filter_map(candidate).collect())
    }

    fn search_all(
        &self,
        configs: &[Config],
        seeds: u32,
        spent: &[AtomicU64; 2],
    ) -> Result<Vec<Capacity>, PlanError> {
        let halted = AtomicBool::new(false);
        let stage = if seeds > 1 {
            "searching on several seeds"
        } else {
            "searching"
        };
        (self.told)(Told::Stage(stage, configs.len()));
        let one = |config: &Config| {
            if (self.stopped)() || halted.load(Ordering::Relaxed) {
                return Err(PlanError::Stopped);
            }
            let deployed = self.bench.build(config)?;
            let searching = Searching::new(self.bench, &deployed, self.effort.requests);
            let capacity = searching.capacity(self.bench.guess(&deployed), seeds)?;
            spent[0].fetch_add(u64::from(capacity.probes), Ordering::Relaxed);
            spent[1].fetch_add(capacity.requests, Ordering::Relaxed);
            (self.told)(Told::Searched(config));
            Ok(capacity)
        };
        let results = pool::run(self.effort.threads, configs, |config| {
            one(config).inspect_err(|_| halted.store(true, Ordering::Relaxed))
        });
        // What went wrong first, not what stopped because of it.
        let mut stopped = false;
        let mut found = Vec::with_capacity(results.len());
        for result in results {
            match result {
                Ok(capacity) => found.push(capacity),
                Err(PlanError::Stopped) => stopped = true,
                Err(error) => return Err(error),
            }
        }
        if stopped {
            Err(PlanError::Stopped)
        } else {
            Ok(found)
        }
    }

    fn candidate(&self, config: Config, capacity: Capacity) -> Candidate {
        // What was simulated may be one replica of several.
        let at = &capacity.at;
        let tokens = at.summary.throughput.output_tokens_per_s * capacity.qps / at.qps;
        let cost = self
            .price_of(&config)
            .map(|price| Cost::of(price, config.total_gpus, capacity.qps, tokens));
        let needed = self.bench.request().needed_qps();
        Candidate {
            serves: capacity.qps > 0.0 && capacity.simulated[0] >= needed,
            config,
            capacity,
            cost,
            place: Place::Beaten,
            latency_at_demand: None,
        }
    }

    /// Searches again what counts: what could be the best until the best is known, and the front.
    fn refine(&self, candidates: &mut [Candidate], spent: &[AtomicU64; 2]) -> Result<(), PlanError> {
        let needed = self.bench.request().needed_qps();
        loop {
            let could = |c: &Candidate| !c.is_refined() && c.capacity.qps * SCREENED >= needed;
            let mut open: Vec<usize> = (0..candidates.len()).filter(|i| could(&candidates[*i])).collect();
            open.sort_by(|a, b| self.order(&candidates[*a], &candidates[*b]));
            if let Some(best) = self.best(candidates) {
                // Only what may be better still.
                open.retain(|i| self.may_beat(&candidates[*i], &candidates[best]));
            }
            open.truncate(2 * self.effort.threads.max(1));
            if open.is_empty() {
                break;
            }
            self.refine_these(candidates, &open, spent)?;
        }
        loop {
            self.place(candidates);
            let on = |c: &Candidate| c.place != Place::Beaten && !c.is_refined() && c.capacity.qps > 0.0;
            let refined = candidates.iter().filter(|c| c.is_refined()).count();
            let mut open: Vec<usize> = (0..candidates.len()).filter(|i| on(&candidates[*i])).collect();
            open.truncate(MOST_ON_FRONT.saturating_sub(refined));
            if open.is_empty() {
                break;
            }
            self.refine_these(candidates, &open, spent)?;
        }
        if self.bench.request().objective == Objective::Latency {
            self.latencies(candidates)?;
        }
        Ok(())
    }

    fn refine_these(
        &self,
        candidates: &mut [Candidate],
        which: &[usize],
        spent: &[AtomicU64; 2],
    ) -> Result<(), PlanError> {
        let configs: Vec<Config> = which.iter().map(|i| candidates[*i].config.clone()).collect();
        let found = self.search_all(&configs, self.effort.seeds.max(2), spent)?;
        for (i, capacity) in which.iter().zip(found) {
            candidates[*i] = self.candidate(candidates[*i].config.clone(), capacity);
        }
        Ok(())
    }

    fn latencies(&self, candidates: &mut [Candidate]) -> Result<(), PlanError> {
        let qps = self
            .bench
            .request()
            .demand()
            .map_or(0.0, |demand| demand.qps)
            .max(LOWEST);
        for candidate in candidates.iter_mut().filter(|c| c.serves && c.is_refined()) {
            let deployed = self.bench.build(&candidate.config)?;
            let probed = self.bench.probe(&deployed, qps, 0, self.effort.requests)?;
            candidate.latency_at_demand = probed.summary.e2e_s.map(|e2e| e2e.p95);
        }
        Ok(())
    }

    /// What is worth more comes first.
    fn order(&self, a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
        let value = |c: &Candidate| match self.bench.request().objective {
            Objective::Cost => c.price(),
            Objective::QpsPerDollar => -c.capacity.qps / c.price(),
            Objective::Latency => c.latency_at_demand.unwrap_or(c.price()),
            Objective::ThroughputPerGpu => -c.capacity.qps / f64::from(c.config.total_gpus),
        };
        value(a)
            .total_cmp(&value(b))
            .then(b.capacity.qps.total_cmp(&a.capacity.qps))
    }

    fn may_beat(&self, open: &Candidate, best: &Candidate) -> bool {
        match self.bench.request().objective {
            // Of what costs the same the one that bears more is taken.
            Objective::Cost => {
                open.price() < best.price()
                    || open.price() <= best.price() && open.capacity.qps * SCREENED > best.capacity.qps
            }
            Objective::Latency => true,
            Objective::QpsPerDollar => {
                open.capacity.qps * SCREENED / open.price() > best.capacity.qps / best.price()
            }
            Objective::ThroughputPerGpu => {
                let per_gpu = |c: &Candidate| c.capacity.qps / f64::from(c.config.total_gpus);
                per_gpu(open) * SCREENED > per_gpu(best)
            }
        }
    }

    fn best(&self, candidates: &[Candidate]) -> Option<usize> {
        let serving = (0..candidates.len()).filter(|i| candidates[*i].serves && candidates[*i].is_refined());
        serving.min_by(|a, b| self.order(&candidates[*a], &candidates[*b]))
    }

    fn place(&self, candidates: &mut [Candidate]) {
        let some: Vec<usize> = (0..candidates.len())
            .filter(|i| candidates[*i].capacity.qps > 0.0)
            .collect();
        let spots: Vec<Spot> = some
            .iter()
            .map(|i| {
                let candidate = &candidates[*i];
                let config = &candidate.config;
                Spot {
                    kind: self
                        .gpus
                        .iter()
                        .position(|gpu| *gpu == config.gpu_type)
                        .unwrap_or(0),
                    gpus: f64::from(config.total_gpus),
                    price: self
                        .price_of(config)
                        .map_or([1.0; 3], |price| [price.low, price.default, price.high]),
                    qps: candidate.capacity.qps,
                    simulated: candidate.capacity.simulated,
                    doubt: candidate.capacity.trust.doubt,
                }
            })
            .collect();
        let seed = self.bench.request().simulation.random_seed;
        for (i, place) in some.iter().zip(places(&spots, seed)) {
            candidates[*i].place = place;
        }
    }
}
