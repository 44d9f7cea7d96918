//! Where requests come from: recorded traces, distributions, conversations.
//!
//! Every source draws from named streams of its seed, and arrivals are unit-rate times divided by the rate: two rates
//! with one seed are the same requests, closer together or further apart.

mod deadline;
mod fit;
mod published;
mod read;
mod replay;
mod sessions;
mod synthetic;
mod trace;

pub use deadline::{DeadlineRule, Deadlines};
pub use fit::{FitError, Fitted, TooLong};
pub use published::PublishedLengths;
pub use read::{TraceError, TraceFormat};
pub use replay::{Order, Pacing, Replay};
pub use sessions::{SessionPlan, Sessions, SessionsConfig};
pub use synthetic::{RequestLengths, Synthetic, SyntheticConfig};
pub use trace::{Trace, TraceRow};

use super::{Request, Source, Time};

/// Why a source cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SourceError {
    /// A setting out of its range.
    #[error("`{field}` is {value}, but must be {range}")]
    Range {
        /// The setting.
        field: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        range: &'static str,
    },
    /// Own arrivals were asked of a trace that has none.
    #[error(
        "{name} records no arrivals (no column `arrived_at`); give a rate and an arrival process instead of replaying it"
    )]
    NoArrivals {
        /// The trace.
        name: String,
    },
    /// A trace without requests.
    #[error("{name} has no requests")]
    Empty {
        /// The trace.
        name: String,
    },
    /// A token length distribution.
    #[error("`{field}`: {source}")]
    Lengths {
        /// The setting.
        field: &'static str,
        /// What is wrong with it.
        source: crate::workload::DistributionError,
    },
    /// An arrival process.
    #[error(transparent)]
    Gaps(#[from] crate::workload::GapsError),
}

impl<S: Source + ?Sized> Source for Box<S> {
    fn peek(&mut self) -> Option<Time> {
        (**self).peek()
    }

    fn next(&mut self) -> Option<Request> {
        (**self).next()
    }

    fn closed_loop(&self) -> bool {
        (**self).closed_loop()
    }

    fn completed(&mut self, id: u64, at: Time) {
        (**self).completed(id, at);
    }
}

/// A rate in requests per second, if it is one.
fn checked_rate(field: &'static str, rate: f64) -> Result<f64, SourceError> {
    if rate.is_finite() && rate > 0.0 {
        return Ok(rate);
    }
    Err(SourceError::Range {
        field,
        value: rate.to_string(),
        range: "a number above zero",
    })
}
