//! `mst process`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::ValueEnum;

use crate::store::folder::find_trials;
use crate::store::process::{ProcessOptions, Processed, mirrored, process_trial};
use crate::store::tables::Layout;

use super::Format;
use super::exit::{Exit, Failure, Outcome};

/// Make halves, CSVs and summaries from stored results.
///
/// Reads results.json or results.json.gz of any generation (or requests.jsonl.zst of ours) in every trial folder at or
/// below PATH, and writes output.csv, first_half.csv, second_half.csv, results.csv and results_from_json.csv. What
/// an existing results.csv knows and the events do not (verdict, stage, job) is kept. A second pass changes nothing. A
/// folder that cannot be read is reported at the end (exit code 3) and does not stop the others.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  mst process old-results/
  mst process old-results/ --out new-results/ --layout latest
  mst process 16_16/2026-11-22_14-27-30 --layout new --filter-buffer 5s")]
pub(crate) struct Args {
    /// Trial folders, trees of them, or results.json files.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Write below DIR, in the same tree, and leave the originals alone.
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    out: Option<PathBuf>,
    /// Columns and line ends.
    #[arg(long, value_enum, default_value = "mst", help_heading = "Output")]
    layout: LayoutName,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value = "human", help_heading = "Output")]
    format: Format,
    /// What the halves cut at both ends: seconds, or 5m. Default: what trial.json or the halves there say, else 300.
    #[arg(long, value_name = "TIME", value_parser = super::whole_seconds, help_heading = "Halves")]
    filter_buffer: Option<i64>,
}

/// The names of [`Layout`].
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LayoutName {
    /// The latest columns, then ours.
    Mst,
    /// The older program, newest form.
    Latest,
    /// The older program, March 2026.
    New,
    /// The older program as its README describes it.
    Doc,
}

impl From<LayoutName> for Layout {
    fn from(name: LayoutName) -> Self {
        match name {
            LayoutName::Mst => Self::Mst,
            LayoutName::Latest => Self::Latest,
            LayoutName::New => Self::New,
            LayoutName::Doc => Self::Doc,
        }
    }
}

/// One folder and where its files go.
struct Job {
    trial: PathBuf,
    out: PathBuf,
}

/// Runs the verb.
#[expect(clippy::needless_pass_by_value, reason = "every verb is given its arguments")]
pub(crate) fn run(args: Args) -> Outcome {
    let mut failures = Vec::new();
    let jobs = plan(&args, &mut failures)?;
    let options = ProcessOptions {
        layout: args.layout.into(),
        filter_buffer_s: args.filter_buffer,
    };
    let mut entries = Vec::new();
    let (mut written, mut unchanged, mut skipped) = (0, 0, 0);
    for job in &jobs {
        let result = process_trial(&job.trial, &job.out, &options);
        match &result {
            Ok(done) if done.skipped => skipped += 1,
            Ok(done) if done.changed.is_empty() => unchanged += 1,
            Ok(_) => written += 1,
            Err(error) => failures.push(error.to_string()),
        }
        for note in result.iter().flat_map(|done| &done.notes) {
            eprintln!("note: {}: {note}", job.trial.display());
        }
        if args.format == Format::Json {
            entries.push(entry(job, &result.as_ref().map_err(ToString::to_string)));
        }
    }
    if args.format == Format::Json {
        super::print_json(&entries)?;
    }
    eprintln!(
        "{} trial folders: {written} written, {unchanged} unchanged, {skipped} without events or rows, {} failed",
        jobs.len(),
        failures.len()
    );
    for failure in &failures {
        eprintln!("failed: {failure}");
    }
    Ok(if failures.is_empty() {
        Exit::Done
    } else {
        Exit::Input
    })
}

/// Every trial below the paths, and where its files go; places that cannot be looked into are told to `failures`.
fn plan(args: &Args, failures: &mut Vec<String>) -> Result<Vec<Job>, Failure> {
    let mut jobs: Vec<Job> = Vec::new();
    for path in &args.paths {
        let found = find_trials(std::slice::from_ref(path)).map_err(Failure::input)?;
        failures.extend(found.problems.iter().map(ToString::to_string));
        if found.trials.is_empty() {
            let why = anyhow!("{}: there is no trial folder at or below it", path.display());
            return Err(Failure::input(why));
        }
        for trial in found.trials {
            let out = match &args.out {
                Some(out) if args.paths.len() > 1 => mirrored(path, &trial, &out.join(own_name(path)?)),
                Some(out) => mirrored(path, &trial, out),
                None if trial.is_file() => trial.parent().unwrap_or(Path::new(".")).to_owned(),
                None => trial.clone(),
            };
            jobs.push(Job { trial, out });
        }
    }
    if args.out.is_some() {
        let mut taken: HashMap<&Path, &Path> = HashMap::new();
        for job in &jobs {
            if let Some(other) = taken
                .insert(&job.out, &job.trial)
                .filter(|other| **other != *job.trial)
            {
                let why = anyhow!(
                    "{} and {} would both be written to {}; name their common parent, or give each an --out of its own",
                    other.display(),
                    job.trial.display(),
                    job.out.display()
                );
                return Err(Failure::input(why));
            }
        }
    }
    jobs.sort_by(|a, b| a.trial.cmp(&b.trial));
    jobs.dedup_by(|a, b| a.trial == b.trial && a.out == b.out);
    Ok(jobs)
}

/// The last name of a path, also of `.` and `..`.
fn own_name(path: &Path) -> anyhow::Result<PathBuf> {
    let whole = path.canonicalize().with_context(|| path.display().to_string())?;
    Ok(whole.file_name().map(PathBuf::from).unwrap_or_default())
}

/// A folder in the JSON answer.
fn entry(job: &Job, result: &Result<&Processed, String>) -> serde_json::Value {
    let status = match result {
        Err(_) => "failed",
        Ok(done) if done.skipped => "skipped",
        Ok(done) if done.changed.is_empty() => "unchanged",
        Ok(_) => "written",
    };
    serde_json::json!({
        "path": job.trial,
        "out": job.out,
        "status": status,
        "requests": result.as_ref().ok().map(|done| done.requests),
        "changed": result.as_ref().map_or(&[][..], |done| &done.changed),
        "notes": result.as_ref().map_or(&[][..], |done| &done.notes),
        "error": result.as_ref().err(),
    })
}
