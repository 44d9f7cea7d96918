//! Inference servers in virtual time. Pure: requests go in, records come out, no clock is read.
//!
//! - [`cluster`]: replicas behind a router, at the level of iterations. Time is whole picoseconds and every draw comes
//!   from a named stream, so that a run is the same to the last bit everywhere.
//! - [`batching`]: which requests an iteration holds; [`router`]: which replica a request goes to; [`source`]: where requests come from; `kv_cache`: blocks
//!   and prefixes; [`cost`]: how long an iteration takes. Each decides from what it is shown and keeps no time.
//! - [`catalog`]: models and GPUs as data, from which [`cost`] computes time and memory.
//! - [`affine`]: the small replica of the embedded endpoint, whose capacity is a formula.
//!
//! `docs/simulator.md` describes the model.

pub mod affine;
pub mod batching;
pub mod catalog;
pub mod cluster;
pub mod cost;
mod kv_cache;
mod queue;
mod record;
mod replica;
mod request;
pub mod router;
pub mod source;
mod time;

pub use record::{Iteration, Observer, Record};
pub use request::{PrefixSpan, PrefixTable, Request, Source};
pub use time::Time;
