//! The older program's search, rate for rate: double FALSE, unrounded midpoints, one surplus trial, single-FALSE end.
//!
//! Kept for comparison with published results. Its known faults are part of it: the stop test comes before the
//! bracket is updated (so the last trial measures what was known), and a rate that was confirmed FALSE once may be
//! left behind by a TRUE above it.

use std::collections::BTreeMap;

use super::left::{Left, Standing};
use super::stages::StagesConfig;
use super::{Answer, Bracket, Goal, Observed, Probe, Search, Status, Step};
use crate::criterion::Ruling;
use crate::units::Rate;

/// The older program's sequence of rates.
#[derive(Clone, Debug)]
pub struct StagesLegacy {
    config: StagesConfig,
    stage: u8,
    rate: f64,
    retry: bool,
    largest_true: Option<f64>,
    smallest_false: Option<f64>,
    first_distance: Option<f64>,
    trials: u32,
    attempts: BTreeMap<u64, u32>,
    done: Option<Answer>,
}

impl StagesLegacy {
    /// A search that has seen nothing. Rates are not rounded.
    pub fn new(config: StagesConfig) -> Self {
        Self {
            config,
            stage: 1,
            rate: config.start.as_per_minute(),
            retry: false,
            largest_true: None,
            smallest_false: None,
            first_distance: None,
            trials: 0,
            attempts: BTreeMap::new(),
            done: None,
        }
    }

    fn ramp(&mut self, sustainable: bool) {
        if sustainable {
            self.largest_true = Some(self.largest_true.map_or(self.rate, |m| m.max(self.rate)));
            self.retry = false;
            if self.smallest_false.is_none() {
                self.rate = (self.rate * self.config.multiplier).round_ties_even().max(1.0);
                return;
            }
        } else if !self.retry {
            self.retry = true;
            return;
        } else {
            self.smallest_false = Some(self.smallest_false.map_or(self.rate, |m| m.min(self.rate)));
            self.retry = false;
            if self.largest_true.is_none() {
                self.rate = (self.rate / self.config.multiplier).round_ties_even().max(1.0);
                return;
            }
        }
        if let (Some(m), Some(big_m)) = (self.largest_true, self.smallest_false) {
            self.stage = 2;
            self.first_distance = Some(big_m - m);
            self.rate = f64::midpoint(m, big_m);
        }
    }

    fn bisect(&mut self, sustainable: bool) {
        let (Some(m), Some(big_m)) = (self.largest_true, self.smallest_false) else {
            return;
        };
        if self.config.stop.is_met(m, big_m) {
            let rate = if sustainable { self.rate } else { m };
            self.finish(
                Some(rate),
                "the bracket was narrow enough before the last trial",
                String::new(),
            );
            return;
        }
        if sustainable {
            self.largest_true = Some(self.rate);
            self.retry = false;
        } else if self.retry {
            self.smallest_false = Some(self.rate);
            self.retry = false;
        } else {
            self.retry = true;
        }
        if let (Some(m), Some(big_m)) = (self.largest_true, self.smallest_false) {
            self.rate = f64::midpoint(m, big_m);
        }
    }

    fn finish(&mut self, rate: Option<f64>, reason: &str, termination_code: String) {
        let status = match (rate, self.smallest_false) {
            (Some(_), Some(_)) => Status::Bracketed,
            (Some(_), None) => Status::LowerBoundOnly,
            (None, Some(_)) => Status::UpperBoundOnly,
            (None, None) => Status::Undecided,
        };
        self.done = Some(Answer {
            rate: rate.map(Rate::per_minute),
            low: rate.map(Rate::per_minute),
            high: self.smallest_false.map(Rate::per_minute),
            status,
            reason: reason.to_owned(),
            termination_code,
            confirmed_s: None,
        });
    }
}

impl Search for StagesLegacy {
    fn next(&self) -> Step {
        if let Some(answer) = &self.done {
            return Step::Done(answer.clone());
        }
        let attempt = self.attempts.get(&self.rate.to_bits()).copied().unwrap_or(0);
        Step::Probe(Probe {
            rate: Rate::per_minute(self.rate),
            stage: self.stage,
            attempt,
            pooled: false,
            goal: Goal::Decide,
            duration_s: None,
        })
    }

    fn observe(&mut self, seen: &Observed<'_>) {
        let verdict = seen.verdict;
        if self.done.is_some() {
            return;
        }
        self.trials += 1;
        *self.attempts.entry(self.rate.to_bits()).or_insert(0) += 1;
        // The older program knew two rulings; what is not TRUE was FALSE.
        let sustainable = verdict.ruling == Ruling::Sustainable;
        let stage = self.stage;
        if stage == 1 {
            self.ramp(sustainable);
        } else {
            self.bisect(sustainable);
        }
        if self.done.is_none() && self.trials >= self.config.limit {
            let limit = self.config.limit;
            let code =
                format!("FAILED_STAGE{stage}_ITERATION_LIMIT_EXCEEDED(limit={limit}, iteration={limit})");
            // A limit in stage 1 leaves no answer; in stage 2 it is the largest TRUE.
            let rate = self.largest_true.filter(|_| self.stage == 2);
            self.finish(rate, "the limit of trials was reached", code);
        }
    }

    fn bracket(&self) -> Bracket {
        let distance = self
            .largest_true
            .zip(self.smallest_false)
            .map(|(m, big_m)| big_m - m);
        Bracket {
            stage: self.stage,
            largest_true: self.largest_true.map(Rate::per_minute),
            smallest_false: self.smallest_false.map(Rate::per_minute),
            distance,
            relative_distance: distance.zip(self.first_distance).map(|(now, first)| now / first),
        }
    }

    fn left(&self) -> Left {
        if self.done.is_some() {
            return Left::default();
        }
        Left::of(
            &self.config,
            &Standing {
                low: self.largest_true,
                high: self.smallest_false,
                rate: self.rate,
                half_settled: self.retry,
                settled: self.attempts.len() as u32 - u32::from(self.retry),
                trials: self.trials,
                surplus: 1,
                finest: 0.0,
            },
        )
    }
}
