//! `mst process`.

use super::exit::Outcome;

/// Make halves, CSVs and summaries from stored results.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the verb.
pub(crate) fn run(_args: Args) -> Outcome {
    Err(anyhow::anyhow!("not built yet").into())
}
