//! What a bench of searches against servers of known capacity found: quantiles, table, drawings.

mod campaign;
mod chart;
mod share;
mod summary;
mod table;

pub use campaign::{CampaignLine, campaign_table};
pub use chart::{errors, hours};
pub use share::{Quantiles, Spread};
pub use summary::{ByFraction, Line, Overall, Part, ServerLines, Summary, floor_percent};
pub use table::table;

use serde::Serialize;

use crate::criterion::Ruling;
use crate::search::{Goal, Status};
use crate::trial::Estimate;

/// What is put side by side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Combination {
    /// `SEARCH`.
    pub search: String,
    /// `EVALUATION`.
    pub evaluation: String,
    /// `ARRIVAL`.
    pub arrival: String,
    /// `DURATION`, seconds.
    pub duration_s: f64,
}

/// A server as the summary knows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerFacts {
    /// Its name.
    pub name: String,
    /// The file that it came from.
    pub file: String,
    /// Its capacity for the first DURATION, requests per minute.
    pub true_capacity_per_minute: f64,
    /// How that was computed.
    pub method: String,
    /// How exact that is, as a share.
    pub relative_error: f64,
    /// Whether its capacity does not change over time.
    pub stationary: bool,
}

/// One search and the rulings that were taken beside it: a line of the dump.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Searched {
    /// Name of the server.
    pub server: String,
    /// The file that it came from.
    pub file: String,
    /// Whether its capacity does not change over time.
    pub stationary: bool,
    /// What was searched with.
    #[serde(flatten)]
    pub combination: Combination,
    /// How the pairs of its grid are searched, where it belongs to a campaign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// Its number, from 0.
    pub number: u32,
    /// Its seed.
    pub seed: u64,
    /// First rate, requests per minute.
    pub start: f64,
    /// The true capacity for this DURATION, requests per minute.
    pub truth: f64,
    /// The answer, requests per minute.
    pub answer: Option<f64>,
    /// Lower end of the interval.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
    /// How well the search says that it knows.
    pub status: Status,
    /// Why it ended.
    pub reason: String,
    /// Hours of load.
    pub hours: f64,
    /// Its trials, in order.
    pub trials: Vec<TrialLine>,
    /// Rulings at fixed fractions of the true capacity, beside the search.
    pub rulings: Vec<RulingLine>,
}

/// One trial of a search.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrialLine {
    /// The rate that was asked for, requests per minute.
    pub rate: f64,
    /// The rate that was offered.
    pub offered: f64,
    /// What it was for.
    pub goal: Goal,
    /// Longest duration, seconds.
    pub duration_s: f64,
    /// Seconds of load.
    pub load_s: f64,
    /// The decision.
    pub ruling: Ruling,
    /// What was judged.
    pub margin: Option<Estimate>,
    /// Capacity as it tells it, requests per minute.
    pub hint: Option<Estimate>,
}

/// One ruling at a fixed fraction of the true capacity.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RulingLine {
    /// The fraction.
    pub fraction: f64,
    /// Seconds of load.
    pub load_s: f64,
    /// The decision.
    pub ruling: Ruling,
    /// What was judged.
    pub margin: Option<Estimate>,
    /// Capacity as it tells it, requests per minute.
    pub hint: Option<Estimate>,
}

impl Searched {
    /// Error of the answer in percent of the truth; no answer is -100 %.
    pub fn error_percent(&self) -> f64 {
        self.answer
            .map_or(-100.0, |rate| 100.0 * (rate / self.truth - 1.0))
    }

    /// Whether the interval holds the truth; an end that is not known holds everything.
    pub fn is_covered(&self) -> bool {
        self.low.is_none_or(|low| low <= self.truth) && self.high.is_none_or(|high| self.truth <= high)
    }

    /// Width of the interval in percent of the truth; infinite where an end is not known.
    pub fn width_percent(&self) -> f64 {
        self.low
            .zip(self.high)
            .map_or(f64::INFINITY, |(low, high)| 100.0 * (high - low) / self.truth)
    }

    /// Requests in one DURATION at capacity.
    pub fn requests_per_duration(&self) -> f64 {
        self.truth / 60.0 * self.combination.duration_s
    }
}
