//! Submitting so that nothing is lost and nothing runs twice: journal, sbatch, and after any doubt a look-up by name.
//!
//! A submission that failed with a timeout may have been accepted, and shows only once the controller is responsive
//! again. So after a doubt the controller must have answered two look-ups, some seconds apart, without knowing the tag,
//! before the job is submitted again.

use std::time::{Duration, Instant};

use super::{Batch, Job, JobId, Slurm, SlurmError};
use crate::store::runs::{Journal, Note, RunError};

/// Between two look-ups that are to show that a job does not exist.
const APART: Duration = Duration::from_secs(5);
/// Longest pause between two questions to a controller that does not answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is submitted.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The job's name, unlike any other's.
    pub tag: String,
    /// Script, options, arguments.
    pub batch: Batch,
    /// How long to try while the controller does not answer.
    pub patience: Duration,
}

/// Why a job was not submitted.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Slurm.
    #[error(transparent)]
    Slurm(#[from] SlurmError),
    /// Whether it was is not known.
    #[error(
        "whether Slurm took the job `{tag}` is not known: {last}; look for it with `squeue -n {tag} -t all` once \
         Slurm answers again, before it is submitted again"
    )]
    Doubt {
        /// Its name.
        tag: String,
        /// The last that Slurm said.
        last: SlurmError,
    },
    /// The journal.
    #[error(transparent)]
    Journal(#[from] RunError),
}

/// Submits a job exactly once, as far as that can be known.
///
/// # Errors
/// When Slurm refuses, or does not answer for as long as the patience lasts: then the journal says that it is in doubt.
pub fn submit(slurm: &Slurm, journal: &Journal, submission: &Submission) -> Result<JobId, SubmitError> {
    submit_unless(slurm, journal, submission, &|| false, &mut |_| {})
}

/// [`submit`], until `given_up`; `tell` hears what it waits for.
///
/// # Errors
/// As [`submit`].
pub fn submit_unless(
    slurm: &Slurm,
    journal: &Journal,
    submission: &Submission,
    given_up: &dyn Fn() -> bool,
    tell: &mut dyn FnMut(String),
) -> Result<JobId, SubmitError> {
    let tag = &submission.tag;
    let mut batch = submission.batch.clone();
    batch.options.push(format!("--job-name={tag}"));
    let end = Instant::now() + submission.patience;
    loop {
        let intent = Note::Intent {
            options: batch.options.clone(),
            script: batch.script.clone(),
        };
        journal.note(tag, &intent)?;
        let doubt = match slurm.sbatch(&batch) {
            Ok(id) => {
                journal.note(tag, &Note::Submitted { id: id.clone() })?;
                return Ok(id);
            }
            Err(error @ SlurmError::NoAnswer { .. }) => error,
            Err(error) => {
                let why = error.to_string();
                journal.note(tag, &Note::Refused { why })?;
                return Err(error.into());
            }
        };
        let why = doubt.to_string();
        tell(format!(
            "{why}; looking for {tag} by its name before it is submitted again"
        ));
        journal.note(tag, &Note::Doubt { why })?;
        let in_doubt = |last| SubmitError::Doubt {
            tag: tag.clone(),
            last,
        };
        match resolve(slurm, tag, end, given_up, tell) {
            Ok(Some(id)) => {
                journal.note(tag, &Note::Found { id: id.clone() })?;
                return Ok(id);
            }
            Ok(None) if Instant::now() < end && !given_up() => {}
            Ok(None) => {
                let why = format!("{doubt}; Slurm does not know it");
                journal.note(tag, &Note::Refused { why })?;
                return Err(doubt.into());
            }
            Err(last) => return Err(in_doubt(last)),
        }
    }
}

/// Asks until there is an answer: the id, or that there is no such job.
fn resolve(
    slurm: &Slurm,
    tag: &str,
    end: Instant,
    given_up: &dyn Fn() -> bool,
    tell: &mut dyn FnMut(String),
) -> Result<Option<JobId>, SlurmError> {
    let mut absent_since: Option<Instant> = None;
    let mut pause = Duration::from_secs(1);
    loop {
        match look_up(slurm, tag) {
            Ok(Some(id)) => return Ok(Some(id)),
            Ok(None) => {
                let since = *absent_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= APART {
                    return Ok(None);
                }
                wait(APART.saturating_sub(since.elapsed()), &|| false);
            }
            Err(error) => {
                // What it said before it fell silent again does not count.
                absent_since = None;
                if Instant::now() + pause > end || given_up() {
                    return Err(error);
                }
                tell(format!("{error}; asking again in {} s", pause.as_secs()));
                wait(pause, given_up);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Sleeps, unless there is no more use in it.
fn wait(time: Duration, given_up: &dyn Fn() -> bool) {
    let end = Instant::now() + time;
    while Instant::now() < end && !given_up() {
        std::thread::sleep(Duration::from_millis(50).min(end.saturating_duration_since(Instant::now())));
    }
}

/// The job of a name: what sbatch would have printed. `None` when neither the controller nor the accounting, where there
/// is one, knows it.
///
/// # Errors
/// When the controller does not answer: then nothing is known.
pub fn look_up(slurm: &Slurm, tag: &str) -> Result<Option<JobId>, SlurmError> {
    let mut ids: Vec<JobId> = slurm
        .named(&[tag.to_owned()])?
        .into_iter()
        .map(|job| job.array)
        .collect();
    if ids.is_empty() {
        // A job that ended is forgotten by the controller after a while. Accounting may be absent.
        let accounted = slurm.accounted(tag).unwrap_or_default();
        ids = accounted.into_iter().map(|(id, _)| id).collect();
    }
    ids.sort_by_key(|id| id.as_str().parse::<u64>().unwrap_or(u64::MAX));
    Ok(ids.into_iter().next())
}

/// The job of this id, if it is the one of this name: a controller that crashes may forget a job that it acknowledged,
/// and give its id to the next one. `None` when the id is another's, or not known.
///
/// # Errors
/// When it does not answer.
pub fn verify(slurm: &Slurm, id: &JobId, tag: &str) -> Result<Option<Job>, SlurmError> {
    let jobs = slurm.jobs(std::slice::from_ref(id))?;
    Ok(jobs.into_iter().find(|job| job.name == tag))
}
