//! When a running trial is decided.

use super::estimate::DriftEstimate;
use super::saturation::residence;
use super::{COARSE, Drift, idle};
use crate::criterion::Goal;
use crate::criterion::success_rate::SuccessRate;
use crate::criterion::{Flow, Progress, Ruling};
use crate::trial::{Backlog, Estimate};

/// Probability that a trial is ever ended on the wrong side, however often one looks.
const ERROR: f64 = 0.004;
/// Epochs, each half as long again as the one before, from a second to a day: looks within one are nearly the same look.
const EPOCHS: f64 = 28.0;
/// By how often the change of the pace between the two halves of a saturated stretch it may still change.
const CHANGES_ON: f64 = 3.0;
/// Fewest requests that must have finished.
const FEWEST: u32 = 20;

/// Whether the trial goes on.
pub(super) fn flow(rule: &Drift, so_far: &Progress, goal: Goal) -> Flow {
    let early = match goal {
        Goal::Decide => false,
        Goal::Locate { at_least_s, .. } => so_far.elapsed_s < at_least_s,
        // What looks like overload for a while may drain.
        Goal::Confirm => true,
    };
    if early {
        return Flow::Continue;
    }
    let backlog = &so_far.backlog;
    let estimate = DriftEstimate::at_level(backlog, LOOK).filter(|e| e.finished >= FEWEST);
    let decided = if let Some(estimate) = &estimate {
        let success = SuccessRate::of(backlog, estimate.warmup_s + estimate.window_s / 4.0, LOOK);
        let enough = success.map_or(Ruling::Sustainable, |s| s.rule(rule.success_rate_percent));
        let overloaded = enough == Ruling::Unsustainable || is_overloaded(rule, estimate);
        let keeps_up = |bound: f64, service_times: f64| {
            let long = service_times * residence(backlog) as f64 * backlog.step_s;
            enough == Ruling::Sustainable && estimate.share.high < bound && estimate.window_s >= long
        };
        match goal {
            Goal::Decide | Goal::Confirm => overloaded || keeps_up(rule.margin, 12.0),
            Goal::Locate { precision, .. } => {
                (overloaded && precise(backlog, precision)) || keeps_up(COARSE, 8.0)
            }
        }
    } else {
        false
    };
    if decided || idle(backlog) {
        Flow::Stop
    } else {
        Flow::Continue
    }
}

/// The error that one look may make: equal parts of the whole for every epoch (Howard et al., Annals of Statistics 49,
/// 2021, stitch boundaries together in the same way).
const LOOK: f64 = ERROR / EPOCHS;

/// Whether the load is beyond doubt more than the service can do.
fn is_overloaded(rule: &Drift, estimate: &DriftEstimate) -> bool {
    estimate.saturation.is_some_and(|s| {
        let further = CHANGES_ON * s.change.max(0.0);
        s.tells(estimate.warmup_s, estimate.window_s) && s.share.low - further > rule.margin
    })
}

/// Whether what the saturated service does is known to `precision`, with a confidence of 95 %.
fn precise(backlog: &Backlog, precision: f64) -> bool {
    let sharp = |e: &Estimate| (e.high - e.low) / 2.0 <= precision * (1.0 - e.value);
    DriftEstimate::of(backlog).is_some_and(|e| sharp(&e.by_progress) && sharp(&e.by_good))
}
