//! What all trials together say about the capacity.

use serde::{Deserialize, Serialize};

use super::evidence::Evidence;
use crate::units::Rate;

/// What is believed before the first trial, for example because neighbouring token pairs are known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prior {
    /// The capacity that is expected.
    pub capacity: Rate,
    /// Lower end of its 95 % interval.
    pub low: Rate,
    /// Upper end of it.
    pub high: Rate,
}

impl Prior {
    /// Standard deviation of the logarithm.
    pub fn sd(&self) -> f64 {
        (self.high.as_per_minute() / self.low.as_per_minute()).ln() / (2.0 * HALF)
    }
}

/// Spacing of the grid over the logarithm of the capacity.
const SPACING: f64 = 1e-3;
/// Half a 95 % interval in standard deviations.
const HALF: f64 = 1.96;
/// Degrees of freedom of the likelihoods: tails so heavy that one wrong trial does not outweigh three right ones.
const TAIL: f64 = 4.0;
/// Standard deviation from one saturated trial to the next beyond what each knows of itself, as a share.
const BETWEEN: f64 = 0.003;
/// Standard deviation that all trials share, as a share: what a saturated service does is not quite what it can sustain.
const SHARED: f64 = 0.0075;
/// Overload up to which a saturated trial is taken at its word, and how its doubt grows beyond.
const MILD: f64 = 0.15;
const DOUBT: f64 = 0.04;

/// The belief about the capacity, requests per minute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Belief {
    /// Its median.
    pub(super) median: f64,
    /// Lower end of the 95 % interval.
    pub(super) low: f64,
    /// Upper end of it.
    pub(super) high: f64,
    /// Whether the service does less under overload than it can sustain.
    pub(super) collapses: bool,
}

impl Belief {
    /// The posterior of the evidence; `None` where nothing bounds the capacity on both sides.
    ///
    /// With `x` the logarithm of the capacity on a grid, the prior and one likelihood a trial are multiplied:
    /// a saturated trial says `x = ln hint`, any other that the share not served was `max(0, 1 - e^x / offered)`; both with Student's
    /// `t` tails.
    pub(super) fn of(prior: Option<&Prior>, evidence: &[Evidence]) -> Option<Self> {
        let hints: Vec<Hint> = evidence.iter().filter_map(|e| Hint::of(e, evidence)).collect();
        let unsaturated: Vec<Unsaturated> = evidence.iter().filter_map(Unsaturated::of).collect();
        let believed = prior.map(|p| p.capacity.as_per_minute());
        let centres = || hints.iter().map(|h| h.at.exp()).chain(believed);
        let least = centres().fold(f64::INFINITY, f64::min);
        if least.is_infinite() {
            return None;
        }
        let held = evidence.iter().filter(|e| e.held()).map(|e| e.offered);
        let most = centres().chain(held).fold(0.0, f64::max);
        let (from, to) = ((least / 2.0).ln(), (most * 2.0).ln());
        let points = ((to - from) / SPACING) as usize + 1;
        let mut log_weights = vec![0.0; points];
        for (i, weight) in log_weights.iter_mut().enumerate() {
            let x = from + SPACING * i as f64;
            *weight = hints.iter().map(|h| h.log_likelihood(x)).sum::<f64>()
                + unsaturated.iter().map(|u| u.log_likelihood(x)).sum::<f64>()
                + prior.map_or(0.0, |p| expected(p, x));
        }
        let peak = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = log_weights.iter().map(|w| (w - peak).exp()).collect();
        let total: f64 = weights.iter().sum();
        let quantile = |share: f64| {
            let mut sum = 0.0;
            let index = weights.iter().position(|w| {
                sum += w;
                sum >= share * total
            });
            from + SPACING * index.unwrap_or(points - 1) as f64
        };
        let (low, middle, high) = (quantile(0.025), quantile(0.5), quantile(0.975));
        let shared = HALF * SHARED;
        Some(Self {
            median: middle.exp(),
            low: (middle - (middle - low).hypot(shared)).exp(),
            high: (middle + (high - middle).hypot(shared)).exp(),
            collapses: hints.iter().any(|h| h.most > h.at),
        })
    }

    /// Half the interval as a share of the median.
    pub(super) fn half_width(&self) -> f64 {
        (self.high - self.low) / (2.0 * self.median)
    }

    /// The rate that is answered with: `step`, a share, below the median.
    pub(super) fn answer(&self, step: f64) -> Rate {
        Rate::per_minute(self.median * (1.0 - step)).rounded()
    }
}

/// Logarithm of Student's density, up to a constant.
fn student(z: f64) -> f64 {
    -(TAIL + 1.0) / 2.0 * (z * z / TAIL).ln_1p()
}

/// What a saturated trial says: the logarithm of the capacity and its standard deviation.
#[derive(Clone, Copy, Debug)]
struct Hint {
    at: f64,
    /// Up to here it may be as well: above `at` only where the service did less under overload than it can sustain.
    most: f64,
    sd: f64,
}

impl Hint {
    fn of(trial: &Evidence, all: &[Evidence]) -> Option<Self> {
        let mut own = Self::alone(trial)?;
        if !trial.full {
            // A longer look outranks a short one that it contradicts: the service was not the same all the time.
            for longer in all.iter().filter(|e| e.full && e.load_s > 2.0 * trial.load_s) {
                let gap = match Self::alone(longer) {
                    Some(other) if (own.at - other.at).abs() > 3.0 * own.sd.hypot(other.sd) => {
                        (own.at - other.at).abs()
                    }
                    None if longer.held() => (longer.offered.ln() - own.at).max(0.0),
                    _ => 0.0,
                };
                own.sd = own.sd.max(gap);
            }
        }
        // A trial that held more, for about as long: overload costs this service throughput, so what it did is a lower bound, and
        // what was offered an upper one.
        let as_long = |e: &&Evidence| 8.0 * e.load_s >= trial.load_s;
        if all.iter().filter(as_long).any(|e| e.held_more_than(trial)) {
            own.most = own.at.max(trial.offered.ln());
        }
        Some(own)
    }

    fn log_likelihood(&self, x: f64) -> f64 {
        // What failed bounds as sharply as it was offered.
        let sd = if self.most > self.at && x > self.most {
            BETWEEN
        } else {
            self.sd
        };
        student((x - x.clamp(self.at, self.most)) / sd)
    }

    fn alone(trial: &Evidence) -> Option<Self> {
        let hint = trial.hint?;
        let statistical = (hint.high - hint.low) / (2.0 * HALF * hint.value);
        let overload = (trial.offered / hint.value).ln();
        // An overloaded service may do less than its best, and the more so the more it is overloaded.
        let doubt = DOUBT * (overload - MILD).max(0.0);
        Some(Self {
            at: hint.value.ln(),
            most: hint.value.ln(),
            sd: statistical.hypot(BETWEEN).hypot(doubt),
        })
    }
}

/// What a trial says that was not saturated, or not surely.
#[derive(Clone, Copy, Debug)]
struct Unsaturated {
    offered: f64,
    /// Share of the load that was not served. Spare capacity shows as none, so less than none says no more than none.
    drift: f64,
    sd: f64,
}

impl Unsaturated {
    fn of(trial: &Evidence) -> Option<Self> {
        let drift = trial.drift.filter(|_| trial.hint.is_none())?;
        let sd = ((drift.high - drift.low) / (2.0 * HALF)).hypot(BETWEEN);
        Some(Self {
            offered: trial.offered,
            drift: drift.value.max(0.0),
            sd,
        })
    }

    fn log_likelihood(&self, x: f64) -> f64 {
        let expected = (1.0 - x.exp() / self.offered).max(0.0);
        student((self.drift - expected) / self.sd)
    }
}

fn expected(prior: &Prior, x: f64) -> f64 {
    student((x - prior.capacity.as_per_minute().ln()) / prior.sd().max(BETWEEN))
}
