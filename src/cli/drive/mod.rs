//! `mst drive`: the driver of a submitted run, as the batch script starts it.

mod handover;

use std::path::PathBuf;

use chrono::Utc;

use super::conduct::{self, Conduct, Conducted, Ended};
use super::exit::{Exit, Failure, Outcome};
use super::halt::{Halt, Why};
use super::interrupt::Interrupt;
use super::run::answers;
use crate::campaign::{self, Home, ProgressFile};
use crate::cluster::{Scripts, Walltime};
use crate::executor::slurm::{JobId, Slurm};
use crate::loadgen::API_KEY_VARIABLE;
use crate::settings::{self, Experiment, Loaded, Sources};
use crate::store::runs::{self, Journal, Note, Plan, RunDir, RunError, Seat};
use crate::store::{Incarnation, Lease, LeaseError, host_name};
use handover::{Handover, NotHandedOver};

/// Drive a submitted run; its batch script calls this.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The run's folder.
    run: PathBuf,
    /// Only this pair of the plan, counted from 0: the task of an array.
    #[arg(long, value_name = "N")]
    task: Option<u32>,
    /// Only these pairs.
    #[arg(long, value_name = "PAIR")]
    pair: Vec<String>,
    /// Measure anew, whatever is stored.
    #[arg(long)]
    fresh: bool,
}

/// Runs the verb.
#[expect(clippy::needless_pass_by_value, reason = "every verb is given its arguments")]
pub(crate) fn run(args: Args) -> Outcome {
    let run = RunDir::open(&args.run).map_err(Failure::input)?;
    let plan = run.plan().map_err(Failure::input)?;
    let loaded = frozen_settings(&run)?;
    let settings = &loaded.settings;
    let experiments = chosen(&settings.experiments, &plan, &args)?;
    let interrupt = Interrupt::listen()?;
    let seat = run.seat(args.task);
    let job = own_job();
    let incarnation = incarnation(&plan);
    // What this job measured anew before it was put back into the queue is not measured again.
    let fresh = args.fresh && incarnation.restart == 0;
    let lease = match Lease::take_as(seat.path(), &incarnation) {
        Ok(lease) => lease,
        Err(LeaseError::Held { host, pid, .. }) => {
            eprintln!("process {pid} on {host} drives this run already; nothing to do");
            return Ok(Exit::Done);
        }
        Err(error) => return Err(error.into()),
    };
    // Also where it failed or was cancelled: `mst resume` takes that back before it submits. A job may start all the same,
    // by a dependency on one that Slurm knows no more, or after the loss of its node.
    if let Some(ended) = seat.ended()? {
        eprintln!("this run has ended: {}; nothing to do", ended.why);
        return Ok(Exit::Done);
    }
    seat.reserve();
    let id = job.as_deref().and_then(JobId::parse);
    let writer = writer(job.as_deref(), incarnation.restart);
    let journal = run.journal(Some(&writer));
    let scripts = Scripts::from_run(&run).map_err(Failure::input)?;
    let home = Home {
        run: &run,
        seat: &seat,
        scripts: &scripts,
        writer: &writer,
    };
    if let Some(id) = &id {
        let started = Note::Started {
            id: id.clone(),
            restart: incarnation.restart,
            host: host_name(),
        };
        journal.note(&own_name(), &started)?;
    }
    let walltime = id
        .clone()
        .filter(|_| Slurm::is_here())
        .map(|id| Walltime::of(id, settings.cluster.margin, settings.cluster.poll));
    let halt = Halt::new(&interrupt, Some(&run), Some(&lease), walltime.as_ref());
    let conducted = Conduct {
        settings,
        experiments: &experiments,
        fresh,
        wait: true,
        executor: campaign::executor(settings, Some(&home))?.as_ref(),
        incarnation,
        job,
        home: Some(&home),
        observer: Some(Box::new(ProgressFile::new(run.clone(), plan.trial_s))),
        time_left: &|seconds| conduct::fits(walltime.as_ref(), settings, seconds),
        halt: &halt,
    }
    .run();
    // Whatever came of it, a later job has the say: the heartbeat may not have noticed it yet.
    if lease.is_taken() {
        eprintln!("stopped{}", conduct::because(Why::Superseded, ""));
        return Ok(Exit::Done);
    }
    Sitting {
        run: &run,
        plan: &plan,
        seat: &seat,
        journal: &journal,
        job: id.as_ref(),
        args: &args,
    }
    .close(conducted, &halt, &interrupt)
}

/// A driver in its seat.
struct Sitting<'a> {
    run: &'a RunDir,
    plan: &'a Plan,
    seat: &'a Seat,
    journal: &'a Journal,
    job: Option<&'a JobId>,
    args: &'a Args,
}

impl Sitting<'_> {
    /// Writes how it went, or sees to it that another job goes on.
    fn close(
        &self,
        conducted: Result<Conducted, Failure>,
        halt: &Halt<'_>,
        interrupt: &Interrupt,
    ) -> Outcome {
        let (measured, ended) = match conducted {
            Ok(conducted) => {
                answers::print(&conducted.answers, &self.plan.results_dir, super::Format::Human)?;
                match conducted.ended {
                    None => {
                        let exit = answers::worst(&conducted.answers);
                        self.end(runs::Outcome::Done, exit, answers::in_words(exit))?;
                        // Slurm would show an undecided answer as a failed job.
                        return Ok(Exit::Done);
                    }
                    Some(ended) => (conducted.measured, ended),
                }
            }
            Err(failure) => (0, Ended::Failed(failure)),
        };
        if !self.run.is_there() {
            return Err(self.gone(ended));
        }
        match ended {
            // What fails while somebody stops us is not the run's failure.
            Ended::Failed(failure) if halt.why().is_some() => Err(failure),
            Ended::Failed(failure) => self.fail(failure),
            Ended::Stopped(why, told) => {
                eprintln!("stopped{}", conduct::because(why, &told));
                match (why, self.job) {
                    (Why::Superseded, _) => Ok(Exit::Done),
                    (Why::Cancelled, _) => {
                        self.end(runs::Outcome::Cancelled, Exit::Terminated, "cancelled")?;
                        Ok(Exit::Terminated)
                    }
                    (Why::Walltime, Some(job)) => match self.hand_over(job, measured, &told) {
                        Ok(said) => {
                            eprintln!("{said}");
                            // Slurm would show the job as failed, and it went well.
                            Ok(Exit::Done)
                        }
                        Err(NotHandedOver::ForGood(failure)) => self.fail(failure),
                        Err(NotHandedOver::InDoubt(failure)) => Err(failure),
                    },
                    (Why::Walltime | Why::Signal, _) => Ok(interrupt.exit()),
                }
            }
        }
    }

    fn fail(&self, failure: Failure) -> Outcome {
        if let Err(error) = self.end(runs::Outcome::Failed, failure.exit, &failure.told()) {
            eprintln!("how this driver ended could not be written: {error}");
        }
        Err(failure)
    }

    /// Somebody removed the run: whatever else came of that.
    fn gone(&self, ended: Ended) -> Failure {
        if let Ended::Failed(failure) = ended {
            eprintln!("{}", failure.told());
        }
        let folder = self.run.path().display();
        let error = anyhow::anyhow!(
            "the run's folder {folder} is gone; trials that were measured are kept where they are"
        );
        Failure::new(Exit::Unexpected, error)
    }

    fn end(&self, outcome: runs::Outcome, exit: Exit, why: &str) -> Result<(), RunError> {
        self.seat.end(&runs::Ended {
            outcome,
            exit: exit as u8,
            why: why.to_owned(),
            at: Utc::now(),
            job: self.job.map(ToString::to_string),
        })
    }

    fn hand_over(&self, job: &JobId, measured: u32, told: &str) -> Result<String, NotHandedOver> {
        Handover {
            run: self.run,
            plan: self.plan,
            seat: self.seat,
            journal: self.journal,
            job,
            task: self.args.task,
            arguments: passed_on(self.args),
        }
        .hand_over(measured, told)
    }
}

/// The settings as they were when the run was submitted; this process's environment has no say.
fn frozen_settings(run: &RunDir) -> Result<Loaded, Failure> {
    let key = match fs_err::read_to_string(run.key_file()) {
        Ok(key) => Some(key),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(Failure::input(error)),
    };
    let environment = key
        .map(|key| (API_KEY_VARIABLE.to_owned(), key.trim().to_owned()))
        .into_iter()
        .collect();
    settings::load(&Sources {
        env_file: Some(run.settings_file()),
        environment,
        flags: Vec::new(),
    })
    .map_err(Failure::input)
}

/// The searches that this driver makes.
fn chosen(all: &[Experiment], plan: &Plan, args: &Args) -> Result<Vec<Experiment>, Failure> {
    let unknown = |what: String| {
        let pairs = plan.pairs.join(", ");
        Failure::input(anyhow::anyhow!("{what} is not in this run; it has {pairs}"))
    };
    if let Some(pair) = args.pair.iter().find(|pair| !plan.pairs.contains(pair)) {
        return Err(unknown(format!("pair {pair}")));
    }
    let of_task = match args.task {
        None => None,
        Some(task) => {
            let name = plan.pairs.get(task as usize);
            Some(name.ok_or_else(|| unknown(format!("task {task}")))?)
        }
    };
    let wanted = |experiment: &&Experiment| {
        of_task.is_none_or(|name| *name == experiment.name)
            && (args.pair.is_empty() || args.pair.contains(&experiment.name))
    };
    Ok(all.iter().filter(wanted).cloned().collect())
}

/// The arguments that a successor is given, too.
fn passed_on(args: &Args) -> Vec<String> {
    // `--fresh` is not: what this job measured anew is not measured again.
    args.pair
        .iter()
        .flat_map(|pair| ["--pair".to_owned(), pair.clone()])
        .collect()
}

/// This job as squeue shows it: `17`, or `17_3` for the task of an array, whose id in the environment is another.
fn own_job() -> Option<String> {
    let variable = |name| std::env::var(name).ok();
    let task = variable("SLURM_ARRAY_JOB_ID").zip(variable("SLURM_ARRAY_TASK_ID"));
    match task {
        Some((array, task)) => Some(format!("{array}_{task}")),
        None => variable("SLURM_JOB_ID"),
    }
}

/// The name that this job was submitted under.
fn own_name() -> String {
    std::env::var("SLURM_JOB_NAME").unwrap_or_default()
}

/// Which start of the run this is: the number is the end of the job's name.
fn incarnation(plan: &Plan) -> Incarnation {
    let name = own_name();
    let number = name
        .strip_prefix(&plan.tag)
        .and_then(|rest| rest.strip_prefix('-'));
    Incarnation {
        run: plan.run.clone(),
        submission: number.and_then(|n| n.parse().ok()).unwrap_or(0),
        restart: std::env::var("SLURM_RESTART_COUNT")
            .ok()
            .and_then(|n| n.parse().ok())
            .unwrap_or(0),
    }
}

/// The name of this driver's journal.
fn writer(job: Option<&str>, restart: u32) -> String {
    job.map_or_else(
        || format!("{}-{}", host_name(), std::process::id()),
        |job| format!("{job}-{restart}"),
    )
}
