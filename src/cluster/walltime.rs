//! When the job that we run in ends. Slurm is asked: 22.05 sets no variable for it, and the limit may change on the way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::executor::slurm::{JobId, Slurm};

/// How long one question may take: the driver waits for the answer before each trial.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same for a job that is being ended: it has half a minute, often less, until it is killed.
const LAST_PATIENCE: Duration = Duration::from_secs(4);
/// Share of the margin that is left when even a running trial is given up.
const LAST_SHARE: f64 = 1.0 / 3.0;

/// The job's end, as far as Slurm has told it.
#[derive(Debug)]
pub struct Walltime {
    slurm: Slurm,
    id: JobId,
    margin: Duration,
    known: Arc<Known>,
    stop: Arc<AtomicBool>,
    watcher: Option<JoinHandle<()>>,
}

/// What Slurm told.
#[derive(Debug, Default)]
struct Known {
    end: Mutex<Option<Instant>>,
    /// Whether it did not answer the last question.
    is_silent: AtomicBool,
}

impl Walltime {
    /// The end of job `id`, asked again every `poll`. No trial begins that would end within `margin` of it.
    pub fn of(id: JobId, margin: Duration, poll: Duration) -> Self {
        let slurm = Slurm {
            patience: PATIENCE,
            ..Slurm::default()
        };
        let known = Arc::new(Known::default());
        let stop = Arc::new(AtomicBool::new(false));
        let watcher = {
            let (slurm, id, known, stop) = (slurm.clone(), id.clone(), Arc::clone(&known), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    known.ask(&slurm, &id);
                    std::thread::park_timeout(poll);
                }
            })
        };
        Self {
            slurm,
            id,
            margin,
            known,
            stop,
            watcher: Some(watcher),
        }
    }

    /// Time left until the job is ended; `None` while Slurm has never told it, or when there is no limit.
    pub fn left(&self) -> Option<Duration> {
        let end = *self.known.end.lock().unwrap_or_else(PoisonError::into_inner);
        end.map(|end| end.saturating_duration_since(Instant::now()))
    }

    /// Whether something that takes `needed` still fits. Asks Slurm anew: somebody may have changed the limit. While it
    /// does not answer, what it told last has to do: no trial waits for it.
    ///
    /// # Errors
    /// How much is missing.
    pub fn fits(&self, needed: Duration) -> Result<(), String> {
        if !self.known.is_silent.load(Ordering::Relaxed) {
            self.known.ask(&self.slurm, &self.id);
        }
        match self.left() {
            Some(left) if left < needed + self.margin => Err(format!(
                "job {} ends in {}, a trial with its drain takes {} and WALLTIME_MARGIN is {}",
                self.id,
                whole(left),
                whole(needed),
                whole(self.margin)
            )),
            _ => Ok(()),
        }
    }

    /// Whether the end is so near that a running trial is given up, too. Before it says so it asks Slurm anew: the limit
    /// may have been changed, and for a job that was suspended it moves on.
    pub fn is_over(&self) -> bool {
        let is_near = || {
            self.left()
                .is_some_and(|left| left < self.margin.mul_f64(LAST_SHARE))
        };
        is_near() && {
            self.ask_briefly();
            is_near()
        }
    }

    /// Whether the limit was passed, so that Slurm ends the job for it; asks Slurm.
    pub fn has_run_out(&self) -> bool {
        self.ask_briefly();
        self.left().is_some_and(|left| left.is_zero())
    }

    fn ask_briefly(&self) {
        let slurm = Slurm {
            patience: LAST_PATIENCE,
            ..self.slurm.clone()
        };
        self.known.ask(&slurm, &self.id);
    }
}

impl Drop for Walltime {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(watcher) = self.watcher.take() {
            watcher.thread().unpark();
            // It may be waiting for Slurm; nobody waits for it.
            drop(watcher);
        }
    }
}

impl Known {
    /// Learns the end; without an answer the last one stands.
    fn ask(&self, slurm: &Slurm, id: &JobId) {
        let answer = slurm.jobs(std::slice::from_ref(id));
        self.is_silent.store(answer.is_err(), Ordering::Relaxed);
        let Some(job) = answer.unwrap_or_default().into_iter().next() else {
            return;
        };
        let end = job.left_s.map(|left| Instant::now() + Duration::from_secs(left));
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = end;
    }
}

/// A time in whole seconds, as `1h 2m 3s`.
fn whole(time: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(time.as_secs()))
}
