//! From an order to jobs: the run's folder, then `sbatch`.

use std::time::Duration;

use anyhow::anyhow;
use serde::Serialize;

use super::order::Order;
use crate::cli::exit::{Exit, Failure};
use crate::cli::interrupt::Interrupt;
use crate::cluster::refusal;
use crate::cluster::submission;
use crate::executor::slurm::{JobId, Slurm, SlurmError, Submission, SubmitError, submit_unless};
use crate::store::runs::{Mode, RunDir};

/// How long to try while the controller does not answer.
pub(in crate::cli) const PATIENCE: Duration = Duration::from_mins(2);
/// How long one command may take: when munge is down, sbatch says so after 50 s.
const PATIENCE_OF_ONE: Duration = Duration::from_mins(1);

/// A job that Slurm took.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct SentJob {
    /// Its id.
    pub(in crate::cli) id: JobId,
    /// Its name.
    pub(in crate::cli) name: String,
    /// `drive` or `report`.
    pub(in crate::cli) kind: &'static str,
}

/// A run that was submitted.
#[derive(Debug)]
pub(in crate::cli) struct Sent {
    pub(in crate::cli) run: RunDir,
    pub(in crate::cli) tag: String,
    pub(in crate::cli) jobs: Vec<SentJob>,
}

/// The way to Slurm, past the variables of the environment that hold this key: Slurm would store them.
pub(in crate::cli) fn slurm(key: Option<&str>) -> Slurm {
    let holds_key = |value: &std::ffi::OsStr| {
        key.is_some_and(|key| value.to_str().is_some_and(|value| value.trim() == key.trim()))
    };
    let withheld = std::env::vars_os()
        .filter(|(_, value)| holds_key(value))
        .filter_map(|(name, _)| name.into_string().ok());
    Slurm {
        withheld: withheld.collect(),
        patience: PATIENCE_OF_ONE,
        ..Slurm::default()
    }
}

/// Makes the run's folder and submits its jobs. A run that Slurm refuses leaves nothing behind.
///
/// # Errors
/// Exit code 3 when the folder cannot be made, 11 when Slurm refuses or does not answer.
pub(super) fn send(order: &Order<'_>, slurm: &Slurm) -> Result<Sent, Failure> {
    let unusable =
        |error: anyhow::Error| Failure::input(error.context("RESULTS_DIR cannot be used; give another"));
    // Before anything is made: a template that cannot be filled in, settings that cannot be frozen.
    order
        .draft(&order.results_dir.join(".runs/RUN"), "RUN", "mst")
        .map_err(Failure::input)?;
    let interrupt = Interrupt::listen()?;
    let run = RunDir::create(&order.results_dir).map_err(|error| unusable(error.into()))?;
    let tag = submission::new_tag(run.path());
    let written = order
        .draft(run.path(), &run.name(), &tag)
        .and_then(|draft| draft.write(&run));
    if let Err(error) = written {
        discard(&run);
        return Err(unusable(error.into()));
    }
    let mut sent = Sent {
        jobs: Vec::new(),
        tag,
        run,
    };
    let options = Vec::new();
    let name = sent.run.new_tag(&sent.tag, "")?;
    let first = submission::drive(sent.run.path(), name, options, Vec::new(), PATIENCE);
    match place(slurm, &sent.run, &first, &interrupt) {
        Ok(job) => sent.jobs.push(SentJob {
            id: job,
            name: first.tag,
            kind: "drive",
        }),
        Err(SubmitError::Slurm(error @ SlurmError::NoAnswer { .. })) => {
            // Nothing of that name is known, so it is sure that nothing runs.
            discard(&sent.run);
            return Err(Failure::new(Exit::BatchSystem, error));
        }
        Err(SubmitError::Slurm(error)) => {
            discard(&sent.run);
            return Err(Failure::new(Exit::BatchSystem, with_remedy(error.into())));
        }
        Err(error @ SubmitError::Doubt { .. }) => {
            let name = sent.run.name();
            let context = format!(
                "run {name} is kept: once Slurm answers, `mst resume {name}` submits it unless it is in the queue"
            );
            return Err(Failure::new(
                Exit::BatchSystem,
                anyhow::Error::new(error).context(context),
            ));
        }
        Err(error) => return Err(error.into()),
    }
    if order.mode == Mode::Array {
        let array = sent.jobs[0].id.clone();
        sent.jobs
            .extend(gather(slurm, &sent.run, &sent.tag, &array, &interrupt));
    }
    Ok(sent)
}

/// Submits the job that gathers. The array works without it, so that a refusal is told and no more.
pub(in crate::cli) fn gather(
    slurm: &Slurm,
    run: &RunDir,
    tag: &str,
    array: &JobId,
    interrupt: &Interrupt,
) -> Option<SentJob> {
    let submitted = run.new_tag(tag, "r").map_err(SubmitError::from).and_then(|name| {
        let job = submission::report(run.path(), name, array, PATIENCE);
        let id = place(slurm, run, &job, interrupt)?;
        Ok(SentJob {
            id,
            name: job.tag,
            kind: "report",
        })
    });
    match submitted {
        Ok(job) => Some(job),
        Err(error) => {
            eprintln!(
                "warning: the job that gathers was not submitted ({error}); `mst report` does the same later"
            );
            None
        }
    }
}

/// Submits one job, and tells what it waits for.
pub(in crate::cli) fn place(
    slurm: &Slurm,
    run: &RunDir,
    submission: &Submission,
    interrupt: &Interrupt,
) -> Result<JobId, SubmitError> {
    let given_up = || interrupt.is_set();
    let mut tell = |told: String| eprintln!("{told}");
    submit_unless(slurm, &run.journal(None), submission, &given_up, &mut tell)
}

/// An error of Slurm with what to do about it.
pub(in crate::cli) fn with_remedy(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<SlurmError>().and_then(|error| match error {
        SlurmError::Refused { line, .. } => refusal::remedy(line),
        _ => None,
    }) {
        Some(remedy) => anyhow!("{error}; {remedy}"),
        None => error,
    }
}

/// Removes the folder of a run that never was.
fn discard(run: &RunDir) {
    // The refusal is what matters; a folder that stays is shown by `mst list`.
    if let Err(error) = fs_err::remove_dir_all(run.path()) {
        eprintln!("note: {error}");
    }
}
