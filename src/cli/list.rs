//! `mst list`: the runs below a results root.

use std::io::Write;

use comfy_table::{Table, presets};
use serde_json::json;

use super::Format;
use super::exit::Outcome;
use super::runs_args::ResultsArg;
use super::status::tell_trouble;
use crate::cluster::watch::{Ask, RunStatus, survey};
use crate::executor::slurm::Slurm;

/// List submitted runs, oldest first.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    results: ResultsArg,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the verb.
#[expect(clippy::needless_pass_by_value, reason = "every verb owns its arguments")]
pub(crate) fn run(args: Args) -> Outcome {
    let runs = args.results.find_all(&[])?;
    let survey = survey(&Slurm::default(), &runs, Ask::IfNeeded);
    match args.format {
        Format::Json => {
            let rows: Vec<_> = survey.runs.iter().map(row).collect();
            super::print_json(&rows)?;
        }
        Format::Human if runs.is_empty() => {
            eprintln!("there are no runs below {}", args.results.root()?.display());
        }
        Format::Human => {
            let lines = table(&survey.runs);
            std::io::stdout().lock().write_all(lines.as_bytes())?;
        }
    }
    Ok(tell_trouble(&survey))
}

/// A run, as `--format json` prints it.
fn row(run: &RunStatus) -> serde_json::Value {
    json!({
        "run": run.run,
        "created": run.created,
        "mode": run.mode,
        "state": run.state,
        "pairs_done": run.pairs_done(),
        "pairs": run.pairs.len(),
        "results": run.results,
    })
}

fn table(runs: &[RunStatus]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["run", "made", "mode", "state", "pairs", "results"]);
    for run in runs {
        table.add_row([
            run.run.clone(),
            run.created.format("%Y-%m-%d %H:%M").to_string(),
            format!("{:?}", run.mode).to_lowercase(),
            run.state.word().to_owned(),
            format!("{}/{}", run.pairs_done(), run.pairs.len()),
            run.results.display().to_string(),
        ]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}
