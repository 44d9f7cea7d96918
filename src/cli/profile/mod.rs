//! `mst profile`.

mod prefill;
mod subject;
mod text;

use super::exit::Outcome;

/// Measure what predictions are made from.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

/// What is measured.
#[derive(Debug, clap::Subcommand)]
enum What {
    Prefill(prefill::Args),
}

/// Runs the verb.
pub(crate) fn run(args: Args) -> Outcome {
    match args.what {
        What::Prefill(args) => prefill::run(&args),
    }
}
