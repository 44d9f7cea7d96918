//! What the answers of a grid of token pairs say of one another: which are corners, and which do not agree.

use std::cmp::Ordering;

use super::adaptive::Prior;
use super::neighbours::{Known, predict};
use super::{Answer, Status};
use crate::units::{Rate, TokenPair};

/// So many pairs are a grid, not a list that somebody put in order.
pub const GRID: usize = 4;

/// Whether `a` asks for at most as much as `b`, of both kinds of tokens.
pub fn is_within(a: TokenPair, b: TokenPair) -> bool {
    a.input.mean() <= b.input.mean() && a.output.mean() <= b.output.mean()
}

/// Whether a pair has the shortest or the longest prompts of all, and the shortest or the longest responses. Where there
/// are fewer than [`GRID`] pairs, every one is a corner.
pub fn is_corner(pair: TokenPair, pairs: &[TokenPair]) -> bool {
    let at_an_end = |length: fn(&TokenPair) -> f64| {
        let (mine, all) = (length(&pair), || pairs.iter().map(length));
        all().all(|other| mine <= other) || all().all(|other| mine >= other)
    };
    pairs.len() < GRID || (at_an_end(|p| p.input.mean()) && at_an_end(|p| p.output.mean()))
}

impl Known {
    /// What an answer tells the pairs after it; `None` where it is not known on both sides.
    pub fn of(pair: TokenPair, answer: &Answer) -> Option<Self> {
        if !matches!(answer.status, Status::Bracketed | Status::Estimated) {
            return None;
        }
        let (low, high) = (answer.low?, answer.high?);
        let (from, to) = (low.as_per_minute(), high.as_per_minute());
        (from > 0.0 && to >= from).then(|| Self {
            pair,
            capacity: Rate::per_minute((from * to).sqrt()),
            low,
            high,
        })
    }
}

/// What the answers of other pairs let expect of one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Expected {
    /// Its capacity.
    pub prior: Option<Prior>,
    /// The highest rate below the interval of a pair that asks at least as much of the service.
    pub at_least: Option<Rate>,
    /// The lowest rate above the interval of a pair that asks at most as much of it.
    pub at_most: Option<Rate>,
}

impl Expected {
    /// From the answers that are known. Capacity does not rise with the number of tokens.
    pub fn of(known: &[Known], pair: TokenPair) -> Self {
        let larger = known.iter().filter(|k| is_within(pair, k.pair));
        let smaller = known.iter().filter(|k| is_within(k.pair, pair));
        Self {
            prior: predict(known, pair),
            at_least: pick(larger.map(|k| k.low), Ordering::Greater),
            at_most: pick(smaller.map(|k| k.high), Ordering::Less),
        }
    }

    /// Whether an answer is not what the other pairs let expect, or there was nothing to expect, or the answer is open
    /// at one end.
    pub fn is_contradicted_by(&self, answer: &Answer) -> bool {
        let (Some(low), Some(high), Some(prior)) = (answer.low, answer.high, &self.prior) else {
            return true;
        };
        low > prior.high
            || high < prior.low
            || self.at_least.is_some_and(|least| high < least)
            || self.at_most.is_some_and(|most| low > most)
    }
}

/// The larger, or the smaller, of rates.
fn pick(rates: impl Iterator<Item = Rate>, wanted: Ordering) -> Option<Rate> {
    rates.reduce(|a, b| {
        if b.as_per_minute().total_cmp(&a.as_per_minute()) == wanted {
            b
        } else {
            a
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::TokenRange;

    fn pair(input: u32, output: u32) -> TokenPair {
        TokenPair {
            input: TokenRange::exactly(input),
            output: TokenRange::exactly(output),
        }
    }

    fn known(input: u32, output: u32, capacity: f64) -> Known {
        Known {
            pair: pair(input, output),
            capacity: Rate::per_minute(capacity),
            low: Rate::per_minute(0.98 * capacity),
            high: Rate::per_minute(1.02 * capacity),
        }
    }

    fn answer(low: f64, high: f64) -> Answer {
        Answer {
            rate: Some(Rate::per_minute(low)),
            low: Some(Rate::per_minute(low)),
            high: Some(Rate::per_minute(high)),
            status: Status::Estimated,
            reason: String::new(),
            termination_code: String::new(),
            confirmed_s: None,
        }
    }

    #[test]
    fn a_grid_has_four_corners() {
        let mut pairs = Vec::new();
        for input in [16, 64, 256] {
            pairs.extend([8, 32, 128].map(|output| pair(input, output)));
        }
        let corners: Vec<TokenPair> = pairs.iter().copied().filter(|p| is_corner(*p, &pairs)).collect();
        assert_eq!(
            corners,
            [pair(16, 8), pair(16, 128), pair(256, 8), pair(256, 128)]
        );
        assert!(
            pairs[..3].iter().all(|p| is_corner(*p, &pairs[..3])),
            "three are no grid"
        );
        assert!(!is_corner(pairs[1], &[pairs[0], pairs[1], pairs[2], pairs[3]]));
    }

    #[test]
    fn a_pair_is_within_another_only_by_both_lengths() {
        assert!(is_within(pair(16, 8), pair(16, 32)) && is_within(pair(16, 8), pair(16, 8)));
        assert!(!is_within(pair(64, 8), pair(16, 32)) && !is_within(pair(16, 32), pair(64, 8)));
    }

    #[test]
    fn what_is_not_as_expected_is_a_contradiction() {
        let grid = [
            known(8, 8, 1000.0),
            known(8, 512, 100.0),
            known(512, 8, 800.0),
            known(512, 512, 80.0),
        ];
        let expected = Expected::of(&grid, pair(64, 64));
        assert_eq!(expected.at_most, Some(Rate::per_minute(1020.0)));
        assert_eq!(expected.at_least, Some(Rate::per_minute(80.0 * 0.98)));
        let prior = expected.prior.unwrap();
        let middle = prior.capacity.as_per_minute();
        assert!(!expected.is_contradicted_by(&answer(0.98 * middle, 1.02 * middle)));
        let beyond = prior.high.as_per_minute();
        assert!(
            expected.is_contradicted_by(&answer(1.01 * beyond, 1.05 * beyond)),
            "above what is expected"
        );
        assert!(
            expected.is_contradicted_by(&answer(60.0, 70.0)),
            "below a larger pair"
        );
        let open = Answer {
            high: None,
            ..answer(0.98 * middle, 1.02 * middle)
        };
        assert!(expected.is_contradicted_by(&open), "open at one end");
        let nothing = Expected::of(&[], pair(64, 64));
        assert_eq!(nothing, Expected::default());
        assert!(
            nothing.is_contradicted_by(&answer(middle, middle)),
            "nothing was expected"
        );
    }

    #[test]
    fn bounds_count_also_where_the_prior_is_wide() {
        let wide = Expected {
            prior: Some(Prior {
                capacity: Rate::per_minute(300.0),
                low: Rate::per_minute(10.0),
                high: Rate::per_minute(9000.0),
            }),
            at_least: Some(Rate::per_minute(100.0)),
            at_most: Some(Rate::per_minute(1000.0)),
        };
        let is_contradicted = |low, high| wide.is_contradicted_by(&answer(low, high));
        assert!(is_contradicted(80.0, 99.0) && !is_contradicted(80.0, 100.0));
        assert!(is_contradicted(1001.0, 1100.0) && !is_contradicted(1000.0, 1100.0));
    }

    #[test]
    fn only_answers_with_both_ends_tell_of_other_pairs() {
        let mut found = answer(81.0, 100.0);
        found.status = Status::Bracketed;
        let known = Known::of(pair(8, 64), &found).unwrap();
        assert_eq!(
            (known.pair, known.capacity),
            (pair(8, 64), Rate::per_minute(90.0))
        );
        found.status = Status::Undecided;
        assert_eq!(Known::of(pair(8, 64), &found), None);
        found.status = Status::Estimated;
        found.high = None;
        assert_eq!(Known::of(pair(8, 64), &found), None);
        found.high = Some(Rate::per_minute(80.0));
        assert_eq!(
            Known::of(pair(8, 64), &found),
            None,
            "the ends are the wrong way about"
        );
    }
}
