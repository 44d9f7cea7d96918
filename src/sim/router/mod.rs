//! Which replica a request goes to: decided on its arrival, for good.
//!
//! Ties are drawn from the stream `routing` of the run's seed, one draw a tie.

mod config;
mod policy;

pub use config::RouterConfigError;
pub use policy::Router;

use serde::{Deserialize, Serialize};

/// A routing policy, by the name that the config explorer's YAML gives it.
///
/// The spread that four of them compare is the difference between the most and the least outstanding prefill tokens of
/// a replica, prompt tokens found in the prefix cache left out, as it would be with the request placed there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "scheduler", try_from = "config::Flat")]
pub enum RouterConfig {
    /// Each request to a replica drawn at random.
    Random,
    /// One after the other.
    #[default]
    RoundRobin,
    /// Least outstanding requests; ties are drawn.
    Lor,
    /// Fewest waiting requests, whatever runs; ties go to the lowest number. What Vidur names `lor` before its explorer.
    LorWaiting,
    /// Least outstanding prefill tokens, those of requests whose prefill has not ended; ties are drawn.
    Lop,
    /// Fewest requests whose prefill has not ended.
    LopBinary,
    /// Least prefill tokens that no iteration has yet computed.
    LopBatchEnd,
    /// The replica that leaves the smallest spread of outstanding prefill tokens, without those in its prefix cache.
    LopUncached,
    /// A conversation stays where its first request went, which is as with `round_robin` over the conversations. A
    /// request that belongs to none is a conversation of its own, here and below.
    StickyRoundRobin,
    /// The same, with `lor`.
    StickyLor,
    /// The same, with `lop`. The explorer's example names it; what it means there is not published.
    StickyLop,
    /// The same with `lop_uncached`; a conversation moves when its replica is not among the `top_k` best any more.
    RankedStickyLopUncached {
        /// How many replicas are good enough.
        top_k: u32,
    },
    /// The same with `lop_uncached`; a conversation moves when its replica's spread exceeds so many times the smallest.
    TolerantStickyLopUncached {
        /// How many times.
        tolerance_factor: f64,
    },
}

/// What a router knows of a replica, kept up to date by the replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests that have not ended.
    pub outstanding: u32,
    /// Requests that wait.
    pub waiting: u32,
    /// Requests whose first prefill has not ended.
    pub pending_prefills: u32,
    /// Their prompt tokens.
    pub pending_prefill_tokens: u64,
    /// Prompt tokens routed here and not yet computed; falls with every iteration, and with a prefix hit not at all.
    pub uncomputed_prefill_tokens: i64,
    /// Prompt tokens of `pending_prefills` that were not in the prefix cache when they were routed.
    pub pending_uncached_tokens: u64,
}

/// A router's decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The replica.
    pub replica: u32,
    /// Prompt tokens that its prefix cache did not hold at that moment; all of them where the policy did not ask.
    pub uncached_tokens: u32,
}
