//! Systems, workloads and objectives, every combination searched for the most load that meets the objective: what
//! `mst capacity` runs. A system is a live endpoint or a simulated deployment; trials of both are stored alike, and what is
//! stored is judged by any objective.

pub mod file;
pub mod older;
