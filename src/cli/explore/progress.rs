//! How far an exploration is: a bar on a terminal, else plain lines.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use crate::explore::{Grid, Watcher};

/// How often a plain line is printed at most.
const PAUSE: Duration = Duration::from_secs(10);

/// Shows progress on stderr.
pub(super) struct Progress {
    state: Mutex<State>,
}

struct State {
    bar: Option<ProgressBar>,
    stage: String,
    began: Instant,
    last: Instant,
    cells: usize,
    done: usize,
    probes: usize,
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
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}, {eta} left");
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        let now = Instant::now();
        Self {
            state: Mutex::new(State {
                bar,
                stage: String::new(),
                began: now,
                last: now,
                cells: 0,
                done: 0,
                probes: 0,
            }),
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.lock().bar {
            bar.finish_and_clear();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher for Progress {
    fn stage(&self, name: &str, cells: usize) {
        let mut state = self.lock();
        name.clone_into(&mut state.stage);
        (state.began, state.cells, state.done) = (Instant::now(), cells, 0);
        match &state.bar {
            Some(bar) => {
                bar.reset();
                bar.set_length(cells as u64);
                bar.set_message(name.to_owned());
            }
            None => eprintln!("{name}: {cells} cells"),
        }
    }

    fn cell(&self, label: &str, simulated: usize) {
        let mut state = self.lock();
        state.done += 1;
        state.probes += simulated;
        if let Some(bar) = &state.bar {
            bar.set_message(format!("{}: {label}", state.stage));
            bar.inc(1);
        } else if state.last.elapsed() >= PAUSE {
            state.last = Instant::now();
            let left = state
                .began
                .elapsed()
                .mul_f64((state.cells - state.done) as f64 / state.done as f64);
            eprintln!(
                "{}: {} of {} cells, {} probes; about {} left in this stage",
                state.stage,
                state.done,
                state.cells,
                state.probes,
                HumanDuration(left)
            );
        }
    }
}
