//! `mst completions` and `mst man`.

use std::io::Write;

use clap::CommandFactory;

use super::Cli;
use super::exit::{Exit, Outcome};

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = "Examples:\n  mst completions bash > ~/.local/share/bash-completion/completions/mst"
)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: clap_complete::Shell,
}

/// Print the manual page.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:\n  mst man > ~/.local/share/man/man1/mst.1")]
pub(crate) struct ManArgs {}

/// Prints a completion script.
pub(crate) fn completions(args: &CompletionsArgs) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "mst", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(Exit::Done)
}

/// Prints the manual page.
pub(crate) fn man(_args: &ManArgs) -> Outcome {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page)?;
    std::io::stdout().write_all(&page)?;
    Ok(Exit::Done)
}
