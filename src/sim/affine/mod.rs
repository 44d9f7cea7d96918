//! The affine replica: a step costs a constant, so much a sequence and so much an admitted prompt, and a request holds
//! its whole room in the KV cache from its admission on. Simple enough that its capacity is a formula.
//!
//! [`Replica`] is the stepper. The embedded endpoint paces it in real time; [`run`] drives it in virtual time;
//! [`true_capacity`] says how much it can sustain.

mod capacity;
mod config;
mod drive;
#[cfg(test)]
mod queueing;
mod replica;

pub use super::Time;
pub use capacity::{CapacityMethod, TrueCapacity, true_capacity};
pub use config::{ConfigError, OverloadStatus, ReplicaConfig};
pub use drive::run;
pub use replica::{Admission, Counts, Event, EventKind, Replica, Request, RequestId};
