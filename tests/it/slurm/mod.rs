//! Runs on a real Slurm: `scripts/slurm-cluster`, many tests at once.

mod capacity;
mod cluster;
mod executor;
mod explore;
mod faults;
mod harness;
mod killed;
mod modes;
mod runs;
mod server;
mod submit;
mod watch;
