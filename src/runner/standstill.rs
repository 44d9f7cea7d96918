//! Notices that this process stood still while a trial ran: its job was suspended, or the machine slept. Clocks went on
//! meanwhile, so that what was measured is void.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use signal_hook::consts::SIGCONT;

/// A look that comes this much later than it was due shows that everything stood still: less may be a busy machine.
const TOO_LATE: Duration = Duration::from_secs(4);
/// Who ends a job sends SIGCONT, too, and then the signal that it is to end by.
const BEFORE_THE_END: Duration = Duration::from_secs(1);

/// Watches one trial.
pub(super) struct Standstill {
    continued: Arc<AtomicBool>,
    since: Option<Instant>,
    longest: Duration,
}

impl Standstill {
    /// Watches from now on.
    pub(super) fn watch() -> Self {
        static CONTINUED: OnceLock<Arc<AtomicBool>> = OnceLock::new();
        let continued = CONTINUED.get_or_init(|| {
            let flag = Arc::default();
            // Without the handler, the clock still shows long ones.
            let _ = signal_hook::flag::register(SIGCONT, Arc::clone(&flag));
            flag
        });
        continued.store(false, Ordering::Relaxed);
        Self {
            continued: Arc::clone(continued),
            since: None,
            longest: Duration::ZERO,
        }
    }

    /// Sleeps, and tells for how many seconds everything stood still, if it did.
    pub(super) fn sleep(&mut self, time: Duration) -> Option<f64> {
        let before = Instant::now();
        std::thread::sleep(time);
        let slept = before.elapsed();
        self.longest = self.longest.max(slept);
        if self.continued.load(Ordering::Relaxed) {
            self.since.get_or_insert_with(Instant::now);
        }
        let is_continued = self.since.is_some_and(|at| at.elapsed() >= BEFORE_THE_END);
        (slept > TOO_LATE || is_continued).then_some(self.longest.as_secs_f64())
    }

    /// The same at the end of a trial.
    pub(super) fn at_the_end(&self) -> Option<f64> {
        self.continued
            .load(Ordering::Relaxed)
            .then_some(self.longest.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_was_continued_stood_still() {
        let mut watched = Standstill::watch();
        assert_eq!(watched.sleep(Duration::from_millis(1)), None);
        assert_eq!(watched.at_the_end(), None);
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGCONT).unwrap();
        assert!(watched.at_the_end().is_some());
        // Not at once: it may be the beginning of the end.
        assert_eq!(watched.sleep(Duration::from_millis(1)), None);
        assert!((0..500).any(|_| watched.sleep(Duration::from_millis(10)).is_some()));
        assert_eq!(Standstill::watch().at_the_end(), None);
    }
}
