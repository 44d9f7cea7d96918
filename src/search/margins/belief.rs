//! What margins say about the capacity.

use super::Evidence;

/// Half a 95 % interval in standard deviations.
const HALF: f64 = 1.96;
/// Share of the belief on either side of the interval. Less than the 0.025 of a 95 % interval, as a search that ends when its
/// interval is narrow enough ends on those that are narrow by chance.
const OUTSIDE: f64 = 0.006;
/// Share of the belief beyond one standard deviation.
const BESIDE: f64 = 0.16;
/// Degrees of freedom of the likelihoods: one odd trial does not outweigh three others.
const TAIL: f64 = 5.0;
/// Standard deviations from trial to trial beyond what each knows of itself, in units of the margin and of the logarithm of
/// the rate: a long busy period makes a bad trial, as a higher rate would, and most have none. All are as likely.
const BETWEEN: [(f64, f64); 4] = [(0.02, 0.002), (0.06, 0.006), (0.15, 0.015), (0.35, 0.035)];
/// How an expected margin loses meaning with its size: the response to load is as simple only nearby.
const CURVED: f64 = 0.15;
/// Margins beyond this say their sign and no more.
const WIDE: f64 = 0.95;
/// How far off a trial tells of the shape of the response rather than of the capacity: by the logarithm of the rate, and by
/// the margin as well.
const FAR: (f64, f64) = (0.15, 0.25);
/// As how many trials those on one side count that are so far off. What the shape of the response is not, all of them tell alike:
/// a search for another objective may have left dozens.
const TOGETHER: f64 = 3.0;
/// Distance between the logarithms of rates at which trials know as much of themselves.
const ALIKE: f64 = 0.1;
/// Points of the grid over the logarithm of the capacity.
const POINTS: usize = 100;
/// How steeply a margin falls with the logarithm of the rate: the prior is log-normal about this, with this spread.
const STEEP: f64 = 4.0;
const STEEP_SPREAD: f64 = 1.0;
/// Its values.
const SLOPES: usize = 9;
/// By which factor it grows while the rate grows by a factor of e: waiting rises ever faster, and below there is nothing
/// left to save. All are as likely.
const BENDS: [f64; 4] = [0.0, 2.0, 4.0, 10.0];

/// The belief about the logarithm of the capacity, requests per minute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Belief {
    /// Its median.
    pub(super) median: f64,
    /// Lower end of the 95 % interval.
    pub(super) low: f64,
    /// Upper end of it.
    pub(super) high: f64,
    /// One standard deviation below the median.
    pub(super) lower: f64,
    /// One above it.
    pub(super) upper: f64,
}

impl Belief {
    /// The posterior: on a grid of capacities `c`, slopes `b`, bends `k` and deviations between trials, a trial at rate `x`
    /// with margin `m` has the likelihood of `m - b (1 - exp(-k (c - x))) / k` under Student's `t`, as wide as the trial's own
    /// error, what trials differ by, and a share of the expected margin. A margin at the end of its range says
    /// that it is at least that.
    pub(super) fn of(seen: &[Evidence]) -> Self {
        let ends = seen.iter().map(|e| e.x);
        let from = ends.clone().fold(f64::INFINITY, f64::min) - 0.2;
        let to = ends.fold(f64::NEG_INFINITY, f64::max) + 0.2;
        let alike = vec![1.0; seen.len()];
        let weights = weights(seen, Self::on(seen, &alike, from, to).median);
        // A pass over everything, another one where the weight is: all of it may lie between two points of the first.
        let coarse = Self::on(seen, &weights, from, to);
        let reach = (coarse.high - coarse.low).max(2.0 * (to - from) / POINTS as f64);
        Self::on(
            seen,
            &weights,
            (coarse.low - reach).max(from),
            (coarse.high + reach).min(to),
        )
    }

    fn on(seen: &[Evidence], weights: &[f64], from: f64, to: f64) -> Self {
        let step = (to - from) / POINTS as f64;
        let at = |i: usize| from + step * (i as f64 + 0.5);
        let slopes: Vec<(f64, f64)> = (0..SLOPES)
            .map(|i| {
                let z = 5.0 * (i as f64 / (SLOPES - 1) as f64 - 0.5);
                (STEEP * (STEEP_SPREAD * z).exp(), -z * z / 2.0)
            })
            .collect();
        let mut logs: Vec<Vec<f64>> = vec![Vec::new(); POINTS];
        let mut reach = vec![0.0; seen.len()];
        let own = variances(seen);
        for (i, logs) in logs.iter_mut().enumerate() {
            for bend in BENDS {
                for (reach, e) in reach.iter_mut().zip(seen) {
                    *reach = bent(at(i) - e.x, bend);
                }
                for (slope, prior) in &slopes {
                    for (between, shift) in BETWEEN {
                        let between = between * between + (slope * shift).powi(2);
                        let fits = seen.iter().zip(reach.iter().zip(weights)).zip(&own).map(
                            |((e, (reach, weight)), own)| {
                                weight * log_likelihood(e, slope * reach, own + between)
                            },
                        );
                        logs.push(prior + fits.sum::<f64>());
                    }
                }
            }
        }
        let peak = logs.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
        let shares: Vec<f64> = logs
            .iter()
            .map(|logs| logs.iter().map(|log| (log - peak).exp()).sum())
            .collect();
        let total: f64 = shares.iter().sum();
        let quantile = |share: f64| {
            let mut sum = 0.0;
            let index = shares.iter().position(|here| {
                sum += here;
                sum >= share * total
            });
            at(index.unwrap_or(POINTS - 1))
        };
        Self {
            median: quantile(0.5),
            low: quantile(OUTSIDE),
            high: quantile(1.0 - OUTSIDE),
            lower: quantile(BESIDE),
            upper: quantile(1.0 - BESIDE),
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

/// What trials count, about where the capacity is believed to be.
fn weights(seen: &[Evidence], capacity: f64) -> Vec<f64> {
    let (far, odd) = FAR;
    let side = |e: &Evidence| {
        let off = e.x - capacity;
        (off.abs() > far && e.margin.value.abs() > odd).then_some(off > 0.0)
    };
    let on = |above: bool| seen.iter().filter(|e| side(e) == Some(above)).count() as f64;
    let (below, above) = (on(false), on(true));
    let weight = |e: &Evidence| match side(e) {
        Some(true) => (TOGETHER / above).min(1.0),
        Some(false) => (TOGETHER / below).min(1.0),
        None => 1.0,
    };
    seen.iter().map(weight).collect()
}

/// How far a rate is below the capacity, as a response that bends feels it.
fn bent(below: f64, bend: f64) -> f64 {
    if bend == 0.0 {
        below
    } else {
        -(-bend * below).exp_m1() / bend
    }
}

/// The variances of trials by what each knows of itself, as the mean of those at about the same rate: a bad trial knows less of
/// itself than a good one, and would count for less.
fn variances(seen: &[Evidence]) -> Vec<f64> {
    let own = |e: &Evidence| ((e.margin.high - e.margin.low) / (2.0 * HALF)).powi(2);
    let mean = |e: &Evidence| {
        let near = seen.iter().filter(|other| (other.x - e.x).abs() <= ALIKE);
        let (sum, count) = near.fold((0.0, 0.0), |(sum, count), other| (sum + own(other), count + 1.0));
        sum / count
    };
    seen.iter().map(mean).collect()
}

/// `variance` is that of a trial's margin about its mean.
fn log_likelihood(e: &Evidence, expected: f64, variance: f64) -> f64 {
    let value = e.margin.value;
    let expected = expected.clamp(-2.0, 2.0);
    let variance = variance + (CURVED * expected).powi(2);
    let off = value - expected;
    let beyond = match value {
        m if m >= WIDE => off.max(0.0),
        m if m <= -WIDE => off.min(0.0),
        _ => off,
    };
    let censored = value.abs() >= WIDE && beyond == 0.0;
    let size = if censored { 0.0 } else { variance.ln() / 2.0 };
    -size - f64::midpoint(TAIL, 1.0) * (beyond * beyond / (variance * TAIL)).ln_1p()
}
