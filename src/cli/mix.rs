//! `mst mix`.

use super::exit::Outcome;

/// Derive the shares of a workload mix from measured throughputs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the verb.
pub(crate) fn run(_args: Args) -> Outcome {
    Err(anyhow::anyhow!("not built yet").into())
}
