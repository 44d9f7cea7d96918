//! `mst capacity`: the most load that meets latency objectives.

mod job;
pub(crate) mod objective_args;
mod replay;
pub(crate) mod source;
mod submit;
mod told;

use std::path::PathBuf;

use super::Format;
use super::exit::{Exit, Failure, Outcome};
use super::interrupt::Interrupt;
use crate::matrix::{self, Conduct, ConductError, Input, Trouble};
use crate::report::{Bars, Lines, Observer};
use crate::store::{PrefillProfile, Store};
use job::{Measured, RunningJob};
use source::SourceArgs;

/// Find the most load that meets latency objectives.
///
/// A file names systems (endpoints, or deployments to simulate), workloads and objectives; every combination is searched.
/// Without a file, flags describe one search. Trials are stored without the objective: another objective judges what is
/// stored first, at whatever rate it was measured, and measures only what is missing. Failed, refused and unfinished requests
/// violate an objective.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// Say what would be searched, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print a file to begin with, and stop
    #[arg(long)]
    example: bool,
    /// Decide recorded searches and objectives of etalon, sarathi-serve and veeksha again, and compare
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "config")]
    replay: Vec<PathBuf>,
    /// Search only one system on one workload, or only one objective there
    #[arg(long, value_name = "SYSTEM/WORKLOAD[/SLO]")]
    only: Option<String>,
    /// Run no trial, and judge what is stored: also while other searches run
    #[arg(long)]
    stored: bool,
    /// GPUs that searches are packed on, to tell how long they would take there; with --submit, most GPUs in use at once
    #[arg(long, value_name = "GPUS", value_parser = clap::value_parser!(u32).range(1..))]
    slots: Option<u32>,
    /// Simulations side by side [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    slurm: SlurmArgs,
}

/// On a cluster.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Slurm")]
struct SlurmArgs {
    /// Submit a job for each system and workload, and a last one that writes the outcomes of all; with --dry-run, print the
    /// scripts
    #[arg(long, conflicts_with_all = ["stored", "replay"])]
    submit: bool,
    /// The cluster profile [default: slurm/cluster.yml where it is there]
    #[arg(long, value_name = "FILE")]
    cluster_profile: Option<PathBuf>,
    /// Within a job: put it back into the queue when the next trial would not end before its time limit
    #[arg(long, conflicts_with_all = ["submit", "stored"])]
    requeue: bool,
}

const EXAMPLES: &str = "\
Examples:
  mst capacity --example > capacity.yml                    a file to begin with
  mst capacity capacity.yml                                every combination in it
  mst capacity capacity.yml --target endpoint              the same on the systems' endpoints
  mst capacity --url http://gpu07:8000 --tokens 512:128 --slo-type tbt_ttft --tbt-slo 0.05 --ttft-slo 1
                                                           one search by flags
  mst capacity capacity.yml --tbt-slo-value 0.2            another objective: what is stored is judged first
  mst capacity capacity.yml --format json                  for programs
  mst capacity capacity.yml --only chunked-512/chat        one system on one workload
  mst capacity capacity.yml --submit                       under Slurm, a job a system and workload
  mst capacity capacity.yml --submit --slots 8             the same, on at most 8 GPUs at once
  mst capacity capacity.yml --stored                       no trial: what is stored by now, judged
  mst capacity --replay timelines.json                     recorded decisions, decided again

Exit codes: 0 every search has an answer; 4 an objective is met at no rate; 5 an answer is undecided; 3 the file; 10 a load
generator failed; 11 Slurm refuses; 12 an endpoint does not answer; 130 interrupted, run again to go on.";

/// Runs the verb.
#[expect(clippy::needless_pass_by_value, reason = "every verb is given its arguments")]
pub(crate) fn run(args: Args) -> Outcome {
    use std::io::Write;
    if args.example {
        std::io::stdout().write_all(matrix::file::EXAMPLE.as_bytes())?;
        return Ok(Exit::Done);
    }
    if !args.replay.is_empty() {
        return replay::run(&args.replay, args.format);
    }
    if args.source.is_empty() {
        return Err(Failure::new(Exit::Usage, anyhow::anyhow!(source::NOTHING)));
    }
    let mut source = args.source.read().map_err(Failure::input)?;
    if let Some(name) = &args.only {
        let narrowed = source.file.only(name);
        source.file = narrowed.map_err(|why| Failure::input(anyhow::anyhow!("--only: {why}")))?;
    }
    let environment: Vec<(String, String)> = std::env::vars().collect();
    let input = Input {
        file: &source.file,
        base: &source.base,
        side: args.source.side(),
        cluster_profile: args.slurm.cluster_profile.as_deref(),
        environment: &environment,
        profile: &PrefillProfile::load,
    };
    if args.slurm.submit {
        return submit::submit(&args, &input);
    }
    if args.dry_run {
        return told::plan(&source, args.format);
    }
    source.tell_sides(args.source.side());
    let output = args.source.output_dir.clone();
    let store = Store::open(&output).map_err(Failure::input)?;
    let interrupt = Interrupt::listen()?;
    let mut observer = Measured {
        observer: terminal(),
        trials: 0,
    };
    let progress = told::Progress::new(&source.file);
    let job = RunningJob::of(&environment);
    let conduct = Conduct {
        input,
        store: &store,
        threads: args.threads.unwrap_or_else(default_threads),
        stored: args.stored,
        time_left: &|needed| job.as_ref().map_or(Ok(()), |job| job.fits(needed)),
        interrupted: &|| interrupt.is_set(),
        told: &|outcome| progress.told(outcome),
    };
    let outcomes = conduct.run(&mut observer).map_err(failure)?;
    let only = args.only.as_deref();
    let written = matrix::write_all(&store, &outcomes, only);
    let told = told::Told {
        source: &source,
        place: &output.join(matrix::place(only)),
        slots: args.slots,
        stored: args.stored,
    };
    // Also where the disk takes no more.
    told.print(&outcomes, args.format)?;
    written?;
    if interrupt.is_set() {
        let error = anyhow::anyhow!("stopped; everything measured is kept, run again to go on");
        return Err(Failure::new(interrupt.exit(), error));
    }
    if let Some(job) = job.filter(|job| args.slurm.requeue && job.has_been_too_short()) {
        return job.requeue(observer.trials);
    }
    Ok(worst(&outcomes))
}

/// What sees the events of live trials.
pub(crate) fn terminal() -> Box<dyn Observer> {
    use std::io::IsTerminal;
    if std::io::stderr().is_terminal() {
        Box::new(Bars::default())
    } else {
        Box::new(Lines::default())
    }
}

pub(crate) fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Why nothing was searched, as an exit code.
pub(crate) fn failure(error: ConductError) -> Failure {
    match error {
        ConductError::Input(_) => Failure::input(error),
        ConductError::Unreachable(_) => Failure::new(Exit::Unreachable, error),
        ConductError::Store(_) => Failure::new(Exit::Unexpected, error),
    }
}

/// The exit code of the worst outcome.
fn worst(outcomes: &[matrix::Outcome]) -> Exit {
    use crate::search::Status;
    let any = |is: &dyn Fn(&matrix::Outcome) -> bool| outcomes.iter().any(is);
    if any(&|o| o.trouble == Some(Trouble::Runner)) {
        Exit::LoadGenerator
    } else if any(&|o| o.trouble == Some(Trouble::Unreachable)) {
        Exit::Unreachable
    } else if any(&|o| o.trouble == Some(Trouble::Infeasible) || o.status == Some(Status::UpperBoundOnly)) {
        Exit::NoneFound
    } else if any(&|o| o.trouble.is_some() || matches!(o.status, None | Some(Status::Undecided))) {
        Exit::Undecided
    } else {
        Exit::Done
    }
}
