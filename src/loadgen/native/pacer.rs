//! Waking up at a given time. tokio's own timer counts in milliseconds, which would make every send up to 2 ms late; a
//! timerfd wakes within some 50 microseconds.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::sys::time::{TimeSpec, TimeValLike};
use nix::sys::timer::TimerSetTimeFlags;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags};
use tokio::io::unix::AsyncFd;

struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// An alarm clock on `CLOCK_MONOTONIC`.
pub(super) struct Pacer {
    timer: AsyncFd<Timer>,
}

impl Pacer {
    /// Makes one; needs a runtime around it.
    #[expect(
        deprecated,
        reason = "its successor is `unsafe`; the timer owns its descriptor for as long as it lives"
    )]
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        Ok(Self {
            timer: AsyncFd::new(Timer(timer))?,
        })
    }

    /// Waits until `at_ns` on the monotonic clock.
    pub(super) async fn wait_until(&self, at_ns: u64) -> io::Result<()> {
        // Zero would switch the alarm off.
        let at = TimeSpec::nanoseconds(at_ns.max(1) as i64);
        self.timer
            .get_ref()
            .0
            .set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
        loop {
            let mut guard = self.timer.readable().await?;
            if let Ok(waited) = guard.try_io(|timer| timer.get_ref().0.wait().map_err(io::Error::from)) {
                return waited;
            }
        }
    }
}
