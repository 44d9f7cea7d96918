//! Ways to get the wrapper to where the server is to run.

use std::path::{Path, PathBuf};

use super::ServerError;
use super::files::{Folder, Order, tail, tells_of_memory};
use super::job::{JobLauncher, JobWatch};
use crate::executor::local::Local;
use crate::executor::{Executor, Exit, Running};
use crate::loadgen::Command;

/// A way to start the wrapper.
pub struct Launcher {
    how: How,
}

enum How {
    /// Beside the driver.
    Child,
    /// By `srun` with these options.
    Step(Vec<String>),
    /// As a job of its own.
    Job(JobLauncher),
}

/// What a launched wrapper does, as far as can be told from outside.
pub(super) enum Standing {
    /// It has not been started yet; why.
    Waiting(String),
    /// Nothing is known against it.
    Alive,
    /// It is gone.
    Over {
        /// How, as the rest of a sentence that begins with the server.
        why: String,
        /// Whether the cluster took it away.
        lost: bool,
    },
}

/// A launched wrapper.
pub(super) enum Launched {
    /// A process beside us, the wrapper itself or `srun`.
    Process {
        running: Box<dyn Running>,
        program: String,
        log: PathBuf,
    },
    /// A job.
    Job(JobWatch),
}

impl Launcher {
    /// As a child of the driver.
    pub fn child() -> Self {
        Self { how: How::Child }
    }

    /// As a job step, with these options of `srun`.
    pub fn step(options: Vec<String>) -> Self {
        Self {
            how: How::Step(options),
        }
    }

    /// As a job of its own.
    pub fn job(launcher: JobLauncher) -> Self {
        Self {
            how: How::Job(launcher),
        }
    }

    /// Starts the wrapper for an order that has been placed. `secrets` are variables for the server's environment.
    pub(super) fn launch(
        &self,
        program: &Path,
        folder: &Folder,
        order: &Order,
        secrets: &[(String, String)],
    ) -> Result<Launched, ServerError> {
        let mut argv: Vec<String> = Vec::new();
        if let How::Step(options) = &self.how {
            argv.push("srun".to_owned());
            argv.extend(options.iter().cloned());
        }
        let name = |path: &Path| path.to_string_lossy().into_owned();
        argv.extend([name(program), "host".to_owned(), name(folder.path())]);
        argv.push(format!("--token={}", order.token));
        if let How::Job(launcher) = &self.how {
            return Ok(Launched::Job(launcher.launch(folder, order, argv)?));
        }
        if matches!(self.how, How::Child) {
            argv.push("--die-with-parent".to_owned());
        }
        let log = folder.launch_log(order.number);
        let command = Command {
            argv: argv.iter().map(Into::into).collect(),
            env: secrets.to_vec(),
            cwd: Some(order.cwd.clone()),
            log: log.clone(),
            timeout: None,
        };
        let running = Local
            .start(&command)
            .map_err(|e| ServerError::Failed(format!("the server cannot be launched: {e}")))?;
        Ok(Launched::Process {
            running,
            program: if matches!(self.how, How::Step(_)) {
                "srun".to_owned()
            } else {
                "its wrapper".to_owned()
            },
            log,
        })
    }
}

impl Launched {
    /// What it does now.
    pub(super) fn standing(&mut self) -> Standing {
        match self {
            Self::Job(watch) => watch.standing(),
            Self::Process {
                running,
                program,
                log,
            } => match running.poll() {
                Ok(None) => Standing::Alive,
                Ok(Some(exit)) => Standing::Over {
                    why: process_end(program, exit, &tail(log, 5)),
                    lost: false,
                },
                Err(error) => Standing::Over {
                    why: format!("is lost: {error}"),
                    lost: false,
                },
            },
        }
    }

    /// Whether asking for its standing costs a question to Slurm.
    pub(super) fn is_job(&self) -> bool {
        matches!(self, Self::Job(_))
    }

    /// Ends it by force.
    pub(super) fn kill(&mut self) {
        match self {
            Self::Job(watch) => watch.cancel(),
            Self::Process { running, .. } => running.kill(),
        }
    }
}

/// How the end of a launcher is told; `said` is the end of its output.
fn process_end(program: &str, exit: Exit, said: &str) -> String {
    if tells_of_memory(said) {
        return format!("ran out of memory: {program} said\n{said}");
    }
    let how = match exit {
        Exit::Code(code) => format!("status {code}"),
        Exit::Signal(signal) => format!("signal {signal}"),
        Exit::TimedOut => "its time limit".to_owned(),
    };
    if said.is_empty() {
        format!("is gone: {program} ended with {how}")
    } else {
        format!("is gone: {program} ended with {how} and said\n{said}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_memory_is_read_from_what_srun_says() {
        for said in [
            "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=3.0.",
            "slurmstepd: error: Step 3.0 exceeded memory limit (214 > 100), being killed",
        ] {
            assert!(process_end("srun", Exit::Code(137), said).starts_with("ran out of memory"));
        }
        let gone = process_end("srun", Exit::Signal(9), "");
        assert_eq!(gone, "is gone: srun ended with signal 9");
    }
}
