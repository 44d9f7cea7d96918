//! Submitting so that nothing is lost and nothing runs twice: journal, sbatch, and after any doubt a look-up by name.

use std::time::Duration;

use super::{Batch, JobId, Slurm, SlurmError};
use crate::store::runs::{Journal, Note, RunError};

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
    /// The journal.
    #[error(transparent)]
    Journal(#[from] RunError),
}

/// Submits a job exactly once, as far as that can be known.
///
/// # Errors
/// When Slurm refuses, or does not answer for as long as the patience lasts: then the journal says that it is in doubt.
pub fn submit(slurm: &Slurm, journal: &Journal, submission: &Submission) -> Result<JobId, SubmitError> {
    let tag = &submission.tag;
    let mut batch = submission.batch.clone();
    batch.options.push(format!("--job-name={tag}"));
    journal.note(
        tag,
        &Note::Intent {
            options: batch.options.clone(),
            script: batch.script.clone(),
        },
    )?;
    match slurm.sbatch(&batch) {
        Ok(id) => {
            journal.note(tag, &Note::Submitted { id: id.clone() })?;
            Ok(id)
        }
        Err(error) => {
            journal.note(
                tag,
                &Note::Refused {
                    why: error.to_string(),
                },
            )?;
            Err(error.into())
        }
    }
}
