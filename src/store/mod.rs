//! The results folder, which is the database: measurements lie under a content hash of what was run, verdicts are
//! recomputed. Names and columns are known here and nowhere else.

mod archive;
mod audit;
pub mod capacity;
pub mod fmperf_events;
pub mod folder;
pub mod generations;
pub mod layout;
mod lease;
pub mod manifest;
pub mod measured;
mod pid;
pub mod prefill;
pub mod process;
pub mod rows;
pub mod runs;
mod staging;
pub mod tables;

pub use archive::{Store, StoreError, Trials, read_json, write_json};
pub use audit::{State, Stored};
pub use capacity::{CapacityFile, Conditions, SearchFile};
pub use lease::{Holder, Incarnation, Lease, LeaseError, holder};
pub use manifest::{Manifest, ServerFacts, TokenCounts};
pub use pid::{Process, host_name, with_variable};
pub use prefill::PrefillProfile;
pub use staging::FOLDER_VARIABLE;
