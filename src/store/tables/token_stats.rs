//! Token statistics of `results.csv`.

use std::collections::{BTreeMap, BTreeSet};

use super::Layout;
use super::pyfloat::Short;
use super::requests::{RequestLine, RequestTable};

/// Statistics of a set of token counts.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenStats {
    /// Mean.
    pub mean: f64,
    /// Median.
    pub median: f64,
    /// Population variance.
    pub variance: f64,
    /// 50th, 90th, 95th and 99th percentile.
    pub percentiles: [f64; 4],
}

impl TokenStats {
    /// From counts in any order; `None` without any.
    pub fn of(counts: impl IntoIterator<Item = u32>) -> Option<Self> {
        let mut sorted: Vec<f64> = counts.into_iter().map(f64::from).collect();
        sorted.sort_by(f64::total_cmp);
        let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
        let squares: f64 = sorted.iter().map(|v| (v - mean).powi(2)).sum();
        Some(Self {
            mean,
            median: quantile(&sorted, 0.5)?,
            variance: squares / sorted.len() as f64,
            percentiles: [
                quantile(&sorted, 0.5)?,
                quantile(&sorted, 0.9)?,
                quantile(&sorted, 0.95)?,
                quantile(&sorted, 0.99)?,
            ],
        })
    }

    /// The percentiles as compact JSON: `{"p50":16,"p90":16,"p95":16,"p99":16}`.
    pub fn percentiles_json(&self) -> String {
        let [p50, p90, p95, p99] = self.percentiles.map(Short);
        format!("{{\"p50\":{p50},\"p90\":{p90},\"p95\":{p95},\"p99\":{p99}}}")
    }
}

/// Response lengths as a layout counts them. The older forms take every request and count a failing event as a token;
/// ours and the latest take the requests that produced tokens, and these alone.
pub(super) fn response_counts(table: &RequestTable, layout: Layout) -> Vec<u32> {
    let lines = table.lines.iter();
    match layout {
        Layout::New | Layout::Doc => lines.map(|l| l.indexed).collect(),
        Layout::Latest | Layout::Mst => lines.map(|l| l.tokens).filter(|&n| n > 0).collect(),
    }
}

/// `MEDIAN_RESPONSE_TOKENS` as the older driver computed it: tokens summed by request number over all workers, divided by
/// the number of workers, median over the numbers. Wrong where workers have sent unequally many; kept for the older
/// forms alone. 0 without requests.
pub(super) fn driver_median(table: &RequestTable) -> f64 {
    let mut sums: BTreeMap<i64, f64> = BTreeMap::new();
    for line in &table.lines {
        *sums.entry(line.index).or_default() += f64::from(line.reported);
    }
    let workers = table
        .lines
        .iter()
        .map(|l| l.worker)
        .collect::<BTreeSet<_>>()
        .len() as f64;
    let mut means: Vec<f64> = sums.into_values().map(|sum| sum / workers).collect();
    means.sort_by(f64::total_cmp);
    quantile(&means, 0.5).unwrap_or(0.0)
}

/// Prompt and response tokens together, over the requests that produced tokens and whose prompt length is known.
pub(super) fn total_counts(table: &RequestTable) -> impl Iterator<Item = u32> {
    let lines = table.lines.iter().filter(|l| l.tokens > 0);
    lines.filter_map(|l: &RequestLine| Some(l.input_tokens? + l.tokens))
}

/// Hyndman and Fan's type 7.
pub(super) fn quantile(sorted: &[f64], p: f64) -> Option<f64> {
    let at = sorted.len().checked_sub(1)? as f64 * p;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    Some(low + (high - low) * at.fract())
}
