//! How far a stage of many pieces is: a bar on a terminal, else plain lines.

use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

/// How often a plain line is printed at most.
const PAUSE: Duration = Duration::from_secs(10);

/// Shows progress on stderr. Pieces may be done on several threads.
pub(super) struct StageProgress(Mutex<State>);

struct State {
    bar: Option<ProgressBar>,
    stage: String,
    began: Instant,
    last: Instant,
    pieces: usize,
    done: usize,
}

impl StageProgress {
    pub(super) fn new() -> Self {
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}, {eta} left");
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        let now = Instant::now();
        Self(Mutex::new(State {
            bar,
            stage: String::new(),
            began: now,
            last: now,
            pieces: 0,
            done: 0,
        }))
    }

    /// A stage of so many pieces begins.
    pub(super) fn begin(&self, name: &str, pieces: usize) {
        let mut state = self.lock();
        name.clone_into(&mut state.stage);
        let now = Instant::now();
        (state.began, state.last, state.pieces, state.done) = (now, now, pieces, 0);
        match &state.bar {
            Some(bar) => {
                bar.reset();
                bar.set_length(pieces as u64);
                bar.set_message(name.to_owned());
            }
            None => eprintln!("{name}: {pieces}"),
        }
    }

    /// A piece is done. `note` goes behind the count in plain lines.
    pub(super) fn piece(&self, label: &str, note: &str) {
        let mut state = self.lock();
        state.done += 1;
        if let Some(bar) = &state.bar {
            bar.set_message(format!("{}: {label}", state.stage));
            bar.inc(1);
        } else if state.last.elapsed() >= PAUSE {
            state.last = Instant::now();
            let left = state
                .began
                .elapsed()
                .mul_f64((state.pieces - state.done) as f64 / state.done as f64);
            eprintln!(
                "{}: {} of {}{note}, about {} left",
                state.stage,
                state.done,
                state.pieces,
                HumanDuration(left)
            );
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        if let Some(bar) = &self.lock().bar {
            bar.finish_and_clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
