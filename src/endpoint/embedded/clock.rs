//! Virtual time on the monotonic clock.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId as TimerClock, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId, clock_gettime};
use tokio::io::unix::AsyncFd;

use crate::sim::Time;

/// Maps virtual time onto the monotonic clock: virtual zero is the moment of creation.
pub(super) struct Clock {
    /// Monotonic time at virtual zero.
    origin: Duration,
}

impl Clock {
    pub(super) fn start() -> std::io::Result<Self> {
        Ok(Self { origin: monotonic()? })
    }

    /// Virtual time by now.
    pub(super) fn now(&self) -> Time {
        // The monotonic clock was read once already; Linux never fails it.
        let now = monotonic().unwrap_or(self.origin);
        Time::from_ns(now.saturating_sub(self.origin).as_nanos() as u64)
    }

    fn real(&self, at: Time) -> Duration {
        // Never zero, which would disarm the timer.
        (self.origin + Duration::from_nanos(at.as_ns())).max(Duration::from_nanos(1))
    }
}

fn monotonic() -> std::io::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_MONOTONIC)?.into())
}

/// Wakes a task at an absolute monotonic time. A kernel timer: neither the millisecond grain of the runtime's own
/// timers nor the slack of sleeping calls applies to it.
pub(super) struct Alarm {
    timer: AsyncFd<Timer>,
}

/// Gives the timer the trait that the poller asks for.
struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Alarm {
    /// Must be called in the context of the runtime that waits for it.
    pub(super) fn new() -> std::io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(TimerClock::CLOCK_MONOTONIC, flags)?;
        #[allow(
            deprecated,
            reason = "its successor is unsafe, for types whose descriptor changes; that of a timer never does"
        )]
        let timer = AsyncFd::new(Timer(timer))?;
        Ok(Self { timer })
    }

    /// Sets the time of the next wake-up, in place of an earlier one; `None` is never.
    pub(super) fn set(&self, clock: &Clock, at: Option<Time>) -> std::io::Result<()> {
        let timer = &self.timer.get_ref().0;
        match at {
            Some(at) => {
                let when = Expiration::OneShot(TimeSpec::from_duration(clock.real(at)));
                timer.set(when, TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            }
            None => timer.unset()?,
        }
        Ok(())
    }

    /// Waits for the time that was set.
    pub(super) async fn wait(&self) -> std::io::Result<()> {
        loop {
            let mut ready = self.timer.readable().await?;
            // Would block where the alarm was set anew after it had fired: wait again.
            if let Ok(fired) = ready.try_io(|timer| Ok(timer.get_ref().0.wait()?)) {
                return fired;
            }
        }
    }
}
