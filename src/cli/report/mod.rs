//! `mst report`.

use super::exit::Outcome;

/// Summarise a results folder.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the verb.
pub(crate) fn run(_args: Args) -> Outcome {
    Err(anyhow::anyhow!("not built yet").into())
}
