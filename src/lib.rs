//! `mst` finds how much load an LLM inference service can sustain, and says how sure it is.
//!
//! The rooms, lowest first; a room never imports one below it in this list. Pure rooms do no input or output.
//!
//! | room | what it holds |
//! |---|---|
//! | [`units`] | rates, token counts (pure) |
//! | [`yaml`] | what is wrong with a YAML file (pure) |
//! | `pool` | tasks on all cores, results in their order |
//! | [`stats`] | quantiles, moments, tests, trends, warm-up (pure) |
//! | [`workload`] | lengths, arrivals, prompts, all seeded |
//! | [`trial`] | what a trial is and what it measures (pure) |
//! | [`search`] | which rate to try next (pure) |
//! | [`criterion`] | from a measurement to a verdict (pure) |
//! | [`sim`] | a virtual-time replica (pure) |
//! | [`slo`] | service-level objectives over the requests of a run (pure) |
//! | [`runner`] | who carries a trial out |
//! | [`capacity`] | the one loop that joins search, runner and criterion |
//! | [`loadgen`], [`executor`], [`endpoint`], [`store`] | load generators, processes, HTTP, the results folder |
//! | [`replay`] | recorded decisions of other tools, decided again (pure) |
//! | [`report`] | events and how they are shown |
//! | [`deployment`] | simulated clusters as users describe them: catalogs, profiles, cost models |
//! | [`calibration`] | what measurements say of a server's iteration times |
//! | [`profile`] | how long a lone prompt takes, measured |
//! | [`explore`] | a grid of deployments, each searched for what it can bear |
//! | [`plan`] | what to rent, from a profile, a workload and prices |
//! | [`accuracy`] | servers whose capacity is known, and trials of them in virtual time |
//! | [`settings`] | `.env` and flags to validated values with provenance |
//! | [`cluster`] | how a run is laid out on a Slurm cluster |
//! | [`server`] | a model server that belongs to the run |
//! | [`campaign`] | the pairs of a run, one after the other, on one target |
//! | [`matrix`] | systems, workloads and objectives, each combination searched for its capacity |
//! | [`cli`] | one file a verb; exit codes |

#![cfg_attr(test, allow(clippy::float_cmp, reason = "exact values are meant"))]

pub mod accuracy;
pub mod calibration;
pub mod campaign;
pub mod capacity;
pub mod cli;
pub mod cluster;
pub mod criterion;
pub mod deployment;
pub mod endpoint;
pub mod executor;
pub mod explore;
pub mod loadgen;
pub mod matrix;
pub mod plan;
mod pool;
pub mod profile;
pub mod replay;
pub mod report;
pub mod runner;
pub mod search;
pub mod server;
pub mod settings;
pub mod sim;
pub mod slo;
pub mod stats;
pub mod store;
pub mod trial;
pub mod units;
pub mod workload;
pub mod yaml;
