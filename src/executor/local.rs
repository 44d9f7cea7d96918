//! Runs a command on this machine, in a process group of its own.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::{Executor, ExecutorError, Exit, Running};
use crate::loadgen::Command;

/// How long a command has to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// This machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Local;

impl Executor for Local {
    fn start(&self, command: &Command) -> Result<Box<dyn Running>, ExecutorError> {
        Ok(Box::new(spawn(command, &[], GRACE)?))
    }
}

/// Starts a command without these variables of our environment; it has `grace` to end after SIGTERM.
pub(super) fn spawn(
    command: &Command,
    removed: &[String],
    grace: Duration,
) -> Result<LocalRunning, ExecutorError> {
    let program = command
        .argv
        .first()
        .map_or_else(String::new, |p| p.to_string_lossy().into_owned());
    let start = |source| ExecutorError::Start {
        program: program.clone(),
        source,
    };
    let (head, arguments) = command.argv.split_first().ok_or_else(|| {
        start(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "the command is empty",
        ))
    })?;
    let log = fs_err::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&command.log)
        .map_err(start)?;
    let mut expression = duct::cmd(head, arguments)
        .stdin_null()
        // In this order: what is said last is done first, and stderr is to follow stdout into the log.
        .stderr_to_stdout()
        .stdout_file(log.into_parts().0)
        .unchecked()
        // A group of its own: what it starts is ended with it, and a Ctrl-C reaches only us.
        .before_spawn(|child| {
            child.process_group(0);
            Ok(())
        });
    for (name, value) in &command.env {
        expression = expression.env(name, value);
    }
    for name in removed {
        expression = expression.env_remove(name);
    }
    if let Some(folder) = &command.cwd {
        expression = expression.dir(folder);
    }
    let handle = expression.start().map_err(start)?;
    let deadline = command.timeout.map(|limit| Instant::now() + limit);
    Ok(LocalRunning {
        handle,
        program,
        deadline,
        grace,
        timed_out: false,
    })
}

/// A command that runs on this machine.
pub(super) struct LocalRunning {
    handle: duct::Handle,
    program: String,
    deadline: Option<Instant>,
    grace: Duration,
    timed_out: bool,
}

impl LocalRunning {
    fn signal(&self, signal: Signal) {
        for pid in self.pids() {
            // Gone already: nothing to signal.
            let _ = killpg(Pid::from_raw(pid), signal);
        }
    }
}

impl Running for LocalRunning {
    fn poll(&mut self) -> Result<Option<Exit>, ExecutorError> {
        let wait = |source| ExecutorError::Wait {
            program: self.program.clone(),
            source,
        };
        let ended = self.handle.try_wait().map_err(wait)?.map(|output| output.status);
        if let Some(status) = ended {
            let exit = match (self.timed_out, status.code(), status.signal()) {
                (true, ..) => Exit::TimedOut,
                (false, Some(code), _) => Exit::Code(code),
                (false, None, signal) => Exit::Signal(signal.unwrap_or(0)),
            };
            return Ok(Some(exit));
        }
        if self.deadline.is_some_and(|at| Instant::now() >= at) && !self.timed_out {
            self.timed_out = true;
            self.kill();
        }
        Ok(None)
    }

    fn pids(&self) -> Vec<i32> {
        self.handle.pids().into_iter().map(|pid| pid as i32).collect()
    }

    fn kill(&mut self) {
        self.signal(Signal::SIGTERM);
        let patience = Instant::now() + self.grace;
        while Instant::now() < patience {
            if !matches!(self.handle.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // Also when the leader ended: it may have left others of its group behind.
        self.signal(Signal::SIGKILL);
        let _ = self.handle.wait();
    }
}

impl Drop for LocalRunning {
    fn drop(&mut self) {
        if matches!(self.handle.try_wait(), Ok(None)) {
            self.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(log: &std::path::Path, argv: &[&str]) -> Command {
        Command {
            argv: argv.iter().map(Into::into).collect(),
            env: vec![("GREETING".to_owned(), "hello".to_owned())],
            cwd: None,
            log: log.to_owned(),
            timeout: None,
        }
    }

    fn wait(mut running: Box<dyn Running>) -> Exit {
        loop {
            if let Some(exit) = running.poll().unwrap() {
                return exit;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn output_goes_to_the_log_and_the_status_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let running = Local
            .start(&command(
                &log,
                &["sh", "-c", "echo $GREETING; echo trouble >&2; exit 7"],
            ))
            .unwrap();
        assert_eq!(wait(running), Exit::Code(7));
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "hello\ntrouble\n");
    }

    #[test]
    fn a_time_limit_ends_the_whole_group() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut sleepy = command(&log, &["sh", "-c", "sleep 600 & echo $!; wait"]);
        sleepy.timeout = Some(Duration::from_millis(300));
        assert_eq!(wait(Local.start(&sleepy).unwrap()), Exit::TimedOut);
        let pid: i32 = std::fs::read_to_string(&log).unwrap().trim().parse().unwrap();
        let gone = (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            // A zombie that nobody reaps is gone as well.
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            stat.map_or(true, |s| s.contains(") Z "))
        });
        assert!(gone, "the grandchild outlived its group");
    }

    #[test]
    fn a_missing_program_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Local
            .start(&command(&dir.path().join("log"), &["no-such-program-here"]))
            .err()
            .unwrap();
        assert!(error.to_string().contains("no-such-program-here"));
    }
}
