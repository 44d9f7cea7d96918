//! Submits a job and asks after it, in a thread of its own: Slurm may take its time, a driver may not.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::judge::Sight;
use super::staged::{Record, Staged};
use crate::executor::slurm::{Job, JobId, Phase, Slurm, SlurmError, Submission, SubmitError, submit_unless};
use crate::store::runs::Journal;

/// The first look comes so long after the submission; the next ones ever later, up to the poll interval.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// What the worker knows by now.
#[derive(Debug, Default)]
pub(in crate::executor) struct Known {
    /// The job's id, once it has one.
    pub(in crate::executor) id: Option<JobId>,
    /// Why there is no job.
    pub(in crate::executor) refused: Option<SubmitError>,
    /// What Slurm said last.
    pub(in crate::executor) sight: Sight,
    /// What people should hear.
    pub(in crate::executor) news: VecDeque<String>,
    told: String,
    silent: bool,
}

/// What driver and worker share.
#[derive(Debug, Default)]
pub(in crate::executor) struct Shared {
    known: Mutex<Known>,
    stop: AtomicBool,
    hurry: AtomicBool,
}

impl Shared {
    /// What is known.
    pub(in crate::executor) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// What is to be submitted.
pub(super) struct Order {
    pub(super) journal: Journal,
    pub(super) submission: Submission,
    pub(super) record: Record,
}

/// The worker of one job, as the driver sees it. Its thread ends by itself, soon after it is dropped.
pub(in crate::executor) struct Worker {
    shared: Arc<Shared>,
    thread: std::thread::Thread,
}

impl Worker {
    /// Watches the job of this tag, which is submitted before if there is an order.
    pub(super) fn start(
        slurm: Slurm,
        staged: Staged,
        order: Option<Order>,
        poll: Duration,
        id: Option<JobId>,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        shared.known().id = id;
        let thread = {
            let shared = Arc::clone(&shared);
            let work = move || {
                if let Some(order) = order
                    && !place(&slurm, &shared, &staged, order, poll)
                {
                    return;
                }
                watch(&slurm, &shared, staged.tag(), poll);
            };
            std::thread::spawn(work).thread().clone()
        };
        Self { shared, thread }
    }

    /// Watches a job of this name that something else submits.
    pub(in crate::executor) fn watch(slurm: Slurm, name: &str, poll: Duration) -> Self {
        Self::start(slurm, Staged::new(Path::new(""), name), None, poll, None)
    }

    /// What it knows.
    pub(in crate::executor) fn known(&self) -> MutexGuard<'_, Known> {
        self.shared.known()
    }

    /// Asks for a look now.
    pub(in crate::executor) fn hurry(&self) {
        if !self.shared.hurry.swap(true, Ordering::Relaxed) {
            self.thread.unpark();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.unpark();
    }
}

/// Submits; whether there is a job to watch.
fn place(slurm: &Slurm, shared: &Shared, staged: &Staged, order: Order, poll: Duration) -> bool {
    let Order {
        journal,
        submission,
        mut record,
    } = order;
    let end = Instant::now() + submission.patience;
    loop {
        let mut tell = |text| shared.known().news.push_back(text);
        let submitted = submit_unless(slurm, &journal, &submission, &|| shared.is_stopped(), &mut tell);
        match submitted {
            Ok(id) => {
                record.id = Some(id.clone());
                // The folder may be gone, if nobody waits any more.
                let _ = record.write(staged.folder());
                if shared.is_stopped() {
                    // Told to stop in the meantime. Should this fail, the job ends by itself as soon as it starts.
                    let _ = slurm.cancel_named(staged.tag());
                    return false;
                }
                let mut known = shared.known();
                known.news.push_back(format!("the trial is Slurm's job {id}"));
                known.id = Some(id);
                return true;
            }
            Err(SubmitError::Slurm(error @ SlurmError::ForNow { .. })) if Instant::now() < end => {
                let mut known = shared.known();
                let text = error.to_string();
                if known.told != text {
                    known.told.clone_from(&text);
                    known.news.push_back(text);
                }
                drop(known);
                std::thread::park_timeout(poll);
                if shared.is_stopped() {
                    return false;
                }
            }
            Err(error) => {
                shared.known().refused = Some(error);
                return false;
            }
        }
    }
}

/// Looks until told to stop.
fn watch(slurm: &Slurm, shared: &Shared, tag: &str, poll: Duration) {
    let mut pause = FIRST_LOOK.min(poll);
    loop {
        let hurry = shared.hurry.swap(false, Ordering::Relaxed);
        if !hurry {
            // Drivers that were started together are not to ask together.
            std::thread::park_timeout(pause.mul_f64(jitter()));
            pause = (pause * 2).min(poll);
        }
        if shared.is_stopped() {
            return;
        }
        look(slurm, shared, tag);
        if hurry {
            std::thread::park_timeout(FIRST_LOOK.min(poll));
        }
    }
}

/// A factor around one.
fn jitter() -> f64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let nanos = now.map_or(0, |d| d.subsec_nanos()) ^ std::process::id();
    0.8 + f64::from(nanos % 1000) * 0.0004
}

/// One question to Slurm, two where it forgot the job.
fn look(slurm: &Slurm, shared: &Shared, tag: &str) {
    let answer = slurm.named(&[tag.to_owned()]);
    let is_gone = answer.as_ref().is_ok_and(Vec::is_empty);
    let accounted = if is_gone {
        // Accounting may be absent.
        slurm.accounted(tag).ok().and_then(|jobs| jobs.into_iter().next())
    } else {
        None
    };
    let mut known = shared.known();
    match answer {
        Ok(jobs) => {
            known.silent = false;
            let job = jobs.into_iter().max_by_key(|job| job.state.is_alive());
            if let Some(job) = &job {
                known.id.get_or_insert_with(|| job.array.clone());
                let text = in_words(job);
                if known.told != text {
                    known.told.clone_from(&text);
                    known.news.push_back(text);
                }
            }
            known.sight.accounted = accounted.map(|(_, state)| state);
            known.sight.see(job, Instant::now());
        }
        Err(error) if !known.silent => {
            known.silent = true;
            known
                .news
                .push_back(format!("{error}; what became of job {tag} is asked again later"));
        }
        Err(_) => {}
    }
}

/// What people should hear of a job's state.
fn in_words(job: &Job) -> String {
    let id = &job.id;
    match job.state.phase() {
        Phase::Waiting if job.reason.contains("held") || job.reason.contains("Held") => {
            let reason = &job.reason;
            format!("job {id} is held ({reason}); `scontrol release {id}` lets it go")
        }
        // These two come and go.
        Phase::Waiting if matches!(job.reason.as_str(), "None" | "Priority" | "Resources") => {
            format!("job {id} waits for its turn")
        }
        Phase::Waiting => format!("job {id} waits ({})", job.reason),
        Phase::Running if job.state.as_str() == "RUNNING" => format!("job {id} runs on {}", job.nodes),
        _ => format!("job {id} is {}", job.state.as_str()),
    }
}
