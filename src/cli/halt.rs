//! Why a driver is to stop: a signal, somebody's `mst cancel`, a later incarnation, the end of its job.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::interrupt::Interrupt;
use crate::cluster::Walltime;
use crate::store::Lease;
use crate::store::runs::RunDir;

/// How often the mark that `mst cancel` leaves is looked for.
const LOOK: Duration = Duration::from_secs(1);

/// Why a driver stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Ctrl-C or SIGTERM.
    Signal,
    /// `mst cancel`.
    Cancelled,
    /// A later incarnation of the run has taken its seat.
    Superseded,
    /// Its job ends.
    Walltime,
}

/// Everything that may stop a driver.
pub(super) struct Halt<'a> {
    interrupt: &'a Interrupt,
    run: Option<&'a RunDir>,
    seat: Option<&'a Lease>,
    walltime: Option<&'a Walltime>,
    looked: Cell<Option<Instant>>,
    why: Cell<Option<Why>>,
}

impl<'a> Halt<'a> {
    pub(super) fn new(
        interrupt: &'a Interrupt,
        run: Option<&'a RunDir>,
        seat: Option<&'a Lease>,
        walltime: Option<&'a Walltime>,
    ) -> Self {
        Self {
            interrupt,
            run,
            seat,
            walltime,
            looked: Cell::new(None),
            why: Cell::new(None),
        }
    }

    /// Why the driver is to stop; once said, it stands.
    pub(super) fn why(&self) -> Option<Why> {
        if self.why.get().is_none() {
            self.why.set(self.look());
        }
        self.why.get()
    }

    fn look(&self) -> Option<Why> {
        if self.seat.is_some_and(Lease::is_lost) {
            return Some(Why::Superseded);
        }
        // Whoever cancels leaves the mark first and sends a signal then.
        if self.interrupt.is_set() || self.looked.get().is_none_or(|at| at.elapsed() >= LOOK) {
            self.looked.set(Some(Instant::now()));
            if self.run.is_some_and(RunDir::is_asked_to_stop) {
                return Some(Why::Cancelled);
            }
        }
        // Slurm's warning comes early, and a trial that fits is not given up for it: the end itself is better to know.
        let is_warned =
            self.interrupt.warned_of_the_end() && self.walltime.is_none_or(|time| time.left().is_none());
        if is_warned || self.walltime.is_some_and(Walltime::is_over) {
            return Some(Why::Walltime);
        }
        // Slurm ends a job by the same signal that others stop it with.
        self.interrupt.is_set().then(|| {
            if self.walltime.is_some_and(Walltime::has_run_out) {
                Why::Walltime
            } else {
                Why::Signal
            }
        })
    }
}
