//! When a running trial is decided.

use super::estimate::DriftEstimate;
use super::{COARSE, Drift, idle};
use crate::criterion::success_rate::SuccessRate;
use crate::criterion::{Flow, Progress};
use crate::search::Goal;
use crate::trial::{Backlog, Estimate};

/// Probability that a trial is ever ended on the wrong side, however often one looks.
const ERROR: f64 = 0.004;
/// Elapsed times are told apart by this factor: looks at one decision within it count as one.
const EPOCH: f64 = 1.5;
/// Epochs from a second to a day.
const EPOCHS: f64 = 28.0;
/// By how often the change of the pace between the two halves of a saturated stretch it may still change.
const CHANGES_ON: f64 = 3.0;
/// Fewest requests that must have finished.
const FEWEST: u32 = 20;

/// Whether the trial goes on.
pub(super) fn flow(rule: &Drift, so_far: &Progress, goal: Goal) -> Flow {
    let backlog = &so_far.backlog;
    let sustainable = || match goal {
        Goal::Confirm => false,
        Goal::Decide => keeps_up(rule, backlog, rule.margin, 8.0),
        Goal::Locate { .. } => idle(backlog) || keeps_up(rule, backlog, COARSE, 4.0),
    };
    let located = || match goal {
        Goal::Locate { precision } => precise(backlog, precision),
        _ => true,
    };
    if (is_overloaded(rule, backlog) && located()) || sustainable() {
        Flow::Stop
    } else {
        Flow::Continue
    }
}

/// The error that one look may make: equal parts of the whole for every epoch (Howard et al., Annals of Statistics 49,
/// 2021, stitch boundaries together in the same way).
const LOOK: f64 = ERROR / EPOCHS;

/// Whether the load is beyond doubt more than the service can do, or fails too often.
fn is_overloaded(rule: &Drift, backlog: &Backlog) -> bool {
    let Some(estimate) = DriftEstimate::at_level(backlog, LOOK) else {
        return false;
    };
    if estimate.finished < FEWEST {
        return false;
    }
    let steady = estimate.warmup_s + estimate.window_s / 4.0;
    let success = SuccessRate::of(backlog, steady, LOOK);
    if success.is_some_and(|s| s.percent.high < rule.success_rate_percent) {
        return true;
    }
    estimate.saturation.is_some_and(|s| {
        let further = CHANGES_ON * s.change.max(0.0);
        let long = s.length_s >= 2.0 * s.residence_s;
        long && s.tells(estimate.warmup_s, estimate.window_s) && s.share.low - further > rule.margin
    })
}

/// Whether what the saturated service does is known to `precision`, with a confidence of 95 %.
fn precise(backlog: &Backlog, precision: f64) -> bool {
    let sharp = |e: &Estimate| (e.high - e.low) / 2.0 <= precision * (1.0 - e.value);
    DriftEstimate::of(backlog).is_some_and(|e| sharp(&e.by_progress) && sharp(&e.by_good))
}

/// Whether the drift is beyond doubt below `bound`, over so many service times.
fn keeps_up(rule: &Drift, backlog: &Backlog, bound: f64, service_times: f64) -> bool {
    let Some(estimate) = DriftEstimate::at_level(backlog, LOOK) else {
        return false;
    };
    let success = SuccessRate::of(backlog, estimate.warmup_s, LOOK);
    estimate.finished >= FEWEST
        && estimate.window_s >= service_times * estimate.service_s
        && estimate.share.high < bound
        && success.is_none_or(|s| s.percent.low >= rule.success_rate_percent)
}
