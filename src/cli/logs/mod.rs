//! `mst logs`: what the driver of a run says.

mod follow;
mod pick;

use super::exit::{Exit, Failure, Outcome};
use super::runs_args::ResultsArg;
use crate::store::runs::{Journal, Mode};
use pick::{Source, Wanted};

/// Print the log of a run's driver; with -f go on until the run has ended.
///
/// The newest log is printed: a job that was put back into the queue writes on in its file, a job that follows has a file
/// of its own. With -f, all of them are followed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// The run: a name, the beginning of one, or a folder [default: the newest]
    #[arg(value_name = "RUN")]
    run: Option<String>,
    /// Print what is new until the run has ended
    #[arg(short, long)]
    follow: bool,
    /// Of this job, whatever it is for
    #[arg(long, value_name = "ID", conflicts_with_all = ["server", "task"])]
    job: Option<String>,
    /// Of the model server
    #[arg(long)]
    server: bool,
    /// Of this task of an array: the place of its pair, from 0
    #[arg(long, value_name = "K")]
    task: Option<u32>,
    #[command(flatten)]
    results: ResultsArg,
}

const EXAMPLES: &str = "\
Examples:
  mst logs -f                      the newest run, until it has ended
  mst logs 20261122-2015 --server  what the model server of that run prints
  mst logs 20261122-2015 --task 3  the fourth pair of an array";

/// Runs the verb.
pub(crate) fn run(args: Args) -> Outcome {
    let run = args.results.find(args.run.as_deref())?;
    let plan = run.plan()?;
    if let Some(task) = args.task
        && (plan.mode != Mode::Array || task as usize >= plan.pairs.len())
    {
        let why = match plan.mode {
            Mode::Array => format!("{} has the tasks 0 to {}", run.name(), plan.pairs.len() - 1),
            _ => format!("{} is not an array: leave --task out", run.name()),
        };
        return Err(Failure::input(anyhow::anyhow!(why)));
    }
    let mut wanted = Wanted {
        source: match (args.job, args.server) {
            (Some(id), _) => Source::Job(id),
            (None, true) => Source::Server,
            (None, false) => Source::Driver,
        },
        task: args.task,
    };
    let newest = pick::newest(&run, &plan, &Journal::read_all(run.path())?, &wanted)?;
    let others = plan.mode == Mode::Array && wanted.task.is_none() && plan.pairs.len() > 1;
    if others
        && let Some(task) = newest
            .as_deref()
            .and_then(|path| pick::task_of(path, &wanted.source))
    {
        let last = plan.pairs.len() - 1;
        eprintln!("task {task} wrote last; --task 0 to {last} shows another");
        wanted.task = Some(task);
    }
    if args.follow {
        return follow::follow(&run, &plan, &wanted, newest);
    }
    match newest {
        Some(path) => {
            follow::Tail::open(path)?.print()?;
            Ok(Exit::Done)
        }
        None => Err(Failure::input(anyhow::anyhow!(
            wanted.missing(&run.name(), plan.mode)
        ))),
    }
}
