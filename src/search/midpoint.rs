//! The loop that etalon and sarathi-serve share: the middle of two bounds, rounded to hundredths; the upper bound grows while
//! rates near it hold. What a trial does to the upper bound is each rule's own.

use super::{Answer, Bracket, Goal, Left, Probe, Status, Step};
use crate::units::Rate;

/// Stands for "no rate failed yet".
const NONE_FAILED: f64 = 4_294_967_296.0;

/// Where such a search begins and when it ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MidpointConfig {
    /// First rate, requests a second.
    pub start: f64,
    /// Most rounds, trials from a cache and a last round without a trial included.
    pub max_iterations: u32,
    /// The search ends when the bounds are nearer than this many percent of the rate that was tried last.
    pub granularity_percent: f64,
}

/// The state of the loop. Rates in requests a second.
#[derive(Clone, Debug)]
pub(super) struct Midpoint {
    config: MidpointConfig,
    pub(super) left: f64,
    pub(super) right: f64,
    /// The rate that is asked for, or was last.
    pub(super) rate: f64,
    /// The rate that passed last.
    best: Option<f64>,
    lowest_failing: f64,
    rounds: u32,
    /// The bounds at the beginning of the last round.
    pub(super) logged: (f64, f64),
    ended: Option<&'static str>,
}

impl Midpoint {
    pub(super) fn new(config: MidpointConfig) -> Self {
        let right = config.start * 2.0;
        let mut search = Self {
            config,
            left: 0.0,
            right,
            rate: 0.0,
            best: None,
            lowest_failing: NONE_FAILED,
            rounds: 0,
            logged: (0.0, right),
            ended: None,
        };
        search.propose();
        search
    }

    /// The upper bound raised by a factor, but not beyond a rate that failed.
    pub(super) fn raise(&mut self, factor: f64) {
        self.right = (self.right * factor).min(self.lowest_failing);
    }

    pub(super) fn passed(&mut self) {
        self.best = Some(self.rate);
        self.left = self.rate;
        self.propose();
    }

    pub(super) fn failed(&mut self, right: f64) {
        self.right = right;
        self.lowest_failing = self.lowest_failing.min(self.rate);
        self.propose();
    }

    fn propose(&mut self) {
        if self.rounds >= self.config.max_iterations {
            self.ended = Some("the limit of iterations was reached");
            return;
        }
        self.rounds += 1;
        self.logged = (self.left, self.right);
        if (self.left - self.right).abs() < self.config.granularity_percent * self.rate / 100.0 {
            self.ended = Some("the bounds are near enough");
            return;
        }
        let rate = hundredths(f64::midpoint(self.left, self.right));
        #[expect(clippy::float_cmp, reason = "the same hundredth is the same number")]
        if rate == self.rate {
            self.ended = Some("rates are not told apart below a hundredth");
            return;
        }
        self.rate = rate;
    }

    /// The rate that is asked for.
    pub(super) fn next(&self) -> Option<f64> {
        self.ended.is_none().then_some(self.rate)
    }

    pub(super) fn best(&self) -> Option<f64> {
        self.best
    }

    fn lowest_failing(&self) -> Option<f64> {
        (self.lowest_failing < NONE_FAILED).then_some(self.lowest_failing)
    }

    pub(super) fn step(&self) -> Step {
        match self.ended {
            None => Step::Probe(Probe {
                rate: Rate::per_second(self.rate),
                stage: self.stage(),
                // A rate that comes up again is taken from the cache.
                attempt: 0,
                pooled: false,
                goal: Goal::Decide,
                duration_s: None,
            }),
            Some(reason) => Step::Done(self.answer(reason)),
        }
    }

    fn stage(&self) -> u8 {
        if self.best.is_some() && self.lowest_failing().is_some() {
            2
        } else {
            1
        }
    }

    fn answer(&self, reason: &str) -> Answer {
        let rate = self.best.map(Rate::per_second);
        Answer {
            rate,
            low: rate,
            high: self.lowest_failing().map(Rate::per_second),
            status: match (self.best, self.lowest_failing()) {
                (Some(_), Some(_)) => Status::Bracketed,
                (Some(_), None) => Status::LowerBoundOnly,
                (None, Some(_)) => Status::UpperBoundOnly,
                (None, None) => Status::Undecided,
            },
            reason: reason.to_owned(),
            termination_code: String::new(),
            confirmed_s: None,
        }
    }

    pub(super) fn bracket(&self) -> Bracket {
        let distance = self
            .best
            .zip(self.lowest_failing())
            .map(|(m, big_m)| 60.0 * (big_m - m));
        Bracket {
            stage: self.stage(),
            largest_true: self.best.map(Rate::per_second),
            smallest_false: self.lowest_failing().map(Rate::per_second),
            distance,
            relative_distance: None,
        }
    }

    pub(super) fn left(&self) -> Left {
        if self.ended.is_some() {
            return Left::default();
        }
        let most = (self.config.max_iterations - self.rounds + 1).max(1);
        let width = (self.right - self.left).abs() / self.rate.max(0.01);
        let halvings = (100.0 * width / self.config.granularity_percent)
            .log2()
            .ceil()
            .max(1.0);
        Left {
            likely: (halvings as u32).min(most),
            most,
        }
    }
}

/// Rounded to hundredths of the exact value, ties to the even digit, as Python's `round(x, 2)`: 2.875 is 2.88, 0.125 is 0.12.
pub(super) fn hundredths(value: f64) -> f64 {
    format!("{value:.2}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hundredths_are_those_of_python() {
        for (value, expected) in [
            (2.875, 2.88),
            (0.125, 0.12),
            (0.625, 0.62),
            (0.375, 0.38),
            (10.625, 10.62),
            (2.675, 2.67),
            (1.005, 1.0),
            (0.005, 0.01),
            (0.0, 0.0),
            (1e9 + 0.125, 1_000_000_000.12),
        ] {
            assert_eq!(hundredths(value), expected, "{value}");
        }
    }
}
