//! `mst resume`: goes on with a run whose jobs are gone.

use std::io::Write;
use std::time::Duration;

use anyhow::anyhow;
use chrono::Utc;
use serde_json::json;

use super::exit::{Exit, Failure, Outcome};
use super::interrupt::Interrupt;
use super::runs_args::ResultsArg;
use super::submit::send::{PATIENCE, SentJob, gather, place, slurm, with_remedy};
use super::{Format, print_json};
use crate::cluster::submission::{self, DRIVE, array, with_time};
use crate::cluster::watch::{Facts, last_words_due};
use crate::executor::slurm::{Job, Slurm, SlurmError, SubmitError, time};
use crate::store::runs::{Ended, Journal, Mode, Note, Outcome as Ending, Plan, RunDir, Seat};

/// Go on with a run: submit again what has not ended well.
///
/// Trials that are measured are not measured again. Refused while a job of the run is alive. Settings and scripts are
/// those of the first submission, whatever .env says now.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  mst resume                                       what is missing of the newest run, in a new job
  mst resume 20261122-201503-1a2b --time 2-00:00:00
  mst resume 20261122-201503-1a2b --pair 128_128 --fresh
                                                   one pair, measured anew")]
pub(crate) struct Args {
    /// The run: a name, the beginning of one, or a folder [default: the newest]
    #[arg(value_name = "RUN")]
    run: Option<String>,
    /// Only this pair, also when it has its answer; may be repeated.
    #[arg(long, value_name = "PAIR")]
    pair: Vec<String>,
    /// Measure anew, whatever is stored.
    #[arg(long)]
    fresh: bool,
    /// Time limit of the jobs from now on: 24:00:00, 2-00:00:00, 90m or 24h.
    #[arg(long, value_name = "LIMIT")]
    time: Option<String>,
    /// How the answer is printed on stdout.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    results: ResultsArg,
}

/// Runs the verb.
#[expect(clippy::needless_pass_by_value, reason = "every verb is given its arguments")]
pub(crate) fn run(args: Args) -> Outcome {
    let limit = args
        .time
        .as_deref()
        .map(time::parse_limit)
        .transpose()
        .map_err(|problem| Failure::input(anyhow!("flag: --time: {problem}")))?;
    let run = args.results.find(args.run.as_deref())?;
    let plan = run.plan().map_err(Failure::input)?;
    if plan.mode == Mode::Login {
        return Err(Failure::input(anyhow!(
            "run {} was driven by hand; `mst run` in {} goes on with it",
            plan.run,
            plan.submit_dir.display()
        )));
    }
    let seats = Seats::choose(&run, &plan, &args)?;
    if seats.0.is_empty() {
        return nothing_to_do(&plan);
    }
    // The key may be in the environment, too; Slurm would store it.
    let slurm = slurm(fs_err::read_to_string(run.key_file()).ok().as_deref());
    let jobs = refuse_if_alive(&slurm, &run, &plan)?;
    hear_last_words(&run, &jobs)?;
    let seats = Seats::choose(&run, &plan, &args)?;
    if seats.0.is_empty() {
        return nothing_to_do(&plan);
    }
    let mut options = Vec::new();
    if let Some(limit) = limit {
        options.extend(set_limit(&run, &plan, limit)?);
    }
    if plan.mode == Mode::Array {
        options.push(format!("--array={}", array(&seats.tasks(), plan.throttle)));
    }
    let mut arguments: Vec<String> = args
        .pair
        .iter()
        .flat_map(|pair| ["--pair".to_owned(), pair.clone()])
        .collect();
    arguments.extend(args.fresh.then(|| "--fresh".to_owned()));
    let jobs = submit(&slurm, &run, &plan, &seats, options, arguments)?;
    told(&run, &plan, &seats, &jobs, args.format)
}

/// The seats whose drivers are to go on: that of the whole run, or of some tasks, with how they ended.
struct Seats(Vec<(Option<u32>, Seat, Option<Ended>)>);

impl Seats {
    fn choose(run: &RunDir, plan: &Plan, args: &Args) -> Result<Self, Failure> {
        if let Some(pair) = args.pair.iter().find(|pair| !plan.pairs.contains(pair)) {
            let pairs = plan.pairs.join(", ");
            let error = anyhow!("flag: --pair: {pair} is not in run {}; it has {pairs}", plan.run);
            return Err(Failure::input(error));
        }
        let all: Vec<Option<u32>> = if plan.mode == Mode::Array {
            (0..plan.pairs.len() as u32).map(Some).collect()
        } else {
            vec![None]
        };
        let mut chosen = Vec::new();
        for task in all {
            let seat = run.seat(task);
            let ended = seat.ended()?;
            let is_done = ended.as_ref().is_some_and(|ended| ended.outcome == Ending::Done);
            let wanted = if args.pair.is_empty() {
                !is_done || args.fresh
            } else {
                task.is_none_or(|task| args.pair.contains(&plan.pairs[task as usize]))
            };
            if wanted {
                chosen.push((task, seat, ended));
            }
        }
        Ok(Self(chosen))
    }

    fn tasks(&self) -> Vec<u32> {
        self.0.iter().filter_map(|(task, ..)| *task).collect()
    }
}

fn nothing_to_do(plan: &Plan) -> Outcome {
    let told = format!(
        "Run {}: every pair has its answer; `--pair PAIR --fresh` measures one anew.\n",
        plan.run
    );
    std::io::stdout().write_all(told.as_bytes())?;
    Ok(Exit::Done)
}

/// Waits for the end that a driver wrote a moment ago, where the file system does not show it yet: what it measured may
/// not show either, and would be measured twice.
fn hear_last_words(run: &RunDir, jobs: &[Job]) -> Result<(), Failure> {
    let mut told = false;
    loop {
        let facts = Facts::gather(run).map_err(Failure::input)?;
        let Some(left) = last_words_due(&facts, jobs, Utc::now()) else {
            return Ok(());
        };
        if !told {
            let seconds = left.num_seconds().max(1);
            eprintln!("its job has just ended; waiting for its driver's last words, {seconds} s at most");
            told = true;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Two drivers of one run would fight for its seat. Returns its jobs that Slurm knows.
fn refuse_if_alive(slurm: &Slurm, run: &RunDir, plan: &Plan) -> Result<Vec<Job>, Failure> {
    let mut names: Vec<String> = Journal::read_all(run.path())?
        .into_iter()
        .filter(|line| matches!(line.note, Note::Intent { .. }))
        .map(|line| line.tag)
        .collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let jobs = slurm.named(&names).map_err(|error| {
        let unknown = format!("whether a job of run {} is alive is not known", plan.run);
        Failure::new(Exit::BatchSystem, anyhow::Error::new(error).context(unknown))
    })?;
    let alive: Vec<&Job> = jobs.iter().filter(|job| job.state.is_alive()).collect();
    let Some(first) = alive.first() else {
        return Ok(jobs);
    };
    let name = &plan.run;
    Err(Failure::input(anyhow!(
        "run {name} is not over: job {} is {}; `mst status {name}` tells more, `mst cancel {name}` stops it first",
        first.id,
        first.state.as_str().to_lowercase()
    )))
}

/// The time limit from now on, in the script that successors are submitted with, too. An option for sbatch where the
/// script has no line for it.
fn set_limit(run: &RunDir, plan: &Plan, limit: Duration) -> Result<Option<String>, Failure> {
    run.write_plan(&Plan {
        walltime_s: Some(limit.as_secs_f64()),
        ..plan.clone()
    })?;
    let limit = time::limit(limit);
    let path = run.path().join(DRIVE);
    let script = fs_err::read_to_string(&path).map_err(Failure::input)?;
    match with_time(&script, &limit) {
        Some(changed) => {
            // A successor's sbatch never reads half of it.
            let new = path.with_extension("slurm.new");
            fs_err::write(&new, changed)?;
            fs_err::rename(&new, &path)?;
            Ok(None)
        }
        None => Ok(Some(format!("--time={limit}"))),
    }
}

/// Opens the seats and submits. Where Slurm refuses, everything is as it was.
fn submit(
    slurm: &Slurm,
    run: &RunDir,
    plan: &Plan,
    seats: &Seats,
    options: Vec<String>,
    arguments: Vec<String>,
) -> Result<Vec<SentJob>, Failure> {
    let interrupt = Interrupt::listen()?;
    let was_cancelled = run.is_asked_to_stop();
    run.clear_stop()?;
    for (_, seat, _) in &seats.0 {
        seat.reopen()?;
    }
    let name = run.new_tag(&plan.tag, "")?;
    let job = submission::drive(run.path(), name, options, arguments, PATIENCE);
    let id = match place(slurm, run, &job, &interrupt) {
        Ok(id) => id,
        // It may run: then it needs its seat.
        Err(error @ SubmitError::Doubt { .. }) => return Err(Failure::new(Exit::BatchSystem, error)),
        Err(error) => {
            if was_cancelled {
                run.ask_to_stop()?;
            }
            for (_, seat, ended) in &seats.0 {
                if let Some(ended) = ended {
                    seat.end(ended)?;
                }
            }
            let exit = match &error {
                SubmitError::Journal(_) => Exit::Unexpected,
                SubmitError::Slurm(_) | SubmitError::Doubt { .. } => Exit::BatchSystem,
            };
            let error = match error {
                SubmitError::Slurm(error @ SlurmError::Refused { .. }) => with_remedy(error.into()),
                other => other.into(),
            };
            return Err(Failure::new(exit, error));
        }
    };
    let mut jobs = vec![SentJob {
        id,
        name: job.tag,
        kind: "drive",
    }];
    if plan.mode == Mode::Array {
        let array = jobs[0].id.clone();
        jobs.extend(gather(slurm, run, &plan.tag, &array, &interrupt));
    }
    Ok(jobs)
}

fn told(run: &RunDir, plan: &Plan, seats: &Seats, jobs: &[SentJob], format: Format) -> Outcome {
    let name = &plan.run;
    if format == Format::Json {
        print_json(&json!({
            "run": name, "path": run.path(), "mode": plan.mode, "tag": plan.tag, "jobs": jobs, "tasks": seats.tasks(),
            "results": plan.results_dir,
        }))?;
        return Ok(Exit::Done);
    }
    let job = &jobs[0].id;
    let what = match seats.tasks().as_slice() {
        [] => String::new(),
        tasks => {
            let pairs: Vec<&str> = tasks
                .iter()
                .map(|task| plan.pairs[*task as usize].as_str())
                .collect();
            format!(" with {}", pairs.join(", "))
        }
    };
    let text = format!(
        "Run {name}: job {job} goes on{what}; trials that are measured are not measured again.\n\
         Watch it:  mst status {name}    mst logs -f {name}\nResults:   {}\n",
        plan.results_dir.display()
    );
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(Exit::Done)
}
