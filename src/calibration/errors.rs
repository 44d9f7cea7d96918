//! How wrong predictions are: a table by metric, and what may be concluded from it.

use super::aggregate::{FITTED, Metrics};
use crate::deployment::calibrated::{ErrorSummary, Interval, IntervalKind, Label, MetricErrors};
use crate::stats::quantile::quantile_of;

/// What a capacity is off by although the medians agree: that is decided by tails. By planted servers, see
/// `tests/it/calibrate/coverage.rs`.
const LEAST_SPREAD: f64 = 0.01;
/// The same where nothing was held out: a judgement.
pub(super) const UNKNOWN_SPREAD: f64 = 0.2;
/// Fewer held-out predictions cannot promise 90 %.
const FOR_90: usize = 9;

/// `ln(predicted / measured)`, a row a trial.
pub(super) type Errors = Vec<Vec<f64>>;

/// Of predictions and observations, both as natural logarithms.
pub(super) fn errors(predicted: &[Metrics], observed: &[Metrics]) -> Errors {
    let row = |(p, o): (&Metrics, &Metrics)| p.iter().zip(o).map(|(p, o)| p - o).collect();
    predicted.iter().zip(observed).map(row).collect()
}

/// The four columns.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    pub(super) uncalibrated: Errors,
    pub(super) one_ratio: Errors,
    pub(super) train: Errors,
    pub(super) hold_out: Errors,
}

impl Columns {
    /// The table; intervals are those of the column that predictions are made with.
    pub(super) fn table(&self, metrics: &[&str], one_ratio_kept: bool) -> Vec<MetricErrors> {
        let kept = if one_ratio_kept {
            &self.one_ratio
        } else {
            &self.hold_out
        };
        metrics
            .iter()
            .enumerate()
            .map(|(m, name)| MetricErrors {
                metric: (*name).to_owned(),
                uncalibrated: summary(&self.uncalibrated, m),
                one_ratio: summary(&self.one_ratio, m),
                train: summary(&self.train, m),
                hold_out: summary(&self.hold_out, m),
                interval: interval(kept, m),
            })
            .collect()
    }
}

fn of_metric(errors: &Errors, metric: usize) -> Vec<f64> {
    errors
        .iter()
        .map(|row| row[metric])
        .filter(|e| e.is_finite())
        .collect()
}

pub(super) fn summary(errors: &Errors, metric: usize) -> Option<ErrorSummary> {
    let ln = of_metric(errors, metric);
    let count = ln.len();
    let mean = |of: fn(f64) -> f64| ln.iter().map(|e| of(*e)).sum::<f64>() / count as f64;
    let sizes: Vec<f64> = ln.iter().map(|e| e.abs()).collect();
    Some(ErrorSummary {
        count,
        p95_ln: quantile_of(&sizes, 0.95)?,
        mape: mean(|e| e.exp_m1().abs()),
        bias: mean(|e| e).exp_m1(),
    })
}

/// Split conformal prediction: the `ceil(0.9 (n + 1))`-th smallest error (Lei and others, JASA 113, 2018).
fn interval(errors: &Errors, metric: usize) -> Option<Interval> {
    let mut sizes: Vec<f64> = of_metric(errors, metric).iter().map(|e| e.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    let last = *sizes.last()?;
    Some(if sizes.len() < FOR_90 {
        Interval {
            kind: IntervalKind::RangeOfObservedErrors,
            ln_factor: last,
        }
    } else {
        let rank = (0.9 * (sizes.len() + 1) as f64).ceil() as usize;
        Interval {
            kind: IntervalKind::Conformal90,
            ln_factor: sizes[rank.min(sizes.len()) - 1],
        }
    })
}

/// Mean of the sizes of all errors but those of E2E, which follow from the others.
pub(super) fn size(errors: &Errors) -> f64 {
    let all: Vec<f64> = errors
        .iter()
        .flat_map(|row| &row[..row.len().min(FITTED)])
        .filter(|e| e.is_finite())
        .map(|e| e.abs())
        .collect();
    if all.is_empty() {
        f64::INFINITY
    } else {
        all.iter().sum::<f64>() / all.len() as f64
    }
}

/// Held-out errors of E2E, TPOT and decode iterations of at most 10 % each on average, and of the 95 % quantile of TTFT and
/// iterations with prefills of at most 20 %.
pub(super) fn label(metrics: &[&str], hold_out: &Errors) -> Label {
    let within = |(m, name): (usize, &&str)| {
        let most = match *name {
            "ttft_p95" | "step_prefill" | "step_mixed" => 0.2,
            name if name.starts_with("e2e") || name.starts_with("tpot") => 0.1,
            "step_decode" => 0.1,
            _ => return true,
        };
        summary(hold_out, m).is_none_or(|s| s.mape <= most)
    };
    if !hold_out.is_empty() && metrics.iter().enumerate().all(within) {
        Label::Calibrated
    } else {
        Label::Fitted
    }
}

/// Spread of the logarithm of a predicted capacity: a full server serves in inverse proportion to the times of its
/// iterations, so the held-out errors of the median TPOT and E2E, or of iterations, stand for it. At least [`LEAST_SPREAD`];
/// 20 % where nothing was held out.
pub(super) fn discrepancy(metrics: &[&str], hold_out: &Errors) -> f64 {
    let squares: Vec<f64> = metrics
        .iter()
        .enumerate()
        .filter(|(_, name)| ["tpot_p50", "e2e_p50", "step"].contains(name))
        .flat_map(|(m, _)| of_metric(hold_out, m))
        .map(|e| e * e)
        .collect();
    if squares.is_empty() {
        UNKNOWN_SPREAD
    } else {
        (squares.iter().sum::<f64>() / squares.len() as f64)
            .sqrt()
            .max(LEAST_SPREAD)
    }
}
