//! `mst status`: what runs are doing.

mod text;

use std::io::Write;

use super::Format;
use super::exit::{Exit, Outcome};
use super::runs_args::ResultsArg;
use crate::cluster::watch::{Ask, RunStatus, Survey, survey};
use crate::executor::slurm::{Slurm, SlurmError};

/// Show what submitted runs are doing, and why their jobs wait.
///
/// Without RUN: all that are not over, and the newest that is. Slurm is asked once, however many runs and jobs there are;
/// where it does not answer, or no longer knows a job, the files of the run tell.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Runs: names, beginnings of names, or folders; these are shown in full.
    #[arg(value_name = "RUN")]
    runs: Vec<String>,
    #[command(flatten)]
    results: ResultsArg,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  mst status                               what is not over, and the newest run that is
  mst status 20261122-201503               one run in full
  mst status --format json | jq '.[] | {run, state, eta_seconds}'

States: waiting, running, done, failed, cancelled; lost: its jobs are gone and no driver wrote an end, `mst resume` goes
on; unknown: Slurm does not answer and the files do not tell.";

/// Runs the verb.
#[expect(clippy::needless_pass_by_value, reason = "every verb owns its arguments")]
pub(crate) fn run(args: Args) -> Outcome {
    let runs = args.results.find_all(&args.runs)?;
    let is_detailed = !args.runs.is_empty();
    let mut survey = survey(&Slurm::default(), &runs, Ask::Always);
    if !is_detailed {
        survey.runs = worth_telling(std::mem::take(&mut survey.runs));
    }
    match args.format {
        Format::Json => super::print_json(&survey.runs)?,
        Format::Human => {
            let blocks: Vec<String> = survey
                .runs
                .iter()
                .map(|run| text::block(run, is_detailed))
                .collect();
            std::io::stdout().lock().write_all(blocks.join("\n").as_bytes())?;
        }
    }
    if runs.is_empty() {
        eprintln!("there are no runs below {}", args.results.root()?.display());
    }
    Ok(tell_trouble(&survey))
}

/// Those that are not over, and the newest that is, oldest first.
fn worth_telling(runs: Vec<RunStatus>) -> Vec<RunStatus> {
    let newest = runs.iter().rposition(|run| run.state.is_finished());
    runs.into_iter()
        .enumerate()
        .filter(|(place, run)| !run.state.is_finished() || Some(*place) == newest)
        .map(|(_, run)| run)
        .collect()
}

/// Says on stderr what could not be learned; returns the exit code.
pub(super) fn tell_trouble(survey: &Survey) -> Exit {
    match &survey.silent {
        None => {}
        Some(SlurmError::Missing { .. }) => {
            eprintln!("note: Slurm is not on this machine; this is told from the files of the runs");
        }
        Some(error) => eprintln!("note: {error}; this is told from the files of the runs"),
    }
    for trouble in &survey.bad {
        eprintln!("left out, because it cannot be read: {trouble}");
    }
    if survey.bad.is_empty() {
        Exit::Done
    } else {
        Exit::Input
    }
}
