//! Servers whose capacity is known, and trials of them in virtual time: what a search is held against.
//!
//! A [`Server`] is a cluster as the simulator knows it, its requests, and what goes wrong with it. [`Server::trial`] is one
//! trial of it, in virtual time; [`true_capacity`] says, apart from any search, what it can sustain.
//!
//! # The file of a panel
//!
//! `servers:` is a list of [`ServerSpec`]; `catalog:` and `profiles:` are as in the files of `mst simulate`. A server has a
//! `name`, either an `engine` ([`AffineEngine`], with `replicas`, `router` and `noise` beside it) or a `deployment` as in the
//! files of `mst simulate`, and either `lengths` ([`Lengths`]) or a `grid` ([`Grid`]). All else may be left out and goes
//! together with all else:
//!
//! | key | what it does |
//! |---|---|
//! | `prefixes: {count, tokens}` | every prompt begins with one of so many prefixes |
//! | `stalls: {every_s, for_s}` | the server does nothing for a while, again and again |
//! | `slow_start: {for_s, speed}` | slower at the start of every trial |
//! | `slow_down: {to_speed, over_s}` | slower and slower from the start of a trial on |
//! | `neighbour: {per_minute, lengths, on_s, off_s}` | a second load that comes and goes |
//! | `rate_limit: {per_minute, burst}` | a token bucket; what it does not let in gets a 429 |
//! | `queue_limit` | most requests in the cluster; what is too much gets a 503 |
//! | `jitter_ms` | the client sends late, by so much in the mean |
//! | `success_rate_percent`, `drain_s` | what must succeed (95), and how long answers are waited for (120) |
//!
//! Unknown keys and values without sense are refused with file, line and what to write.

mod bench;
mod campaign;
mod choice;
mod gate;
mod runner;
mod server;
mod server_engine;
mod server_file;
mod trial;
mod trial_plan;
mod truth;
mod truth_formula;
mod truth_run;
mod weather;

pub use bench::{Entry, Expected, Known, Plan, Watcher, searches, truths};
pub use campaign::{Manner, campaigns};
pub use choice::{Choice, EvaluationName, Rules, SearchName};
pub use gate::RateLimit;
pub use runner::Virtual;
pub use server::{Grid, Lengths, Prefixes, Server, ServerError, ServerSpec};
pub use server_engine::AffineEngine;
pub use server_file::{parse, read};
pub use trial::Load;
pub use truth::{Truth, true_capacity};
pub use weather::{Neighbour, SlowDown, SlowStart, Stalls};
