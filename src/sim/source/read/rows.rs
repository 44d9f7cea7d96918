//! Putting rows together to a trace.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::super::Trace;
use super::super::trace::NO_SESSION;
use super::{TraceError, Wrong};
use crate::sim::{PrefixSpan, PrefixTable, Time};
use crate::workload::MAX_TOKENS;

/// Longest time that a trace may span, in seconds: well inside what virtual time can hold.
const LONGEST_S: f64 = 1.0e7;

/// A trace under way.
#[derive(Default)]
pub(super) struct Rows {
    trace: Trace,
    prefixes: PrefixTable,
    numbers: Numbers,
    sorted_until: Time,
    unsorted: bool,
}

impl Rows {
    pub(super) fn new(name: &str) -> Self {
        let mut rows = Self::default();
        name.clone_into(&mut rows.trace.name);
        rows
    }

    pub(super) fn lengths(&mut self, input: u32, output: u32) {
        self.trace.lengths.push([input, output]);
    }

    pub(super) fn arrival(&mut self, at: Time) {
        self.unsorted |= at < self.sorted_until;
        self.sorted_until = self.sorted_until.max(at);
        self.trace.arrivals.push(at);
    }

    /// The block hashes of the request whose lengths came last, each for so many tokens.
    pub(super) fn hashes(&mut self, ids: &[HashId], tokens: u32) -> Result<(), Wrong> {
        let table = &mut self.prefixes;
        if !ids.is_empty() && table.tokens_per_hash != tokens {
            if table.tokens_per_hash != 0 {
                return Err((
                    format!(
                        "its blocks have {tokens} tokens, those before have {}",
                        table.tokens_per_hash
                    ),
                    "give all requests blocks of one size",
                ));
            }
            table.tokens_per_hash = tokens;
        }
        let [input, output] = self.trace.lengths.last().copied().unwrap_or_default();
        if !ids.is_empty() && ids.len() as u64 > u64::from((input + output).div_ceil(tokens)) {
            return Err((
                format!(
                    "it names {} blocks of {tokens} tokens, more than {input} + {output} tokens fill",
                    ids.len()
                ),
                "check the block size, and that lengths and hashes are of one request",
            ));
        }
        let too_many = |_| {
            (
                format!("there are more than {} block hashes up to here", u32::MAX),
                "cut the trace into parts",
            )
        };
        let span = PrefixSpan {
            start: u32::try_from(table.hashes.len()).map_err(too_many)?,
            len: ids.len() as u32,
        };
        table.hashes.extend(ids.iter().map(|id| self.numbers.of(id.0)));
        u32::try_from(table.hashes.len()).map_err(too_many)?;
        self.trace.spans.push(span);
        Ok(())
    }

    pub(super) fn session(&mut self, session: u32) {
        self.trace.sessions.push(session);
    }

    pub(super) fn finish(mut self) -> Result<Trace, TraceError> {
        let trace = &mut self.trace;
        if trace.lengths.is_empty() {
            return Err(TraceError::Empty {
                name: trace.name.clone(),
            });
        }
        self.prefixes.distinct = self.numbers.next;
        self.prefixes.hashes.shrink_to_fit();
        if self.prefixes.hashes.is_empty() {
            trace.spans = Vec::new();
        }
        if trace.sessions.iter().all(|s| *s == NO_SESSION) {
            trace.sessions = Vec::new();
        }
        if self.unsorted {
            let mut order: Vec<u32> = (0..trace.lengths.len() as u32).collect();
            // Stable: of those that came at once the first in the file stays first.
            order.sort_by_key(|&place| trace.arrivals[place as usize]);
            reorder(&mut trace.arrivals, &order);
            reorder(&mut trace.lengths, &order);
            reorder(&mut trace.sessions, &order);
            reorder(&mut trace.spans, &order);
        }
        trace.arrivals.shrink_to_fit();
        trace.lengths.shrink_to_fit();
        trace.sessions.shrink_to_fit();
        trace.spans.shrink_to_fit();
        trace.prefixes = Arc::new(self.prefixes);
        Ok(self.trace)
    }
}

/// Puts a list in this order; one that the trace does not have stays empty.
fn reorder<T: Copy>(list: &mut Vec<T>, order: &[u32]) {
    if !list.is_empty() {
        *list = order.iter().map(|&place| list[place as usize]).collect();
    }
}

/// Numbers hash ids densely in the order of their first use: small ids through a list, the rest through a map.
#[derive(Default)]
struct Numbers {
    small: Vec<u32>,
    large: HashMap<u64, u32>,
    next: u32,
}

/// Ids below this go through the list, which takes 4 bytes for each up to the largest.
const SMALL: u64 = 1 << 24;
const UNSEEN: u32 = u32::MAX;

impl Numbers {
    fn of(&mut self, id: u64) -> u32 {
        let number = if id < SMALL {
            let place = id as usize;
            if place >= self.small.len() {
                self.small.resize(place + 1, UNSEEN);
            }
            &mut self.small[place]
        } else {
            self.large.entry(id).or_insert(UNSEEN)
        };
        if *number == UNSEEN {
            *number = self.next;
            self.next += 1;
        }
        *number
    }
}

/// The hash of a block, a whole number of either sign.
pub(super) struct HashId(pub(super) u64);

impl<'de> Deserialize<'de> for HashId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = HashId;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a whole number")
            }
            fn visit_u64<E: Error>(self, id: u64) -> Result<HashId, E> {
                Ok(HashId(id))
            }
            fn visit_i64<E: Error>(self, id: i64) -> Result<HashId, E> {
                Ok(HashId(id.cast_unsigned()))
            }
        }
        deserializer.deserialize_u64(Whole)
    }
}

/// A token count, if it is one.
pub(super) fn tokens(column: &str, value: f64) -> Result<u32, Wrong> {
    if value.fract() == 0.0 && (1.0..=f64::from(MAX_TOKENS)).contains(&value) {
        return Ok(value as u32);
    }
    Err((
        format!("`{column}` is {value}, not a whole number from 1 to {MAX_TOKENS}"),
        "correct the line or remove it",
    ))
}

/// An arrival in seconds, if it is one.
pub(super) fn arrival(column: &str, seconds: f64) -> Result<f64, Wrong> {
    if (0.0..=LONGEST_S).contains(&seconds) {
        return Ok(seconds);
    }
    Err((
        format!("`{column}` is {seconds} seconds, not from 0 to {LONGEST_S}"),
        "count the time from the first request on",
    ))
}
