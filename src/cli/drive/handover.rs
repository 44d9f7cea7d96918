//! At the end of its job a driver puts the job back into the queue, or submits a successor.

use std::time::Duration;

use crate::cli::exit::{Exit, Failure};
use crate::executor::slurm::{Batch, JobId, Slurm, SlurmError, Submission, SubmitError, submit};
use crate::store::runs::{Journal, Mode, Note, Plan, RunDir, Seat};

/// How long a successor is tried to be submitted.
const PATIENCE: Duration = Duration::from_mins(1);
/// Jobs in a row that may end without a new trial: one more would not help either.
const MOST_BARREN: u32 = 3;

/// Everything that the next job depends on.
pub(super) struct Handover<'a> {
    pub(super) run: &'a RunDir,
    pub(super) plan: &'a Plan,
    pub(super) seat: &'a Seat,
    pub(super) journal: &'a Journal,
    pub(super) job: &'a JobId,
    pub(super) task: Option<u32>,
    pub(super) arguments: Vec<String>,
}

/// Why there is no next job.
pub(super) enum NotHandedOver {
    /// There will be none.
    ForGood(Failure),
    /// Slurm does not say whether it took it: a job that starts all the same must find the run open.
    InDoubt(Failure),
}

impl<E: Into<Failure>> From<E> for NotHandedOver {
    fn from(error: E) -> Self {
        Self::ForGood(error.into())
    }
}

impl Handover<'_> {
    /// Sees to it that the run goes on in another job; `measured` trials were new in this one.
    ///
    /// # Errors
    /// When another job would not get further either, or none can be had.
    pub(super) fn hand_over(&self, measured: u32, told: &str) -> Result<String, NotHandedOver> {
        let barren = self.seat.count_barren(measured > 0)?;
        // Not one trial fits: it is the walltime that is too short, unless the job had to wait for its server.
        let hopeless = barren >= MOST_BARREN || (barren > 1 && !told.is_empty());
        if hopeless {
            let error = anyhow::anyhow!(
                "{barren} jobs in a row ended without a new trial ({told}); give jobs more time (`mst resume --time …`) \
                 or trials less (DURATION)"
            );
            return Err(Failure::new(Exit::BatchSystem, error).into());
        }
        let slurm = Slurm::default();
        if self.plan.mode != Mode::Chain {
            match slurm.requeue(self.job) {
                Ok(()) => {
                    self.journal
                        .note(&self.plan.tag, &Note::Requeued { id: self.job.clone() })?;
                    return Ok(format!("job {} is back in the queue and will go on", self.job));
                }
                Err(SlurmError::Refused { .. }) => {}
                Err(error) => eprintln!("{error}; trying a new job"),
            }
        }
        let mut options = vec![format!("--dependency=afterany:{}", self.job)];
        options.extend(self.task.map(|task| format!("--array={task}")));
        let submission = Submission {
            tag: self.run.new_tag(&self.plan.tag, "")?,
            batch: Batch {
                script: self.run.path().join("drive.slurm"),
                options,
                arguments: self.arguments.clone(),
            },
            patience: PATIENCE,
        };
        let id = submit(&slurm, self.journal, &submission).map_err(|error| {
            let is_in_doubt = matches!(
                error,
                SubmitError::Doubt { .. } | SubmitError::Slurm(SlurmError::NoAnswer { .. })
            );
            let error = anyhow::Error::new(error)
                .context("the next job could not be submitted; `mst resume` goes on");
            let failure = Failure::new(Exit::BatchSystem, error);
            if is_in_doubt {
                NotHandedOver::InDoubt(failure)
            } else {
                NotHandedOver::ForGood(failure)
            }
        })?;
        Ok(format!("job {id} goes on when this one has ended"))
    }
}
