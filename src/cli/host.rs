//! `mst host`: the wrapper of a model server. Drivers start it; people need not know it.

use std::ffi::OsString;
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
    #[arg(required_unless_present = "command")]
    seat: Option<PathBuf>,
    /// Which order.
    #[arg(long, value_name = "TOKEN", required_unless_present = "command")]
    token: Option<String>,
    /// Become this command, and be killed when the parent process ends.
    #[arg(last = true, conflicts_with_all = ["seat", "token", "die_with_parent"])]
    command: Vec<OsString>,
    /// End when the parent process does.
    #[arg(long)]
    die_with_parent: bool,
}

/// Runs the verb.
pub(crate) fn run(args: Args) -> Outcome {
    let (Some(seat), Some(token)) = (args.seat, args.token) else {
        return Err(host::become_server(&args.command).into());
    };
    // Of a step on several nodes, the first task hosts the server, whose command reaches the others.
    let task = std::env::var("SLURM_PROCID").unwrap_or_default();
    if !args.die_with_parent && !matches!(task.as_str(), "" | "0") {
        return Ok(Exit::Done);
    }
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
    match host::run(&seat, &token, &|| asked.load(Ordering::Relaxed)) {
        Ok(()) => Ok(Exit::Done),
        Err(error @ host::HostError::Replaced) => {
            eprintln!("note: {error}");
            Ok(Exit::Done)
        }
        Err(error @ host::HostError::NoOrder(_)) => Err(Failure::input(error)),
        Err(error) => Err(error.into()),
    }
}
