//! Systems, workloads and objectives, every combination searched for the most load that meets the objective: what
//! `mst capacity` runs. A system is a live endpoint or a simulated deployment; trials of both are stored alike, and what is
//! stored is judged by any objective.

mod bench;
mod conduct;
pub mod file;
mod files;
mod known;
mod live;
mod outcome;
mod pack;
mod requests;
mod simulated;

pub use bench::{Bench, Found, RawReader};
pub use conduct::{Conduct, ConductError};
pub use files::{OUTCOMES, write_all};
pub use known::Known;
pub use outcome::{Combination, CurvePoint, Outcome, Trouble};
pub use pack::{Packed, pack};
pub use requests::Requests;
pub use simulated::Simulated;
