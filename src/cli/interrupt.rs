//! Ctrl-C and SIGTERM: the first ends cleanly, the second at once. Slurm's SIGUSR1 is a warning.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
use signal_hook::flag;

use super::exit::Exit;

/// Remembers the first signal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt {
    seen: Arc<AtomicUsize>,
    warned: Arc<AtomicBool>,
}

impl Interrupt {
    /// Listens from now on.
    ///
    /// # Errors
    /// When no handler can be installed.
    pub(crate) fn listen() -> io::Result<Self> {
        let seen = Self::default();
        let again = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            let exit = if signal == SIGINT {
                Exit::Interrupted
            } else {
                Exit::Terminated
            };
            // Registered before the flag that it waits for, so that it acts on the second signal only.
            flag::register_conditional_shutdown(signal, exit as i32, Arc::clone(&again))?;
            flag::register(signal, Arc::clone(&again))?;
            flag::register_usize(signal, Arc::clone(&seen.seen), signal as usize)?;
        }
        flag::register(SIGUSR1, Arc::clone(&seen.warned))?;
        Ok(seen)
    }

    /// Whether a signal came.
    pub(crate) fn is_set(&self) -> bool {
        self.seen.load(Ordering::Relaxed) != 0
    }

    /// Whether the signal came by which Slurm is told to warn of a job's end (`--signal=B:USR1@…`): up to a minute early.
    pub(crate) fn warned_of_the_end(&self) -> bool {
        self.warned.load(Ordering::Relaxed)
    }

    /// The exit code of the signal that came.
    pub(crate) fn exit(&self) -> Exit {
        if self.seen.load(Ordering::Relaxed) == SIGINT as usize {
            Exit::Interrupted
        } else {
            Exit::Terminated
        }
    }
}
