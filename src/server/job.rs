//! A server that is a job of its own.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::ServerError;
use super::files::{Folder, Order, tail, tells_of_memory};
use super::launch::Standing;
use crate::executor::slurm::{self, Batch, Job, JobId, Phase, Slurm, Submission};
use crate::store::runs::{Journal, RunDir};

/// What the script of a server's job is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobScript {
    /// The job's name.
    pub tag: String,
    /// The command that the script ends with.
    pub argv: Vec<String>,
    /// Working folder.
    pub cwd: PathBuf,
    /// Where Slurm writes what the job prints.
    pub log: PathBuf,
}

/// Makes the script of a server's job.
pub(super) type MakeScript = Box<dyn Fn(&JobScript) -> Result<String, String>>;

/// Submits the jobs of servers.
pub struct JobLauncher {
    /// The way to Slurm.
    pub slurm: Slurm,
    /// The run that they belong to.
    pub run: RunDir,
    /// Names of its jobs begin so.
    pub tag: String,
    /// Where submissions are noted.
    pub journal: Journal,
    /// Makes their scripts.
    pub script: MakeScript,
    /// Pause between two questions to Slurm.
    pub poll: Duration,
    /// How long a submission is tried while the controller does not answer.
    pub patience: Duration,
}

/// How long after its submission a job may be unknown to Slurm.
const UNKNOWN: Duration = Duration::from_mins(1);

impl JobLauncher {
    pub(super) fn launch(
        &self,
        folder: &Folder,
        order: &Order,
        argv: Vec<String>,
    ) -> Result<JobWatch, ServerError> {
        let tag = self.run.new_tag(&self.tag, "s")?;
        let text = (self.script)(&JobScript {
            tag: tag.clone(),
            argv,
            cwd: order.cwd.clone(),
            log: folder.launch_log(order.number),
        })
        .map_err(ServerError::Script)?;
        let script = folder.script(order.number);
        fs_err::write(&script, text).map_err(crate::store::StoreError::from)?;
        let submission = Submission {
            tag: tag.clone(),
            batch: Batch {
                script,
                options: Vec::new(),
                arguments: Vec::new(),
            },
            patience: self.patience,
        };
        let id = slurm::submit(&self.slurm, &self.journal, &submission)?;
        Ok(JobWatch {
            slurm: self.slurm.clone(),
            poll: self.poll,
            tag,
            log: folder.launch_log(order.number),
            reason: format!("job {id} is submitted"),
            id,
            asked: None,
            known: Instant::now(),
            phase: Phase::Waiting,
            over: None,
        })
    }
}

/// Watches a job by its name: one question a poll interval.
pub(super) struct JobWatch {
    slurm: Slurm,
    poll: Duration,
    tag: String,
    id: JobId,
    /// What the job prints.
    log: PathBuf,
    asked: Option<Instant>,
    /// When Slurm last knew it.
    known: Instant,
    phase: Phase,
    reason: String,
    over: Option<(String, bool)>,
}

impl JobWatch {
    /// What the job does. Between two questions the last answer holds.
    pub(super) fn standing(&mut self) -> Standing {
        if self.over.is_none() && self.asked.is_none_or(|at| at.elapsed() >= self.poll) {
            self.asked = Some(Instant::now());
            // No answer says nothing about the job.
            if let Ok(rows) = self.slurm.named(std::slice::from_ref(&self.tag)) {
                self.learn(&rows);
            }
        }
        match &self.over {
            Some((why, lost)) => Standing::Over {
                why: why.clone(),
                lost: *lost,
            },
            None if self.phase == Phase::Waiting => Standing::Waiting(self.reason.clone()),
            None => Standing::Alive,
        }
    }

    fn learn(&mut self, rows: &[Job]) {
        // Of several (a submission in doubt that went through twice) the one that lives.
        let row = rows.iter().find(|row| row.state.is_alive()).or(rows.first());
        let Some(row) = row else {
            if self.known.elapsed() >= UNKNOWN.max(2 * self.poll) {
                let why = format!("is gone: Slurm no longer knows its job {}", self.id);
                self.over = Some((why, true));
            }
            return;
        };
        self.known = Instant::now();
        self.phase = row.state.phase();
        let (id, state, reason) = (&self.id, row.state.as_str(), &row.reason);
        match self.phase {
            Phase::Waiting => self.reason = format!("job {id} is {state} ({reason})"),
            Phase::Running | Phase::Unknown => {}
            Phase::Done | Phase::Failed | Phase::Lost => {
                let said = tail(&self.log, 5);
                let why = match state {
                    "FAILED" | "COMPLETED" if tells_of_memory(&said) => {
                        format!("ran out of memory: its job {id} ended as {state} and said\n{said}")
                    }
                    "OUT_OF_MEMORY" => format!("ran out of memory: its job {id} ended as OUT_OF_MEMORY"),
                    "TIMEOUT" => format!("was ended at the time limit of its job {id} (TIMEOUT)"),
                    "CANCELLED" => format!("is gone: somebody cancelled its job {id}"),
                    _ => format!("is gone: its job {id} ended as {state} ({reason})"),
                };
                self.over = Some((why, self.phase == Phase::Lost));
            }
        }
    }

    /// Cancels the job.
    pub(super) fn cancel(&mut self) {
        // It ends by itself when its driver gives no signs of life.
        let _ = self.slurm.cancel(std::slice::from_ref(&self.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::slurm::State;

    fn row(state: &str, reason: &str) -> Job {
        let id = JobId::parse("17").unwrap();
        Job {
            id: id.clone(),
            array: id,
            task: None,
            state: State::parse(state),
            nodes: String::new(),
            left_s: None,
            end: None,
            start: None,
            reason: reason.to_owned(),
            name: "mst-1-s1".to_owned(),
        }
    }

    fn watch() -> JobWatch {
        JobWatch {
            slurm: Slurm::default(),
            poll: Duration::from_secs(30),
            tag: "mst-1-s1".to_owned(),
            log: PathBuf::from("/nowhere/log"),
            id: JobId::parse("17").unwrap(),
            // Asked just now: nothing more is asked.
            asked: Some(Instant::now()),
            known: Instant::now(),
            phase: Phase::Waiting,
            reason: String::new(),
            over: None,
        }
    }

    #[test]
    fn states_become_words() {
        let mut waiting = watch();
        waiting.learn(&[row("PENDING", "Resources")]);
        assert!(
            matches!(waiting.standing(), Standing::Waiting(why) if why == "job 17 is PENDING (Resources)")
        );
        waiting.learn(&[row("RUNNING", "None")]);
        assert!(matches!(waiting.standing(), Standing::Alive));
        waiting.learn(&[row("FROBNICATING", "None")]);
        assert!(
            matches!(waiting.standing(), Standing::Alive),
            "an unknown word is alive"
        );
        for (state, words, was_lost) in [
            ("OUT_OF_MEMORY", "ran out of memory", false),
            ("NODE_FAIL", "ended as NODE_FAIL", true),
            ("PREEMPTED", "ended as PREEMPTED", true),
            ("TIMEOUT", "time limit", false),
        ] {
            let mut watch = watch();
            watch.learn(&[row("FAILED", "x"), row("RUNNING", "")]);
            assert!(
                matches!(watch.standing(), Standing::Alive),
                "the one that lives counts"
            );
            watch.learn(&[row(state, "None")]);
            assert!(
                matches!(watch.standing(), Standing::Over { why, lost } if why.contains(words) && lost == was_lost)
            );
        }
    }

    #[test]
    fn a_job_that_is_not_known_yet_is_waited_for() {
        let mut watch = watch();
        watch.learn(&[]);
        assert!(matches!(watch.standing(), Standing::Waiting(_)));
        watch.known = Instant::now().checked_sub(Duration::from_secs(61)).unwrap();
        watch.learn(&[]);
        assert!(matches!(watch.standing(), Standing::Over { lost: true, .. }));
    }
}
