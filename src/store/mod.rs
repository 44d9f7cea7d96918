//! The results folder, which is the database: measurements lie under a content hash of what was run, verdicts are
//! recomputed. Names and columns are known here and nowhere else.

pub mod fmperf_events;
pub mod folder;
pub mod generations;
pub mod manifest;
pub mod process;
pub mod rows;
pub mod tables;

pub use manifest::{CapacityFile, Manifest, TokenCounts};
