//! `mst capacity --replay`: recorded decisions, decided again.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde::Serialize;

use crate::cli::Format;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::replay::{Case, Replayed, replay};

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

/// Decides recorded decisions again and compares.
pub(super) fn run(paths: &[PathBuf], format: Format) -> Outcome {
    let (mut files, mut refused) = (Vec::new(), Vec::new());
    for path in paths {
        match read(path) {
            Ok(replayed) => files.push((path.as_path(), replayed)),
            Err(error) => refused.push(error),
        }
    }
    match format {
        Format::Json => {
            let lines = files.iter().flat_map(|(file, replayed)| {
                let cases = replayed.cases.iter();
                cases.map(move |case| Line { case, file })
            });
            let cases = lines.collect();
            crate::cli::print_json(&Answer { cases })?;
        }
        Format::Human => told(&files)?,
    }
    // The others are told all the same.
    let mut refused = refused.into_iter();
    if let Some(first) = refused.next() {
        let all = refused.fold(first, |all, next| anyhow!("{all:#}\n{next:#}"));
        return Err(Failure::input(all));
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
