//! What no schedule can do better: limits of a rate from the cost model alone.
//!
//! By the time that the last request must have been served, its arrival plus the objective's bound, the least work of as
//! many requests as must keep the objective has to be done. The least work is counted in tokens: prompt tokens that no
//! earlier request has in common with them, and output tokens where the objective needs them, at the lowest time a token
//! of any batch that the scheduler can form. Attention, the LM head, queueing and evictions only add to it, so that the
//! limit is never too low. A block of a prompt counts for the first request that has it: whoever computes it does so after
//! that one's arrival.

use super::grid::Cell;
use super::probe::Limit;
use super::traces::Loaded;
use crate::sim::Source;
use crate::sim::batching::Batching;
use crate::sim::cluster::ClusterConfig;
use crate::sim::cost::BatchShape;
use crate::slo::{Bound, Joint, Metric, SloConfig};

/// The limit of a cell for an objective, on seed 0.
pub(super) fn limit(cell: &Cell, slo: &SloConfig, config: &ClusterConfig, loaded: &Loaded) -> Limit {
    let Some(cost) = Cheapest::of(config) else {
        return Limit::None;
    };
    let Ok(mut source) = loaded.source(cell, 1.0, 0) else {
        return Limit::None;
    };
    let mut requests = Vec::new();
    let mut seen = vec![false; loaded.prefixes.distinct as usize];
    let per_hash = if config.engine.prefix_caching {
        loaded.prefixes.tokens_per_hash
    } else {
        0
    };
    let mut last = 0.0;
    while let Some(request) = source.next() {
        last = request.arrival.as_seconds();
        let hashes = if per_hash > 0 {
            loaded.prefixes.of(request.prefix)
        } else {
            &[]
        };
        let shared = hashes.iter().take_while(|hash| seen[**hash as usize]).count() as u32;
        for hash in hashes {
            seen[*hash as usize] = true;
        }
        // At least the last token is computed.
        let fresh = request
            .input_tokens
            .saturating_sub(shared.saturating_mul(per_hash))
            .max(1);
        requests.push(Need {
            prefill: f64::from(fresh),
            decode: f64::from(request.output_tokens - 1),
            output: f64::from(request.output_tokens),
        });
    }
    let limits = slo
        .slos
        .iter()
        .map(|bound| one(bound, slo.quantile, &requests, last, &cost, config));
    match (slo.slos.len(), slo.joint) {
        (1, _) | (_, Joint::And) => limits.reduce(tighter).unwrap_or(Limit::None),
        // Some requests may keep the one bound and others the other: no limit of one holds for all.
        (_, Joint::Or) => Limit::None,
    }
}

/// Least work of a request.
struct Need {
    prefill: f64,
    decode: f64,
    output: f64,
}

/// The lowest times, in seconds.
struct Cheapest {
    per_token: f64,
    iteration: f64,
}

impl Cheapest {
    /// `None` where a batch may be larger than is worth trying all sizes of.
    fn of(config: &ClusterConfig) -> Option<Self> {
        let cap = config.engine.batch_size_cap;
        let most = match config.engine.batching {
            Batching::VllmV1 { chunk_size } | Batching::Sarathi { chunk_size } => chunk_size + cap,
            _ => return None,
        };
        let time = |tokens: u32| {
            let shape = BatchShape {
                sequences: 1,
                tokens,
                ..BatchShape::default()
            };
            config.cost.stage(&shape, false).total.as_seconds()
        };
        // Noise of mean one may make an iteration shorter.
        if config.noise > 0.0 || most > 1 << 16 {
            return None;
        }
        let per_token = (1..=most)
            .map(|tokens| time(tokens) / f64::from(tokens))
            .fold(f64::INFINITY, f64::min);
        let stages = f64::from(config.engine.pipeline_stages);
        let shortest = (1..=most).map(time).fold(f64::INFINITY, f64::min);
        Some(Self {
            per_token,
            iteration: shortest * stages,
        })
    }
}

fn one(
    bound: &Bound,
    share: f64,
    requests: &[Need],
    last: f64,
    cost: &Cheapest,
    config: &ClusterConfig,
) -> Limit {
    // As many may fail as the quantile allows, one more for its interpolation.
    let must = ((requests.len() as f64 * share).floor() as usize).saturating_sub(1);
    let name = bound.metric.name();
    let alone: Box<dyn Fn(&Need) -> f64> = match bound.metric {
        Metric::PrefillE2eTime => Box::new(|need| need.prefill * cost.per_token),
        Metric::RequestE2eTime => {
            Box::new(|need| need.prefill * cost.per_token + need.decode * cost.iteration)
        }
        Metric::DecodeTimeExecutionPlusPreemptionNormalized => {
            Box::new(|need| need.decode * cost.iteration / need.output)
        }
        Metric::Tpot => Box::new(|need| if need.decode > 0.0 { cost.iteration } else { 0.0 }),
        _ => return Limit::None,
    };
    let able = requests.iter().filter(|need| alone(need) <= bound.value).count();
    if able < must {
        return Limit::Infeasible(format!(
            "{name}: alone on an idle replica, {able} of {} requests could keep {} s",
            requests.len(),
            bound.value
        ));
    }
    let needed: Box<dyn Fn(&Need) -> f64> = match bound.metric {
        Metric::PrefillE2eTime => Box::new(|need| need.prefill),
        Metric::RequestE2eTime => Box::new(|need| need.prefill + need.decode),
        _ => return Limit::None,
    };
    let mut work: Vec<f64> = requests.iter().map(needed).collect();
    work.sort_unstable_by(f64::total_cmp);
    let tokens: f64 = work[..must].iter().sum();
    let time = tokens * cost.per_token / f64::from(config.replicas);
    if time <= bound.value {
        return Limit::None;
    }
    let qps = last / (time - bound.value);
    Limit::Below(
        qps,
        format!(
            "{name}: {tokens:.0} tokens at {:.3} us each take {time:.1} s on {} replicas, which at more than {qps:.4} \
             QPS is later than {} s after the last arrival",
            1e6 * cost.per_token,
            config.replicas,
            bound.value
        ),
    )
}

fn tighter(one: Limit, other: Limit) -> Limit {
    match (&one, &other) {
        (Limit::Infeasible(_), _) | (_, Limit::None) => one,
        (Limit::Below(low, _), Limit::Below(high, _)) if low <= high => one,
        _ => other,
    }
}
