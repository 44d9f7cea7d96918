//! Ends what a dead driver left running in a staging folder.

use std::path::Path;
use std::time::{Duration, Instant};

use super::staged::{Record, Staged};
use crate::executor::ExecutorError;
use crate::executor::slurm::{Slurm, SlurmError};

/// How long a job that Slurm lost sight of may take to notice that nobody waits for it.
const NOTICE: Duration = Duration::from_secs(15);
/// How long Slurm may stay silent, and a cancelled job alive.
const PATIENCE: Duration = Duration::from_mins(3);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Ends the job that a staging folder names, and returns once it loads the service no more: the next trial would measure
/// both. Returns as well when `interrupted` says so.
///
/// # Errors
/// When it does not end, or nobody knows whether it did.
pub(crate) fn abandon(
    slurm: &Slurm,
    folder: &Path,
    interrupted: &dyn Fn() -> bool,
) -> Result<(), ExecutorError> {
    let Some(record) = Record::read(folder) else {
        return Ok(());
    };
    let staged = Staged::new(folder, &record.tag);
    staged.let_go();
    let since = Instant::now();
    // What srun started ends with it.
    let noticed = || record.by_srun || since.elapsed() >= NOTICE;
    let job = || record.id.as_ref().map_or(record.tag.clone(), ToString::to_string);
    let mut next = since;
    while !interrupted() {
        if staged.left().is_some() {
            return Ok(());
        }
        if Instant::now() < next {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        }
        next = Instant::now() + PAUSE;
        match slurm.named(std::slice::from_ref(&record.tag)) {
            Ok(jobs) if jobs.iter().any(|job| job.state.is_alive()) => {
                // Said again, in case that it was not heard. That it was is seen.
                let _ = slurm.cancel_named(&record.tag);
                if since.elapsed() >= PATIENCE {
                    return Err(ExecutorError::Job {
                        id: job(),
                        what: "of an earlier driver does not end, and may still load the service; see \
                               `squeue` and `scancel`"
                            .to_owned(),
                    });
                }
            }
            Ok(jobs) => {
                // One that never had a node never ran.
                let never_ran = !jobs.is_empty() && jobs.iter().all(|job| job.nodes.is_empty());
                if never_ran || noticed() {
                    return Ok(());
                }
            }
            // The folder came from elsewhere.
            Err(SlurmError::Missing { .. }) if noticed() => return Ok(()),
            Err(error) if since.elapsed() >= PATIENCE => {
                return Err(ExecutorError::Slurm {
                    doing: format!("to see whether job {} still loads the service", job()),
                    source: error,
                });
            }
            Err(_) => {}
        }
    }
    Ok(())
}
