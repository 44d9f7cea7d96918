//! A virtual-time replica of an inference server: continuous batching with a known capacity. Pure: requests and
//! virtual time go in, events come out, no clock is read.
//!
//! [`Replica`] is the stepper. The embedded endpoint paces it in real time; [`run`] drives it in virtual time;
//! [`true_capacity`] says how much it can sustain. `docs/simulator.md` describes the model.

mod capacity;
mod config;
mod drive;
#[cfg(test)]
mod queueing;
mod replica;
mod time;

pub use capacity::{CapacityMethod, TrueCapacity, true_capacity};
pub use config::{ConfigError, OverloadStatus, ReplicaConfig};
pub use drive::run;
pub use replica::{Admission, Counts, Event, EventKind, Replica, Request, RequestId};
pub use time::Time;
