//! Quantiles of millions of values in bounded memory: buckets that are 0.05 % wide, so that a quantile is at most 0.025 %
//! off. Mean and largest value are exact.

use serde::{Deserialize, Serialize};

/// Logarithm of the ratio of two neighbouring bucket bounds.
const LOG_STEP: f64 = 0.0005;

/// A histogram of non-negative values (nanoseconds here).
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    /// Values below one, which have no logarithm to speak of.
    zeros: u64,
    total: u64,
    sum: f64,
    largest: f64,
}

/// Mean and quantiles in milliseconds; `null` where there is no value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Arithmetic mean, exact.
    pub mean: Option<f64>,
    /// Median; this and the other quantiles are within 0.025 %.
    pub p50: Option<f64>,
    /// 90th percentile.
    pub p90: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
}

impl Histogram {
    /// Adds a value; a negative one counts as zero.
    pub(super) fn add(&mut self, value: f64) {
        self.total += 1;
        if value < 1.0 {
            self.zeros += 1;
            return;
        }
        self.sum += value;
        self.largest = self.largest.max(value);
        let bucket = (value.ln() / LOG_STEP) as usize;
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
    }

    /// Number of values.
    pub(super) fn len(&self) -> u64 {
        self.total
    }

    /// The largest value.
    pub(super) fn max(&self) -> Option<f64> {
        (self.total > 0).then_some(self.largest)
    }

    /// The quantile `q` (Hyndman-Fan type 7, within the width of a bucket).
    pub(super) fn quantile(&self, q: f64) -> Option<f64> {
        let last = self.total.checked_sub(1)?;
        let position = q * last as f64;
        let (low, high) = (
            self.at_rank(position.floor() as u64),
            self.at_rank(position.ceil() as u64),
        );
        Some((low + (high - low) * position.fract()).min(self.largest))
    }

    /// The value of 0-based rank `rank`: the geometric middle of its bucket.
    fn at_rank(&self, rank: u64) -> f64 {
        let mut below = self.zeros;
        if rank < below {
            return 0.0;
        }
        for (bucket, count) in self.counts.iter().enumerate() {
            below += count;
            if rank < below {
                return ((bucket as f64 + 0.5) * LOG_STEP).exp();
            }
        }
        self.largest
    }

    /// Mean and quantiles of nanoseconds, in milliseconds.
    pub(super) fn spread_ms(&self) -> Spread {
        let ms = |q| self.quantile(q).map(|ns| ns / 1e6);
        Spread {
            mean: (self.total > 0).then(|| self.sum / self.total as f64 / 1e6),
            p50: ms(0.5),
            p90: ms(0.9),
            p99: ms(0.99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_has_no_quantile() {
        assert_eq!(Histogram::default().spread_ms(), Spread::default());
        assert_eq!(Histogram::default().max(), None);
    }

    proptest! {
        #[test]
        fn quantiles_are_within_a_quarter_of_a_thousandth(
            mut values in prop::collection::vec(1.0..1e12f64, 1..300),
            q in 0.0..=1.0f64,
        ) {
            let mut histogram = Histogram::default();
            for value in &values {
                histogram.add(*value);
            }
            values.sort_by(f64::total_cmp);
            let position = q * (values.len() - 1) as f64;
            let (low, high) = (values[position.floor() as usize], values[position.ceil() as usize]);
            let exact = low + (high - low) * position.fract();
            let found = histogram.quantile(q).unwrap();
            prop_assert!((found - exact).abs() <= 2.51e-4 * exact.max(high), "{found} {exact}");
        }
    }
}
