//! etalon's search, rate for rate.
//!
//! Its known faults are part of it: one trial decides, the upper bound grows slowly (about every second trial) and without
//! a word when the limit of iterations is reached first, and nothing is told apart below a hundredth. The answer says by its
//! status whether a rate that fails was seen.

use super::midpoint::{Midpoint, MidpointConfig};
use super::{Bracket, Left, Observed, Search, Step};
use crate::criterion::Ruling;

/// Near the upper bound.
pub(super) const VICINITY: f64 = 0.8;

/// etalon's sequence of rates.
#[derive(Clone, Debug)]
pub struct Etalon(Midpoint);

impl Etalon {
    /// A search that has seen nothing.
    pub fn new(config: MidpointConfig) -> Self {
        Self(Midpoint::new(config))
    }

    /// The rate that it asks for, requests a second; none when it has ended.
    pub fn rate(&self) -> Option<f64> {
        self.0.next()
    }

    /// Tells it whether the objectives held at that rate.
    pub fn tell(&mut self, passed: bool) {
        if self.0.next().is_none() {
            return;
        }
        if passed {
            if self.0.rate > VICINITY * self.0.right {
                self.0.raise(2.0);
            }
            self.0.passed();
        } else {
            self.0.failed(self.0.rate);
        }
    }

    /// Its bounds, requests a second, at the beginning of the last round, which may be one without a trial.
    pub fn bounds(&self) -> (f64, f64) {
        self.0.logged
    }

    /// The rate that passed last, requests a second.
    pub fn best(&self) -> Option<f64> {
        self.0.best()
    }
}

impl Search for Etalon {
    fn next(&self) -> Step {
        self.0.step()
    }

    fn observe(&mut self, seen: &Observed<'_>) {
        self.tell(seen.verdict.ruling == Ruling::Sustainable);
    }

    fn bracket(&self) -> Bracket {
        self.0.bracket()
    }

    fn left(&self) -> Left {
        self.0.left()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::search::Status;
    use crate::search::testing::drive;

    fn config(start: f64, max_iterations: u32) -> MidpointConfig {
        MidpointConfig {
            start,
            max_iterations,
            granularity_percent: 2.5,
        }
    }

    fn below(capacity: f64) -> impl FnMut(f64) -> Ruling {
        move |per_minute| {
            if per_minute / 60.0 <= capacity + 1e-9 {
                Ruling::Sustainable
            } else {
                Ruling::Unsustainable
            }
        }
    }

    #[test]
    fn a_far_capacity_is_not_reached_and_the_status_says_so() {
        let (answer, rates) = drive(&mut Etalon::new(config(1.0, 10)), below(50.0));
        assert_eq!((rates.len(), answer.status), (10, Status::LowerBoundOnly));
        assert!((answer.rate.unwrap().as_per_second() - 22.86).abs() < 1e-9);
    }

    #[test]
    fn nothing_passes() {
        let (answer, rates) = drive(&mut Etalon::new(config(1.0, 20)), below(0.0));
        assert_eq!((answer.status, answer.rate), (Status::UpperBoundOnly, None));
        assert!((rates.last().unwrap() / 60.0 - 0.01).abs() < 1e-12);
    }

    proptest! {
        /// What is returned passed, and the lower bound is always the rate that passed last.
        #[test]
        fn the_answer_passed(capacity in 0.02f64..500.0, start in 0.1f64..50.0, limit in 1u32..25) {
            let mut search = Etalon::new(config(start, limit));
            let mut trials = 0;
            while let Some(rate) = search.rate() {
                trials += 1;
                search.tell(rate <= capacity);
                prop_assert!(search.best().is_none_or(|best| best <= capacity));
                prop_assert!(search.bounds().0 <= search.bounds().1);
            }
            prop_assert!(trials <= limit);
        }
    }
}
