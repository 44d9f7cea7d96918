//! The default rule: a rate is sustainable when the backlog does not grow.
//!
//! The drift `d = (d backlog / d t) / rate` is the share of the offered load that is not served, over the window after
//! a warm-up that is found in the data, with a 95 % interval that respects autocorrelation. `docs/criteria.md` holds the
//! derivation and the measured error rates.

mod estimate;
mod latency;
mod saturation;
mod series;

pub use estimate::{DriftEstimate, Source, pool};
pub use latency::LatencyGrowth;
pub use saturation::Saturation;

use serde_json::json;

use super::{Criterion, Earlier, Flow, Progress, Ruling, Verdict, success_rate};
use crate::search::Goal;
use crate::trial::{Estimate, Measurement};

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

/// Drift, in shares of the load, that must be exceeded before a running trial is ended.
const CLEAR: f64 = 0.05;

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

    /// What the drift alone says.
    fn rule(&self, share: &Estimate) -> Ruling {
        if share.high < self.margin {
            Ruling::Sustainable
        } else if share.low > 0.0 && share.value > self.margin {
            Ruling::Unsustainable
        } else {
            Ruling::Unsure
        }
    }

    fn sentence(&self, ruling: Ruling, share: &Estimate) -> String {
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
        let margin = 100.0 * self.margin;
        match ruling {
            Ruling::Sustainable => format!("{numbers}, surely less than {margin} %"),
            Ruling::Unsustainable => format!("{numbers}, more than {margin} %"),
            Ruling::Unsure => format!("{numbers}; {margin} % is neither reached nor ruled out"),
        }
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
        let own = DriftEstimate::of(&measurement.backlog()).filter(|e| e.finished >= self.fewest_finished);
        let growth = own.and_then(|e| LatencyGrowth::of(measurement, e.warmup_s));
        let mut shares: Vec<Estimate> = own.iter().map(|e| e.share).collect();
        let pooled = earlier.pooled.iter().filter(|m| m.client.void.is_none());
        let others = pooled.filter_map(|m| DriftEstimate::of(&m.backlog()));
        shares.extend(
            others
                .filter(|e| e.finished >= self.fewest_finished)
                .map(|e| e.share),
        );
        let share = own.and_then(|_| pool(&shares));

        let mut reasons = Vec::new();
        let mut ruling = if let Some(share) = &share {
            let ruling = self.rule(share);
            reasons.push(self.sentence(ruling, share));
            ruling
        } else {
            let (ruling, why) = self.without_estimate(measurement);
            reasons.push(why);
            ruling
        };
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
        if let Some(why) = success_rate::failure_of(measurement, self.success_rate_percent) {
            ruling = Ruling::Unsustainable;
            reasons.insert(0, why);
        }
        if let Some(why) = success_rate::void(measurement) {
            ruling = Ruling::Unsure;
            reasons.insert(0, why);
        }
        let offered = measurement.offered().as_per_minute();
        let clearly = |e: &DriftEstimate| ruling == Ruling::Unsustainable && e.share.low > 0.0;
        let capacity_hint = own.filter(clearly).map(|e| Estimate {
            value: offered * (1.0 - e.by_good.value),
            low: offered * (1.0 - e.by_good.high),
            high: offered * (1.0 - e.by_good.low),
        });
        Verdict {
            criterion: self.name().to_owned(),
            ruling,
            margin: share,
            bound: Some(self.margin),
            capacity_hint,
            reasons,
            statistics: json!({
                "drift": share.map(|s| s.value),
                "drift_interval": share.map(|s| [s.low, s.high]),
                "estimate": own,
                "pooled_trials": shares.len(),
                "offered_per_minute": offered,
                "success_rate_percent": success,
                "latency_growth": growth,
                "warmup_s": own.map(|e| e.warmup_s),
                "window_s": own.map(|e| e.window_s),
            }),
        }
    }

    /// Ends a trial whose overload is beyond doubt.
    ///
    /// At the edge of stability the backlog is at worst a random walk with the variance of arrivals and service together,
    /// twice that of a Poisson process, and the slope of a line through it has a standard deviation of at most
    /// `sqrt(1.2 * 2 / n)` after `n` requests. The drift must exceed 5 % by five times `sqrt(2 / n)`, in both estimates,
    /// over at least ten service times: so many looks as one likes then end a stationary trial less often than once in
    /// 10,000.
    fn watch(&self, so_far: &Progress, _goal: Goal) -> Flow {
        let Some(estimate) = DriftEstimate::of(&so_far.backlog) else {
            return Flow::Continue;
        };
        let needed = CLEAR + 5.0 * (2.0 / f64::from(estimate.finished.max(1))).sqrt();
        let clear = |e: &Estimate| e.value > needed && e.low > CLEAR;
        let long_enough =
            estimate.window_s >= 10.0 * estimate.service_s && estimate.finished >= 2 * self.fewest_finished;
        if long_enough && clear(&estimate.by_lag) && clear(&estimate.by_progress) {
            Flow::Stop
        } else {
            Flow::Continue
        }
    }
}
