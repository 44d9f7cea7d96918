//! Runs on a real Slurm: `scripts/slurm-cluster`, many tests at once.

mod cluster;
mod faults;
mod harness;
mod submit;
