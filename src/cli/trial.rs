//! `mst trial`.

use super::exit::Outcome;

/// Run one trial with the native load generator.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the verb.
pub(crate) fn run(_args: Args) -> Outcome {
    Err(anyhow::anyhow!("not built yet").into())
}
