//! `mst capacity`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use serde::Serialize;

use super::exit::{Exit, Failure, Outcome};
use crate::replay::{Case, Replayed, replay};

/// Decide recorded capacity searches and objectives again, and compare.
///
/// --replay reads recorded decisions of etalon, sarathi-serve and veeksha: deadlines and objectives of requests, whole
/// searches, cache keys, allocations of GPUs. Each case is decided again by the same rule here and compared. What kind a file
/// is of, its contents say. Counts and sequences must be the same, numbers agree to 1e-9, bisected deadlines to 1e-4, values
/// read from a quantile sketch to 0.1 %. Exit code 0 when all cases are equal, 1 when one is not.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  mst capacity --replay timelines.json
  mst capacity --replay search_etalon.json search_sarathi.json
  mst capacity --replay jobs.json --format json           cases: id, equal, first_difference, file")]
pub(crate) struct Args {
    /// Recorded decisions, JSON
    #[arg(long, value_name = "FILE", num_args = 1..)]
    replay: Vec<PathBuf>,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// How the answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    #[value(alias = "human")]
    Text,
    /// For programs.
    Json,
}

/// The answer for programs.
#[derive(Serialize)]
struct Answer<'a> {
    cases: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    case: &'a Case,
    file: &'a Path,
}

/// Runs the verb.
#[expect(clippy::needless_pass_by_value, reason = "every verb is given its arguments")]
pub(crate) fn run(args: Args) -> Outcome {
    if args.replay.is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            anyhow!(
                "nothing to do: name recorded decisions with `--replay FILE`; to search an endpoint write `mst run`, for \
                 simulated deployments and objectives `mst explore`"
            ),
        ));
    }
    let mut files = Vec::new();
    for path in &args.replay {
        files.push((path.as_path(), read(path).map_err(Failure::input)?));
    }
    match args.format {
        Format::Json => {
            let lines = files.iter().flat_map(|(file, replayed)| {
                let cases = replayed.cases.iter();
                cases.map(move |case| Line { case, file })
            });
            let cases = lines.collect();
            super::print_json(&Answer { cases })?;
        }
        Format::Text => told(&files)?,
    }
    let equal = files
        .iter()
        .all(|(_, file)| file.cases.iter().all(|case| case.equal));
    Ok(if equal { Exit::Done } else { Exit::Unexpected })
}

fn read(path: &Path) -> anyhow::Result<Replayed> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("{}: the file cannot be read", path.display()))?;
    replay(&text).map_err(|error| anyhow!("{}: {error}", path.display()))
}

/// For people: a line a file, and one for each case that is not equal.
fn told(files: &[(&Path, Replayed)]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for (path, file) in files {
        let equal = file.cases.iter().filter(|case| case.equal).count();
        writeln!(
            out,
            "{}: {equal} of {} cases equal",
            path.display(),
            file.cases.len()
        )?;
        for case in file.cases.iter().filter(|case| !case.equal) {
            let difference = case.first_difference.as_deref().unwrap_or_default();
            writeln!(out, "  {}: {difference}", case.id)?;
        }
    }
    Ok(())
}
