//! Servers whose capacity is known, and trials of them in virtual time: what a search is held against.
//!
//! A [`Server`] is a cluster as the simulator knows it, its requests, and what goes wrong with it. [`Server::trial`] is one
//! trial of it, in virtual time; [`true_capacity`] says, apart from any search, what it can sustain.

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

pub use bench::{Entry, Known, Plan, Watcher, searches, truths};
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
