//! `mst report`.

mod files;
mod json;
mod scan;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use anyhow::anyhow;
use clap::ValueEnum;

use super::Format;
use super::exit::{Exit, Failure, Outcome};
use crate::report::compare::{Comparison, compare};
use crate::report::grid::{Grid, Pick};
use crate::report::summary::{PairSummary, summarise};
use crate::report::{heatmap, table};
use scan::Scan;

/// Summarise results folders: the capacity of every pair, heat map, several runs side by side.
///
/// Reads what `mst run` writes and what the older scripts wrote, in every form. A folder that holds pairs is a run; one
/// PATH may hold several. The answer of a pair is that of capacity.json, else it is found from the rows of results.csv;
/// the table says which.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Results folders, pairs or single trials.
    #[arg(value_name = "PATH", default_value = "requests")]
    paths: Vec<PathBuf>,
    /// List every trial: rates, rulings, judged quantity with its interval, success rate, folder.
    #[arg(long)]
    trials: bool,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    /// Write the heat map as SVG.
    #[arg(long, value_name = "FILE", help_heading = "Heat map")]
    svg: Option<PathBuf>,
    /// Its title; else it names the runs.
    #[arg(long, value_name = "TEXT", help_heading = "Heat map")]
    title: Option<String>,
    /// What a cell shows when several runs answer.
    #[arg(long, value_enum, default_value_t, help_heading = "Heat map")]
    cells: Cells,
    /// Leave the heat map out of the printed report.
    #[arg(long, help_heading = "Heat map")]
    no_map: bool,

    /// Write one line a pair and run.
    #[arg(long, value_name = "FILE", help_heading = "CSV files")]
    csv: Option<PathBuf>,
    /// Write one line a pair, one column a run, with mean, smallest, largest, spread and outliers.
    #[arg(long, value_name = "FILE", help_heading = "CSV files")]
    compare_csv: Option<PathBuf>,
    /// Merge every results.csv into one: IDENTIFIER, DATE, then all columns that any of them has.
    #[arg(long, value_name = "FILE", help_heading = "CSV files")]
    merge: Option<PathBuf>,
    /// Merge the rows of mixes as well.
    #[arg(long, requires = "merge", help_heading = "CSV files")]
    mixes: bool,
}

const EXAMPLES: &str = "\
Examples:
  mst report                                    what is in ./requests
  mst report requests/ --trials                 with every trial
  mst report requests/ --svg mst.svg            heat map of a campaign
  mst report runs/monday runs/tuesday runs/friday --compare-csv runs.csv
                                                three runs side by side, outliers flagged
  mst report old-archive/ --merge all.csv       one CSV over folders of every generation
  mst report requests/ --format json | jq '.[] | {pair, mst_per_minute}'";

/// What a cell shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Cells {
    /// Mean of all runs.
    #[default]
    Mean,
    /// Mean of the runs that are no outliers.
    Clean,
    /// Smallest.
    Min,
    /// Largest.
    Max,
}

impl From<Cells> for Pick {
    fn from(cells: Cells) -> Self {
        match cells {
            Cells::Mean => Self::Mean,
            Cells::Clean => Self::Clean,
            Cells::Min => Self::Min,
            Cells::Max => Self::Max,
        }
    }
}

/// A heat map with title and subtitle.
type Map = (String, String, Grid);

/// Runs the verb.
#[expect(clippy::needless_pass_by_value, reason = "every verb owns its arguments")]
pub(crate) fn run(args: Args) -> Outcome {
    let mut found = scan::scan(&args.paths);
    let summaries = summarise(std::mem::take(&mut found.trials), &found.capacities);
    if summaries.is_empty() {
        tell_bad(&found);
        return Err(Failure::input(nothing(&args.paths, &found)));
    }
    let comparison = compare(&summaries);
    let maps = maps(&args, &summaries, &comparison);
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, &json::array(&summaries, &comparison))
                .map_err(std::io::Error::from)?;
            writeln!(out)?;
        }
        Format::Human => out.write_all(human(&args, &summaries, &comparison, &maps).as_bytes())?,
    }
    out.flush()?;
    files::write(&args, &found, &summaries, &comparison, &maps)?;
    tell_bad(&found);
    Ok(Exit::Done)
}

/// The heat maps, one a kind of experiment, with their titles.
fn maps(args: &Args, summaries: &[PairSummary], comparison: &Comparison) -> Vec<Map> {
    let kinds: BTreeSet<&str> = summaries.iter().map(|s| s.key.kind.as_str()).collect();
    let several = comparison.runs.len() > 1;
    kinds
        .into_iter()
        .rev()
        .map(|kind| {
            let pick = Pick::from(args.cells);
            let grid = Grid::new(summaries, comparison, kind, pick);
            let title = args.title.clone().unwrap_or_else(|| {
                if several {
                    format!("{kind} of {} runs", comparison.runs.len())
                } else {
                    format!("{kind} of {}", comparison.runs[0])
                }
            });
            let over = if several {
                format!(", {} where several runs answer", pick.label())
            } else {
                String::new()
            };
            (title, format!("requests per minute by token lengths{over}"), grid)
        })
        .collect()
}

fn human(args: &Args, summaries: &[PairSummary], comparison: &Comparison, maps: &[Map]) -> String {
    let mut text = table::pairs(summaries);
    text.push('\n');
    for summary in summaries {
        if let Some(words) = &summary.words {
            let run = match comparison.runs.len() {
                1 => String::new(),
                _ => format!(" in {}", summary.key.run),
            };
            let _ = writeln!(text, "{}{run}: {words}", summary.key.pair);
        }
    }
    if comparison.is_one() {
        let _ = write!(
            text,
            "\nRuns side by side, req/min\n\n{}\n",
            table::comparison(comparison)
        );
        for line in table::outliers(comparison) {
            let _ = writeln!(text, "{line}");
        }
    }
    if args.trials {
        for summary in summaries.iter().filter(|s| !s.trials.is_empty()) {
            let run = if comparison.runs.len() > 1 {
                format!(" in {}", summary.key.run)
            } else {
                String::new()
            };
            let _ = write!(
                text,
                "\n{}{run}\n\n{}\n",
                summary.key.pair,
                table::trials(summary)
            );
        }
    }
    let coloured = is_coloured();
    for (title, subtitle, grid) in maps.iter().filter(|(_, _, grid)| !args.no_map && grid.is_map()) {
        let _ = write!(
            text,
            "\n{}",
            heatmap::render(grid, &format!("{title}: {subtitle}"), coloured)
        );
        if grid.has_marks() {
            let _ = writeln!(text, "* not bracketed, or undecided");
        }
        for line in grid.lines_beside() {
            let _ = writeln!(text, "not in the map: {line}");
        }
    }
    for summary in summaries {
        for warning in &summary.warnings {
            let _ = writeln!(
                text,
                "\nwarning: {} ({}): {warning}",
                summary.key.pair, summary.key.run
            );
        }
    }
    text
}

/// What could not be read, after everything that could.
fn tell_bad(found: &Scan) {
    if !found.unprocessed.is_empty() {
        eprintln!(
            "left out, because there are events but no results.csv (`mst process` makes it): {}",
            found.unprocessed.len()
        );
        for folder in &found.unprocessed {
            eprintln!("  {folder}");
        }
    }
    if !found.bad.is_empty() {
        eprintln!("left out, because they cannot be read: {}", found.bad.len());
        for line in &found.bad {
            eprintln!("  {line}");
        }
    }
}

fn nothing(paths: &[PathBuf], found: &Scan) -> anyhow::Error {
    let paths: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    let but = match (found.unprocessed.len(), found.bad.len()) {
        (0, 0) => "",
        (0, _) => "; what is there cannot be read",
        _ => "; run `mst process` on the folders above first",
    };
    anyhow!(
        "no results at or below {}: looked for folders with results.csv or trial.json (PAIR/TIME/ as `mst run` and the \
         older scripts write them) and for capacity.json{but}",
        paths.join(", ")
    )
}

/// Colours only on a terminal, and not when the user wants none.
fn is_coloured() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
    std::io::stdout().is_terminal()
        && set("NO_COLOR").is_none()
        && set("TERM").is_none_or(|term| term != "dumb")
}
