//! What the capacity of the recommendation depends on: more bandwidth, compute, KV cache, batch, patience; one replica less.
//!
//! Each is searched on the seeds of the others, finely, so that small differences are seen.

use serde::Serialize;

use super::answer::Candidate;
use super::bench::Bench;
use super::capacity::Searching;
use super::vary::{MORE, Vary};
use crate::deployment::DeploymentError;

/// Seeds of each search.
const SEEDS: u32 = 3;
/// A tenth more that buys less than this share is not what binds: the width of a bracket.
const NOTHING: f64 = 0.01;

/// Something to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// As it is.
    Base,
    /// With a tenth more of something.
    More(Vary),
    /// With a bound that is a tenth looser, by its place.
    Looser(usize),
    /// With a replica less.
    Lost,
}

/// What a tenth more of something buys.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shadow {
    /// Of what.
    pub what: String,
    /// Requests a second then: those of the configuration, and what the tenth adds.
    pub max_qps: f64,
    /// Share of the capacity that it adds.
    pub gain: f64,
    /// The share of what the configuration costs an hour, in the currency of the prices.
    pub worth_per_hour: Option<f64>,
}

/// What is left when a replica is lost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Lost {
    /// Requests a second that the others bear.
    pub max_qps: f64,
    /// Whether that serves the demand, without headroom.
    pub serves_demand: bool,
    /// Replicas with which it would, where this many do not.
    pub replicas_needed: u32,
}

/// What the capacity depends on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sensitivity {
    /// What a tenth more buys, most first.
    pub shadow_prices: Vec<Shadow>,
    /// What binds: the first of these, where it buys anything.
    pub bottleneck: Option<String>,
    /// One replica less.
    pub one_replica_lost: Lost,
}

/// What is to be searched for a configuration.
pub(super) fn parts(best: &Candidate) -> Vec<Part> {
    let mut parts = vec![Part::Base];
    parts.extend(Vary::ALL.map(Part::More));
    parts.extend(best.capacity.binding.map(Part::Looser));
    if best.config.num_replicas > 1 {
        parts.push(Part::Lost);
    }
    parts
}

/// A capacity, and what it took: simulations and their requests.
pub(super) struct Found {
    pub(super) qps: f64,
    pub(super) spent: (u64, u64),
}

/// Searches one of them.
pub(super) fn search(
    bench: &Bench<'_>,
    best: &Candidate,
    part: Part,
    requests: u64,
) -> Result<Found, DeploymentError> {
    let (config, near) = (&best.config, best.capacity.qps);
    let fewer = config.with_replicas(config.num_replicas.saturating_sub(1).max(1));
    let (deployed, near) = match part {
        Part::More(vary) => (bench.varied(config, Some(vary))?, near),
        Part::Lost => {
            let left = f64::from(fewer.num_replicas) / f64::from(config.num_replicas);
            (bench.varied(&fewer, None)?, near * left)
        }
        Part::Base | Part::Looser(_) => (bench.varied(config, None)?, near),
    };
    let mut searching = Searching::new(bench, &deployed, requests);
    if let Part::Looser(bound) = part {
        searching.relaxed = Some(bound);
    }
    let qps = searching.near(near, SEEDS)?;
    Ok(Found {
        qps,
        spent: searching.spent(),
    })
}

impl Sensitivity {
    /// From the capacities of the parts. These are searched on fewer seeds than the configuration was, and not verified: what
    /// they tell is their ratio.
    pub(super) fn of(bench: &Bench<'_>, best: &Candidate, parts: &[Part], found: &[f64]) -> Self {
        let bears = best.capacity.qps;
        // Where nothing holds any more on the seeds of the parts, there is nothing to compare with.
        let base = found.first().copied().filter(|base| *base > 0.0).unwrap_or(bears);
        let hour = best.cost.map(|cost| cost.cost_per_hour);
        let percent = 100.0 * (MORE - 1.0);
        let mut shadows = Vec::new();
        let mut left = 0.0;
        for (part, qps) in parts.iter().zip(found) {
            let what = match part {
                Part::Base => continue,
                Part::Lost => {
                    left = bears * qps / base;
                    continue;
                }
                Part::More(vary) => format!("{percent:.0} % more {}", vary.name()),
                Part::Looser(bound) => format!("{percent:.0} % looser {}", bench.bounds()[*bound].key),
            };
            let gain = (qps / base - 1.0).max(0.0);
            shadows.push(Shadow {
                what,
                max_qps: bears * (1.0 + gain),
                gain,
                worth_per_hour: hour.map(|hour| hour * gain),
            });
        }
        shadows.sort_by(|a, b| b.gain.total_cmp(&a.gain));
        let first = shadows.first().filter(|shadow| shadow.gain >= NOTHING);
        let demand = bench.request().demand().map_or(0.0, |demand| demand.qps);
        let one = bears / f64::from(best.config.num_replicas);
        Self {
            bottleneck: first.map(|shadow| shadow.what.clone()),
            shadow_prices: shadows,
            one_replica_lost: Lost {
                max_qps: left,
                serves_demand: demand > 0.0 && left >= demand,
                replicas_needed: (demand / one).ceil().max(1.0) as u32 + 1,
            },
        }
    }
}
