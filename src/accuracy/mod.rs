//! Servers whose capacity is known, and trials of them in virtual time: what a search is held against.
//!
//! A [`Server`] is a cluster as the simulator knows it, its requests, and what goes wrong with it. [`Server::trial`] is one
//! trial of it, in virtual time; [`true_capacity`] says, apart from any search, what it can sustain.

mod server;
mod server_engine;
mod server_file;
mod trial;

pub use server::{Lengths, Prefixes, Server, ServerError, ServerSpec};
pub use server_engine::AffineEngine;
pub use server_file::read;
pub use trial::Load;
