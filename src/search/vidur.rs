//! The search of Vidur's config explorer, rate for rate: twice the start, doubled until it fails, then bisection from zero.
//!
//! Its known faults are part of it: steps up count as iterations, so that the answer is the coarser the further away it is;
//! where the first rate fails, everything from zero is bisected; rates are not rounded. `mst explore` has a search of its
//! own, [`Bracketing`](super::Bracketing). Vidur's main branch has another rule, [`Sarathi`](super::Sarathi)'s.

use super::{Answer, Bracket, Goal, Left, Observed, Probe, Search, Status, Step};
use crate::criterion::Ruling;
use crate::units::Rate;

/// Where it begins and when it ends. Rates in requests a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VidurConfig {
    /// Half of the first rate.
    pub start: f64,
    /// Most trials; the documented runs have 10.
    pub max_iterations: u32,
    /// Width of the bracket, in percent of its upper end, that is narrow enough.
    pub granularity_percent: f64,
    /// An upper end below this ends it.
    pub lowest: f64,
}

/// Vidur's sequence of rates.
#[derive(Clone, Debug)]
pub struct Vidur {
    config: VidurConfig,
    left: f64,
    right: f64,
    failed: bool,
    trials: u32,
}

impl Vidur {
    /// A search that has seen nothing.
    pub fn new(config: VidurConfig) -> Self {
        Self {
            config,
            left: 0.0,
            right: 2.0 * config.start,
            failed: false,
            trials: 0,
        }
    }

    fn ended(&self) -> Option<&'static str> {
        if self.trials >= self.config.max_iterations {
            Some("the limit of iterations was reached")
        } else if !self.failed {
            None
        } else if (self.left - self.right).abs() < self.config.granularity_percent * self.right / 100.0 {
            Some("the bounds are near enough")
        } else if self.right < self.config.lowest {
            Some("the upper bound is below the lowest rate")
        } else {
            None
        }
    }

    /// The rate that it asks for, requests a second; none when it has ended.
    pub fn rate(&self) -> Option<f64> {
        let rate = if self.failed {
            f64::midpoint(self.left, self.right)
        } else {
            self.right
        };
        self.ended().is_none().then_some(rate)
    }

    /// Tells it whether the objectives held at that rate.
    pub fn tell(&mut self, passed: bool) {
        let Some(rate) = self.rate() else { return };
        self.trials += 1;
        if passed {
            self.left = rate;
            if !self.failed {
                self.right *= 2.0;
            }
        } else {
            self.right = rate;
            self.failed = true;
        }
    }

    /// The highest rate that passed, requests a second; the published rule returns 0 where none did.
    pub fn best(&self) -> Option<f64> {
        (self.left > 0.0).then_some(self.left)
    }

    fn failing(&self) -> Option<f64> {
        self.failed.then_some(self.right)
    }
}

impl Search for Vidur {
    fn next(&self) -> Step {
        if let Some(rate) = self.rate() {
            return Step::Probe(Probe {
                rate: Rate::per_second(rate),
                stage: if self.failed { 2 } else { 1 },
                attempt: 0,
                pooled: false,
                goal: Goal::Decide,
                duration_s: None,
            });
        }
        let rate = self.best().map(Rate::per_second);
        Step::Done(Answer {
            rate,
            low: rate,
            high: self.failing().map(Rate::per_second),
            status: match (self.best(), self.failing()) {
                (Some(_), Some(_)) => Status::Bracketed,
                (Some(_), None) => Status::LowerBoundOnly,
                (None, Some(_)) => Status::UpperBoundOnly,
                (None, None) => Status::Undecided,
            },
            reason: self.ended().unwrap_or_default().to_owned(),
            termination_code: String::new(),
            confirmed_s: None,
        })
    }

    fn observe(&mut self, seen: &Observed<'_>) {
        self.tell(seen.verdict.ruling == Ruling::Sustainable);
    }

    fn bracket(&self) -> Bracket {
        let both = self.best().zip(self.failing());
        Bracket {
            stage: if self.failed { 2 } else { 1 },
            largest_true: self.best().map(Rate::per_second),
            smallest_false: self.failing().map(Rate::per_second),
            distance: both.map(|(m, big_m)| 60.0 * (big_m - m)),
            relative_distance: None,
        }
    }

    fn left(&self) -> Left {
        if self.ended().is_some() {
            return Left::default();
        }
        let most = self.config.max_iterations - self.trials;
        let width = 100.0 * (self.right - self.left) / self.right / self.config.granularity_percent;
        Left {
            likely: (width.log2().ceil().max(1.0) as u32).min(most),
            most,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(capacity: f64, max_iterations: u32) -> (Vec<f64>, Option<f64>) {
        let mut search = Vidur::new(VidurConfig {
            start: 2.0,
            max_iterations,
            granularity_percent: 1.0,
            lowest: 0.1,
        });
        let mut asked = Vec::new();
        while let Some(rate) = search.rate() {
            asked.push(rate);
            search.tell(rate <= capacity);
        }
        (asked, search.best())
    }

    #[test]
    fn a_recorded_run_is_repeated() {
        let (asked, best) = rates(5.1, 10);
        assert_eq!(asked, [4.0, 8.0, 6.0, 5.0, 5.5, 5.25, 5.125, 5.0625, 5.09375]);
        assert_eq!(best, Some(5.09375));
    }

    #[test]
    fn steps_up_count_and_nothing_is_below_the_lowest() {
        assert_eq!(rates(1000.0, 10).0.len(), 10);
        assert_eq!(rates(1000.0, 10).1, Some(768.0));
        let (asked, best) = rates(0.0, 20);
        assert_eq!((asked.last(), best), (Some(&0.0625), None));
    }
}
