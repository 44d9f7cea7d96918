//! Systems, workloads and objectives, every combination searched for the most load that meets the objective: what
//! `mst capacity` runs. A system is a live endpoint or a simulated deployment; trials of both are stored alike, and what is
//! stored is judged by any objective.

mod bench;
mod conduct;
pub mod file;
mod files;
mod foreseen;
mod known;
mod live;
pub mod older;
mod outcome;
mod pack;
mod requests;
mod simulated;
mod stored;

pub use bench::{Begin, Bench, Found, RawReader};
pub use conduct::{Conduct, ConductError, Input, Job, Jobs};
pub use files::{OUTCOMES, file_name, place, write_all};
pub use known::Known;
pub use outcome::{Combination, CurvePoint, LimitsRecord, Outcome, Trouble};
pub use pack::{Packed, chains, pack};
pub use requests::Requests;
pub use simulated::Simulated;
