//! sarathi-serve's search, rate for rate.
//!
//! The loop of etalon's, with an upper bound that follows the scheduling delay: times four where the queue is empty, times
//! two where it is short, halved beyond 500 s. Its known faults are part of it: after such a halving the upper bound may lie
//! below the lower one, and the search wanders between them; the rate that passed last is returned, even where a higher one
//! had passed; a branch for delays beyond 1000 s is never reached. Vidur's main branch has the same rule, with other bounds.

use super::etalon::VICINITY;
use super::midpoint::{Midpoint, MidpointConfig};
use super::{Bracket, Left, Observed, Search, Step};
use crate::criterion::Ruling;

/// Delay in seconds beyond which the upper bound is halved.
const STEEP_S: f64 = 500.0;

/// sarathi-serve's sequence of rates.
#[derive(Clone, Debug)]
pub struct Sarathi {
    at: Midpoint,
    delay_bound_s: f64,
}

impl Sarathi {
    /// A name by which verdicts carry the scheduling delay in their statistics, seconds at the quantile that is judged.
    pub const DELAY: &'static str = "scheduling_delay_s";

    /// A search that has seen nothing. `delay_bound_s` is the longest scheduling delay that is good.
    pub fn new(config: MidpointConfig, delay_bound_s: f64) -> Self {
        Self {
            at: Midpoint::new(config),
            delay_bound_s,
        }
    }

    /// The rate that it asks for, requests a second; none when it has ended.
    pub fn rate(&self) -> Option<f64> {
        self.at.next()
    }

    /// Tells it whether the objectives held at that rate, and the scheduling delay in seconds. NaN stands for one that is
    /// not known: then the upper bound moves as in etalon's rule.
    pub fn tell(&mut self, passed: bool, delay_s: f64) {
        if self.at.next().is_none() {
            return;
        }
        if passed {
            if delay_s < self.delay_bound_s / 8.0 {
                self.at.raise(4.0);
            } else if delay_s < self.delay_bound_s / 4.0 || self.at.rate > VICINITY * self.at.right {
                self.at.raise(2.0);
            }
            self.at.passed();
        } else if delay_s > STEEP_S {
            self.at.failed(self.at.rate / 2.0);
        } else {
            self.at.failed(self.at.rate);
        }
    }

    /// Its bounds, requests a second, at the beginning of the last round, which may be one without a trial. The lower one may
    /// be the greater.
    pub fn bounds(&self) -> (f64, f64) {
        self.at.logged
    }

    /// The rate that passed last, requests a second.
    pub fn best(&self) -> Option<f64> {
        self.at.best()
    }
}

impl Search for Sarathi {
    fn next(&self) -> Step {
        self.at.step()
    }

    fn observe(&mut self, seen: &Observed<'_>) {
        let delay = seen.verdict.statistics.get(Self::DELAY);
        self.tell(
            seen.verdict.ruling == Ruling::Sustainable,
            delay.and_then(serde_json::Value::as_f64).unwrap_or(f64::NAN),
        );
    }

    fn bracket(&self) -> Bracket {
        self.at.bracket()
    }

    fn left(&self) -> Left {
        self.at.left()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::search::testing::{seen, verdict};

    fn search(start: f64, max_iterations: u32) -> Sarathi {
        let config = MidpointConfig {
            start,
            max_iterations,
            granularity_percent: 2.5,
        };
        Sarathi::new(config, 2.0)
    }

    #[test]
    fn a_steep_failure_inverts_the_bounds_and_loses_the_best() {
        let mut search = search(4.0, 3);
        for (rate, delay) in [(4.0, 0.6), (6.0, 600.0), (3.5, 0.6)] {
            assert_eq!(search.rate(), Some(rate));
            search.tell(rate <= 5.0, delay);
        }
        assert_eq!((search.rate(), search.best()), (None, Some(3.5)));
        assert_eq!(search.bounds(), (4.0, 3.0));
    }

    #[test]
    fn the_delay_comes_with_the_verdict() {
        let mut search = search(1.0, 20);
        for expected in [1.0, 4.5, 18.25] {
            let Step::Probe(probe) = search.next() else {
                panic!("it goes on")
            };
            assert!((probe.rate.as_per_second() - expected).abs() < 1e-9);
            let mut verdict = verdict(Ruling::Sustainable);
            verdict.statistics = json!({ Sarathi::DELAY: 0.01 });
            search.observe(&seen(&probe, &verdict));
        }
    }

    #[test]
    fn an_unknown_delay_is_no_short_queue() {
        let mut search = search(1.0, 20);
        search.tell(true, f64::NAN);
        assert_eq!(search.rate(), Some(1.5));
        search.tell(false, f64::NAN);
        assert_eq!(search.rate(), Some(1.25));
    }
}
