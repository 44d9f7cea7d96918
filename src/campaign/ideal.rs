//! How a search would go against a service that sustains exactly what is at or below its capacity.

use crate::criterion::{Ruling, Verdict};
use crate::search::{Goal, Observed, Probe, Search, Step};
use crate::trial::Estimate;
use crate::units::Rate;

/// Half width of what a trial tells, as a share, where the search does not say how exactly it wants to know.
const TOLD: f64 = 0.005;

/// What a search takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Load {
    /// Trials.
    pub(super) trials: u32,
    /// Seconds of load, if none ends early.
    pub(super) seconds: f64,
}

/// The load of a search whose full-length trials last `duration_s`. Every trial takes as long as it may, and tells as much as
/// was asked of it.
pub(super) fn load(search: &mut dyn Search, capacity: Rate, duration_s: f64) -> Load {
    let mut load = Load::default();
    while let Step::Probe(probe) = search.next() {
        let load_s = probe.duration_s.unwrap_or(duration_s);
        load.trials += 1;
        load.seconds += load_s;
        search.observe(&Observed {
            probe: &probe,
            verdict: &verdict(&probe, capacity),
            offered: probe.rate,
            load_s,
        });
    }
    load
}

fn verdict(probe: &Probe, capacity: Rate) -> Verdict {
    let rate = probe.rate.as_per_minute();
    let half = match probe.goal {
        Goal::Locate { precision, .. } => precision,
        Goal::Decide | Goal::Confirm => TOLD,
    };
    let around = |value: f64, half: f64| Estimate {
        value,
        low: value - half,
        high: value + half,
    };
    let holds = probe.rate <= capacity;
    let served = rate.min(capacity.as_per_minute());
    Verdict {
        criterion: String::new(),
        ruling: if holds {
            Ruling::Sustainable
        } else {
            Ruling::Unsustainable
        },
        margin: Some(around(1.0 - served / rate, half)),
        bound: None,
        capacity_hint: (!holds).then(|| around(served, half * served)),
        reasons: Vec::new(),
        statistics: serde_json::Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::{Adaptive, AdaptiveConfig, Stages, StagesConfig, StopRule};

    #[test]
    fn a_bisection_takes_a_full_trial_each_time() {
        let mut search = Stages::new(StagesConfig {
            start: Rate::per_minute(100.0),
            multiplier: 2.0,
            stop: StopRule::Absolute(25.0),
            limit: 60,
        });
        // 100 holds; 200 fails twice; 150 holds; 175 fails twice: narrow enough.
        let found = load(&mut search, Rate::per_minute(160.0), 60.0);
        assert_eq!((found.trials, found.seconds), (6, 360.0));
    }

    #[test]
    fn an_adaptive_search_takes_short_trials_and_one_of_full_length() {
        for confirm in [true, false] {
            let mut search = Adaptive::new(AdaptiveConfig {
                start: Rate::per_minute(50.0),
                duration_s: 1800.0,
                stop: StopRule::Relative(0.05),
                limit: 40,
                budget_s: None,
                prior: None,
                confirm,
            });
            let found = load(&mut search, Rate::per_minute(1000.0), 1800.0);
            // The ramp is 50, 200, 800 and 3200, a minute each; a glance and a look take some minutes together.
            let full = if confirm { 1800.0 } else { 0.0 };
            let short = found.seconds - full;
            assert!((240.0 + 240.0..1200.0).contains(&short), "{found:?}");
            assert!((5..=9).contains(&found.trials), "{found:?}");
        }
    }
}
