//! Token lengths by a distribution.

use rand::RngExt;
use rand_distr::{Distribution, Gamma, LogNormal, Normal, Zipf};
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Gamma as GammaLaw, Normal as NormalLaw};

/// Longest length that a distribution or a trace may name: a prompt and a response together still fit 32 bits.
pub const MAX_TOKENS: u32 = 1 << 30;

/// A distribution of token lengths.
///
/// Lengths are whole and at least one. The continuous ones are rounded to the nearest and then clamped to `min..=max`: what
/// falls beyond counts at the end, none is drawn again, so that a request takes the same number of draws whatever its
/// length. Without `max` only [`MAX_TOKENS`] bounds them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "distribution", deny_unknown_fields)]
pub enum TokenDistribution {
    /// Always the same.
    Fixed {
        /// Length.
        tokens: u32,
    },
    /// Each whole length from `min` to `max` is as likely as any other.
    Uniform {
        /// Shortest.
        min: u32,
        /// Longest.
        max: u32,
    },
    /// The `r`-th length from `min` on has a probability proportional to `r` to the power of `-theta`, up to `max`.
    Zipf {
        /// Exponent; zero is uniform.
        theta: f64,
        /// Shortest, the most likely one.
        min: u32,
        /// Longest.
        max: u32,
    },
    /// A normal distribution of this mean and standard deviation, before clamping.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        std: f64,
        /// Shortest.
        #[serde(default = "one")]
        min: u32,
        /// Longest.
        #[serde(default)]
        max: Option<u32>,
    },
    /// A lognormal distribution of this mean and standard deviation (of the lengths, not of their logarithms), before
    /// clamping.
    Lognormal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        std: f64,
        /// Shortest.
        #[serde(default = "one")]
        min: u32,
        /// Longest.
        #[serde(default)]
        max: Option<u32>,
    },
    /// A gamma distribution of this mean and standard deviation, before clamping.
    Gamma {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        std: f64,
        /// Shortest.
        #[serde(default = "one")]
        min: u32,
        /// Longest.
        #[serde(default)]
        max: Option<u32>,
    },
    /// Lengths as listed.
    Empirical {
        /// The lengths.
        values: Vec<u32>,
        /// How likely each is, in proportion; without it all are alike.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        weights: Option<Vec<f64>>,
    },
}

const fn one() -> u32 {
    1
}

/// What is wrong with a [`TokenDistribution`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("`{field}` of the {distribution} lengths is {value}, but must be {range}")]
pub struct DistributionError {
    /// Which distribution.
    pub distribution: &'static str,
    /// Which of its fields.
    pub field: &'static str,
    /// What it is.
    pub value: String,
    /// What it may be.
    pub range: String,
}

/// A [`TokenDistribution`] found right and made ready to draw from.
#[derive(Clone, Debug)]
pub struct TokenSampler {
    min: u32,
    max: u32,
    law: Law,
}

#[derive(Clone, Debug)]
enum Law {
    Fixed,
    Uniform,
    Zipf {
        ranks: Zipf<f64>,
        theta: f64,
    },
    Normal {
        draws: Normal<f64>,
        mean: f64,
        std: f64,
    },
    Lognormal {
        draws: LogNormal<f64>,
        mu: f64,
        sigma: f64,
    },
    Gamma {
        draws: Gamma<f64>,
        shape: f64,
        scale: f64,
    },
    Listed {
        values: Vec<u32>,
    },
    Weighted {
        values: Vec<u32>,
        below: Vec<f64>,
    },
}

impl TokenDistribution {
    /// Checks it and makes it ready to draw from.
    ///
    /// # Errors
    /// If a field is out of its range.
    pub fn sampler(&self) -> Result<TokenSampler, DistributionError> {
        let (name, min, max) = match *self {
            Self::Fixed { tokens } => ("fixed", tokens, tokens),
            Self::Uniform { min, max } => ("uniform", min, max),
            Self::Zipf { min, max, .. } => ("zipf", min, max),
            Self::Normal { min, max, .. } => ("normal", min, max.unwrap_or(MAX_TOKENS)),
            Self::Lognormal { min, max, .. } => ("lognormal", min, max.unwrap_or(MAX_TOKENS)),
            Self::Gamma { min, max, .. } => ("gamma", min, max.unwrap_or(MAX_TOKENS)),
            Self::Empirical { .. } => ("empirical", 1, MAX_TOKENS),
        };
        let wrong = |field, value: String, range: &str| DistributionError {
            distribution: name,
            field,
            value,
            range: range.to_owned(),
        };
        if min == 0 || min > MAX_TOKENS {
            let field = if name == "fixed" { "tokens" } else { "min" };
            return Err(wrong(field, min.to_string(), &format!("from 1 to {MAX_TOKENS}")));
        }
        if max < min || max > MAX_TOKENS {
            return Err(wrong(
                "max",
                max.to_string(),
                &format!("from {min} (`min`) to {MAX_TOKENS}"),
            ));
        }
        let positive = |field, value: f64| {
            if value.is_finite() && value > 0.0 {
                Ok(value)
            } else {
                Err(wrong(field, value.to_string(), "a number above zero"))
            }
        };
        let moments = |mean, std| Ok((positive("mean", mean)?, positive("std", std)?));
        let law = match self {
            Self::Fixed { .. } => Law::Fixed,
            Self::Uniform { .. } => Law::Uniform,
            &Self::Zipf { theta, .. } => {
                let ranks = Zipf::new(f64::from(max - min + 1), theta).ok();
                let ranks = ranks.filter(|_| theta.is_finite());
                let ranks =
                    ranks.ok_or_else(|| wrong("theta", theta.to_string(), "a number of at least zero"))?;
                Law::Zipf { ranks, theta }
            }
            &Self::Normal { mean, std, .. } => {
                let (mean, std) = moments(mean, std)?;
                let draws = Normal::new(mean, std).map_err(|e| wrong("std", e.to_string(), "positive"))?;
                Law::Normal { draws, mean, std }
            }
            &Self::Lognormal { mean, std, .. } => {
                let (mean, std) = moments(mean, std)?;
                let variance = (std / mean).powi(2).ln_1p();
                let (mu, sigma) = (mean.ln() - variance / 2.0, variance.sqrt());
                let draws = LogNormal::new(mu, sigma).map_err(|e| wrong("std", e.to_string(), "positive"))?;
                Law::Lognormal { draws, mu, sigma }
            }
            &Self::Gamma { mean, std, .. } => {
                let (mean, std) = moments(mean, std)?;
                let (shape, scale) = ((mean / std).powi(2), std * std / mean);
                let draws = Gamma::new(shape, scale).map_err(|e| wrong("std", e.to_string(), "positive"))?;
                Law::Gamma { draws, shape, scale }
            }
            Self::Empirical { values, weights } => listed(values, weights.as_deref(), &wrong)?,
        };
        Ok(TokenSampler { min, max, law })
    }
}

/// Checks a list of lengths and their weights.
fn listed(
    values: &[u32],
    weights: Option<&[f64]>,
    wrong: &dyn Fn(&'static str, String, &str) -> DistributionError,
) -> Result<Law, DistributionError> {
    if values.is_empty() {
        return Err(wrong(
            "values",
            "empty".to_owned(),
            "a list of at least one length",
        ));
    }
    if let Some(bad) = values.iter().find(|v| !(1..=MAX_TOKENS).contains(*v)) {
        let range = format!("lengths from 1 to {MAX_TOKENS}");
        return Err(wrong("values", bad.to_string(), &range));
    }
    let values = values.to_vec();
    let Some(weights) = weights else {
        return Ok(Law::Listed { values });
    };
    if weights.len() != values.len() {
        let range = format!("as long as `values`, {} long", values.len());
        return Err(wrong("weights", format!("{} long", weights.len()), &range));
    }
    if let Some(bad) = weights.iter().find(|w| !(w.is_finite() && **w >= 0.0)) {
        return Err(wrong("weights", bad.to_string(), "numbers of at least zero"));
    }
    let mut sum = 0.0;
    let below: Vec<f64> = weights
        .iter()
        .map(|w| {
            sum += w;
            sum
        })
        .collect();
    if !(sum.is_finite() && sum > 0.0) {
        return Err(wrong("weights", sum.to_string(), "numbers with a sum above zero"));
    }
    Ok(Law::Weighted { values, below })
}

impl TokenSampler {
    /// Draws a length.
    pub fn sample(&self, rng: &mut impl rand::Rng) -> u32 {
        let rounded = |x: f64| (x.round() as u32).clamp(self.min, self.max);
        match &self.law {
            Law::Fixed => self.min,
            Law::Uniform => rng.random_range(self.min..=self.max),
            Law::Zipf { ranks, .. } => rounded(f64::from(self.min) + ranks.sample(rng) - 1.0),
            Law::Normal { draws, .. } => rounded(draws.sample(rng)),
            Law::Lognormal { draws, .. } => rounded(draws.sample(rng)),
            Law::Gamma { draws, .. } => rounded(draws.sample(rng)),
            Law::Listed { values } => values[rng.random_range(0..values.len())],
            Law::Weighted { values, below } => {
                let point = rng.random::<f64>() * below[below.len() - 1];
                values[below.partition_point(|b| *b <= point).min(values.len() - 1)]
            }
        }
    }

    /// The length below which a share `u` of all lengths lies, `u` from 0 to below 1: the shortest that is reached with a
    /// probability above `u`. Drawn at uniform points it gives the lengths of [`Self::sample`].
    pub fn quantile(&self, u: f64) -> u32 {
        let rounded = |x: f64| (x.round() as u32).clamp(self.min, self.max);
        match &self.law {
            Law::Fixed => self.min,
            Law::Uniform => {
                let count = f64::from(self.max - self.min) + 1.0;
                (self.min + (u * count) as u32).min(self.max)
            }
            Law::Zipf { theta, .. } => {
                let count = self.max - self.min + 1;
                let wanted = u * power_sum(count, *theta);
                let above = |rank: &u32| power_sum(*rank, *theta) > wanted;
                self.min + first_that(1, count, above) - 1
            }
            Law::Normal { mean, std, .. } => rounded(mean + std * standard_normal(u)),
            Law::Lognormal { mu, sigma, .. } => rounded((mu + sigma * standard_normal(u)).exp()),
            Law::Gamma { shape, scale, .. } => match GammaLaw::new(*shape, 1.0 / scale) {
                Ok(law) => first_that(self.min, self.max, |k| law.cdf(f64::from(*k) + 0.5) > u),
                Err(_) => rounded(shape * scale),
            },
            Law::Listed { values } => values[((u * values.len() as f64) as usize).min(values.len() - 1)],
            Law::Weighted { values, below } => {
                let point = u * below[below.len() - 1];
                values[below.partition_point(|b| *b <= point).min(values.len() - 1)]
            }
        }
    }

    /// The shortest length that it gives.
    pub fn min(&self) -> u32 {
        match &self.law {
            Law::Listed { values } | Law::Weighted { values, .. } => {
                values.iter().copied().min().unwrap_or(1)
            }
            _ => self.min,
        }
    }

    /// The longest length that it gives.
    pub fn max(&self) -> u32 {
        match &self.law {
            Law::Listed { values } | Law::Weighted { values, .. } => {
                values.iter().copied().max().unwrap_or(1)
            }
            _ => self.max,
        }
    }

    /// Its mean, rounding and clamping included. Takes time in proportion to the range of lengths.
    pub fn mean(&self) -> f64 {
        match &self.law {
            Law::Fixed => f64::from(self.min),
            Law::Uniform => f64::midpoint(f64::from(self.min), f64::from(self.max)),
            Law::Zipf { theta, .. } => {
                let (mut mass, mut moment) = (0.0, 0.0);
                for rank in 0..=self.max - self.min {
                    let weight = f64::from(rank + 1).powf(-theta);
                    mass += weight;
                    moment += weight * f64::from(rank);
                }
                f64::from(self.min) + moment / mass
            }
            Law::Normal { mean, std, .. } => match NormalLaw::new(*mean, *std) {
                Ok(law) => self.clamped_mean(|x| law.sf(x)),
                Err(_) => *mean,
            },
            Law::Lognormal { mu, sigma, .. } => match NormalLaw::new(*mu, *sigma) {
                Ok(law) => self.clamped_mean(|x| law.sf(x.ln())),
                Err(_) => mu.exp(),
            },
            Law::Gamma { shape, scale, .. } => match GammaLaw::new(*shape, 1.0 / scale) {
                Ok(law) => self.clamped_mean(|x| law.sf(x)),
                Err(_) => shape * scale,
            },
            Law::Listed { values } => {
                values.iter().map(|v| u64::from(*v)).sum::<u64>() as f64 / values.len() as f64
            }
            Law::Weighted { values, below } => {
                let weight = |i: usize| below[i] - if i == 0 { 0.0 } else { below[i - 1] };
                let moment: f64 = (0..values.len()).map(|i| weight(i) * f64::from(values[i])).sum();
                moment / below[below.len() - 1]
            }
        }
    }

    /// The mean of a whole number is the sum of the probabilities of reaching each value.
    fn clamped_mean(&self, reaches: impl Fn(f64) -> f64) -> f64 {
        let mut mean = f64::from(self.min);
        for tokens in self.min..self.max {
            let more = reaches(f64::from(tokens) + 0.5);
            mean += more;
            // What is left is far below a token.
            if more < 1e-12 {
                break;
            }
        }
        mean
    }
}

/// The first whole number from `low` on that does, at most `high`; all after it do. Doubles its steps first, so that a
/// small answer is found in few.
fn first_that(low: u32, high: u32, does: impl Fn(&u32) -> bool) -> u32 {
    let (mut from, mut to, mut step) = (low, low, 1);
    while to < high && !does(&to) {
        from = to + 1;
        to = to.saturating_add(step).min(high);
        step = step.saturating_mul(2);
    }
    while from < to {
        let middle = from + (to - from) / 2;
        if does(&middle) {
            to = middle;
        } else {
            from = middle + 1;
        }
    }
    from
}

/// The sum of `r` to the power of `-theta` for `r` from 1 to `count`: some terms as they are, the rest by Euler and
/// Maclaurin, exact to a part in `1e12`.
fn power_sum(count: u32, theta: f64) -> f64 {
    const EXACT: u32 = 24;
    let term = |x: f64| x.powf(-theta);
    let head: f64 = (1..=count.min(EXACT)).map(|r| term(f64::from(r))).sum();
    if count <= EXACT {
        return head;
    }
    let (a, b) = (f64::from(EXACT), f64::from(count));
    let integral = if (theta - 1.0).abs() < 1e-9 {
        (b / a).ln()
    } else {
        (b.powf(1.0 - theta) - a.powf(1.0 - theta)) / (1.0 - theta)
    };
    let first = |x: f64| -theta * x.powf(-theta - 1.0);
    let third = |x: f64| -theta * (theta + 1.0) * (theta + 2.0) * x.powf(-theta - 3.0);
    // The sum from a + 1 to b is the sum from a to b without the term at a.
    head + integral + (term(b) - term(a)) / 2.0 + (first(b) - first(a)) / 12.0 - (third(b) - third(a)) / 720.0
}

/// Quantile of the standard normal distribution, within `1.2e-9` of it in relative terms: Acklam's rational approximations
/// (2003), which take a tenth of the time of an inverted error function.
fn standard_normal(u: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 6] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 5] = [
        7.784_695_709_041_462e-3,
        3.224_671_290_700_398e-1,
        2.445_134_137_142_996,
        3.754_408_661_907_416,
        1.0,
    ];
    const TAIL: f64 = 0.024_25;
    let value = |coefficients: &[f64], x: f64| coefficients.iter().fold(0.0, |sum, c| sum * x + c);
    let tail = |p: f64| {
        let q = (-2.0 * p.max(f64::MIN_POSITIVE).ln()).sqrt();
        value(&C, q) / value(&D, q)
    };
    if u < TAIL {
        tail(u)
    } else if u > 1.0 - TAIL {
        -tail(1.0 - u)
    } else {
        let q = u - 0.5;
        q * value(&A, q * q) / value(&B, q * q)
    }
}

#[cfg(test)]
mod tests;
