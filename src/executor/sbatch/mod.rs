//! Each command as a Slurm job of its own: for drivers that run where no load should.
//!
//! A job is done when its exit status lies in the staging folder; Slurm is asked now and then whether it still lives, and
//! why it does not. `slurm.json` in the folder names the job before it is submitted, so that a driver that is started
//! again finds it.

mod abandon;
mod judge;
mod script;
mod staged;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub(super) use abandon::abandon;
pub use script::TrialScript;

use judge::{Ruling, judge};
use script::Left;
pub(super) use staged::Record;
use staged::Staged;
pub(super) use worker::Worker;

use worker::Order;

use super::slurm::{Batch, Phase, Slurm, SlurmError, State, Submission};
use super::{Executor, ExecutorError, Exit, Running};
use crate::loadgen::Command;
use crate::store::FOLDER_VARIABLE;
use crate::store::runs::{Journal, Note, RunDir, RunError};

/// How long a submission is tried while Slurm does not answer, or is full.
const PATIENCE: Duration = Duration::from_mins(15);
/// How long Slurm may take to cancel a job when everything is to stop.
const CANCEL_PATIENCE: Duration = Duration::from_secs(10);
/// How often a staging folder is looked into for an exit status.
const LOOK: Duration = Duration::from_millis(200);

/// The script of a trial's job, as sbatch takes it.
pub type Render = Box<dyn Fn(&TrialScript) -> Result<String, String> + Send>;

/// Slurm jobs.
pub struct Sbatch {
    slurm: Slurm,
    journal: Journal,
    /// Beginning of the jobs' names.
    prefix: String,
    count: AtomicU32,
    poll: Duration,
    render: Render,
}

impl Sbatch {
    /// Submits jobs named `<prefix><n>`, where `n` goes on from what the run's journal has. `writer` names our journal,
    /// `poll` is the pause between two questions to Slurm, `render` makes the script.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn new(
        slurm: Slurm,
        run: &RunDir,
        writer: Option<&str>,
        prefix: &str,
        poll: Duration,
        render: Render,
    ) -> Result<Self, RunError> {
        let used = Journal::read_all(run.path())?
            .into_iter()
            .filter_map(|line| line.tag.strip_prefix(prefix)?.parse::<u32>().ok())
            .max();
        Ok(Self {
            slurm,
            journal: run.journal(writer),
            prefix: prefix.to_owned(),
            count: AtomicU32::new(used.unwrap_or(0)),
            poll,
            render,
        })
    }

    /// Writes everything that the job needs.
    fn stage(&self, command: &Command) -> Result<(Staged, Record), String> {
        let io = |error: std::io::Error| error.to_string();
        let n = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let folder = folder_of(command).ok_or("the command names no folder of its own")?;
        let staged = Staged::new(&folder, &format!("{}{n}", self.prefix));
        let argv: Vec<String> = command
            .argv
            .iter()
            .map(|word| {
                let text = word.to_str().map(str::to_owned);
                text.ok_or_else(|| format!("`{}` is not UTF-8", word.to_string_lossy()))
            })
            .collect::<Result<_, _>>()?;
        let program = argv.first().ok_or("the command is empty")?.clone();
        let cwd = match &command.cwd {
            Some(cwd) => std::path::absolute(cwd).map_err(io)?,
            None => std::env::current_dir().map_err(io)?,
        };
        let log = std::path::absolute(&command.log).map_err(io)?;
        let wrapper = script::wrapper(&staged, &argv, &cwd.to_string_lossy(), &log.to_string_lossy());
        fs_err::write(staged.wrapper(), wrapper).map_err(io)?;
        staged
            .write_variables(&script::variables(&command.env)?)
            .map_err(io)?;
        let text = (self.render)(&TrialScript {
            tag: staged.tag().to_owned(),
            argv: vec![
                "/bin/sh".to_owned(),
                staged.wrapper().to_string_lossy().into_owned(),
            ],
            env_file: staged.variables(),
            cwd,
            log: log.clone(),
            done_file: staged.done(),
        })?;
        fs_err::write(staged.script(), text).map_err(io)?;
        let record = Record {
            schema: 1,
            tag: staged.tag().to_owned(),
            id: None,
            log,
            program,
            timeout_s: command.timeout.map(|limit| limit.as_secs_f64()),
            by_srun: false,
        };
        record.write(&folder).map_err(|e| e.to_string())?;
        Ok((staged, record))
    }

    fn running(&self, staged: Staged, record: &Record, order: Option<Order>) -> SbatchRunning {
        let worker = Worker::start(
            self.slurm.clone(),
            staged.clone(),
            order,
            self.poll,
            record.id.clone(),
        );
        SbatchRunning {
            staged,
            log: record.log.clone(),
            timeout: record.timeout(),
            journal: self.journal.clone(),
            slurm: self.slurm.clone(),
            worker: Some(worker),
            left: None,
            looked: None,
            over: None,
        }
    }
}

/// The staging folder that a command works in.
pub(super) fn folder_of(command: &Command) -> Option<PathBuf> {
    let named = command.env.iter().find(|(name, _)| name == FOLDER_VARIABLE);
    match named {
        Some((_, folder)) => Some(PathBuf::from(folder)),
        None => command.log.parent().map(Path::to_owned),
    }
}

/// A path in an option that Slurm fills in patterns such as `%j` of.
fn literal(path: &Path) -> String {
    path.to_string_lossy().replace('%', "%%")
}

impl Executor for Sbatch {
    fn start(&self, command: &Command) -> Result<Box<dyn Running>, ExecutorError> {
        let program = || {
            command
                .argv
                .first()
                .map_or_else(String::new, |p| p.to_string_lossy().into_owned())
        };
        let (staged, record) = self.stage(command).map_err(|why| ExecutorError::Staging {
            program: program(),
            why,
        })?;
        let order = Order {
            journal: self.journal.clone(),
            submission: Submission {
                tag: staged.tag().to_owned(),
                batch: Batch {
                    script: staged.script(),
                    options: vec![
                        "--no-requeue".to_owned(),
                        format!("--output={}", literal(&record.log)),
                        "--open-mode=append".to_owned(),
                    ],
                    arguments: Vec::new(),
                },
                patience: PATIENCE,
            },
            record: record.clone(),
        };
        Ok(Box::new(self.running(staged, &record, Some(order))))
    }

    fn attaches(&self) -> bool {
        true
    }

    fn abandon(&self, folder: &Path, interrupted: &dyn Fn() -> bool) -> Result<(), ExecutorError> {
        abandon(&self.slurm, folder, interrupted)
    }

    fn tidy(&self, folder: &Path) {
        // The script and `slurm.json` stay: they say how the trial was run.
        if let Some(record) = Record::read(folder) {
            let staged = Staged::new(folder, &record.tag);
            for path in [staged.wrapper(), staged.done(), staged.variables()] {
                // A template may not have left every one of them.
                let _ = std::fs::remove_file(path);
            }
        }
    }

    fn attach(&self, folder: &Path) -> Option<Box<dyn Running>> {
        let record = Record::read(folder)?;
        let staged = Staged::new(folder, &record.tag);
        let is_whole = match staged.left() {
            Some(left) => left == Left::Status(0, false),
            None if !staged.is_awaited() => false,
            None => match self.slurm.named(std::slice::from_ref(&record.tag)) {
                // One that just ended: its exit status is on its way.
                Ok(jobs) => jobs
                    .iter()
                    .any(|job| job.state.is_alive() || job.state.phase() == Phase::Done),
                // It may live, and will be asked after.
                Err(SlurmError::NoAnswer { .. }) => true,
                Err(_) => false,
            },
        };
        if !is_whole {
            return None;
        }
        if let Some(id) = &record.id {
            // So that `mst status` and `mst cancel` of this run know it. A full disk shows elsewhere.
            let _ = self.journal.note(&record.tag, &Note::Found { id: id.clone() });
        }
        Some(Box::new(self.running(staged, &record, None)))
    }
}

/// A command that is a job.
struct SbatchRunning {
    staged: Staged,
    log: PathBuf,
    timeout: Option<Duration>,
    journal: Journal,
    slurm: Slurm,
    /// Until the job is over.
    worker: Option<Worker>,
    left: Option<(Left, Instant)>,
    looked: Option<Instant>,
    over: Option<Exit>,
}

impl SbatchRunning {
    /// What the job left, looked for now and then.
    fn look(&mut self) -> Option<(Left, Instant)> {
        if self.left.is_none() && self.looked.is_none_or(|at| at.elapsed() >= LOOK) {
            let now = Instant::now();
            self.looked = Some(now);
            self.left = self.staged.left().map(|left| (left, now));
        }
        self.left
    }

    /// Nobody waits for the job any more.
    fn let_go(&mut self) {
        self.worker = None;
        self.staged.let_go();
    }
}

impl Running for SbatchRunning {
    fn poll(&mut self) -> Result<Option<Exit>, ExecutorError> {
        let left = self.look();
        let Some(worker) = &self.worker else {
            return Ok(self.over);
        };
        let mut known = worker.known();
        if let Some(error) = known.refused.take() {
            drop(known);
            self.let_go();
            return Err(ExecutorError::Submit(error));
        }
        let name = known
            .id
            .as_ref()
            .map_or(self.staged.tag(), |id| id.as_str())
            .to_owned();
        let ruling = judge(left, &known.sight, self.timeout, Instant::now());
        drop(known);
        match ruling {
            Ruling::GoOn => Ok(None),
            Ruling::Ask => {
                worker.hurry();
                Ok(None)
            }
            Ruling::Ended(exit) => {
                self.over = Some(exit);
                self.let_go();
                Ok(self.over)
            }
            Ruling::TooLong => {
                self.kill();
                self.over = Some(Exit::TimedOut);
                Ok(self.over)
            }
            Ruling::Void(why) => {
                self.kill();
                let end =
                    last_line(&self.log).map_or_else(String::new, |line| format!("; its log ends: {line}"));
                Err(ExecutorError::Job {
                    id: name,
                    what: format!("{why}{end}"),
                })
            }
        }
    }

    fn pids(&self) -> Vec<i32> {
        Vec::new()
    }

    fn news(&mut self) -> Option<String> {
        self.worker.as_ref()?.known().news.pop_front()
    }

    fn kill(&mut self) {
        let Some(worker) = self.worker.take() else {
            return;
        };
        let (id, is_over) = {
            let known = worker.known();
            let is_over = |state: &State| !state.is_alive();
            let over = known.sight.job.as_ref().is_some_and(|job| is_over(&job.state));
            (known.id.clone(), over)
        };
        drop(worker);
        self.let_go();
        if is_over {
            return;
        }
        let slurm = Slurm {
            patience: CANCEL_PATIENCE.min(self.slurm.patience),
            ..self.slurm.clone()
        };
        // Without an answer the job ends by itself, because its file of variables is gone.
        if slurm.cancel_named(self.staged.tag()).is_ok()
            && let Some(id) = id
        {
            // A full disk shows elsewhere.
            let _ = self.journal.note(self.staged.tag(), &Note::Cancelled { id });
        }
    }
}

impl Drop for SbatchRunning {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last line of a log that says something.
fn last_line(log: &Path) -> Option<String> {
    let bytes = std::fs::read(log).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
    Some(line.trim().to_owned())
}
