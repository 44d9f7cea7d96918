//! The search that learns from every trial: a belief about the capacity, probes where they teach most, and a
//! full-length confirmation of the answer.
//!
//! Far away, short probes ramp up until the service is saturated. A saturated service tells its capacity by what it finishes, so probes
//! just above the belief sharpen it; then the rate just below is confirmed over the whole duration. The state is a
//! function of the set of trials seen, in whatever order: a search that is resumed with stored trials goes on as if it
//! had never stopped. `docs/search.md` holds the reasons and the figures.

mod belief;
mod evidence;
mod plan;

pub use belief::Prior;
pub use plan::MOST_LOAD;

use belief::Belief;
use evidence::Evidence;
use plan::{Plan, Standing};

use super::stop::StopRule;
use super::{Answer, Bracket, Goal, Left, Observed, Probe, Search, Status, Step};
use crate::units::{Plain, Rate};

/// Share of the load that may be left undone at a rate that counts as sustained.
const TOLERATED: f64 = 0.01;

/// Where a search begins and when it ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaptiveConfig {
    /// First rate, where nothing is believed beforehand.
    pub start: Rate,
    /// Duration of a full-length trial, seconds.
    pub duration_s: f64,
    /// When the interval is narrow enough.
    pub stop: StopRule,
    /// Most trials.
    pub limit: u32,
    /// Most seconds of load; `None` is no limit.
    pub budget_s: Option<f64>,
    /// What is believed beforehand.
    pub prior: Option<Prior>,
    /// Whether the answer is sustained for the whole duration before it counts.
    pub confirm: bool,
}

/// The adaptive search.
#[derive(Clone, Debug)]
pub struct Adaptive {
    config: AdaptiveConfig,
    /// In an order of their own, so that the state does not depend on the order in which they were seen.
    evidence: Vec<Evidence>,
    /// What is left of it without trials that longer ones refute.
    sound: Vec<Evidence>,
    /// What the trials together say; before any is seen, the prior.
    belief: Option<Belief>,
    plan: Plan,
}

impl Adaptive {
    /// A search that has seen nothing.
    pub fn new(config: AdaptiveConfig) -> Self {
        let belief = Belief::of(config.prior.as_ref(), &[]);
        let plan = Standing::new(&config, &[], belief, 0.0).plan();
        Self {
            config,
            evidence: Vec::new(),
            sound: Vec::new(),
            belief,
            plan,
        }
    }

    /// Learns of a trial that it did not ask for: a stored one of the same service and workload.
    pub fn recall(&mut self, seen: &Observed<'_>) {
        self.learn(seen);
    }

    fn learn(&mut self, seen: &Observed<'_>) {
        let new = Evidence::of(seen, self.config.duration_s);
        let at = self.evidence.partition_point(|e| e.is_before(&new));
        self.evidence.insert(at, new);
        self.sound = evidence::unrefuted(&self.evidence);
        self.belief = Belief::of(self.config.prior.as_ref(), &self.sound);
        self.plan = self.standing().plan();
    }

    /// How often a rate was probed.
    fn attempts(&self, rate: Rate) -> u32 {
        self.evidence.iter().filter(|e| e.asked == rate).count() as u32
    }

    fn standing(&self) -> Standing<'_> {
        Standing::new(
            &self.config,
            &self.sound,
            self.belief,
            evidence::too_short_s(&self.evidence),
        )
    }

    fn answer(&self, why: &str, code: &str) -> Answer {
        let standing = self.standing();
        let belief = self.belief;
        let confirmed = standing.confirmed();
        let failed = standing.lowest_failed();
        let held = standing.highest_held();
        let estimated = belief
            .as_ref()
            .filter(|_| failed.is_some())
            .map(|b| b.answer(standing.step()));
        let rate = confirmed.map(|e| e.asked).or(estimated).or(held);
        let status = match (confirmed, failed, held) {
            (Some(_), Some(_), _) if standing.is_narrow() => Status::Bracketed,
            (_, None, Some(_)) => Status::LowerBoundOnly,
            (None, Some(_), _) if rate.is_some() && !self.config.confirm && standing.is_narrow() => {
                Status::Estimated
            }
            (_, Some(_), None) if estimated.is_none() => Status::UpperBoundOnly,
            _ => Status::Undecided,
        };
        let interval = belief.as_ref().filter(|_| failed.is_some());
        // The answer is always within: a later trial may have moved the belief. Where trials spoke against each other, all that is
        // sure of a rate that held is what the ruling says of it.
        let torn = standing.contradiction().is_some() || belief.is_some_and(|b| b.collapses);
        let sure = if torn { 1.0 - TOLERATED } else { 1.0 };
        let answer = rate.map(Rate::as_per_minute);
        let low = interval.map(|b| answer.map_or(b.low, |a| b.low.min(sure * a)));
        let high = interval.map(|b| answer.map_or(b.high, |a| b.high.max(a)));
        let end = |per_minute: f64| Rate::per_minute(per_minute).rounded();
        let mut reason = why.to_owned();
        if let Some(text) = standing.contradiction() {
            reason = format!("{reason}; {text}");
        }
        Answer {
            rate,
            low: low.map(end).or(held),
            high: high.map(end),
            status,
            reason,
            termination_code: code.to_owned(),
            confirmed_s: confirmed.map(|e| e.load_s),
        }
    }
}

fn locate(precision: f64, at_least_s: f64) -> Goal {
    Goal::Locate {
        precision,
        at_least_s,
    }
}

impl Search for Adaptive {
    fn next(&self) -> Step {
        let (rate, duration_s, goal, stage) = match self.plan {
            Plan::Done(why) => return Step::Done(self.answer(why, "")),
            Plan::Ramp {
                rate,
                duration_s,
                at_least_s,
            } => (rate, duration_s, locate(0.03, at_least_s), 1),
            Plan::Locate {
                rate,
                duration_s,
                precision,
                at_least_s,
            } => (rate, duration_s, locate(precision, at_least_s), 2),
            Plan::Confirm { rate } => (rate, self.config.duration_s, Goal::Confirm, 2),
        };
        let trials = self.evidence.len() as u32;
        if trials >= self.config.limit {
            let reason = format!("the limit of {} trials was reached", self.config.limit);
            let code = format!(
                "FAILED_STAGE{stage}_ITERATION_LIMIT_EXCEEDED(limit={}, iteration={trials})",
                self.config.limit
            );
            return Step::Done(self.answer(&reason, &code));
        }
        let spent: f64 = self.evidence.iter().map(|e| e.load_s).sum();
        if let Some(budget_s) = self.config.budget_s.filter(|budget| spent + duration_s > *budget) {
            let reason = format!(
                "the next trial of up to {} s does not fit the budget of {} s of load, of which {} s are spent",
                Plain(duration_s),
                Plain(budget_s),
                Plain(spent.round())
            );
            return Step::Done(self.answer(&reason, ""));
        }
        Step::Probe(Probe {
            rate,
            stage,
            attempt: self.attempts(rate),
            pooled: false,
            goal,
            duration_s: Some(duration_s),
        })
    }

    fn observe(&mut self, seen: &Observed<'_>) {
        self.learn(seen);
    }

    fn bracket(&self) -> Bracket {
        let standing = self.standing();
        let belief = self.belief.filter(|_| standing.lowest_failed().is_some());
        let low = standing.highest_held();
        Bracket {
            stage: if belief.is_some() { 2 } else { 1 },
            largest_true: low,
            smallest_false: standing.lowest_failed(),
            distance: belief.as_ref().map(|b| b.high - b.low),
            relative_distance: belief.as_ref().map(|b| (b.high - b.low) / b.high),
        }
    }

    fn left(&self) -> Left {
        let most = self
            .config
            .limit
            .saturating_sub(self.evidence.len() as u32)
            .max(1);
        let likely = match self.plan {
            Plan::Done(_) => return Left::default(),
            Plan::Confirm { .. } => 1,
            Plan::Locate { .. } => 2,
            Plan::Ramp { .. } => 4,
        };
        Left {
            likely: likely.min(most),
            most,
        }
    }
}

#[cfg(test)]
mod tests;
