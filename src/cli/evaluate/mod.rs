//! `mst evaluate`.

mod entry;
mod table;

use std::io::Write;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::ValueEnum;

use crate::store::folder::{Overrides, Source, find_trials, open_trial};
use crate::units::Rate;

use super::Format;
use super::exit::{Exit, Failure, Outcome};
use entry::Entry;

/// Judge stored results again, by either criterion.
///
/// Takes trial folders, whole trees of them, and single files, written by this program or by the older scripts: a folder
/// with results.json or results.json.gz, with output.csv alone, or with a pair of halves. What a folder does not say
/// (rate, duration) is taken from the flags. Statistics are computed also where the gate or the success rate decides.
/// A folder that cannot be read gets an entry with its error, and the exit code is 3.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  mst evaluate requests/128_128/2026-03-01_12-00-00
  mst evaluate old-results/ --evaluation welch --format json
  mst evaluate halves/ --evaluation welch --from halves
  mst evaluate results.json.gz --req-min 300 --filter-buffer 5s --duration 60s")]
pub(crate) struct Args {
    /// Trial folders, trees of them, or single files.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Which rule gives the ruling; people are shown both.
    #[arg(long, value_enum, default_value = "drift", help_heading = "Judging")]
    evaluation: EvaluationName,
    /// Least share of good requests, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 95.0, value_parser = percent, help_heading = "Judging")]
    success_rate: f64,
    /// What the halves cut at both ends: seconds, or 5m. Default: what trial.json says, else the halves as they are, else
    /// 300.
    #[arg(long, value_name = "TIME", value_parser = super::whole_seconds, help_heading = "Judging")]
    filter_buffer: Option<i64>,
    /// The file to read. Default: the most telling one.
    #[arg(long, value_enum, help_heading = "What a folder does not say")]
    from: Option<SourceName>,
    /// The rate asked for: requests per minute, or 5/s.
    #[arg(long, value_name = "RATE", help_heading = "What a folder does not say")]
    req_min: Option<Rate>,
    /// How long requests were sent.
    #[arg(long, value_name = "TIME", value_parser = seconds, help_heading = "What a folder does not say")]
    duration: Option<f64>,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value = "human", help_heading = "Output")]
    format: Format,
}

/// The rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EvaluationName {
    /// Growth of the backlog.
    Drift,
    /// The older rule, to the letter.
    Welch,
}

/// The files.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum SourceName {
    /// results.json or results.json.gz; else our requests.jsonl.zst.
    Results,
    /// output.csv.
    Output,
    /// first_half.csv and second_half.csv.
    Halves,
}

impl From<SourceName> for Source {
    fn from(name: SourceName) -> Self {
        match name {
            SourceName::Results => Self::Results,
            SourceName::Output => Self::Output,
            SourceName::Halves => Self::Halves,
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    crate::store::tables::seconds(text)
        .ok_or_else(|| "write seconds, or for example `60s` or `30m`".to_owned())
}

fn percent(text: &str) -> Result<f64, String> {
    let value: f64 = text
        .parse()
        .map_err(|_| "write a percentage, for example 95".to_owned())?;
    if (0.0..=100.0).contains(&value) {
        Ok(value)
    } else {
        Err("a percentage lies between 0 and 100".to_owned())
    }
}

/// Runs the verb.
#[expect(clippy::needless_pass_by_value, reason = "every verb is given its arguments")]
pub(crate) fn run(args: Args) -> Outcome {
    let found = find_trials(&args.paths).map_err(Failure::input)?;
    for problem in &found.problems {
        eprintln!("failed: {problem}");
    }
    if found.trials.is_empty() {
        let paths: Vec<String> = args.paths.iter().map(|p| p.display().to_string()).collect();
        let why = anyhow!(
            "{}: there is no trial folder at or below it: none with results.json(.gz), requests.jsonl.zst, output.csv \
             or a pair of halves",
            paths.join(", ")
        );
        return Err(Failure::input(why));
    }
    let overrides = Overrides {
        source: args.from.map(Source::from),
        rate: args.req_min,
        duration_s: args.duration,
        filter_buffer_s: args.filter_buffer,
    };
    let judge = entry::Judge {
        evaluation: args.evaluation,
        success_rate_percent: args.success_rate,
        both: args.format == Format::Human,
    };
    let mut entries = Vec::new();
    for path in &found.trials {
        entries.push(match open_trial(path, &overrides) {
            Ok(trial) => judge.entry(&trial),
            Err(error) => {
                eprintln!("failed: {error}");
                Entry::failed(path, args.evaluation, &error.to_string())
            }
        });
    }
    match args.format {
        Format::Json => super::print_json(&entries)?,
        Format::Human => {
            writeln!(std::io::stdout(), "{}", table::render(&entries))?;
            for warning in table::warnings(&entries) {
                eprintln!("warning: {warning}");
            }
        }
    }
    let failed = !found.problems.is_empty() || entries.iter().any(|e| e.error.is_some());
    Ok(if failed { Exit::Input } else { Exit::Done })
}
