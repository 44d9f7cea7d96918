//! veeksha's search, value for value: steps up by a factor until a value fails, then bisection of a decimal grid.
//!
//! Its known faults are part of it: the first value that fails ends it without an answer, the failing end of the bracket may
//! be measured again (and, when it then passes by luck, is the answer), and the grid is absolute.

use super::{Answer, Bracket, Goal, Left, Observed, Probe, Search, Status, Step};
use crate::criterion::Ruling;
use crate::units::Rate;

/// Where it begins and when it ends. Values are sessions a second, or sessions at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VeekshaConfig {
    /// First value.
    pub start: f64,
    /// Highest value.
    pub max: f64,
    /// Factor of a step up, above 1.
    pub factor: f64,
    /// Most trials.
    pub max_iterations: u32,
    /// Decimals of a value.
    pub precision: i32,
    /// Whether values are whole numbers of at least 1.
    pub integers: bool,
}

/// veeksha's sequence of values.
#[derive(Clone, Debug)]
pub struct Veeksha {
    config: VeekshaConfig,
    phase: Phase,
    trials: u32,
    told: Vec<(f64, bool)>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Up { value: f64, passed: Option<f64> },
    // Places on the grid.
    Bisect { low: i64, high: i64, best: i64 },
    Done { best: Option<f64>, reason: &'static str },
}

impl Veeksha {
    /// A search that has seen nothing.
    ///
    /// # Errors
    /// What is wrong with the configuration, in veeksha's words.
    pub fn new(config: VeekshaConfig) -> Result<Self, &'static str> {
        if config.max_iterations == 0 {
            return Err("max_iterations must be > 0");
        }
        if config.start <= 0.0 {
            return Err("start_value must be > 0");
        }
        if config.factor <= 1.0 {
            return Err("expansion_factor must be > 1.0");
        }
        if config.start > config.max {
            return Err("start_value must be <= max_value");
        }
        let mut search = Self {
            config,
            phase: Phase::Done {
                best: None,
                reason: "",
            },
            trials: 0,
            told: Vec::new(),
        };
        search.phase = Phase::Up {
            value: search.rounded(config.start),
            passed: None,
        };
        Ok(search)
    }

    /// Places of the grid in one.
    fn scale(&self) -> f64 {
        if self.config.integers {
            1.0
        } else {
            10f64.powi(self.config.precision)
        }
    }

    fn rounded(&self, value: f64) -> f64 {
        if self.config.integers {
            value.round_ties_even().max(1.0)
        } else {
            (value * self.scale()).round_ties_even() / self.scale()
        }
    }

    /// The value that it asks for; none when it has ended.
    pub fn value(&self) -> Option<f64> {
        match self.phase {
            Phase::Up { value, .. } => Some(value),
            Phase::Bisect { low, high, .. } => Some(middle(low, high) as f64 / self.scale()),
            Phase::Done { .. } => None,
        }
    }

    /// Tells it whether the objectives held at that value.
    pub fn tell(&mut self, holds: bool) {
        let Some(value) = self.value() else { return };
        self.trials += 1;
        self.told.push((value, holds));
        let limit = self.trials >= self.config.max_iterations;
        self.phase = match self.phase {
            Phase::Up { value, .. } if holds && value >= self.config.max => Phase::Done {
                best: Some(value),
                reason: "the highest value holds",
            },
            Phase::Up { value, .. } if holds && limit => Phase::Done {
                best: Some(value),
                reason: "the limit of iterations was reached before a value failed",
            },
            Phase::Up { value, .. } if holds => Phase::Up {
                value: self.above(value),
                passed: Some(value),
            },
            Phase::Up { passed: None, .. } => Phase::Done {
                best: None,
                reason: "the first value does not hold",
            },
            Phase::Up {
                value,
                passed: Some(passed),
            } => {
                let place = |value: f64| (value * self.scale()).round_ties_even() as i64;
                self.bisect(place(passed), place(value), place(passed))
            }
            Phase::Bisect { low, high, best } => {
                let middle = middle(low, high);
                if holds {
                    self.bisect(middle, high, middle)
                } else {
                    self.bisect(low, middle - 1, best)
                }
            }
            done @ Phase::Done { .. } => done,
        };
    }

    /// The next step up from a value that held.
    fn above(&self, value: f64) -> f64 {
        let mut next = self.rounded(value * self.config.factor);
        if next <= value {
            next = value + 1.0 / self.scale();
        }
        self.rounded(next).min(self.rounded(self.config.max))
    }

    fn bisect(&self, low: i64, high: i64, best: i64) -> Phase {
        let reason = if low >= high {
            "no value of the grid lies between"
        } else if self.trials >= self.config.max_iterations {
            "the limit of iterations was reached"
        } else {
            return Phase::Bisect { low, high, best };
        };
        Phase::Done {
            best: Some(best as f64 / self.scale()),
            reason,
        }
    }

    /// The answer so far: the highest value that the rule takes for good. Final when [`value`](Self::value) is none.
    pub fn best(&self) -> Option<f64> {
        match self.phase {
            Phase::Up { passed, .. } => passed,
            Phase::Bisect { best, .. } => Some(best as f64 / self.scale()),
            Phase::Done { best, .. } => best,
        }
    }

    /// Trials so far.
    pub fn trials(&self) -> u32 {
        self.trials
    }

    /// The lowest value that failed above the best.
    fn failing(&self) -> Option<f64> {
        let above = |value: f64| self.best().is_none_or(|best| value > best);
        let failed = self
            .told
            .iter()
            .filter(|(value, passed)| !passed && above(*value));
        failed.map(|(value, _)| *value).reduce(f64::min)
    }
}

fn middle(low: i64, high: i64) -> i64 {
    (low + high + 1).div_euclid(2)
}

impl Search for Veeksha {
    fn next(&self) -> Step {
        let (best, high) = (self.best(), self.failing());
        let Phase::Done { reason, .. } = self.phase else {
            let value = self.value().unwrap_or_default();
            #[expect(clippy::float_cmp, reason = "the same place of the grid is the same number")]
            let attempt = self.told.iter().filter(|(told, _)| *told == value).count() as u32;
            return Step::Probe(Probe {
                rate: Rate::per_second(value),
                stage: if matches!(self.phase, Phase::Up { .. }) {
                    1
                } else {
                    2
                },
                attempt,
                pooled: false,
                goal: Goal::Decide,
                duration_s: None,
            });
        };
        Step::Done(Answer {
            rate: best.map(Rate::per_second),
            low: best.map(Rate::per_second),
            high: high.map(Rate::per_second),
            status: match (best, high) {
                (Some(_), Some(_)) => Status::Bracketed,
                (Some(_), None) => Status::LowerBoundOnly,
                (None, Some(_)) => Status::UpperBoundOnly,
                (None, None) => Status::Undecided,
            },
            reason: reason.to_owned(),
            termination_code: String::new(),
            confirmed_s: None,
        })
    }

    fn observe(&mut self, seen: &Observed<'_>) {
        self.tell(seen.verdict.ruling == Ruling::Sustainable);
    }

    fn bracket(&self) -> Bracket {
        let (best, high) = (self.best(), self.failing());
        Bracket {
            stage: if matches!(self.phase, Phase::Up { .. }) {
                1
            } else {
                2
            },
            largest_true: best.map(Rate::per_second),
            smallest_false: high.map(Rate::per_second),
            distance: best.zip(high).map(|(m, big_m)| 60.0 * (big_m - m)),
            relative_distance: None,
        }
    }

    fn left(&self) -> Left {
        let most = self.config.max_iterations.saturating_sub(self.trials);
        let places = match self.phase {
            Phase::Done { .. } => return Left::default(),
            Phase::Up { value, .. } => value * self.config.factor * self.scale(),
            Phase::Bisect { low, high, .. } => (high - low) as f64,
        };
        let likely = (places.max(1.0).log2().ceil() as u32).max(1).min(most.max(1));
        Left {
            likely,
            most: most.max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::search::testing::drive;

    fn config(start: f64, max: f64) -> VeekshaConfig {
        VeekshaConfig {
            start,
            max,
            factor: 2.0,
            max_iterations: 20,
            precision: 2,
            integers: false,
        }
    }

    fn values(mut search: Veeksha, mut passes: impl FnMut(f64) -> bool) -> (Vec<f64>, Option<f64>) {
        let mut asked = Vec::new();
        while let Some(value) = search.value() {
            asked.push(value);
            search.tell(passes(value));
        }
        (asked, search.best())
    }

    #[test]
    fn a_highest_value_off_the_grid_is_asked_for_until_the_limit() {
        let search = Veeksha::new(VeekshaConfig {
            max_iterations: 7,
            ..config(4.0, 10.004)
        });
        let (asked, best) = values(search.unwrap(), |_| true);
        assert_eq!(asked, [4.0, 8.0, 10.0, 10.0, 10.0, 10.0, 10.0]);
        assert_eq!(best, Some(10.0));
    }

    #[test]
    fn the_failing_end_is_measured_again() {
        let integers = VeekshaConfig {
            integers: true,
            ..config(1.0, 128.0)
        };
        let (asked, best) = values(Veeksha::new(integers).unwrap(), |value| value <= 7.0);
        assert_eq!(asked, [1.0, 2.0, 4.0, 8.0, 6.0, 7.0, 8.0]);
        assert_eq!(best, Some(7.0));
        let mut search = Veeksha::new(integers).unwrap();
        let (answer, rates) = drive(&mut search, |_| Ruling::Unsustainable);
        assert_eq!((answer.status, rates.len()), (Status::UpperBoundOnly, 1));
    }

    #[test]
    fn wrong_configurations_are_refused_in_its_words() {
        let wrong = |change: fn(&mut VeekshaConfig)| {
            let mut config = config(1.0, 10.0);
            change(&mut config);
            Veeksha::new(config).err().unwrap()
        };
        assert_eq!(wrong(|c| c.factor = 1.0), "expansion_factor must be > 1.0");
        assert_eq!(wrong(|c| c.start = 0.0), "start_value must be > 0");
        assert_eq!(wrong(|c| c.start = 11.0), "start_value must be <= max_value");
        assert_eq!(wrong(|c| c.max_iterations = 0), "max_iterations must be > 0");
    }

    proptest! {
        /// A monotone oracle that passes at the first value is answered to one place of the grid.
        #[test]
        fn a_monotone_oracle_is_answered(capacity in 1.0f64..90.0, precision in 0i32..4) {
            let config = VeekshaConfig { precision, max_iterations: 60, ..config(1.0, 100.0) };
            let (_, best) = values(Veeksha::new(config).unwrap(), |value| value <= capacity);
            let best = best.unwrap();
            let place = 10f64.powi(-precision);
            prop_assert!(best <= capacity && capacity - best < place + 1e-9, "{best}");
        }
    }
}
