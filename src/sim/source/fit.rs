//! Requests longer than a model takes.

use serde::{Deserialize, Serialize};

use super::Trace;

/// What becomes of a recorded request whose prompt and response together exceed the longest sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TooLong {
    /// The trace is refused.
    #[default]
    Refuse,
    /// Prompt and response are shortened in proportion, each by its share of the surplus rounded up and to no less than
    /// one token, as Vidur does. Of its block hashes the full blocks of the shorter prompt stay: what follows is
    /// another text now.
    Trim,
    /// The request is left out.
    Skip,
}

/// A trace with no request longer than a limit, and what was done to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// The trace.
    pub trace: Trace,
    /// Requests shortened.
    pub trimmed: usize,
    /// Requests left out.
    pub skipped: usize,
}

/// A trace holds requests that are too long, or nothing is left of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// Under [`TooLong::Refuse`].
    #[error(
        "{name}: {count} of {of} requests are longer than {limit} tokens, the first of them number {first} with {input} + \
         {output}; raise the longest sequence, or have them trimmed or skipped"
    )]
    TooLong {
        /// The trace.
        name: String,
        /// How many.
        count: usize,
        /// Of how many.
        of: usize,
        /// The limit.
        limit: u32,
        /// The first, counted from one in order of arrival.
        first: usize,
        /// Its prompt.
        input: u32,
        /// Its response.
        output: u32,
    },
    /// All were skipped.
    #[error(
        "{name}: all {of} requests are longer than {limit} tokens, none is left; raise the longest sequence"
    )]
    NoneLeft {
        /// The trace.
        name: String,
        /// How many there were.
        of: usize,
        /// The limit.
        limit: u32,
    },
    /// Not even one token of each fits.
    #[error("the longest sequence is {limit}, but a prompt and a response need at least 2 tokens; raise it")]
    Limit {
        /// The limit.
        limit: u32,
    },
}

impl Trace {
    /// Sees to it that no request is longer than `limit` tokens, prompt and response.
    ///
    /// # Errors
    /// If one is and `too_long` refuses it, or none is left, or not even two tokens are allowed.
    pub fn fitted(mut self, limit: u32, too_long: TooLong) -> Result<Fitted, FitError> {
        if limit < 2 {
            return Err(FitError::Limit { limit });
        }
        let over = |[i, o]: &[u32; 2]| i + o > limit;
        let count = self.lengths.iter().filter(|l| over(l)).count();
        let Some(first) = self.lengths.iter().position(over) else {
            return Ok(Fitted {
                trace: self,
                trimmed: 0,
                skipped: 0,
            });
        };
        let of = self.len();
        match too_long {
            TooLong::Refuse => {
                let [input, output] = self.lengths[first];
                Err(FitError::TooLong {
                    name: self.name,
                    count,
                    of,
                    limit,
                    first: first + 1,
                    input,
                    output,
                })
            }
            TooLong::Trim => {
                for place in first..of {
                    self.trim(place, limit);
                }
                Ok(Fitted {
                    trace: self,
                    trimmed: count,
                    skipped: 0,
                })
            }
            TooLong::Skip if count == of => Err(FitError::NoneLeft {
                name: self.name,
                of,
                limit,
            }),
            TooLong::Skip => {
                let keep: Vec<bool> = self.lengths.iter().map(|l| !over(l)).collect();
                retain(&mut self.arrivals, &keep);
                retain(&mut self.lengths, &keep);
                retain(&mut self.sessions, &keep);
                retain(&mut self.spans, &keep);
                Ok(Fitted {
                    trace: self,
                    trimmed: 0,
                    skipped: count,
                })
            }
        }
    }

    fn trim(&mut self, place: usize, limit: u32) {
        let [input, output] = self.lengths[place];
        let total = input + output;
        if total <= limit {
            return;
        }
        // In exact arithmetic; each share rounded up.
        let share = |side: u32| {
            let less = (u64::from(total - limit) * u64::from(side)).div_ceil(u64::from(total));
            (side - less as u32).max(1)
        };
        let (mut input, mut output) = (share(input), share(output));
        // The least of one token may have put it over again by one.
        if input + output > limit {
            *(if input > output { &mut input } else { &mut output }) -= 1;
        }
        self.lengths[place] = [input, output];
        if let Some(span) = self.spans.get_mut(place) {
            let full = input / self.prefixes.tokens_per_hash.max(1);
            span.len = span.len.min(full);
        }
    }
}

/// Keeps the marked; a list that the trace does not have stays empty.
fn retain<T>(list: &mut Vec<T>, keep: &[bool]) {
    let mut marks = keep.iter();
    list.retain(|_| marks.next().copied().unwrap_or(true));
}

#[cfg(test)]
mod tests {
    use super::super::trace::NO_SESSION;
    use super::*;
    use crate::sim::{PrefixSpan, PrefixTable};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn trace(lengths: Vec<[u32; 2]>) -> Trace {
        let spans = (0..lengths.len() as u32)
            .map(|i| PrefixSpan { start: i * 4, len: 4 })
            .collect();
        Trace {
            name: "t".into(),
            sessions: vec![NO_SESSION; lengths.len()],
            spans,
            prefixes: Arc::new(PrefixTable {
                hashes: (0..4 * lengths.len() as u32).collect(),
                distinct: 4 * lengths.len() as u32,
                tokens_per_hash: 16,
            }),
            lengths,
            ..Trace::default()
        }
    }

    #[test]
    fn short_ones_are_left_alone() {
        let whole = trace(vec![[60, 4], [10, 20]]);
        for too_long in [TooLong::Refuse, TooLong::Trim, TooLong::Skip] {
            let fitted = whole.clone().fitted(64, too_long).unwrap();
            assert_eq!((fitted.trimmed, fitted.skipped), (0, 0));
            assert_eq!(fitted.trace, whole);
        }
    }

    #[test]
    fn long_ones_are_refused_trimmed_or_skipped() {
        let long = trace(vec![[30, 10], [60, 20], [1000, 1]]);
        let error = long.clone().fitted(40, TooLong::Refuse).unwrap_err().to_string();
        assert!(
            error.contains("2 of 3 requests") && error.contains("number 2 with 60 + 20"),
            "{error}"
        );
        let trimmed = long.clone().fitted(40, TooLong::Trim).unwrap();
        assert_eq!(trimmed.trimmed, 2);
        assert_eq!(trimmed.trace.lengths, [[30, 10], [30, 10], [39, 1]]);
        assert_eq!(trimmed.trace.spans[0].len, 4);
        assert_eq!(trimmed.trace.spans[1].len, 1);
        let skipped = long.clone().fitted(40, TooLong::Skip).unwrap();
        assert_eq!((skipped.skipped, skipped.trace.len()), (2, 1));
        assert_eq!(skipped.trace.spans.len(), 1);
        assert!(matches!(
            long.clone().fitted(5, TooLong::Skip),
            Err(FitError::NoneLeft { of: 3, .. })
        ));
        assert!(matches!(
            long.fitted(1, TooLong::Trim),
            Err(FitError::Limit { .. })
        ));
    }

    proptest! {
        #[test]
        fn trimmed_ones_fit_and_keep_their_proportion(
            lengths in prop::collection::vec([1..200_000_u32, 1..200_000], 1..50),
            limit in 2..100_000_u32,
        ) {
            let before = lengths.clone();
            let after = trace(lengths).fitted(limit, TooLong::Trim).unwrap().trace.lengths;
            for ([i, o], [a, b]) in before.into_iter().zip(after) {
                prop_assert!(a >= 1 && b >= 1 && a + b <= limit);
                if i + o <= limit {
                    prop_assert_eq!([a, b], [i, o]);
                } else {
                    let share = f64::from(limit) * f64::from(i) / f64::from(i + o);
                    prop_assert!((f64::from(a) - share).abs() <= 1.01, "{} of {}", a, share);
                }
            }
        }
    }
}
