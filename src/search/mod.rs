//! Which rate to try next. Pure: a search reads no clock and does no I/O, so it can be replayed and resumed.

mod adaptive;
mod bracketing;
mod etalon;
pub mod grid;
mod left;
mod legacy;
mod listed;
mod margins;
mod midpoint;
pub mod neighbours;
mod sarathi;
mod stages;
mod stop;
#[cfg(test)]
mod testing;
mod veeksha;
mod vidur;

pub use adaptive::{Adaptive, AdaptiveConfig, MOST_LOAD, Prior};
pub use bracketing::{Bracketing, BracketingConfig};
pub use etalon::Etalon;
pub use left::Left;
pub use legacy::StagesLegacy;
pub use listed::Listed;
pub use margins::{Margins, MarginsConfig};
pub use midpoint::MidpointConfig;
pub use sarathi::Sarathi;
pub use stages::{Stages, StagesConfig};
pub use stop::StopRule;
pub use veeksha::{Veeksha, VeekshaConfig};
pub use vidur::{Vidur, VidurConfig};

use serde::{Deserialize, Serialize};

pub use crate::criterion::Goal;
use crate::criterion::Verdict;
use crate::units::Rate;

/// A trial that a search asks for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// The rate, rounded to four significant digits (the legacy search: as the older program computed it).
    pub rate: Rate,
    /// Stage of the search: 1 while bracketing, 2 while narrowing.
    pub stage: u8,
    /// How often this rate was probed before: a repetition is another trial.
    pub attempt: u32,
    /// Whether the previous trial at this rate was unsure and is to be pooled with this one.
    pub pooled: bool,
    /// What the trial is for: when it may end.
    #[serde(default)]
    pub goal: Goal,
    /// Longest duration in seconds; `None` is the DURATION of the settings.
    #[serde(default)]
    pub duration_s: Option<f64>,
}

/// A judged trial, as a search learns of it.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// What was asked for.
    pub probe: &'a Probe,
    /// What was found.
    pub verdict: &'a Verdict,
    /// The rate that was really offered.
    pub offered: Rate,
    /// Seconds in which it was offered.
    pub load_s: f64,
}

/// What a search wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Run this trial.
    Probe(Probe),
    /// The answer.
    Done(Answer),
}

/// How well the answer is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// A decided sustainable rate below, a decided unsustainable rate above.
    Bracketed,
    /// No unsustainable rate was seen.
    LowerBoundOnly,
    /// No sustainable rate was seen.
    UpperBoundOnly,
    /// Known as narrowly as was asked for, but not sustained for the whole duration, because that was not asked for.
    Estimated,
    /// At least one end is not decided.
    Undecided,
}

/// The outcome of a search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The highest rate that counts as sustainable.
    pub rate: Option<Rate>,
    /// Lower end of the interval, where known.
    pub low: Option<Rate>,
    /// Upper end of the interval, where known.
    pub high: Option<Rate>,
    /// How well it is known.
    pub status: Status,
    /// Why the search ended, in a sentence.
    pub reason: String,
    /// The older format's code for that: empty, or for example
    /// `FAILED_STAGE1_ITERATION_LIMIT_EXCEEDED(limit=15, iteration=15)`.
    pub termination_code: String,
    /// Seconds for which the answer was sustained in one trial, where the search asks for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_s: Option<f64>,
}

/// What a search knows while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bracket {
    /// Stage after the last observation.
    pub stage: u8,
    /// Highest rate that counts as sustainable (m).
    pub largest_true: Option<Rate>,
    /// Lowest confirmed unsustainable rate (M).
    pub smallest_false: Option<Rate>,
    /// M - m, once both are known.
    pub distance: Option<f64>,
    /// (M - m) over its first value.
    pub relative_distance: Option<f64>,
}

/// A search for the highest sustainable rate.
pub trait Search: Send {
    /// The next step; the same answer until [`Search::observe`] is called.
    fn next(&self) -> Step;

    /// Learns the verdict on the probe that it asked for.
    fn observe(&mut self, seen: &Observed<'_>);

    /// What is known now.
    fn bracket(&self) -> Bracket;

    /// How many more trials it needs.
    fn left(&self) -> Left;
}
