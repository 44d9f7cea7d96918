//! A distribution of times: exact while it is small, a histogram from then on.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::sim::Time;
use crate::stats::quantile::quantile;

/// Values that are kept exactly; more become a histogram.
const EXACT: usize = 1 << 14;
/// Significant digits of the histogram: a quantile is at most 0.1 % off.
const DIGITS: u8 = 3;
/// The end of virtual time, in nanoseconds.
const LONGEST: u64 = Time::MAX.as_ns();
/// Points of a curve.
const POINTS: usize = 1_000;

/// A distribution of times, given with weights.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    exact: Vec<(Time, u64)>,
    histogram: Option<Histogram<u64>>,
    count: u64,
    /// Picoseconds; the mean is exact also where quantiles are not.
    sum: u128,
}

/// Mean and quantiles, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90 % are at most this.
    pub p90: f64,
    /// 95 % are at most this.
    pub p95: f64,
    /// 99 % are at most this.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Adds a value.
    pub fn add(&mut self, value: Time) {
        self.add_many(value, 1);
    }

    /// Adds a value that occurred `weight` times.
    pub fn add_many(&mut self, value: Time, weight: u64) {
        if weight == 0 {
            return;
        }
        self.count += weight;
        self.sum += u128::from(value.as_ps()) * u128::from(weight);
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record_n(value.as_ns(), weight);
            return;
        }
        self.exact.push((value, weight));
        if self.exact.len() >= EXACT {
            let mut histogram = empty();
            for (value, weight) in self.exact.drain(..) {
                histogram.saturating_record_n(value.as_ns(), weight);
            }
            self.exact.shrink_to_fit();
            self.histogram = Some(histogram);
        }
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The mean, in seconds; zero without values.
    pub fn mean(&self) -> f64 {
        if self.count == 0 {
            0.0
        } else {
            self.sum as f64 / self.count as f64 / 1e12
        }
    }

    /// Mean and quantiles; `None` without values.
    pub fn quantiles(&self) -> Option<Quantiles> {
        let sorted = self.sorted();
        let at = |p: f64| self.at(&sorted, p);
        Some(Quantiles {
            mean: self.mean(),
            p50: at(0.5)?,
            p90: at(0.9)?,
            p95: at(0.95)?,
            p99: at(0.99)?,
            max: at(1.0)?,
        })
    }

    /// The distribution as rising pairs of seconds and the share of values that are at most that.
    pub fn curve(&self) -> Vec<(f64, f64)> {
        let sorted = self.sorted();
        let steps = POINTS.min(self.count as usize);
        (0..=steps)
            .filter_map(|i| {
                let p = i as f64 / steps.max(1) as f64;
                Some((self.at(&sorted, p)?, p))
            })
            .collect()
    }

    /// The exact values in order, with the number of values up to and with each.
    fn sorted(&self) -> Vec<(f64, u64)> {
        let mut sorted = self.exact.clone();
        sorted.sort_unstable();
        let mut below = 0;
        sorted
            .into_iter()
            .map(|(value, weight)| {
                below += weight;
                (value.as_seconds(), below)
            })
            .collect()
    }

    fn at(&self, sorted: &[(f64, u64)], p: f64) -> Option<f64> {
        if let Some(histogram) = &self.histogram {
            return Some(histogram.value_at_quantile(p) as f64 / 1e9);
        }
        let last = sorted.last()?;
        if last.1 == sorted.len() as u64 {
            // Every weight is one: the quantile of the house.
            let at = (sorted.len() - 1) as f64 * p;
            let pair = [sorted[at.floor() as usize].0, sorted[at.ceil() as usize].0];
            return quantile(&pair, at.fract());
        }
        let rank = (p * last.1 as f64).ceil().max(1.0) as u64;
        let place = sorted.partition_point(|&(_, below)| below < rank);
        Some(sorted[place.min(sorted.len() - 1)].0)
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("the bounds and digits are possible ones")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_values_are_exact() {
        let mut spread = Spread::default();
        assert_eq!(spread.quantiles(), None);
        for seconds in [8.0, 1.0, 4.0, 2.0] {
            spread.add(Time::from_seconds(seconds));
        }
        let told = spread.quantiles().unwrap();
        assert!((told.p50 - 3.0).abs() < 1e-12 && (told.p90 - 6.8).abs() < 1e-12);
        assert!((told.mean - 3.75).abs() < 1e-12 && (told.max - 8.0).abs() < 1e-12);
        assert_eq!(spread.curve().first(), Some(&(1.0, 0.0)));
        assert_eq!(spread.curve().last(), Some(&(8.0, 1.0)));
    }

    #[test]
    fn weights_count() {
        let mut spread = Spread::default();
        spread.add_many(Time::from_seconds(1.0), 98);
        spread.add_many(Time::from_seconds(9.0), 2);
        spread.add_many(Time::from_seconds(5.0), 0);
        let told = spread.quantiles().unwrap();
        assert_eq!((told.p50, told.p95, told.p99), (1.0, 1.0, 9.0));
        assert_eq!(spread.count(), 100);
    }

    #[test]
    fn many_values_stay_small_and_near() {
        let mut spread = Spread::default();
        let n = 3 * EXACT as u64;
        for i in 0..n {
            // Steps of a number without common factor: every value once, in no order.
            let value = (i * 1_000_003) % n;
            spread.add(Time::from_ns(1_000 + value));
        }
        assert!(spread.exact.is_empty());
        let told = spread.quantiles().unwrap();
        for (told, p) in [(told.p50, 0.5), (told.p90, 0.9), (told.p99, 0.99)] {
            let true_value = (1_000.0 + p * n as f64) / 1e9;
            assert!((told / true_value - 1.0).abs() < 2e-3, "{told} for {true_value}");
        }
    }
}
