//! What margins say about the capacity.

use super::Evidence;

/// Half a 95 % interval in standard deviations.
const HALF: f64 = 1.96;
/// Degrees of freedom of the likelihoods: one odd trial does not outweigh three others.
const TAIL: f64 = 5.0;
/// Standard deviation from trial to trial beyond what each knows of itself, in units of the margin.
const BETWEEN: f64 = 0.03;
/// How a margin loses meaning with its size: the response to load is a straight line only nearby.
const CURVED: f64 = 0.3;
/// Margins beyond this say their sign and no more.
const WIDE: f64 = 0.95;
/// Points of the grid over the logarithm of the capacity.
const POINTS: usize = 240;
/// How steeply a margin falls with the logarithm of the rate: the prior is log-normal about this, with this spread.
const STEEP: f64 = 4.0;
const STEEP_SPREAD: f64 = 1.0;
/// Its values.
const SLOPES: usize = 17;

/// The belief about the logarithm of the capacity, requests per minute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Belief {
    /// Its median.
    pub(super) median: f64,
    /// Lower end of the 95 % interval.
    pub(super) low: f64,
    /// Upper end of it.
    pub(super) high: f64,
}

impl Belief {
    /// The posterior: on a grid of capacities `c` and slopes `b`, a trial at rate `x` with margin `m` has the likelihood of
    /// `m - b (c - x)` under Student's `t`, as wide as the trial's own error, what trials differ by, and a share of the
    /// margin itself. A margin at the end of its range says that it is at least that.
    pub(super) fn of(seen: &[Evidence]) -> Self {
        let ends = seen.iter().map(|e| e.x);
        let from = ends.clone().fold(f64::INFINITY, f64::min) - 0.2;
        let to = ends.fold(f64::NEG_INFINITY, f64::max) + 0.2;
        // A first pass over everything, a second one where the weight is.
        let coarse = Self::on(seen, from, to);
        let reach = (coarse.high - coarse.low).max(1e-3);
        Self::on(
            seen,
            (coarse.low - reach).max(from),
            (coarse.high + reach).min(to),
        )
    }

    fn on(seen: &[Evidence], from: f64, to: f64) -> Self {
        let step = (to - from) / POINTS as f64;
        let at = |i: usize| from + step * (i as f64 + 0.5);
        let slopes: Vec<(f64, f64)> = (0..SLOPES)
            .map(|i| {
                let z = 5.0 * (i as f64 / (SLOPES - 1) as f64 - 0.5);
                (STEEP * (STEEP_SPREAD * z).exp(), -z * z / 2.0)
            })
            .collect();
        let mut logs: Vec<Vec<f64>> = vec![Vec::new(); POINTS];
        for (i, logs) in logs.iter_mut().enumerate() {
            for (slope, prior) in &slopes {
                let sum: f64 = seen.iter().map(|e| log_likelihood(e, at(i), *slope)).sum();
                logs.push(prior + sum);
            }
        }
        let peak = logs.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = logs
            .iter()
            .map(|logs| logs.iter().map(|log| (log - peak).exp()).sum())
            .collect();
        let total: f64 = weights.iter().sum();
        let quantile = |share: f64| {
            let mut sum = 0.0;
            let index = weights.iter().position(|weight| {
                sum += weight;
                sum >= share * total
            });
            at(index.unwrap_or(POINTS - 1))
        };
        Self {
            median: quantile(0.5),
            low: quantile(0.025),
            high: quantile(0.975),
        }
    }

    /// Half the interval as a share of the median.
    pub(super) fn half_width(&self) -> f64 {
        (self.high - self.median)
            .exp_m1()
            .max(-(self.low - self.median).exp_m1())
    }

    /// Whether a rate, its logarithm, is within the interval or close to it.
    pub(super) fn is_near(&self, x: f64) -> bool {
        let reach = (self.high - self.low).max(0.02);
        (self.low - reach..=self.high + reach).contains(&x)
    }
}

fn log_likelihood(e: &Evidence, capacity: f64, slope: f64) -> f64 {
    let margin = e.margin.value;
    let own = (e.margin.high - e.margin.low) / (2.0 * HALF);
    let sd = own.hypot(BETWEEN).hypot(CURVED * margin);
    let expected = slope * (capacity - e.x);
    let beyond = match margin {
        m if m >= WIDE => (m - expected).max(0.0),
        m if m <= -WIDE => (m - expected).min(0.0),
        m => m - expected,
    };
    let z = beyond / sd;
    -f64::midpoint(TAIL, 1.0) * (z * z / TAIL).ln_1p()
}
