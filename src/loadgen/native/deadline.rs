//! The time limits of one request.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::endpoint::clock;
use crate::loadgen::Limits;
use crate::trial::TimeoutKind;

/// Watches the limits. The timer is moved only when it fires, not at every token; it never runs longer than the limit
/// between two tokens, which may begin to count at any moment.
pub(super) struct Deadline {
    limits: Limits,
    /// When the request was sent, monotonic nanoseconds.
    sent_ns: u64,
    timer: Pin<Box<Sleep>>,
}

impl Deadline {
    /// Limits that count from `sent_ns`.
    pub(super) fn new(limits: Limits, sent_ns: u64) -> Self {
        let first = limits.request_s.min(limits.ttft_s).min(limits.tpot_s);
        Self {
            limits,
            sent_ns,
            timer: Box::pin(tokio::time::sleep(seconds(first))),
        }
    }

    /// The limit that is exceeded, if any; `last_token_ns` is the arrival of the last token.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, last_token_ns: Option<u64>) -> Poll<TimeoutKind> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = clock::monotonic_ns();
            let left = |since: u64, limit: f64| limit - now.saturating_sub(since) as f64 / 1e9;
            let whole = left(self.sent_ns, self.limits.request_s);
            let (step, kind) = match last_token_ns {
                None => (left(self.sent_ns, self.limits.ttft_s), TimeoutKind::Ttft),
                Some(last) => (left(last, self.limits.tpot_s), TimeoutKind::Tpot),
            };
            if whole <= 0.0 {
                return Poll::Ready(TimeoutKind::Request);
            }
            if step <= 0.0 {
                return Poll::Ready(kind);
            }
            self.timer
                .as_mut()
                .reset(Instant::now() + seconds(whole.min(step).min(self.limits.tpot_s)));
        }
        Poll::Pending
    }
}

/// A limit as a duration; at most a year, at least a millisecond so that the timer is not polled in a circle.
fn seconds(value: f64) -> Duration {
    Duration::from_secs_f64(value.clamp(0.001, 3.2e7))
}
