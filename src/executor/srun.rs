//! Commands by `srun`: as a step of the job that this process runs in, else each as a small job of its own.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::local::{LocalRunning, spawn};
use super::sbatch::{Record, Worker, abandon, folder_of};
use super::slurm::{Slurm, environment_is_ours};
use super::{Executor, ExecutorError, Exit, Running};
use crate::loadgen::Command;

/// How long srun has to end its step after SIGTERM: it must reach the controller and the node.
const GRACE: Duration = Duration::from_secs(15);
/// Which GPUs the job has: the server's, not the load generator's.
const GPUS: [&str; 4] = [
    "CUDA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
];

/// Steps within our own job, or small jobs.
pub struct Srun {
    options: Vec<String>,
    prefix: String,
    slurm: Slurm,
    poll: Duration,
    count: AtomicU32,
    is_in_job: bool,
}

impl Srun {
    /// Runs commands with these options of srun beside ours, as steps, or jobs, named `<prefix><n>`. `poll` is the pause
    /// between two questions to Slurm about a job.
    pub fn new(slurm: Slurm, options: Vec<String>, prefix: &str, poll: Duration) -> Self {
        Self {
            options,
            prefix: prefix.to_owned(),
            slurm,
            poll,
            count: AtomicU32::new(0),
            is_in_job: std::env::var_os("SLURM_JOB_ID").is_some(),
        }
    }

    /// srun and its options.
    fn head(&self, name: &str) -> Vec<String> {
        let ours = [
            "srun",
            "--nodes=1",
            "--ntasks=1",
            // Nothing is typed, nothing is held back, and nothing of the environment is.
            "--input=none",
            "--unbuffered",
            "--export=ALL",
            "--kill-on-bad-exit=1",
        ];
        let mut argv: Vec<String> = ours.map(str::to_owned).to_vec();
        if self.is_in_job {
            // Beside the server, on its node.
            argv.push("--overlap".to_owned());
        }
        argv.push(format!("--job-name={name}"));
        argv.extend(self.options.iter().cloned());
        argv
    }

    /// Variables that are not to reach srun.
    fn removed(&self) -> Vec<String> {
        let has_memory = self.options.iter().any(|option| option.starts_with("--mem"));
        let is_removed = |name: &String| {
            if self.is_in_job {
                // What `sbatch --export=NONE` leaves would strip the step of everything, PATH too.
                name == "SLURM_EXPORT_ENV"
                    || GPUS.contains(&name.as_str())
                    // Only one kind of memory limit is allowed, and an option is one.
                    || has_memory && name.starts_with("SLURM_MEM_PER_")
            } else {
                !environment_is_ours(name) || GPUS.contains(&name.as_str())
            }
        };
        std::env::vars_os()
            .filter_map(|(name, _)| name.into_string().ok())
            .filter(is_removed)
            .collect()
    }
}

impl Executor for Srun {
    fn start(&self, command: &Command) -> Result<Box<dyn Running>, ExecutorError> {
        let n = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let name = format!("{}{n}", self.prefix);
        let mut stepped = command.clone();
        let mut argv: Vec<std::ffi::OsString> = self.head(&name).into_iter().map(Into::into).collect();
        // Slurm sets them again on the node, whatever srun was given.
        argv.push("env".into());
        argv.extend(GPUS.iter().map(|gpu| format!("--unset={gpu}").into()));
        argv.append(&mut stepped.argv);
        stepped.argv = argv;
        stepped.timeout = None;
        stepped.env.extend(self.slurm.environment.iter().cloned());
        if !self.is_in_job
            && let Some(folder) = folder_of(command)
        {
            // A job of its own may outlive an srun that was killed with all it started.
            Record::note_srun(&folder, &name, command).map_err(|why| ExecutorError::Staging {
                program: name.clone(),
                why: why.to_string(),
            })?;
        }
        let inner = spawn(&stepped, &self.removed(), GRACE)?;
        let worker = (!self.is_in_job).then(|| Worker::watch(self.slurm.clone(), &name, self.poll));
        Ok(Box::new(SrunRunning {
            inner,
            began: worker.is_none().then(Instant::now),
            worker,
            timeout: command.timeout,
        }))
    }

    fn abandon(&self, folder: &Path, interrupted: &dyn Fn() -> bool) -> Result<(), ExecutorError> {
        abandon(&self.slurm, folder, interrupted)
    }
}

/// A command that runs under srun.
struct SrunRunning {
    inner: LocalRunning,
    /// When it began to run, as opposed to wait.
    began: Option<Instant>,
    /// Tells when it began, and what it waits for.
    worker: Option<Worker>,
    timeout: Option<Duration>,
}

impl Running for SrunRunning {
    fn poll(&mut self) -> Result<Option<Exit>, ExecutorError> {
        if let Some(exit) = self.inner.poll()? {
            // srun ends as a shell does.
            return Ok(Some(match exit {
                Exit::Code(status) if status > 128 => Exit::Signal(status - 128),
                exit => exit,
            }));
        }
        if self.began.is_none() {
            self.began = self
                .worker
                .as_ref()
                .and_then(|worker| worker.known().sight.running_since);
        }
        if let (Some(began), Some(limit)) = (self.began, self.timeout)
            && began.elapsed() >= limit
        {
            self.inner.kill();
            return Ok(Some(Exit::TimedOut));
        }
        Ok(None)
    }

    fn pids(&self) -> Vec<i32> {
        self.inner.pids()
    }

    fn news(&mut self) -> Option<String> {
        self.worker.as_ref()?.known().news.pop_front()
    }

    fn kill(&mut self) {
        self.inner.kill();
    }
}
