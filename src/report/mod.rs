//! Events and how they are shown. Everything worth telling happens as an [`Event`]; observers decide how it looks.

pub mod accuracy;
pub mod answer;
pub mod compare;
pub mod csv_tables;
pub mod curve;
pub mod found;
pub mod grid;
pub mod heatmap;
mod jsonl;
mod lines;
pub mod merge;
pub mod outliers;
pub mod pair;
mod progress;
pub mod queue;
pub mod simulation;
pub mod summary;
pub mod svg;
pub mod table;
#[cfg(test)]
mod testing;
pub mod words;

pub use jsonl::JsonLines;
pub use lines::Lines;
pub use progress::Bars;

use serde::Serialize;

use crate::criterion::Verdict;
use crate::search::{Answer, Bracket, Left, Probe};
use crate::units::Rate;

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A pair's search begins.
    PairStarted {
        /// The pair.
        pair: String,
        /// Its place, from 1.
        index: usize,
        /// How many there are.
        count: usize,
        /// Complete trials of this pair that are stored.
        stored: usize,
    },
    /// A trial begins.
    TrialStarted {
        /// The pair.
        pair: String,
        /// What is probed.
        probe: Probe,
        /// Its number within the search, from 1.
        number: u32,
        /// How long it may last, seconds.
        duration_s: f64,
        /// Trials that the search still needs, this one too.
        left: Left,
    },
    /// A trial runs.
    TrialProgress {
        /// Seconds since its start.
        elapsed_s: f64,
        /// Seconds it may last.
        duration_s: f64,
        /// Requests whose time has come.
        intended: u32,
        /// Of these, not yet answered.
        open: u32,
        /// Requests answered per minute so far.
        finished_per_minute: f64,
        /// Recent median time to the first token, milliseconds.
        ttft_p50_ms: Option<f64>,
    },
    /// Trouble that is not the service's answer; the trial is repeated.
    TrialRetried {
        /// What went wrong.
        why: String,
        /// How many repetitions are left.
        left: u32,
    },
    /// A trial is judged.
    TrialJudged {
        /// The pair.
        pair: String,
        /// What was probed.
        probe: Probe,
        /// The rate that was offered.
        offered: Rate,
        /// The verdict.
        verdict: Box<Verdict>,
        /// What the search knows now.
        bracket: Bracket,
        /// Trials that it still needs.
        left: Left,
        /// Whether it was found in the results folder.
        reused: bool,
        /// Whether it was ended early.
        stopped_early: bool,
        /// Its folder.
        folder: Option<String>,
    },
    /// A pause after a trial.
    CoolDown {
        /// Seconds.
        seconds: f64,
    },
    /// A pair's search has ended.
    PairDone {
        /// The pair.
        pair: String,
        /// Its answer.
        answer: Answer,
        /// The answer in a sentence, where the search has one of its own.
        #[serde(skip_serializing_if = "Option::is_none")]
        words: Option<String>,
        /// Trials behind it.
        trials: u32,
        /// Of these, found in the results folder.
        reused: u32,
    },
    /// Something to know that changes nothing.
    Note {
        /// The text.
        text: String,
    },
}

/// Something that shows events.
pub trait Observer {
    /// Shows one.
    fn see(&mut self, event: &Event);
}

/// Several observers as one.
#[derive(Default)]
pub struct Observers(Vec<Box<dyn Observer>>);

impl Observers {
    /// Adds one.
    pub fn add(&mut self, observer: Box<dyn Observer>) {
        self.0.push(observer);
    }
}

impl Observer for Observers {
    fn see(&mut self, event: &Event) {
        for observer in &mut self.0 {
            observer.see(event);
        }
    }
}

/// The sentence that a judged trial is told in, the same on a terminal and in a log.
fn judged_line(probe: &Probe, verdict: &Verdict, reused: bool, stopped_early: bool) -> String {
    let ruling = match verdict.ruling {
        crate::criterion::Ruling::Sustainable => "sustainable",
        crate::criterion::Ruling::Unsustainable => "unsustainable",
        crate::criterion::Ruling::Unsure => "unsure",
    };
    let why = verdict
        .reasons
        .first()
        .map(|r| format!(": {r}"))
        .unwrap_or_default();
    let how = match (reused, stopped_early) {
        (true, _) => " [stored]",
        (false, true) => " [stopped early]",
        (false, false) => "",
    };
    format!("{} {ruling}{why}{how}", probe.rate)
}

/// The sentence that an answer is told in.
pub fn answer_line(pair: &str, answer: &Answer) -> String {
    use crate::search::Status;
    let span = match (answer.low, answer.high) {
        (Some(low), Some(high)) => format!(
            "between {} and {}",
            crate::units::Plain(low.as_per_minute()),
            crate::units::Plain(high.as_per_minute())
        ),
        (Some(low), None) => format!("at least {}", crate::units::Plain(low.as_per_minute())),
        (None, Some(high)) => format!("below {}", crate::units::Plain(high.as_per_minute())),
        (None, None) => "unknown".to_owned(),
    };
    let doubt = if answer.status == Status::Undecided {
        ", undecided"
    } else {
        ""
    };
    match answer.rate {
        Some(rate) => format!("{pair}: {rate} sustained ({span}{doubt}); {}", answer.reason),
        None => format!(
            "{pair}: no sustainable rate found ({span}{doubt}); {}",
            answer.reason
        ),
    }
}
