//! `mst profile prefill`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;

use super::subject::{self, SimulationArgs, TargetArgs};
use super::text;
use crate::cli::Format;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::stage_progress::StageProgress;
use crate::cli::trial::{failed, seconds_or_units};
use crate::profile::{Plan, ProfileError, powers_of_two, spaced};
use crate::store::prefill::{PREFILL_FILE, PrefillFacts};
use crate::store::{PrefillProfile, StoreError};

/// Measure how long prompts take on an idle server.
///
/// Sends one request at a time, several of each length in shuffled order, each prompt another one, and asks for a single
/// token: its time is that of the prompt. The file holds every measurement, a curve that never falls through the median of
/// each length, its error in seconds, and how far each length is from the curve through the others. Deadlines of first
/// tokens are predicted from it. Nobody else may use the server meanwhile: its queue metrics are looked at, where it has
/// some.
///
/// Without --url or --simulate the embedded endpoint is profiled.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  mst profile prefill                                     the embedded endpoint
  mst profile prefill --url http://gpu07:8000 --output llama-8b.json
  mst profile prefill --url gpu07:8000 --lengths 256,512,1024,2048,4096 --repeats 10
  mst profile prefill --url https://host/v1 --api chat --api-key-env KEY --min 100 --max 20000 --points 12
  mst profile prefill --simulate --model meta-llama/Meta-Llama-3-8B --device a100
  mst profile prefill --simulate run.yml --format json

The first length that the server refuses ends the lengths; the file and a note say so.")]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    lengths: LengthArgs,
    #[command(flatten)]
    simulation: SimulationArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Which prompts.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Prompts")]
struct LengthArgs {
    /// Lengths in tokens [default: powers of two from 128 up to what the model's context allows, 32768 where it does not tell]
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = length(), conflicts_with_all = ["min", "max", "points"])]
    lengths: Vec<u32>,
    /// Shortest length [default: 128]
    #[arg(long, value_name = "N", value_parser = length())]
    min: Option<u32>,
    /// Longest length [default: what the model's context allows]
    #[arg(long, value_name = "N", value_parser = length())]
    max: Option<u32>,
    /// Lengths from the shortest to the longest, each longer by the same factor [default: powers of two]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=1000))]
    points: Option<u32>,
    /// Requests of each length
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
    /// Seeds prompts and their order [default: from the clock, so that no prompt is in a cache from before]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How long a request may take
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = seconds_or_units)]
    request_timeout: Duration,
    /// Measure although others use the server
    #[arg(long)]
    allow_busy: bool,
}

/// What is written, and how the answer is printed.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
struct OutputArgs {
    /// The file that is written, in place of what is there
    #[arg(long, value_name = "FILE", default_value = PREFILL_FILE)]
    output: PathBuf,
    /// Write it as prefill.json into this folder
    #[arg(long, value_name = "DIR", conflicts_with = "output")]
    profile_dir: Option<PathBuf>,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn length() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=1 << 24)
}

/// Runs the verb.
pub(super) fn run(args: &Args) -> Outcome {
    let seed = args.lengths.seed.unwrap_or_else(|| {
        // Whole numbers that JSON readers keep exactly.
        chrono::Utc::now().timestamp_micros().unsigned_abs()
    });
    let date = chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let mut opened = subject::open(&args.target, &args.simulation, args.lengths.request_timeout, seed)?;
    for note in &opened.notes {
        eprintln!("{note}");
    }
    let plan = Plan {
        lengths: args.lengths.lengths(opened.server.max_model_len)?,
        repeats: args.lengths.repeats,
        seed,
        allow_busy: args.lengths.allow_busy,
    };
    let progress = StageProgress::new();
    let mut begun = false;
    let measured = plan.measure(&mut *opened.subject, &mut |done, of| {
        if !begun {
            progress.begin("prompts", of);
            begun = true;
        }
        if done > 0 {
            progress.piece("prompts", "");
        }
    });
    progress.end();
    let mut measured = measured.map_err(exit)?;
    let dropped = opened.subject.dropped();
    if !dropped.is_empty() {
        let note = format!("the server refuses {}: requests went without", dropped.join(", "));
        measured.notes.push(note);
    }
    let facts = |measured: &crate::profile::Measured| PrefillFacts {
        date: date.clone(),
        target: opened.target.clone(),
        server: opened.server.clone(),
        seed,
        idle: measured.idle,
        refused_tokens: measured.refused,
        notes: opened.notes.iter().chain(&measured.notes).cloned().collect(),
    };
    let make = |measured: &crate::profile::Measured| {
        PrefillProfile::new(facts(measured), measured.measurements.clone()).map_err(|why| anyhow!(why))
    };
    let mut profile = make(&measured)?;
    if let Some(spread) = profile.repeat_spread {
        measured.judge_by_repeats(spread.typical);
        profile = make(&measured)?;
    }
    let path = match &args.output.profile_dir {
        Some(folder) => folder.join(PREFILL_FILE),
        None => args.output.output.clone(),
    };
    profile.save(&path).map_err(|error| match error {
        StoreError::Io(error) => Failure::input(anyhow!(
            "{} cannot be written: {error}; give another --output",
            path.display()
        )),
        other @ StoreError::Malformed { .. } => other.into(),
    })?;
    for note in &measured.notes {
        eprintln!("{note}");
    }
    match args.output.format {
        Format::Json => crate::cli::print_json(&profile)?,
        Format::Human => text::print(&profile)?,
    }
    eprintln!("written to {}", path.display());
    Ok(Exit::Done)
}

impl LengthArgs {
    /// The lengths, ascending.
    fn lengths(&self, max_model_len: Option<u32>) -> Result<Vec<u32>, Failure> {
        let mut lengths = if self.lengths.is_empty() {
            self.unnamed(max_model_len)?
        } else {
            self.lengths.clone()
        };
        lengths.sort_unstable();
        lengths.dedup();
        Ok(lengths)
    }

    fn unnamed(&self, max_model_len: Option<u32>) -> Result<Vec<u32>, Failure> {
        let all = powers_of_two(self.max.map_or(max_model_len, |_| Some(u32::MAX)));
        let min = self.min.or(all.first().copied()).unwrap_or(1);
        let max = self.max.or(all.last().copied()).unwrap_or(1);
        if min > max {
            return Err(Failure::input(anyhow!(
                "the shortest length, {min}, is longer than the longest, {max}; give other --min and --max"
            )));
        }
        if let Some(points) = self.points {
            return Ok(spaced(min, max, points));
        }
        let between = all.into_iter().filter(|n| (min..=max).contains(n));
        Ok([min].into_iter().chain(between).chain([max]).collect())
    }
}

/// How the program ends without a profile.
pub(super) fn exit(error: ProfileError) -> Failure {
    match error {
        ProfileError::Endpoint(failure) => failed(failure),
        ProfileError::Gone { .. } | ProfileError::Busy { .. } => Failure::new(Exit::Unreachable, error),
        ProfileError::Shortest { .. } | ProfileError::Deployment(_) => Failure::input(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(arguments: &[&str], max_model_len: Option<u32>) -> Result<Vec<u32>, String> {
        #[derive(clap::Parser)]
        struct Alone {
            #[command(flatten)]
            lengths: LengthArgs,
        }
        let all = ["prefill"].iter().chain(arguments);
        let Alone { lengths } = clap::Parser::parse_from(all);
        lengths.lengths(max_model_len).map_err(|f| f.told())
    }

    #[test]
    fn lengths_are_those_asked_for() {
        assert_eq!(lengths(&["--lengths", "512,64,512"], None), Ok(vec![64, 512]));
        assert_eq!(
            lengths(&["--max", "1000"], Some(400)),
            Ok(vec![128, 256, 512, 1000])
        );
        assert_eq!(
            lengths(&["--min", "200"], Some(1000)),
            Ok(vec![200, 256, 512, 936])
        );
        assert_eq!(lengths(&["--min", "16", "--max", "64"], None), Ok(vec![16, 64]));
        assert_eq!(
            lengths(&["--min", "100", "--max", "400", "--points", "3"], None),
            Ok(vec![100, 200, 400])
        );
        assert_eq!(lengths(&[], Some(300)), Ok(vec![128, 236]));
        let error = lengths(&["--min", "5000"], Some(1000)).unwrap_err();
        assert!(error.contains("5000") && error.contains("936"), "{error}");
    }
}
