//! `mst simulate`.

use std::io::Write;
use std::path::PathBuf;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use super::Format;
use super::exit::{Exit, Failure, Outcome};
use crate::deployment::vidur_case::{self, CaseReport};

/// Simulate a cluster of LLM servers.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Replay a recorded run of Vidur and compare
    #[arg(long, value_name = "DIR", help_heading = "Comparison with Vidur")]
    vidur_case: Option<PathBuf>,
    /// Folder of the prediction tables [default: DIR/../tables]
    #[arg(
        long,
        value_name = "DIR",
        requires = "vidur_case",
        help_heading = "Comparison with Vidur"
    )]
    tables: Option<PathBuf>,
    /// Folder of the trace with block hashes, where a recorded run shares prefixes
    #[arg(
        long,
        value_name = "DIR",
        requires = "vidur_case",
        help_heading = "Comparison with Vidur"
    )]
    traces: Vec<PathBuf>,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the verb.
pub(crate) fn run(args: Args) -> Outcome {
    if let Some(folder) = &args.vidur_case {
        let report =
            vidur_case::replay(folder, args.tables.as_deref(), &args.traces).map_err(Failure::input)?;
        return told(report, args.format);
    }
    Ok(Exit::Done)
}

/// Prints a comparison.
fn told(mut report: CaseReport, format: Format) -> Outcome {
    report.cpu_seconds = cpu_seconds()?;
    match format {
        Format::Json => super::print_json(&report)?,
        Format::Human => {
            let mut out = std::io::stdout().lock();
            writeln!(out, "{report:#?}")?;
        }
    }
    Ok(Exit::Done)
}

/// CPU time of this process so far.
fn cpu_seconds() -> anyhow::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let time = usage.user_time() + usage.system_time();
    Ok(time.num_microseconds() as f64 / 1e6)
}
