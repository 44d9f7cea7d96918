//! Recorded requests.

use std::io::BufRead;
use std::sync::Arc;

use super::{TraceError, TraceFormat, read};
use crate::sim::{PrefixSpan, PrefixTable, Time};

/// Requests as they were recorded: lengths and, where the record has them, arrivals, conversations and block hashes.
/// In order of arrival, at most 28 bytes a request and 4 a hash. Meant to be shared (`Arc<Trace>`) by many runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// Its name in messages.
    pub(super) name: String,
    /// Since the start of the record, ascending; empty where the record has none.
    pub(super) arrivals: Vec<Time>,
    /// Prompt and response.
    pub(super) lengths: Vec<[u32; 2]>,
    /// Numbered from zero, [`NO_SESSION`] where a request belongs to none; empty where the record has none.
    pub(super) sessions: Vec<u32>,
    /// Empty where the record has none.
    pub(super) spans: Vec<PrefixSpan>,
    pub(super) prefixes: Arc<PrefixTable>,
}

/// Stands for no conversation in [`Trace::sessions`].
pub(super) const NO_SESSION: u32 = u32::MAX;

/// A request of a [`Trace`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceRow {
    /// Since the start of the record, if it has arrivals.
    pub arrival: Option<Time>,
    /// Prompt length in tokens.
    pub input_tokens: u32,
    /// Response length in tokens.
    pub output_tokens: u32,
    /// Its conversation.
    pub session: Option<u32>,
    /// Its block hashes.
    pub prefix: PrefixSpan,
}

impl Trace {
    /// Reads a trace as it comes; `name` stands in the messages. What is out of order is sorted by arrival.
    ///
    /// # Errors
    /// If a column is missing, a line is wrong, or there are no requests.
    pub fn read(reader: impl BufRead, format: TraceFormat, name: &str) -> Result<Self, TraceError> {
        read::read(reader, format, name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of requests, at least one in a trace that was read.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether it has no requests.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// The request at a place; places count from zero in order of arrival.
    pub fn row(&self, place: usize) -> TraceRow {
        let [input_tokens, output_tokens] = self.lengths[place];
        TraceRow {
            arrival: self.arrivals.get(place).copied(),
            input_tokens,
            output_tokens,
            session: self.sessions.get(place).copied().filter(|s| *s != NO_SESSION),
            prefix: self.spans.get(place).copied().unwrap_or_default(),
        }
    }

    /// All requests in order of arrival.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = TraceRow> {
        (0..self.len()).map(|place| self.row(place))
    }

    /// Its block hashes.
    pub fn prefixes(&self) -> &Arc<PrefixTable> {
        &self.prefixes
    }

    /// Whether it records arrivals.
    pub fn has_arrivals(&self) -> bool {
        !self.arrivals.is_empty()
    }

    /// Whether it records conversations.
    pub fn has_sessions(&self) -> bool {
        !self.sessions.is_empty()
    }

    /// From the first arrival to the last; zero without arrivals.
    pub fn span(&self) -> Time {
        match (self.arrivals.first(), self.arrivals.last()) {
            (Some(first), Some(last)) => *last - *first,
            _ => Time::ZERO,
        }
    }

    /// Requests per second of the record, gaps per span; none without arrivals, or if all came at once.
    pub fn rate(&self) -> Option<f64> {
        let span = self.span().as_seconds();
        (span > 0.0).then(|| (self.len() - 1) as f64 / span)
    }

    /// Mean prompt and response length in tokens; zero if there is none.
    pub fn mean_tokens(&self) -> (f64, f64) {
        let count = self.len().max(1) as f64;
        let sum = |side: usize| self.lengths.iter().map(|l| u64::from(l[side])).sum::<u64>();
        (sum(0) as f64 / count, sum(1) as f64 / count)
    }

    /// Tokens of the longest request, prompt and response.
    pub fn longest(&self) -> u32 {
        self.lengths.iter().map(|[i, o]| i + o).max().unwrap_or(0)
    }
}
