//! `mst run`.

use super::exit::Outcome;

/// Find the maximum sustainable throughput of an endpoint for each token pair.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the verb.
pub(crate) fn run(_args: Args) -> Outcome {
    Err(anyhow::anyhow!("not built yet").into())
}
