//! One integration binary: it links once.
#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "a test fails by panicking, and exact values are meant"
)]

mod accuracy;
mod architecture;
mod archive;
mod capacity;
mod cluster_sim;
mod cmd;
mod config;
mod cost;
mod criteria;
mod explore;
mod external;
mod matrix;
mod native;
mod report;
mod run;
mod search;
mod serve;
mod simulate;
mod slurm;
mod support;
mod traces;
