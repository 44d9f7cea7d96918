//! How far an exploration is.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::stage_progress::StageProgress;
use crate::explore::{Grid, Watcher};

/// Shows progress on stderr.
pub(super) struct Progress {
    probes: AtomicUsize,
    shown: StageProgress,
}

impl Progress {
    pub(super) fn new(grid: &Grid) -> Self {
        eprintln!("{} cells, {} objectives each", grid.cells.len(), grid.slos.len());
        for excluded in &grid.excluded {
            eprintln!(
                "note: {} combinations left out: {}",
                excluded.count, excluded.reason
            );
        }
        Self {
            probes: AtomicUsize::new(0),
            shown: StageProgress::new(),
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        self.shown.end();
    }
}

impl Watcher for Progress {
    fn stage(&self, name: &str, cells: usize) {
        self.shown.begin(name, cells);
    }

    fn cell(&self, label: &str, simulated: usize) {
        let probes = self.probes.fetch_add(simulated, Ordering::Relaxed) + simulated;
        self.shown.piece(label, &format!(" ({probes} probes)"));
    }
}
