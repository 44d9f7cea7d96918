//! Objectives in general: a metric, a statistic of it, a bound; joined by `all` and `any`, or request by request.
//!
//! The types of the published tools are words for such trees, see [`Entry`]. A tree is judged by [`Objective::judge`].

mod entry;
mod judge;
mod rows;

pub use entry::{Class, Entry, Kind};
pub use judge::{Judged, Policy, Seen};

use serde::{Deserialize, Serialize};

use super::Joint;
use super::deadline::Reading;

/// What of the requests is bounded. Times in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Time to the first token, from the intended send time.
    #[serde(alias = "ttfc", alias = "prefill_e2e_time")]
    Ttft,
    /// The same, for each token of the prompt.
    #[serde(alias = "prefill_e2e_time_normalized")]
    TtftNormalized,
    /// Time between tokens: of all requests together, or the longest of a request.
    #[serde(alias = "tbc", alias = "itl")]
    Tbt,
    /// The longest time between two tokens of a request.
    #[serde(alias = "max_time_between_tokens")]
    MaxTbt,
    /// Mean time of a token after the first.
    Tpot,
    /// From the intended send time to the end.
    #[serde(alias = "e2el", alias = "ttlt", alias = "request_e2e_time")]
    E2e,
    /// The same, for each token of the answer.
    #[serde(alias = "request_e2e_time_normalized")]
    E2eNormalized,
    /// From arrival to the first iteration; only a simulator knows it.
    #[serde(alias = "request_scheduling_delay")]
    SchedulingDelay,
    /// Share of a request's deadlines that it missed.
    DeadlineMissRate,
    /// Share of the requests that failed or were not finished.
    ErrorRate,
}

impl Quantity {
    /// The name, as reports spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ttft => "ttft",
            Self::TtftNormalized => "ttft_normalized",
            Self::Tbt => "tbt",
            Self::MaxTbt => "max_tbt",
            Self::Tpot => "tpot",
            Self::E2e => "e2e",
            Self::E2eNormalized => "e2e_normalized",
            Self::SchedulingDelay => "scheduling_delay",
            Self::DeadlineMissRate => "deadline_miss_rate",
            Self::ErrorRate => "error_rate",
        }
    }

    /// Whether the times of single tokens are needed.
    pub fn needs_token_times(self) -> bool {
        matches!(self, Self::Tbt | Self::MaxTbt | Self::DeadlineMissRate)
    }
}

/// Which number stands for all values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// Quantile, from 0 to 1.
    Quantile(f64),
    /// Mean.
    Mean,
    /// Largest.
    Max,
    /// Not a number of the values: at least this share of them keeps the bound.
    Share(f64),
}

impl Statistic {
    /// As reports write it: `p99`, `mean`, `max`, `share 0.9`.
    pub fn name(self) -> String {
        match self {
            Self::Quantile(p) => {
                let percent = format!("{:.4}", p * 100.0);
                format!("p{}", percent.trim_end_matches('0').trim_end_matches('.'))
            }
            Self::Mean => "mean".to_owned(),
            Self::Max => "max".to_owned(),
            Self::Share(share) => format!("share {share}"),
        }
    }
}

/// When the first token of a request is due.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirstDeadline {
    /// After so many seconds.
    Fixed(f64),
    /// So many seconds after what its prompt takes on an idle server.
    Predicted(f64),
}

/// The deadlines that [`Quantity::DeadlineMissRate`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeadlineRule {
    /// Of the first token.
    pub first: FirstDeadline,
    /// Of each further one.
    pub token: f64,
    /// What a late token counts for.
    pub reading: Reading,
    /// Most slack that is kept.
    pub slack_cap: Option<f64>,
    /// By how much a token may be late.
    pub tolerance: f64,
}

/// A bound on a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// Of what.
    pub quantity: Quantity,
    /// Most that is good.
    pub most: f64,
    /// Which deadlines, where they are counted.
    pub deadlines: Option<DeadlineRule>,
}

/// One number held against one bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Term {
    /// Quantity and bound.
    pub limit: Limit,
    /// Which number.
    pub statistic: Statistic,
    /// Only requests of this workload class.
    pub class: Option<u16>,
}

/// A share of the requests that each keep several bounds: goodput.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Goodput {
    /// Least share.
    pub share: f64,
    /// Whether a request keeps all bounds or one.
    pub joint: Joint,
    /// The bounds.
    pub limits: Vec<Limit>,
    /// Only requests of this workload class.
    pub class: Option<u16>,
}

/// An objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// One bound.
    Term(Term),
    /// Bounds that a share of the requests keeps.
    Goodput(Goodput),
    /// All of these.
    All(Vec<Self>),
    /// At least one of these.
    Any(Vec<Self>),
}

impl Objective {
    /// The bounds in it.
    pub fn limits(&self) -> Vec<Limit> {
        match self {
            Self::Term(term) => vec![term.limit],
            Self::Goodput(goodput) => goodput.limits.clone(),
            Self::All(parts) | Self::Any(parts) => parts.iter().flat_map(Self::limits).collect(),
        }
    }

    /// Whether it cannot be judged without the times of single tokens.
    pub fn needs_token_times(&self) -> bool {
        self.limits().iter().any(|l| l.quantity.needs_token_times())
    }

    /// Whether it cannot be judged without the wait for the first iteration.
    pub fn needs_delays(&self) -> bool {
        self.limits()
            .iter()
            .any(|l| l.quantity == Quantity::SchedulingDelay)
    }

    /// Whether it cannot be judged without a prefill profile.
    pub fn needs_profile(&self) -> bool {
        let predicted = |l: &Limit| {
            l.deadlines
                .is_some_and(|d| matches!(d.first, FirstDeadline::Predicted(_)))
        };
        self.limits().iter().any(predicted)
    }
}
