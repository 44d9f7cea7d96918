//! How a running trial is told to stop: by a file in its folder, which works from anywhere, or by a signal.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};

/// Name of the file whose appearance stops a trial.
pub const STOP_FILE: &str = "stop";

/// Watches for a reason to stop.
pub(super) struct StopWatch {
    file: PathBuf,
    signal: Arc<AtomicUsize>,
}

/// Why a trial stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The file appeared: the trial is decided.
    File,
    /// A signal came.
    Signal(i32),
}

impl StopWatch {
    /// Watches `dir` and the signals that ask a program to end; a second one ends it at once.
    pub(super) fn new(dir: &Path) -> std::io::Result<Self> {
        let signal = Arc::new(AtomicUsize::new(0));
        let again = Arc::new(AtomicBool::new(false));
        for number in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(number, 128 + number, Arc::clone(&again))?;
            signal_hook::flag::register(number, Arc::clone(&again))?;
            signal_hook::flag::register_usize(number, Arc::clone(&signal), number as usize)?;
        }
        Ok(Self {
            file: dir.join(STOP_FILE),
            signal,
        })
    }

    /// The reason to stop, if there is one.
    pub(super) fn look(&self) -> Option<Stop> {
        match self.signal.load(Ordering::Relaxed) {
            0 => self.file.exists().then_some(Stop::File),
            number => Some(Stop::Signal(number as i32)),
        }
    }
}
