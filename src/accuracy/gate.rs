//! Who is let in: a rate limiter, and a bounded queue.

use serde::{Deserialize, Serialize};

use super::server::ServerError;
use crate::sim::{Request, Source, Time};

/// A token bucket in front of the server: a request that finds it empty is refused at once, with status 429.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Requests a minute that are let in for good.
    pub per_minute: f64,
    /// Requests that are let in at once after a pause; the bucket is full at the start of a trial.
    pub burst: u32,
}

impl RateLimit {
    /// Refuses what does not do.
    pub(super) fn check(self) -> Result<(), ServerError> {
        if self.per_minute > 0.0 && self.per_minute <= 1e7 && self.burst > 0 {
            return Ok(());
        }
        let problem = "write per_minute above 0 and a burst of at least 1";
        Err(ServerError::value("rate_limit", problem))
    }
}

/// The bucket in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    limit: RateLimit,
    tokens: f64,
    at_s: f64,
}

impl Bucket {
    pub(super) fn new(limit: RateLimit) -> Self {
        Self {
            limit,
            tokens: f64::from(limit.burst),
            at_s: 0.0,
        }
    }

    /// Whether a request at `at_s` is let in; times must ascend.
    pub(super) fn lets_in(&mut self, at_s: f64) -> bool {
        let more = (at_s - self.at_s) * self.limit.per_minute / 60.0;
        self.tokens = (self.tokens + more).min(f64::from(self.limit.burst));
        self.at_s = at_s;
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

/// A bounded queue: a request that would be one too many in the cluster is refused at once, with status 503.
pub(super) struct Gate<S> {
    source: S,
    limit: usize,
    inside: usize,
    /// Who was refused.
    pub(super) refused: Vec<u64>,
}

impl<S> Gate<S> {
    pub(super) fn new(source: S, limit: u32) -> Self {
        Self {
            source,
            limit: limit as usize,
            inside: 0,
            refused: Vec::new(),
        }
    }
}

impl<S: Source> Source for Gate<S> {
    fn peek(&mut self) -> Option<Time> {
        self.source.peek()
    }

    fn next(&mut self) -> Option<Request> {
        let request = self.source.next()?;
        if self.inside < self.limit {
            self.inside += 1;
            return Some(request);
        }
        self.refused.push(request.id);
        None
    }

    fn closed_loop(&self) -> bool {
        true
    }

    fn completed(&mut self, _id: u64, _at: Time) {
        self.inside -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lets_in_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(RateLimit {
            per_minute: 60.0,
            burst: 5,
        });
        let at_once = (0..10).filter(|_| bucket.lets_in(0.0)).count();
        assert_eq!(at_once, 5);
        let steady = (1..=1_000)
            .filter(|i| bucket.lets_in(f64::from(*i) * 0.1))
            .count();
        assert!((99..=100).contains(&steady), "{steady}");
        assert_eq!((0..10).filter(|_| bucket.lets_in(1_000.0)).count(), 5);
    }
}
