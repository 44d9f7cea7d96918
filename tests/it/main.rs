//! One integration binary: it links once.
#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "a test fails by panicking, exact values are meant, and long checks tell their figures"
)]

mod accuracy;
mod architecture;
mod archive;
mod calibrate;
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
mod older_files;
mod papers;
mod plan;
mod plan_request;
mod python;
mod report;
mod run;
mod search;
mod serve;
mod simulate;
mod slurm;
mod support;
mod traces;
