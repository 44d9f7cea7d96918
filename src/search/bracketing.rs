//! The search of the config explorer: steps up or down until a rate that holds and one that does not are seen, then
//! bisection. Each rate is tried once, for a simulation answers the same again.

use std::collections::BTreeMap;

use super::{Answer, Bracket, Goal, Left, Observed, Probe, Search, Status, Step};
use crate::criterion::Ruling;
use crate::units::Rate;

/// Most steps up: beyond a million times the first rate, all requests come at once.
const MOST_STEPS_UP: u32 = 20;
/// Largest factor of a step.
const MOST_FACTOR: f64 = 2.0;

/// Where a search begins and when it ends.
#[derive(Clone, Debug, PartialEq)]
pub struct BracketingConfig {
    /// First rate.
    pub start: Rate,
    /// Factor of the first step; it is squared with each further one, up to 2.
    pub factor: f64,
    /// Width of the bracket, as a share of its upper end, that is narrow enough.
    pub granularity: f64,
    /// Below this rate nothing is searched.
    pub lowest: Rate,
    /// Most bisections; the steps before the bracket are not counted.
    pub bisections: u32,
    /// What is known already, whether each rate holds.
    pub known: Vec<(Rate, bool)>,
}

/// Steps and bisection.
#[derive(Clone, Debug)]
pub struct Bracketing {
    config: BracketingConfig,
    /// By the bits of requests per second: whether it holds.
    known: BTreeMap<u64, bool>,
    rate: f64,
    factor: f64,
    steps_up: u32,
    bisections: u32,
    /// Whether the rate that is proposed is the middle of a bracket.
    bisecting: bool,
    /// Whether a rate was tried here that holds, and one that does not.
    held: bool,
    failed: bool,
    done: Option<Answer>,
}

impl Bracketing {
    /// A search that knows what its configuration says.
    pub fn new(config: BracketingConfig) -> Self {
        let known = config
            .known
            .iter()
            .map(|&(rate, holds)| (rate.rounded_per_second().to_bits(), holds));
        let mut search = Self {
            known: known.collect(),
            rate: config.start.rounded_per_second(),
            factor: config.factor.clamp(1.001, MOST_FACTOR),
            steps_up: 0,
            bisections: 0,
            bisecting: false,
            held: false,
            failed: false,
            done: None,
            config,
        };
        search.propose();
        search
    }

    /// The lowest rate that does not hold, and the highest below it that does.
    fn ends(&self) -> (Option<f64>, Option<f64>) {
        let high = self
            .known
            .iter()
            .find(|&(_, &holds)| !holds)
            .map(|(&bits, _)| f64::from_bits(bits));
        let below = |bits: u64| high.is_none_or(|high| f64::from_bits(bits) < high);
        let low = self
            .known
            .iter()
            .rev()
            .find(|&(&bits, &holds)| holds && below(bits));
        (low.map(|(&bits, _)| f64::from_bits(bits)), high)
    }

    /// Before the bisection of a bracket that was known: from the first rate in steps, until both sides of the answer are
    /// seen near it.
    fn beside(&mut self) -> Option<f64> {
        if self.config.known.is_empty() {
            return None;
        }
        let start = self.config.start.rounded_per_second();
        match (self.known.get(&start.to_bits()), self.held, self.failed) {
            (None, _, _) => Some(start),
            (Some(_), true, true) => None,
            (Some(true), _, _) => self.ends().0.map(|low| round(low * self.step())),
            (Some(false), _, _) => self.ends().1.map(|high| round(high / self.step())),
        }
    }

    /// Decides what comes next.
    fn propose(&mut self) {
        let lowest = self.config.lowest.rounded_per_second();
        let start = self.config.start.rounded_per_second();
        self.bisecting = false;
        let next = match self.ends() {
            (None, None) => return,
            (Some(low), Some(high)) => {
                if high - low <= self.config.granularity * high {
                    return self.finish("the bracket is narrow enough");
                }
                if self.bisections >= self.config.bisections {
                    return self.finish("the limit of bisections was reached");
                }
                let step = self.beside().filter(|next| low < *next && *next < high);
                self.bisecting = step.is_none();
                step.unwrap_or_else(|| round(middle(low, high)))
            }
            (Some(low), None) if start > low => start,
            (Some(low), None) => {
                if self.steps_up >= MOST_STEPS_UP {
                    return self.finish("it holds however fast the requests come");
                }
                self.steps_up += 1;
                round(low * self.step())
            }
            (None, Some(high)) if start < high => start,
            (None, Some(high)) => {
                if high <= lowest {
                    return self.finish("it does not hold at the lowest rate that is searched");
                }
                round(high / self.step()).max(lowest)
            }
        };
        if self.known.contains_key(&next.to_bits()) {
            return self.finish("rates are not told apart below four digits");
        }
        self.rate = next;
    }

    fn step(&mut self) -> f64 {
        let factor = self.factor;
        self.factor = (factor * factor).min(MOST_FACTOR);
        factor
    }

    fn finish(&mut self, reason: &str) {
        let (low, high) = self.ends();
        let status = match (low, high) {
            (Some(_), Some(_)) => Status::Bracketed,
            (Some(_), None) => Status::LowerBoundOnly,
            (None, Some(_)) => Status::UpperBoundOnly,
            (None, None) => Status::Undecided,
        };
        let rate = low.map(Rate::per_second);
        self.done = Some(Answer {
            rate,
            low: rate,
            high: high.map(Rate::per_second),
            status,
            reason: reason.to_owned(),
            termination_code: String::new(),
            confirmed_s: None,
        });
    }
}

/// The middle of a bracket; of a wide one, as other searches may leave it, the geometric one, so that ten bisections are
/// enough for 1 % of any.
fn middle(low: f64, high: f64) -> f64 {
    if high > 2.0 * low {
        (low * high).sqrt()
    } else {
        f64::midpoint(low, high)
    }
}

/// Four significant digits of requests per second.
fn round(per_second: f64) -> f64 {
    Rate::per_second(per_second).rounded_per_second()
}

impl Search for Bracketing {
    fn next(&self) -> Step {
        let (low, high) = self.ends();
        match &self.done {
            Some(answer) => Step::Done(answer.clone()),
            None => Step::Probe(Probe {
                rate: Rate::per_second(self.rate),
                stage: if low.is_some() && high.is_some() { 2 } else { 1 },
                attempt: 0,
                pooled: false,
                goal: Goal::Decide,
                duration_s: None,
            }),
        }
    }

    fn observe(&mut self, seen: &Observed<'_>) {
        let Observed { probe, verdict, .. } = *seen;
        if self.done.is_some() {
            return;
        }
        self.bisections += u32::from(self.bisecting);
        let holds = verdict.ruling == Ruling::Sustainable;
        self.held |= holds;
        self.failed |= !holds;
        self.known
            .insert(probe.rate.rounded_per_second().to_bits(), holds);
        self.propose();
    }

    fn bracket(&self) -> Bracket {
        let (low, high) = self.ends();
        let distance = low.zip(high).map(|(low, high)| 60.0 * (high - low));
        Bracket {
            stage: if distance.is_some() { 2 } else { 1 },
            largest_true: low.map(Rate::per_second),
            smallest_false: high.map(Rate::per_second),
            distance,
            relative_distance: None,
        }
    }

    fn left(&self) -> Left {
        if self.done.is_some() {
            return Left::default();
        }
        let (low, high) = self.ends();
        let bisections = self.config.bisections.saturating_sub(self.bisections);
        let width = match (low, high) {
            (Some(low), Some(high)) => (high - low) / high,
            _ => 1.0 - 1.0 / self.factor,
        };
        let halvings = (width / self.config.granularity).log2().ceil().max(0.0) as u32;
        let steps = u32::from(low.is_none()) + u32::from(high.is_none());
        let most_steps = if steps == 0 { 0 } else { MOST_STEPS_UP };
        Left {
            likely: (steps + halvings.min(bisections)).max(1),
            most: (most_steps + bisections).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::search::testing::drive;

    fn config(start: f64, factor: f64) -> BracketingConfig {
        BracketingConfig {
            start: Rate::per_second(start),
            factor,
            granularity: 0.01,
            lowest: Rate::per_second(0.1),
            bisections: 10,
            known: Vec::new(),
        }
    }

    fn below(capacity: f64) -> impl FnMut(f64) -> Ruling {
        move |per_minute| {
            if per_minute / 60.0 <= capacity {
                Ruling::Sustainable
            } else {
                Ruling::Unsustainable
            }
        }
    }

    #[test]
    fn nothing_and_everything_are_told() {
        let (answer, rates) = drive(&mut Bracketing::new(config(4.0, 2.0)), below(0.0));
        assert_eq!((answer.status, answer.rate), (Status::UpperBoundOnly, None));
        assert_eq!(rates.len(), 7, "4, 2, 1, 0.5, 0.25, 0.125, 0.1");
        let (answer, rates) = drive(&mut Bracketing::new(config(4.0, 2.0)), below(f64::INFINITY));
        assert_eq!((answer.status, rates.len()), (Status::LowerBoundOnly, 21));
    }

    #[test]
    fn what_is_known_is_not_asked_again() {
        let known = vec![(Rate::per_second(5.0), true), (Rate::per_second(5.04), false)];
        let (answer, rates) = drive(
            &mut Bracketing::new(BracketingConfig {
                known,
                ..config(4.0, 2.0)
            }),
            below(5.0),
        );
        assert_eq!((answer.status, rates.len()), (Status::Bracketed, 0));
        assert_eq!(answer.rate, Some(Rate::per_second(5.0)));
    }

    #[test]
    fn a_good_guess_takes_few_probes() {
        let (_, rates) = drive(&mut Bracketing::new(config(5.0, 1.02)), below(5.04));
        assert!(rates.len() <= 4, "{rates:?}");
    }

    #[test]
    fn the_limit_leaves_a_wider_bracket() {
        let limited = BracketingConfig {
            bisections: 2,
            ..config(4.0, 2.0)
        };
        let (answer, rates) = drive(&mut Bracketing::new(limited), below(5.0));
        assert_eq!((answer.status, rates.len()), (Status::Bracketed, 4));
        assert_eq!(answer.reason, "the limit of bisections was reached");
    }

    #[test]
    fn ten_bisections_are_enough_for_a_wide_bracket() {
        for capacity in [0.11, 1.0, 7.0, 99.0] {
            let known = vec![(Rate::per_second(0.1), true), (Rate::per_second(100.0), false)];
            let wide = BracketingConfig {
                known,
                ..config(100.0, 2.0)
            };
            let (answer, _) = drive(&mut Bracketing::new(wide), below(capacity));
            assert_eq!(answer.reason, "the bracket is narrow enough", "{capacity}");
        }
    }

    proptest! {
        /// A monotone oracle is bracketed to the granularity from wherever the search begins, and no rate is asked twice.
        #[test]
        fn a_monotone_oracle_is_bracketed(capacity in 0.2f64..1e4, start in 0.11f64..1e4, factor in 1.01f64..2.0) {
            let (answer, rates) = drive(&mut Bracketing::new(config(start, factor)), below(capacity));
            let (low, high) = (answer.low.unwrap().as_per_second(), answer.high.unwrap().as_per_second());
            prop_assert!(low <= capacity && capacity < high, "{answer:?}");
            prop_assert!(high - low <= 0.01 * high + 1e-9);
            let different: std::collections::BTreeSet<u64> = rates.iter().map(|r| r.to_bits()).collect();
            prop_assert_eq!(different.len(), rates.len());
        }
    }
}
