//! Shares and quantiles of searches.

use serde::Serialize;

use crate::stats::quantile::quantile;

/// Five quantiles.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantiles {
    /// 1 %.
    pub p1: f64,
    /// 5 %.
    pub p5: f64,
    /// The median.
    pub p50: f64,
    /// 95 %.
    pub p95: f64,
    /// 99 %.
    pub p99: f64,
}

/// Median and 95 % quantile. Where they are infinite, JSON has `null`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The median.
    pub p50: f64,
    /// 95 %.
    pub p95: f64,
}

/// Values in ascending order; they are not NaN.
pub(super) fn ascending(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

impl Quantiles {
    /// Of ascending values; NaN where there are none.
    pub(super) fn of(sorted: &[f64]) -> Self {
        let at = |p| quantile(sorted, p).unwrap_or(f64::NAN);
        Self {
            p1: at(0.01),
            p5: at(0.05),
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
        }
    }
}

impl Spread {
    /// Of values in any order; NaN where there are none.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let sorted = ascending(values);
        let at = |p| quantile(&sorted, p).unwrap_or(f64::NAN);
        Self {
            p50: at(0.5),
            p95: at(0.95),
        }
    }
}

/// Share of `all` that `is` holds for; `None` of nothing.
pub(super) fn share<T>(all: &[T], is: impl Fn(&T) -> bool) -> Option<f64> {
    (!all.is_empty()).then(|| all.iter().filter(|one| is(one)).count() as f64 / all.len() as f64)
}
