//! The job that `mst capacity` runs in, where it runs in one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::anyhow;

use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cluster::Walltime;
use crate::executor::slurm::{JobId, Slurm};
use crate::report::{Event, Observer};

/// No trial begins that would end within this time of the job's end: the default of `WALLTIME_MARGIN`.
const MARGIN: Duration = Duration::from_secs(90);
/// Pause between two questions to Slurm: the default of `POLL_INTERVAL`.
const POLL: Duration = Duration::from_secs(30);

/// Counts the trials that were measured on their way to another observer.
pub(super) struct Measured {
    pub(super) observer: Box<dyn Observer>,
    pub(super) trials: u32,
}

impl Observer for Measured {
    fn see(&mut self, event: &Event) {
        self.trials += u32::from(matches!(event, Event::TrialJudged { reused: false, .. }));
        self.observer.see(event);
    }
}

/// A job and its end.
pub(super) struct RunningJob {
    id: JobId,
    walltime: Walltime,
    was_too_short: AtomicBool,
}

impl RunningJob {
    /// The job of this process.
    pub(super) fn of(environment: &[(String, String)]) -> Option<Self> {
        let (_, id) = environment.iter().find(|(name, _)| name == "SLURM_JOB_ID")?;
        let id = JobId::parse(id).filter(|_| Slurm::is_here())?;
        Some(Self {
            walltime: Walltime::of(id.clone(), MARGIN, POLL),
            id,
            was_too_short: AtomicBool::new(false),
        })
    }

    /// Whether something that takes so long still fits.
    ///
    /// # Errors
    /// How much is missing.
    pub(super) fn fits(&self, needed: Duration) -> Result<(), String> {
        let fits = self.walltime.fits(needed);
        self.was_too_short.fetch_or(fits.is_err(), Ordering::Relaxed);
        fits
    }

    /// Whether something did not fit.
    pub(super) fn has_been_too_short(&self) -> bool {
        self.was_too_short.load(Ordering::Relaxed)
    }

    /// Puts the job back into the queue, if it measured any trial.
    pub(super) fn requeue(&self, measured: u32) -> Outcome {
        let id = &self.id;
        if measured == 0 {
            // Started again, it would not get further.
            let error = anyhow!(
                "not one trial fits into job {id}: give it more time, or trials less (limits, or requests)"
            );
            return Err(Failure::new(Exit::BatchSystem, error));
        }
        match Slurm::default().requeue(id) {
            Ok(()) => {
                eprintln!("job {id} is back in the queue and will go on");
                // Slurm would show the job as failed, and it went well.
                Ok(Exit::Done)
            }
            Err(error) => {
                let error = anyhow!("{error}; submit it again to go on, everything measured is kept");
                Err(Failure::new(Exit::BatchSystem, error))
            }
        }
    }
}
