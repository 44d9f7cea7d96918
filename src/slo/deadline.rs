//! Deadlines of tokens: how many a request missed, in both published readings, and the smallest deadline that it keeps.
//!
//! A token has its deadline plus whatever earlier tokens were early (the slack). A late token starts the deadlines anew from
//! its own arrival, and the slack is gone. What a late token counts for is where the readings differ: [`Reading`].

use serde::{Deserialize, Serialize};

use crate::stats::quantile::quantile_of;

/// What a late token counts for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reading {
    /// As many misses as deadlines have gone by until it came; the denominator grows by as many (what etalon computes).
    #[default]
    ElapsedDeadlines,
    /// One miss of one token (what etalon's documents define).
    PerToken,
}

/// The deadlines of one request, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deadlines {
    /// Of the first token, from the sending of the request.
    pub first: f64,
    /// Of each further token, from the one before it; above zero.
    pub token: f64,
    /// Whether the first gap is left out altogether.
    #[serde(default)]
    pub ignore_first: bool,
    /// What a late token counts for.
    #[serde(default)]
    pub reading: Reading,
    /// Most slack that is kept; none: without a limit, as published. A loose first deadline otherwise hides long stalls.
    #[serde(default)]
    pub slack_cap: Option<f64>,
    /// By how much a token may be late and still count as on time; zero as published.
    #[serde(default)]
    pub tolerance: f64,
}

/// Deadlines of a request, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Misses {
    /// Missed.
    pub missed: u64,
    /// Missed and kept.
    pub total: u64,
}

impl Misses {
    /// Missed as a share of all, from 0 to 1; 0 where there are none.
    pub fn rate(self) -> f64 {
        if self.total == 0 {
            0.0
        } else {
            self.missed as f64 / self.total as f64
        }
    }

    /// One minus the rate.
    pub fn fluidity_index(self) -> f64 {
        1.0 - self.rate()
    }

    /// Pooled with others: the level of the service.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            missed: self.missed + other.missed,
            total: self.total + other.total,
        }
    }
}

impl Deadlines {
    /// The published rule: elapsed deadlines, slack without a limit, no tolerance.
    pub fn new(first: f64, token: f64) -> Self {
        Self {
            first,
            token,
            ignore_first: false,
            reading: Reading::ElapsedDeadlines,
            slack_cap: None,
            tolerance: 0.0,
        }
    }

    /// For the gaps after the first token alone.
    pub fn of_tokens(token: f64) -> Self {
        Self {
            ignore_first: true,
            ..Self::new(0.0, token)
        }
    }

    /// What does not make sense.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn check(&self) -> Result<(), String> {
        let at_least_zero = |name: &str, value: f64| {
            if value.is_finite() && value >= 0.0 {
                Ok(())
            } else {
                Err(format!(
                    "{name}: {value} is not a time; write seconds of at least 0"
                ))
            }
        };
        at_least_zero("first", self.first)?;
        at_least_zero("tolerance", self.tolerance)?;
        at_least_zero("slack_cap", self.slack_cap.unwrap_or(0.0))?;
        if self.token.is_finite() && self.token > 0.0 {
            Ok(())
        } else {
            Err(format!(
                "token: {} is not a deadline; write seconds above 0, as 0.03",
                self.token
            ))
        }
    }

    /// Counts the misses of a request. `gaps[0]` is its time to first token, `gaps[i]` the time between tokens `i - 1` and
    /// `i`, in seconds.
    pub fn count(&self, gaps: &[f64]) -> Misses {
        let mut misses = Misses::default();
        self.walk(gaps, |now| misses = now);
        misses
    }

    /// The counts over the first gap, the first two, and so on.
    pub fn prefixes(&self, gaps: &[f64]) -> Vec<Misses> {
        let mut all = Vec::with_capacity(gaps.len());
        self.walk(gaps, |now| all.push(now));
        all
    }

    fn walk(&self, gaps: &[f64], mut told: impl FnMut(Misses)) {
        let mut now = Misses::default();
        let mut slack = 0.0;
        for (index, &gap) in gaps.iter().enumerate() {
            let first = index == 0;
            if first && self.ignore_first {
                told(now);
                continue;
            }
            let deadline = if first { self.first } else { self.token };
            if gap <= deadline + slack + self.tolerance {
                slack += deadline - gap;
                if self.slack_cap.is_some() || self.tolerance > 0.0 {
                    slack = slack.clamp(0.0, self.slack_cap.unwrap_or(f64::INFINITY));
                }
                now.total += 1;
            } else {
                // The order of the operations is the published one: it decides how they are rounded.
                let elapsed = match (self.reading, first) {
                    (Reading::PerToken, _) => 1,
                    (_, true) => 1 + floor_div(gap - slack - self.first, self.token) as u64,
                    (_, false) => floor_div(gap - slack, self.token) as u64,
                };
                now.missed += elapsed;
                now.total += elapsed;
                slack = 0.0;
            }
            told(now);
        }
    }

    /// The smallest deadline between tokens with which not more than `target` of the deadlines are missed, found as etalon
    /// finds it: bisection of 0 to 10^10 s to a width of 10^-4 s, each bound moved by 10^-4 s beyond the middle that was
    /// tried. 10^10 where no deadline is enough, as when the first token alone breaks the target. `self.token` has no
    /// influence.
    pub fn smallest_token_deadline(&self, gaps: &[f64], target: f64) -> f64 {
        const STEP: f64 = 1e-4;
        const MOST: f64 = 1e10;
        let (mut left, mut right, mut found) = (0.0, MOST, MOST);
        while right - left > STEP {
            let middle = f64::midpoint(left, right);
            let tried = Self {
                token: middle,
                ..*self
            };
            if tried.count(gaps).rate() > target {
                left = middle + STEP;
            } else {
                found = middle;
                right = middle - STEP;
            }
        }
        found
    }
}

/// How often `b` goes into `a`, rounded down, from the exact remainder, as Python's `//` on floats. `(a / b).floor()` is
/// another number where the quotient rounds up to a whole one: 1.0 // 0.1 is 9, for 0.1 is a little more than a tenth.
pub fn floor_div(a: f64, b: f64) -> f64 {
    let remainder = a % b;
    let mut quotient = (a - remainder) / b;
    if remainder != 0.0 && (b < 0.0) != (remainder < 0.0) {
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return (0.0_f64).copysign(a / b);
    }
    let whole = quotient.floor();
    if quotient - whole > 0.5 {
        whole + 1.0
    } else {
        whole
    }
}

/// The quantile over requests of their miss rates with one deadline between tokens, first tokens left out. `after_first`
/// holds the gaps of each request after its first token. `None` where there are no requests.
pub fn miss_rate_quantile<G: AsRef<[f64]>>(after_first: &[G], token: f64, p: f64) -> Option<f64> {
    let rates: Vec<f64> = after_first
        .iter()
        .map(|gaps| {
            Deadlines::of_tokens(token)
                .count(&led_by_zero(gaps.as_ref()))
                .rate()
        })
        .collect();
    quantile_of(&rates, p)
}

/// A first gap of zero, then the others: what a rule that ignores the first token is given.
pub(super) fn led_by_zero(gaps: &[f64]) -> Vec<f64> {
    let mut all = Vec::with_capacity(gaps.len() + 1);
    all.push(0.0);
    all.extend_from_slice(gaps);
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn division_is_by_the_exact_remainder() {
        for (a, b, expected) in [
            (1.0, 0.1, 9.0),
            (0.6, 0.1, 5.0),
            (0.09, 0.03, 3.0),
            (0.3, 0.1, 2.0),
            (7.0, 2.0, 3.0),
            (-7.0, 2.0, -4.0),
            (0.0, 0.1, 0.0),
            (1e10, 0.03, 333_333_333_333.0),
        ] {
            assert_eq!(floor_div(a, b), expected, "{a} // {b}");
        }
    }

    #[test]
    fn one_request_in_both_readings() {
        let gaps = [0.20, 0.02, 0.02, 0.15, 0.02, 0.05, 0.03];
        let deadlines = Deadlines::new(0.25, 0.03);
        let prefixes: Vec<(u64, u64)> = deadlines
            .prefixes(&gaps)
            .iter()
            .map(|m| (m.missed, m.total))
            .collect();
        assert_eq!(prefixes, [(0, 1), (0, 2), (0, 3), (2, 5), (2, 6), (3, 7), (3, 8)]);
        let misses = deadlines.count(&gaps);
        assert_eq!((misses.rate(), misses.fluidity_index()), (0.375, 0.625));
        let tokens = Deadlines {
            reading: Reading::PerToken,
            ..deadlines
        };
        assert_eq!(tokens.count(&gaps), Misses { missed: 2, total: 7 });
        assert!((tokens.count(&gaps).fluidity_index() - 5.0 / 7.0).abs() < 1e-15);
        assert!((deadlines.smallest_token_deadline(&gaps, 0.1) - 0.046_795_8).abs() < 1e-7);
    }

    #[test]
    fn rounding_is_not_forgiven_unless_asked_for() {
        let gaps = [0.0, 0.02, 0.04, 0.02, 0.04];
        let deadlines = Deadlines::new(0.0, 0.03);
        assert_eq!(deadlines.count(&gaps).missed, 2);
        let tolerant = Deadlines {
            tolerance: 1e-9,
            ..deadlines
        };
        assert_eq!(tolerant.count(&gaps).missed, 0);
    }

    #[test]
    fn a_cap_on_the_slack_uncovers_stalls() {
        let mut gaps = vec![0.1];
        gaps.extend([0.03; 5]);
        gaps.push(1.0);
        let loose = Deadlines::new(2.0, 0.03);
        assert_eq!(loose.count(&gaps).missed, 0);
        let capped = Deadlines {
            slack_cap: Some(0.1),
            ..loose
        };
        assert_eq!(capped.count(&gaps).missed, 30);
    }

    #[test]
    fn wrong_deadlines_are_refused() {
        assert_eq!(Deadlines::new(0.0, 0.03).check(), Ok(()));
        for bad in [
            Deadlines::new(0.0, 0.0),
            Deadlines::new(f64::NAN, 0.1),
            Deadlines {
                slack_cap: Some(-1.0),
                ..Deadlines::new(0.0, 0.1)
            },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }

    /// Gaps in whole 1024ths: sums and differences are exact.
    fn exact() -> impl Strategy<Value = Vec<f64>> {
        proptest::collection::vec((0u32..4096).prop_map(|n| f64::from(n) / 1024.0), 0..60)
    }

    proptest! {
        #[test]
        fn late_tokens_miss_at_least_one_deadline(gaps in exact(), first in 0u32..4096, token in 1u32..1024) {
            let deadlines = Deadlines::new(f64::from(first) / 1024.0, f64::from(token) / 1024.0);
            let elapsed = deadlines.count(&gaps);
            let late = Deadlines { reading: Reading::PerToken, ..deadlines }.count(&gaps);
            prop_assert!(elapsed.missed >= late.missed && elapsed.total >= late.total);
            prop_assert_eq!(late.total, gaps.len() as u64);
            prop_assert_eq!(elapsed.total - elapsed.missed, late.total - late.missed);
            prop_assert!((0.0..=1.0).contains(&elapsed.rate()));
            prop_assert_eq!(deadlines.prefixes(&gaps).last().copied().unwrap_or_default(), elapsed);
        }

        /// One late token misses the fewer deadlines, the longer they are.
        #[test]
        fn longer_deadlines_are_missed_less(gap in 1u32..4096, token in 1u32..1024) {
            let gaps = [0.0, f64::from(gap) / 1024.0];
            let missed = |token: u32| Deadlines::of_tokens(f64::from(token) / 1024.0).count(&gaps).missed;
            prop_assert!(missed(token + 1) <= missed(token));
            prop_assert_eq!(missed(token), if gap <= token { 0 } else { u64::from(gap / token) });
        }

        #[test]
        fn the_smallest_deadline_keeps_the_target(gaps in exact(), target in 0.0f64..1.0) {
            let deadlines = Deadlines::of_tokens(1.0);
            let token = deadlines.smallest_token_deadline(&gaps, target);
            let found = Deadlines { token, ..deadlines };
            prop_assert!(found.count(&gaps).rate() <= target);
        }

        #[test]
        fn division_agrees_with_whole_numbers(a in 0i64..1_000_000, b in 1i64..1000) {
            prop_assert_eq!(floor_div(a as f64, b as f64), (a / b) as f64);
        }
    }
}
