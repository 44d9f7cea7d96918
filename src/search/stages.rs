//! The default search: a ramp until a rate fails, then bisection. Every decision is confirmed, undecided rates are
//! counted as such, and the interval covers them.

use std::collections::BTreeMap;

use super::left::{Left, Standing};
use super::stop::StopRule;
use super::{Answer, Bracket, Goal, Observed, Probe, Search, Status, Step};
use crate::criterion::Ruling;
use crate::units::{Plain, Rate};

/// Below this many requests a minute the ramp does not go.
const LOWEST_PER_MINUTE: f64 = 1.0;

/// Where a search begins and when it ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StagesConfig {
    /// First rate.
    pub start: Rate,
    /// Factor of the ramp, above 1.
    pub multiplier: f64,
    /// When the bracket is narrow enough.
    pub stop: StopRule,
    /// Most trials.
    pub limit: u32,
}

/// What is known about one rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    True,
    False,
    /// Still unsure after the repetition; the sign of the estimate steers.
    Leaning {
        sustainable: bool,
    },
}

/// Ramp and bisection.
#[derive(Clone, Debug)]
pub struct Stages {
    config: StagesConfig,
    stage: u8,
    rate: Rate,
    falses: u8,
    unsures: u8,
    trials: u32,
    attempts: BTreeMap<u64, u32>,
    /// By rate in requests per minute, ascending (the bits of a positive float sort as it does).
    known: BTreeMap<u64, Known>,
    first_distance: Option<f64>,
    done: Option<Answer>,
}

impl Stages {
    /// A search that has seen nothing.
    pub fn new(config: StagesConfig) -> Self {
        Self {
            config,
            stage: 1,
            rate: config.start.rounded(),
            falses: 0,
            unsures: 0,
            trials: 0,
            attempts: BTreeMap::new(),
            known: BTreeMap::new(),
            first_distance: None,
            done: None,
        }
    }

    /// The lowest rate that counts as unsustainable, and the highest sustainable one below it.
    fn ends(&self) -> (Option<f64>, Option<f64>) {
        let sustainable = |k: Known| matches!(k, Known::True | Known::Leaning { sustainable: true });
        let smallest_false = self
            .known
            .iter()
            .find(|&(_, &k)| !sustainable(k))
            .map(|(&bits, _)| f64::from_bits(bits));
        let largest_true = self
            .known
            .iter()
            .rev()
            .map(|(&bits, &k)| (f64::from_bits(bits), k))
            .find(|&(rate, k)| sustainable(k) && smallest_false.is_none_or(|top| rate < top))
            .map(|(rate, _)| rate);
        (largest_true, smallest_false)
    }

    /// The highest decided sustainable rate not above the answer, the lowest decided unsustainable one above it.
    fn decided_ends(&self, largest_true: Option<f64>) -> (Option<f64>, Option<f64>) {
        let answer = largest_true.unwrap_or(0.0);
        let rate_of = |(&bits, _): (&u64, &Known)| f64::from_bits(bits);
        let low = self
            .known
            .iter()
            .filter(|&(_, &k)| k == Known::True)
            .map(rate_of)
            .rfind(|&r| r <= answer);
        let high = self
            .known
            .iter()
            .filter(|&(_, &k)| k == Known::False)
            .map(rate_of)
            .find(|&r| r > answer);
        (low, high)
    }

    /// Settles what is known about the current rate and moves on.
    fn settle(&mut self, known: Known) {
        self.known.insert(self.rate.as_per_minute().to_bits(), known);
        self.falses = 0;
        self.unsures = 0;
        let (low, high) = self.ends();
        match (low, high) {
            (Some(m), Some(big_m)) => {
                self.stage = 2;
                self.first_distance.get_or_insert(big_m - m);
                if self.config.stop.is_met(m, big_m) {
                    let reason = format!(
                        "M - m = {} is within the threshold of {}",
                        Plain(big_m - m),
                        self.config.stop.describe(big_m)
                    );
                    self.finish(reason, String::new());
                    return;
                }
                let middle = Rate::per_minute(f64::midpoint(m, big_m)).rounded();
                if self.known.contains_key(&middle.as_per_minute().to_bits()) {
                    self.finish(
                        "rates are not told apart below four digits".to_owned(),
                        String::new(),
                    );
                    return;
                }
                self.rate = middle;
            }
            (Some(m), None) => self.rate = Rate::per_minute(m * self.config.multiplier).rounded(),
            (None, Some(big_m)) if big_m <= LOWEST_PER_MINUTE => {
                self.finish(
                    format!("not even {} req/min is sustainable", Plain(big_m)),
                    String::new(),
                );
            }
            (None, Some(big_m)) => {
                self.rate =
                    Rate::per_minute((big_m / self.config.multiplier).max(LOWEST_PER_MINUTE)).rounded();
            }
            (None, None) => unreachable!("a settled rate is on one side"),
        }
    }

    fn finish(&mut self, reason: String, termination_code: String) {
        let (m, big_m) = self.ends();
        let (low, high) = self.decided_ends(m);
        let leaning = |rate: Option<f64>| {
            rate.is_some_and(|r| matches!(self.known.get(&r.to_bits()), Some(Known::Leaning { .. })))
        };
        let status = match (m, big_m) {
            _ if leaning(m) || leaning(big_m) => Status::Undecided,
            (Some(_), Some(_)) => Status::Bracketed,
            (Some(_), None) => Status::LowerBoundOnly,
            (None, Some(_)) => Status::UpperBoundOnly,
            (None, None) => Status::Undecided,
        };
        self.done = Some(Answer {
            rate: m.map(Rate::per_minute),
            low: low.map(Rate::per_minute),
            high: high.map(Rate::per_minute),
            status,
            reason,
            termination_code,
            confirmed_s: None,
        });
    }
}

impl Search for Stages {
    fn next(&self) -> Step {
        if let Some(answer) = &self.done {
            return Step::Done(answer.clone());
        }
        let attempt = self
            .attempts
            .get(&self.rate.as_per_minute().to_bits())
            .copied()
            .unwrap_or(0);
        Step::Probe(Probe {
            rate: self.rate,
            stage: self.stage,
            attempt,
            pooled: self.unsures > 0,
            goal: Goal::Decide,
            duration_s: None,
        })
    }

    fn observe(&mut self, seen: &Observed<'_>) {
        let Observed { probe, verdict, .. } = *seen;
        if self.done.is_some() {
            return;
        }
        debug_assert_eq!(
            probe.rate, self.rate,
            "a verdict belongs to the probe that was asked for"
        );
        self.trials += 1;
        *self
            .attempts
            .entry(self.rate.as_per_minute().to_bits())
            .or_insert(0) += 1;
        match verdict.ruling {
            Ruling::Sustainable if self.falses == 0 => self.settle(Known::True),
            // A FALSE that was not confirmed: the rate counts as sustainable, but not as decided.
            Ruling::Sustainable => self.settle(Known::Leaning { sustainable: true }),
            // Two trials stand behind a pooled FALSE already.
            Ruling::Unsustainable if self.falses > 0 || self.unsures > 0 => self.settle(Known::False),
            Ruling::Unsustainable => self.falses = 1,
            Ruling::Unsure if self.unsures > 0 => {
                let over = match (verdict.margin, verdict.bound) {
                    (Some(margin), Some(bound)) => margin.value > bound,
                    // Nothing to steer by: stay on the safe side.
                    _ => true,
                };
                self.settle(Known::Leaning { sustainable: !over });
            }
            Ruling::Unsure => self.unsures = 1,
        }
        if self.done.is_none() && self.trials >= self.config.limit {
            let code = format!(
                "FAILED_STAGE{}_ITERATION_LIMIT_EXCEEDED(limit={}, iteration={})",
                self.stage, self.config.limit, self.trials
            );
            let reason = format!(
                "the limit of {} trials was reached in stage {}",
                self.config.limit, self.stage
            );
            self.finish(reason, code);
        }
    }

    fn bracket(&self) -> Bracket {
        let (m, big_m) = self.ends();
        let distance = m.zip(big_m).map(|(m, big_m)| big_m - m);
        Bracket {
            stage: self.stage,
            largest_true: m.map(Rate::per_minute),
            smallest_false: big_m.map(Rate::per_minute),
            distance,
            relative_distance: distance.zip(self.first_distance).map(|(now, first)| now / first),
        }
    }

    fn left(&self) -> Left {
        if self.done.is_some() {
            return Left::default();
        }
        let (low, high) = self.ends();
        Left::of(
            &self.config,
            &Standing {
                low,
                high,
                rate: self.rate.as_per_minute(),
                half_settled: self.falses > 0 || self.unsures > 0,
                settled: self.known.len() as u32,
                trials: self.trials,
                surplus: 0,
                // Four significant digits, at the worst.
                finest: 1e-3,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::search::testing::{self, drive, seen, verdict};
    use crate::trial::Estimate;

    fn config(start: f64) -> StagesConfig {
        StagesConfig {
            start: Rate::per_minute(start),
            multiplier: 2.0,
            stop: StopRule::Relative(0.05),
            limit: 60,
        }
    }

    #[test]
    fn finds_the_capacity_from_below_and_from_above() {
        for start in [50.0, 3000.0, 40_000.0] {
            let mut search = Stages::new(config(start));
            let (answer, trials) = drive(&mut search, |rate| {
                if rate <= 3000.0 {
                    Ruling::Sustainable
                } else {
                    Ruling::Unsustainable
                }
            });
            let (low, high) = (
                answer.low.unwrap().as_per_minute(),
                answer.high.unwrap().as_per_minute(),
            );
            assert!(
                low <= 3000.0 && 3000.0 < high && high - low <= 0.05 * high,
                "{answer:?}"
            );
            assert_eq!(answer.status, Status::Bracketed);
            assert_eq!(answer.rate, answer.low);
            assert!(trials.len() < 30);
        }
    }

    #[test]
    fn an_unconfirmed_false_does_not_end_the_ramp() {
        let mut search = Stages::new(config(100.0));
        let mut flip = true;
        let (answer, _) = drive(&mut search, |rate| {
            if rate > 1000.0 || (rate == 100.0 && std::mem::take(&mut flip)) {
                Ruling::Unsustainable
            } else {
                Ruling::Sustainable
            }
        });
        assert_eq!(answer.status, Status::Bracketed);
        assert!(answer.rate.unwrap().as_per_minute() > 900.0);
    }

    #[test]
    fn unsure_rates_are_repeated_once_then_steered_and_covered() {
        let mut search = Stages::new(config(1000.0));
        let mut seen = Vec::new();
        let answer = loop {
            let probe = match search.next() {
                Step::Probe(probe) => probe,
                Step::Done(answer) => break answer,
            };
            let rate = probe.rate.as_per_minute();
            seen.push((rate, probe.pooled));
            let mut judged = verdict(match rate {
                r if r <= 1400.0 => Ruling::Sustainable,
                r if r >= 1600.0 => Ruling::Unsustainable,
                _ => Ruling::Unsure,
            });
            judged.margin = Some(Estimate {
                value: (rate - 1500.0) / 1500.0,
                low: -1.0,
                high: 1.0,
            });
            judged.bound = Some(0.0);
            search.observe(&testing::seen(&probe, &judged));
        };
        assert_eq!(answer.status, Status::Undecided);
        assert!(answer.low.unwrap().as_per_minute() <= 1400.0, "{answer:?}");
        assert!(answer.high.unwrap().as_per_minute() >= 1600.0, "{answer:?}");
        assert!(
            (answer.rate.unwrap().as_per_minute() - 1500.0).abs() < 100.0,
            "{answer:?}"
        );
        assert!(seen.windows(2).any(|w| w[0].0 == w[1].0 && !w[0].1 && w[1].1));
    }

    #[test]
    fn nothing_sustainable_ends_at_the_lowest_rate() {
        let mut search = Stages::new(config(64.0));
        let (answer, trials) = drive(&mut search, |_| Ruling::Unsustainable);
        assert_eq!((answer.status, answer.rate), (Status::UpperBoundOnly, None));
        assert_eq!(trials.last(), Some(&1.0));
    }

    #[test]
    fn the_limit_ends_an_endless_ramp() {
        let mut search = Stages::new(StagesConfig {
            limit: 7,
            ..config(64.0)
        });
        let (answer, trials) = drive(&mut search, |_| Ruling::Sustainable);
        assert_eq!((answer.status, trials.len()), (Status::LowerBoundOnly, 7));
        assert_eq!(
            answer.termination_code,
            "FAILED_STAGE1_ITERATION_LIMIT_EXCEEDED(limit=7, iteration=7)"
        );
        assert_eq!(answer.rate, Some(Rate::per_minute(4096.0)));
    }

    proptest! {
        /// Whatever the oracle says, a search ends within its limit and never asks twice for the same trial.
        #[test]
        fn any_oracle_ends_within_the_limit(rulings in prop::collection::vec(0u8..3, 80), start in 1.0f64..1e5) {
            let mut search = Stages::new(config(start));
            let mut at = 0;
            let mut asked = std::collections::BTreeSet::new();
            while let Step::Probe(probe) = search.next() {
                prop_assert!(asked.insert((probe.rate.as_per_minute().to_bits(), probe.attempt)));
                let ruling = [Ruling::Sustainable, Ruling::Unsustainable, Ruling::Unsure][usize::from(rulings[at])];
                search.observe(&seen(&probe, &verdict(ruling)));
                at += 1;
                prop_assert!(at <= 60);
            }
        }

        /// A monotone oracle is bracketed to the threshold.
        #[test]
        fn a_monotone_oracle_is_bracketed(capacity in 2.0f64..1e6, start in 1.0f64..1e5) {
            let mut search = Stages::new(config(start));
            let (answer, _) = drive(&mut search, |rate| {
                if rate <= capacity { Ruling::Sustainable } else { Ruling::Unsustainable }
            });
            let (low, high) = (answer.low.unwrap().as_per_minute(), answer.high.unwrap().as_per_minute());
            prop_assert!(low <= capacity && capacity < high);
            prop_assert!(high - low <= 0.05 * high + 1e-9);
        }
    }
}
