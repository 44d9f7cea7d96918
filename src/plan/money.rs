//! What a configuration costs, and at which price another would cost as much.

use serde::Serialize;

use super::answer::Candidate;
use super::prices::Price;

/// At which price of its GPUs a configuration on another GPU would cost as much as the best.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BreakEven {
    /// The GPU.
    pub gpu_type: String,
    /// The configuration with the fewest of them that serves the demand.
    pub config: String,
    /// Its GPUs.
    pub total_gpus: u32,
    /// Whether it was searched as it is, on several seeds.
    pub as_it_is: bool,
    /// In GPU-hours of the best's type.
    pub times_the_best: f64,
    /// The price of a GPU-hour at which both cost the same, where there are prices.
    pub per_gpu_hour: Option<f64>,
    /// What it costs now.
    pub now_per_gpu_hour: Option<f64>,
}

/// For every GPU of which something serves the demand, but for the best's.
pub fn break_even(best: &Candidate, candidates: &[Candidate]) -> Vec<BreakEven> {
    let others = candidates
        .iter()
        .filter(|c| c.serves && c.config.gpu_type != best.config.gpu_type);
    let mut fewest: Vec<&Candidate> = Vec::new();
    for candidate in others {
        let fewer = |known: &Candidate| {
            let gpus = |c: &Candidate| c.config.total_gpus;
            gpus(candidate) < gpus(known)
                || gpus(candidate) == gpus(known) && candidate.capacity.qps > known.capacity.qps
        };
        match fewest
            .iter_mut()
            .find(|known| known.config.gpu_type == candidate.config.gpu_type)
        {
            Some(known) if fewer(known) => *known = candidate,
            Some(_) => {}
            None => fewest.push(candidate),
        }
    }
    let each = |c: &Candidate| {
        c.cost
            .map(|cost| cost.cost_per_hour / f64::from(c.config.total_gpus))
    };
    let mut all: Vec<BreakEven> = fewest
        .into_iter()
        .map(|c| {
            let gpus = f64::from(c.config.total_gpus);
            BreakEven {
                gpu_type: c.config.gpu_type.clone(),
                config: c.config.name(),
                total_gpus: c.config.total_gpus,
                as_it_is: c.is_refined() || c.config.num_replicas == 1,
                times_the_best: f64::from(best.config.total_gpus) / gpus,
                per_gpu_hour: best.cost.map(|cost| cost.cost_per_hour / gpus),
                now_per_gpu_hour: each(c),
            }
        })
        .collect();
    all.sort_by(|a, b| a.gpu_type.cmp(&b.gpu_type));
    all
}

/// What a configuration costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// An hour, all GPUs, busy or not.
    pub cost_per_hour: f64,
    /// The same by the lowest and the highest price.
    pub cost_per_hour_interval: [f64; 2],
    /// A thousand requests at the reported rate.
    pub cost_per_1k_requests: Option<f64>,
    /// A million output tokens at the reported rate.
    pub cost_per_1m_output_tokens: Option<f64>,
    /// Requests a second, by what an hour costs.
    pub qps_per_dollar: f64,
}

impl Cost {
    /// Of so many GPUs that serve so many requests and output tokens a second.
    pub fn of(price: &Price, gpus: u32, qps: f64, output_tokens_per_s: f64) -> Self {
        let gpus = f64::from(gpus);
        let hour = price.default * gpus;
        Self {
            cost_per_hour: hour,
            cost_per_hour_interval: [price.low * gpus, price.high * gpus],
            cost_per_1k_requests: (qps > 0.0).then(|| hour / (3.6 * qps)),
            cost_per_1m_output_tokens: (qps > 0.0 && output_tokens_per_s > 0.0)
                .then(|| 1e6 * hour / (3600.0 * output_tokens_per_s)),
            qps_per_dollar: qps / hour,
        }
    }
}
