//! How far a bench is.

use super::super::interrupt::Interrupt;
use super::super::stage_progress::StageProgress;
use crate::accuracy::Watcher;

/// Shows progress on stderr, and stops when the user says so.
pub(super) struct Progress<'a> {
    interrupt: &'a Interrupt,
    shown: StageProgress,
}

impl<'a> Progress<'a> {
    pub(super) fn new(interrupt: &'a Interrupt) -> Self {
        Self {
            interrupt,
            shown: StageProgress::new(),
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        self.shown.end();
    }
}

impl Watcher for Progress<'_> {
    fn stage(&self, name: &str, pieces: usize) {
        self.shown.begin(name, pieces);
    }

    fn piece(&self, label: &str) {
        self.shown.piece(label, "");
    }

    fn is_interrupted(&self) -> bool {
        self.interrupt.is_set()
    }
}
