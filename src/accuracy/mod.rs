//! Servers whose capacity is known, and trials of them in virtual time: what a search is held against.
//!
//! A [`Server`] is a cluster as the simulator knows it, its requests, and what goes wrong with it. [`Server::trial`] is one
//! trial of it, in virtual time; [`true_capacity`] says, apart from any search, what it can sustain.

mod bench;
mod choice;
mod runner;
mod server;
mod server_engine;
mod server_file;
mod standin;
mod trial;

pub use bench::{Entry, Known, Plan, Watcher, searches, truths};
pub use choice::{Choice, EvaluationName, Rules, SearchName};
pub use runner::Virtual;
pub use server::{Lengths, Prefixes, Server, ServerError, ServerSpec};
pub use server_engine::AffineEngine;
pub use server_file::{parse, read};
pub use standin::{Truth, true_capacity};
pub use trial::Load;
