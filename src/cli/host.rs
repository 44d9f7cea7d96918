//! `mst host`: the wrapper of a model server. Drivers start it; people need not know it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::flag;

use super::exit::{Exit, Failure, Outcome};
use crate::server::host;

/// Host the model server that a driver ordered.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The driver's seat.
    seat: PathBuf,
    /// Which order.
    #[arg(long, value_name = "TOKEN")]
    token: String,
    /// End when the parent process does.
    #[arg(long)]
    die_with_parent: bool,
}

/// Runs the verb.
#[expect(clippy::needless_pass_by_value, reason = "every verb is given its arguments")]
pub(crate) fn run(args: Args) -> Outcome {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register(signal, Arc::clone(&asked))?;
    }
    // Slurm warns jobs of their time limit by these. A server works on until its driver has finished.
    let warned = Arc::new(AtomicBool::new(false));
    for signal in [SIGUSR1, SIGUSR2] {
        flag::register(signal, Arc::clone(&warned))?;
    }
    if args.die_with_parent {
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)
            .context("failed to tie to the parent")?;
    }
    match host::run(&args.seat, &args.token, &|| asked.load(Ordering::Relaxed)) {
        Ok(()) => Ok(Exit::Done),
        Err(error @ host::HostError::Replaced) => {
            eprintln!("note: {error}");
            Ok(Exit::Done)
        }
        Err(error @ host::HostError::NoOrder(_)) => Err(Failure::input(error)),
        Err(error) => Err(error.into()),
    }
}
