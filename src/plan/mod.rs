//! What to rent, how much it will serve, what it will cost, and how far to trust that.
//!
//! [`request`] is what is asked, [`config`] what could be rented, [`times`] how long iterations take there; [`mod@bench`] simulates
//! one of these, [`capacity`] finds the most that it bears, [`answer`] does so for all and chooses the best; [`sensitivity`] says
//! what that depends on, with [`vary`]; [`money`] says what they cost, [`frontier`] which
//! nothing beats; [`foreseen`] is what a described service lets expect of a token pair; [`launch`] is how to start it, [`report`] says it all.

pub mod answer;
pub mod bench;
pub mod capacity;
pub mod config;
pub mod foreseen;
pub mod frontier;
pub mod launch;
pub mod ledger;
pub mod money;
pub mod prices;
pub mod report;
pub mod request;
pub mod sensitivity;
pub mod times;
pub mod vary;
