//! How a run is laid out on a Slurm cluster: what the cluster is like, the scripts of its jobs, and what its state means
//! to people.

pub mod watch;
