//! Waking up at a given time. tokio's own timer counts in milliseconds, which would make every send up to 2 ms late; a
//! timerfd wakes within some 50 microseconds.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::time::{TimeSpec, TimeValLike};
use nix::sys::timer::TimerSetTimeFlags;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags};
use tokio::io::unix::AsyncFd;

use crate::endpoint::clock;

/// A rest that is not worth a system call.
const SHORTEST_REST_NS: u64 = 20_000;

/// Keeps a thread asleep although data may have come, so that one wake-up serves the tokens of several streams: most of a
/// token's cost is waking up for it. Only for data that the kernel stamps, whose time does not depend on when it is read.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// Longest rest.
    longest_ns: u64,
    /// The pacer's alarm on the monotonic clock, which is never slept through. In the past when nobody waits.
    alarm_ns: AtomicU64,
}

impl Rest {
    /// Rests of at most `longest_ns`; none for 0.
    pub(super) fn new(longest_ns: u64) -> Self {
        Self {
            longest_ns,
            alarm_ns: AtomicU64::new(0),
        }
    }

    /// Rests; called when the runtime has nothing left to do, before it looks for events.
    pub(super) fn take(&self) {
        let now = clock::monotonic_ns();
        let until = self.alarm_ns.load(Ordering::Relaxed).min(now + self.longest_ns);
        let left = until.saturating_sub(now);
        if left > SHORTEST_REST_NS {
            std::thread::sleep(Duration::from_nanos(left));
        }
    }
}

struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// An alarm clock on `CLOCK_MONOTONIC`.
pub(super) struct Pacer {
    timer: AsyncFd<Timer>,
    rest: Arc<Rest>,
}

impl Pacer {
    /// Makes one; needs a runtime around it.
    #[expect(
        deprecated,
        reason = "its successor is `unsafe`; the timer owns its descriptor for as long as it lives"
    )]
    pub(super) fn new(rest: Arc<Rest>) -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        Ok(Self {
            timer: AsyncFd::new(Timer(timer))?,
            rest,
        })
    }

    /// Waits until `at_ns` on the monotonic clock.
    pub(super) async fn wait_until(&self, at_ns: u64) -> io::Result<()> {
        self.rest.alarm_ns.store(at_ns, Ordering::Relaxed);
        // Zero would switch the alarm off.
        let at = TimeSpec::nanoseconds(at_ns.max(1) as i64);
        self.timer
            .get_ref()
            .0
            .set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        loop {
            let mut guard = self.timer.readable().await?;
            if let Ok(waited) = guard.try_io(|timer| timer.get_ref().0.wait().map_err(io::Error::from)) {
                // It does not ring again before it is set again: saying so saves the read that would find out.
                guard.clear_ready();
                return waited;
            }
        }
    }
}
