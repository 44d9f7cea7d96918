//! What the cluster is asked.

use super::Time;

/// One request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its number in the order of arrival, from zero; unique in a run.
    pub id: u64,
    /// When it reaches the router.
    pub arrival: Time,
    /// Prompt length in tokens, at least one.
    pub input_tokens: u32,
    /// Response length in tokens, at least one: the end of the prefill yields the first.
    pub output_tokens: u32,
    /// The conversation that it belongs to, for sticky routing.
    pub session: Option<u32>,
    /// When its prefill should have ended; the `edf` queue serves the earliest first.
    pub deadline: Time,
    /// Its block hashes, for prefix caching.
    pub prefix: PrefixSpan,
}

/// Where a request's block hashes lie in a [`PrefixTable`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrefixSpan {
    /// Index of the first.
    pub start: u32,
    /// How many.
    pub len: u32,
}

/// The block hashes of all requests of a workload. Each names a block of tokens together with everything before it,
/// so that two requests share a prefix just as far as their hashes agree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixTable {
    /// The hashes of one request after the other, numbered densely from zero in the order of their first use.
    pub hashes: Vec<u32>,
    /// Number of different hashes.
    pub distinct: u32,
    /// Tokens that a hash stands for; a multiple of the KV block. Zero where the workload names no prefixes.
    pub tokens_per_hash: u32,
}

impl PrefixTable {
    /// The hashes of one request.
    pub fn of(&self, span: PrefixSpan) -> &[u32] {
        &self.hashes[span.start as usize..(span.start + span.len) as usize]
    }
}

/// Gives requests in order of arrival.
pub trait Source {
    /// When the next request arrives; `None` when there are no more for now.
    fn peek(&mut self) -> Option<Time>;

    /// Takes the request that [`peek`](Self::peek) announced.
    fn next(&mut self) -> Option<Request>;

    /// Whether later arrivals depend on completions. Costs time: replicas then step in one common order.
    fn closed_loop(&self) -> bool {
        false
    }

    /// Tells a closed-loop source that a request has ended; it may answer with arrivals not before `at`.
    fn completed(&mut self, _id: u64, _at: Time) {}
}
