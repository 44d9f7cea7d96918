//! The quantiles of a trial: what a fit of level C sees, and what every calibration is held against.

use rand::RngExt;

use crate::stats::describe::Moments;
use crate::stats::quantile::quantile;
use crate::workload::seeds;

/// Names of the metrics. Those of E2E follow from the others and are only reported.
pub const METRICS: [&str; 10] = [
    "ttft_p50",
    "ttft_p95",
    "ttft_p99",
    "tpot_p50",
    "tpot_p95",
    "tpot_p99",
    "throughput",
    "e2e_p50",
    "e2e_p95",
    "e2e_p99",
];
/// So many of these are fitted.
pub(super) const FITTED: usize = 7;
const THROUGHPUT: usize = 6;
const QUANTILES: [f64; 3] = [0.5, 0.95, 0.99];
/// A 99 % quantile of fewer requests is their maximum.
const FOR_P99: usize = 100;
/// Resamples of the bootstrap.
const RESAMPLES: usize = 200;
/// Relative error of a throughput whose requests are the same in the prediction.
const THROUGHPUT_SD: f64 = 0.01;

/// An answered request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Answered {
    /// When it was sent, in seconds.
    pub(super) sent: f64,
    /// From then to the first token, in seconds.
    pub(super) ttft: f64,
    /// From then to the last token, in seconds.
    pub(super) e2e: f64,
    /// Tokens of the response.
    pub(super) output_tokens: u32,
}

impl Answered {
    /// Mean time of a token after the first, in seconds; `None` with one token.
    pub(super) fn tpot(&self) -> Option<f64> {
        (self.output_tokens > 1).then(|| (self.e2e - self.ttft) / f64::from(self.output_tokens - 1))
    }
}

/// Natural logarithms of [`METRICS`], in their order; not a number where one does not exist.
pub(super) type Metrics = [f64; METRICS.len()];

/// The metrics of answered requests, times in seconds, throughput in response tokens a second from the first request sent
/// to the last one answered.
pub(super) fn metrics(requests: &[Answered]) -> Metrics {
    let mut all = [f64::NAN; METRICS.len()];
    let kinds: [(usize, Vec<f64>); 3] = [
        (0, requests.iter().map(|r| r.ttft).collect()),
        (3, requests.iter().filter_map(Answered::tpot).collect()),
        (7, requests.iter().map(|r| r.e2e).collect()),
    ];
    for (first, mut values) in kinds {
        values.sort_by(f64::total_cmp);
        for (i, p) in QUANTILES.into_iter().enumerate() {
            if p < 0.985 || values.len() >= FOR_P99 {
                all[first + i] = quantile(&values, p).map_or(f64::NAN, f64::ln);
            }
        }
    }
    let begin = requests.iter().map(|r| r.sent).fold(f64::INFINITY, f64::min);
    let end = requests.iter().map(|r| r.sent + r.e2e).fold(0.0, f64::max);
    let tokens: f64 = requests.iter().map(|r| f64::from(r.output_tokens)).sum();
    all[THROUGHPUT] = (tokens / (end - begin)).ln();
    all
}

/// Standard deviations of the metrics by moving blocks of `n^(1/3)` requests in order of their sending (Kuensch 1989).
pub(super) fn bootstrap_sd(requests: &[Answered]) -> Metrics {
    let n = requests.len();
    let block = ((n as f64).cbrt().round() as usize).clamp(1, n.max(1));
    let mut rng = seeds::stream(n as u64, "calibration");
    let mut draws: Vec<Metrics> = Vec::with_capacity(RESAMPLES);
    let mut resample = Vec::with_capacity(n + block);
    for _ in 0..RESAMPLES {
        resample.clear();
        while resample.len() < n {
            let from = rng.random_range(0..=n - block);
            resample.extend_from_slice(&requests[from..from + block]);
        }
        resample.truncate(n);
        draws.push(metrics(&resample));
    }
    let mut sds = [f64::NAN; METRICS.len()];
    for (m, sd) in sds.iter_mut().enumerate() {
        let values: Vec<f64> = draws.iter().map(|d| d[m]).filter(|v| v.is_finite()).collect();
        if values.len() > 1 {
            *sd = Moments::of(&values).variance.sqrt();
        }
    }
    sds[THROUGHPUT] = THROUGHPUT_SD;
    sds
}
