//! Whether a simulated cluster kept up.

use serde::{Deserialize, Serialize};

use super::timeline::Timeline;
use crate::criterion::drift::DriftEstimate;
use crate::sim::Time;
use crate::trial::{Backlog, Estimate};

/// Share of the load that may stay behind.
const MARGIN: f64 = 0.01;
/// Waiting that counts as none, as a share of the time that a request takes in all.
const NO_WAITING: f64 = 0.1;

/// How a cluster stood up to its load, by the growth of its backlog while requests came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It kept up: the backlog did not grow, or nothing waited to speak of.
    Stable,
    /// Requests waited, and the run does not tell whether the backlog would grow on: it was too short, too bursty, or all
    /// requests came at once.
    Backlogged,
    /// The backlog grew all the time: the load exceeds what the cluster can serve, and latencies depend on how long the
    /// run was.
    Overloaded,
}

impl State {
    /// By the backlog from zero to the last arrival, and the share of their time that requests waited for their first
    /// iteration. The estimate is the share of the load that was not served.
    pub fn of(
        arrivals: &mut Timeline,
        completions: &mut Timeline,
        last: Time,
        waited: f64,
    ) -> (Self, Option<Estimate>) {
        let share = drift(arrivals, completions, last);
        let state = match share {
            Some(share) if share.low > 0.0 && share.value > MARGIN => Self::Overloaded,
            _ if waited < NO_WAITING => Self::Stable,
            Some(share) if share.high < MARGIN => Self::Stable,
            _ => Self::Backlogged,
        };
        (state, share)
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Backlogged => "backlogged",
            Self::Overloaded => "overloaded",
        }
    }
}

/// The drift of the backlog by the estimator that also judges trials.
fn drift(arrivals: &mut Timeline, completions: &mut Timeline, last: Time) -> Option<Estimate> {
    arrivals.align(completions);
    let points = (last.as_seconds() / arrivals.step_s()).floor() as usize;
    let cumulated = |line: &Timeline| -> Vec<u32> {
        let mut sum = 0.0;
        let mut sums = vec![0];
        for i in 0..points {
            sum += line.sums().get(i).copied().unwrap_or(0.0);
            sums.push(sum as u32);
        }
        sums
    };
    let finished = cumulated(completions);
    let backlog = Backlog::from_counts(arrivals.step_s(), cumulated(arrivals), finished.clone(), finished);
    Some(DriftEstimate::of(&backlog)?.share)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arrivals every 100 ms; the completions come `slower` times as slowly, two seconds later.
    fn judged(slower: f64, waited: f64) -> (State, Option<Estimate>) {
        let (mut arrivals, mut completions) = (Timeline::default(), Timeline::default());
        for i in 0..5_000 {
            let at = f64::from(i) / 10.0;
            arrivals.count(Time::from_seconds(at));
            completions.count(Time::from_seconds(2.0 + at * slower));
        }
        State::of(&mut arrivals, &mut completions, Time::from_seconds(499.9), waited)
    }

    #[test]
    fn growth_is_overload_and_none_is_not() {
        assert_eq!(judged(1.0, 0.5).0, State::Stable);
        let (state, share) = judged(1.25, 0.5);
        assert_eq!(state, State::Overloaded);
        assert!((share.unwrap().value - 0.2).abs() < 0.03, "{share:?}");
    }

    #[test]
    fn all_at_once_is_a_backlog_unless_nothing_waits() {
        let (mut arrivals, mut completions) = (Timeline::default(), Timeline::default());
        arrivals.count(Time::ZERO);
        completions.count(Time::from_seconds(1.0));
        let mut judge = |waited| State::of(&mut arrivals, &mut completions, Time::ZERO, waited);
        assert_eq!(judge(0.5), (State::Backlogged, None));
        assert_eq!(judge(0.0), (State::Stable, None));
    }
}
