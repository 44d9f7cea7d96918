//! `mst evaluate`.

use std::io::Write;

use super::exit::Outcome;

/// Judge stored results again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the verb.
pub(crate) fn run(_args: Args) -> Outcome {
    Err(anyhow::anyhow!("not built yet").into())
}

/// Prints one JSON value.
pub(super) fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)?;
    Ok(())
}
