//! The default rule: a rate is sustainable when the backlog does not grow.
//!
//! The drift `d = (d backlog / d t) / rate` is the share of the offered load that is not served, over the window after
//! a warm-up that is found in the data, with a 95 % interval that respects autocorrelation. `docs/criteria.md` holds the
//! derivation and the measured error rates.

mod estimate;
mod latency;
mod saturation;
mod series;
mod watch;

pub use estimate::{DriftEstimate, Source, pool};
pub use latency::LatencyGrowth;
pub use saturation::Saturation;

use serde_json::json;

use super::Goal;
use super::success_rate::SuccessRate;
use super::{Criterion, Earlier, Flow, Progress, Ruling, Verdict, success_rate};
use crate::trial::{Backlog, Estimate, Measurement};

/// The default criterion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drift {
    /// Largest drift of a sustainable rate, as a share of the load.
    pub margin: f64,
    /// Least success rate, in percent.
    pub success_rate_percent: f64,
    /// Growth of the response time over the window, relative to its start, from which a ruling is no longer
    /// sustainable; from twice this it is unsustainable.
    pub latency_margin: f64,
    /// Fewest finished requests in the window that are judged.
    pub fewest_finished: u32,
    /// Seconds after which a service that has finished nothing at all is beyond doubt overloaded.
    pub patience_s: f64,
}

/// Drift that a trial is held against when it was ended early because it seemed to keep up: enough for a rate far from the
/// capacity, and less than any drift at 1.03 of it.
const COARSE: f64 = 0.025;
/// Fewest requests that a service has served when it counts as idle.
const SERVED_IDLE: u32 = 10;

impl Drift {
    /// The rule with its usual margins: 1 % of the load, 50 % of the response time.
    pub fn new(success_rate_percent: f64) -> Self {
        Self {
            margin: 0.01,
            success_rate_percent,
            latency_margin: 0.5,
            fewest_finished: 50,
            patience_s: 300.0,
        }
    }

    /// What the drift alone says, below `bound` being sustainable. Where that is coarse, the trial was ended early, and for
    /// overload only when all of the interval was above the margin.
    fn rule(&self, share: &Estimate, bound: f64) -> Ruling {
        let surely = if bound > self.margin { self.margin } else { 0.0 };
        if share.high < bound {
            Ruling::Sustainable
        } else if share.low > surely && share.value > self.margin {
            Ruling::Unsustainable
        } else {
            Ruling::Unsure
        }
    }

    fn sentence(ruling: Ruling, share: &Estimate, margin: f64) -> String {
        // Adding zero turns a rounded -0.00 into 0.00.
        let percent = |v: f64| (1e4 * v).round() / 1e2 + 0.0;
        let value = percent(share.value);
        let verb = if value < 0.0 { "shrinks" } else { "grows" };
        let numbers = format!(
            "the backlog {verb} by {:.2} % of the load ({:.2} to {:.2} %)",
            value.abs(),
            percent(share.low),
            percent(share.high)
        );
        let margin = 100.0 * margin;
        match ruling {
            Ruling::Sustainable => format!("{numbers}, surely less than {margin} %"),
            Ruling::Unsustainable => format!("{numbers}, more than {margin} %"),
            Ruling::Unsure => format!("{numbers}; {margin} % is neither reached nor ruled out"),
        }
    }

    /// What the service can do, as an overloaded trial tells it: what it served, or so much that what it served well would be
    /// the share asked for; the smaller of the two.
    fn hint(&self, estimate: &DriftEstimate, offered: f64) -> Option<Estimate> {
        let by_success = 100.0 / self.success_rate_percent.max(1.0);
        let at = |share: f64, good: f64| offered * (1.0 - share).min((1.0 - good) * by_success);
        let (all, good) = (&estimate.by_progress, &estimate.by_good);
        let hint = Estimate {
            value: at(all.value, good.value),
            low: at(all.high, good.high).max(0.0),
            high: at(all.low, good.low),
        };
        (hint.value > 0.0).then_some(hint)
    }

    /// The verdict where no drift can be computed.
    fn without_estimate(&self, measurement: &Measurement) -> (Ruling, String) {
        let finished = measurement.records.iter().any(|r| r.outcome.is_finished());
        let waited_s = measurement
            .records
            .first()
            .map_or(0.0, |r| measurement.observed_s - r.intended_ns as f64 / 1e9);
        if !finished && waited_s >= self.patience_s {
            let text = format!(
                "nothing finished in {waited_s:.0} s although {} requests were sent",
                measurement.records.len()
            );
            return (Ruling::Unsustainable, text);
        }
        let text = format!(
            "fewer than {} requests finished after the warm-up, too few to tell a drift; measure longer or at a higher rate",
            self.fewest_finished
        );
        (Ruling::Unsure, text)
    }
}

impl Criterion for Drift {
    fn name(&self) -> &'static str {
        "drift"
    }

    fn judge(&self, measurement: &Measurement, earlier: &Earlier<'_>) -> Verdict {
        let success = measurement.success_rate_percent();
        let backlog = measurement.backlog();
        let estimate = DriftEstimate::of(&backlog);
        let own = estimate
            .filter(|e| e.finished >= self.fewest_finished || (measurement.stopped_early && is_clear(e)));
        let growth = own.and_then(|e| LatencyGrowth::of(measurement, e.warmup_s));
        let rate = SuccessRate::of(&backlog, own.map_or(0.0, |e| e.warmup_s), 0.05);
        let mut shares: Vec<Estimate> = own.iter().map(|e| e.share).collect();
        let pooled = earlier.pooled.iter().filter(|m| m.client.void.is_none());
        let others = pooled.filter_map(|m| DriftEstimate::of(&m.backlog()));
        shares.extend(
            others
                .filter(|e| e.finished >= self.fewest_finished)
                .map(|e| e.share),
        );
        let share = own.and_then(|_| pool(&shares));
        let bound = if measurement.stopped_early {
            COARSE
        } else {
            self.margin
        };

        let mut reasons = Vec::new();
        let mut ruling = if let Some(share) = &share {
            let ruling = self.rule(share, bound);
            let said = if ruling == Ruling::Unsustainable {
                self.margin
            } else {
                bound
            };
            reasons.push(Self::sentence(ruling, share, said));
            ruling
        } else {
            let (ruling, why) = self.without_estimate(measurement);
            reasons.push(why);
            ruling
        };
        if ruling == Ruling::Unsure && idle(&backlog) {
            ruling = Ruling::Sustainable;
            let why = "the service was idle time and again, to the end: it served all that came";
            reasons.insert(0, why.to_owned());
        } else if ruling == Ruling::Unsure && own.is_some_and(|e| e.recovered) {
            ruling = Ruling::Sustainable;
            let why = "the service caught up: at the end it served as promptly as ever";
            reasons.insert(0, why.to_owned());
        }
        if shares.len() > 1 {
            reasons.push(format!("{} trials at this rate were pooled", shares.len()));
        }
        if let Some(growth) =
            growth.filter(|g| ruling == Ruling::Sustainable && g.growth.low > self.latency_margin)
        {
            ruling = if growth.growth.low > 2.0 * self.latency_margin {
                Ruling::Unsustainable
            } else {
                Ruling::Unsure
            };
            let grown = 100.0 * growth.growth.value;
            reasons.insert(
                0,
                format!("response times grew by {grown:.0} % over the window although the backlog did not"),
            );
        }
        let enough = success_rate::ruling_of(measurement, rate.as_ref(), self.success_rate_percent);
        if let Some((says, why)) =
            enough.filter(|(says, _)| *says == Ruling::Unsustainable || ruling == Ruling::Sustainable)
        {
            ruling = says;
            reasons.insert(0, why);
        }
        if let Some(why) = success_rate::void(measurement) {
            ruling = Ruling::Unsure;
            reasons.insert(0, why);
        }
        let offered = measurement.offered().as_per_minute();
        let overloaded = |_: &DriftEstimate| ruling == Ruling::Unsustainable;
        let capacity_hint = own.filter(overloaded).and_then(|e| self.hint(&e, offered));
        Verdict {
            criterion: self.name().to_owned(),
            ruling,
            margin: share,
            bound: Some(bound),
            capacity_hint,
            reasons,
            statistics: json!({
                "drift": share.map(|s| s.value),
                "drift_interval": share.map(|s| [s.low, s.high]),
                "estimate": own,
                "pooled_trials": shares.len(),
                "offered_per_minute": offered,
                "success_rate_percent": success,
                "success_rate": rate,
                "latency_growth": growth,
                "warmup_s": own.map(|e| e.warmup_s),
                "window_s": own.map(|e| e.window_s),
            }),
        }
    }

    /// Ends a trial that is decided, see `docs/criteria.md`.
    fn watch(&self, so_far: &Progress, goal: Goal) -> Flow {
        watch::flow(self, so_far, goal)
    }
}

/// Whether few requests tell enough: a trial that was ended early was clear to much more than 95 %.
fn is_clear(estimate: &DriftEstimate) -> bool {
    estimate.finished >= 20 && (estimate.share.high < COARSE || estimate.share.low > 0.0)
}

/// Whether nothing was under way time and again: in each of the last three quarters of the time. Then everything that had
/// come until then was served, whatever the noise.
fn idle(backlog: &Backlog) -> bool {
    let points = backlog.len();
    let empty = |k: usize| backlog.intended[k] == backlog.finished[k] && backlog.finished[k] > 0;
    let quarter = points / 4;
    backlog.good.last().is_some_and(|g| *g >= SERVED_IDLE)
        && quarter > 0
        && (1..4).all(|q| (points - (4 - q) * quarter..points - (3 - q) * quarter).any(empty))
}
