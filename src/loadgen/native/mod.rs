//! The native load generator: open loop, exact schedule, kernel receive stamps, a row for every request.
//!
//! One thread a shard sends and receives (`shard`); another builds bodies ahead (`builder`); the main thread writes
//! rows and progress and watches for a reason to stop ([`run()`]). What it measures and how well is in `docs/loadgen.md`.

mod adapter;
mod body;
mod builder;
mod collector;
mod deadline;
mod event;
mod failure;
mod flight;
mod health;
mod lone;
mod pacer;
mod probe;
mod progress;
mod quantiles;
mod run;
mod shard;
mod signals;
mod sse;
mod summary;
mod tally;
mod template;

pub use adapter::{JOB_FILE, Native};
pub use failure::TrialFailure;
pub use lone::{LoneAnswer, LoneClient, LoneTime};
pub use quantiles::Spread;
pub use run::{RunOptions, run};
pub use signals::STOP_FILE;
pub use summary::Summary;
