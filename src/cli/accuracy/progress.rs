//! How far a bench is: a bar on a terminal, else plain lines.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use super::super::interrupt::Interrupt;
use crate::accuracy::Watcher;

/// How often a plain line is printed at most.
const PAUSE: Duration = Duration::from_secs(10);

/// Shows progress on stderr.
pub(super) struct Progress<'a> {
    interrupt: &'a Interrupt,
    state: Mutex<State>,
}

struct State {
    bar: Option<ProgressBar>,
    stage: String,
    began: Instant,
    last: Instant,
    pieces: usize,
    done: usize,
}

impl<'a> Progress<'a> {
    pub(super) fn new(interrupt: &'a Interrupt) -> Self {
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}, {eta} left");
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(0);
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        let now = Instant::now();
        Self {
            interrupt,
            state: Mutex::new(State {
                bar,
                stage: String::new(),
                began: now,
                last: now,
                pieces: 0,
                done: 0,
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

impl Watcher for Progress<'_> {
    fn stage(&self, name: &str, pieces: usize) {
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

    fn piece(&self, label: &str) {
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
                "{}: {} of {}, about {} left",
                state.stage,
                state.done,
                state.pieces,
                HumanDuration(left)
            );
        }
    }

    fn is_interrupted(&self) -> bool {
        self.interrupt.is_set()
    }
}
