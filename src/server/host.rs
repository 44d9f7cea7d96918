//! The wrapper that runs where the server runs: picks the port, starts the server, gives signs of life, ends it.

use std::ffi::OsString;
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::files::{Folder, Order, Phase, SCHEMA, ServerExit, Status, TOKEN_VARIABLE, tail};
use super::memory::MemoryKills;
use super::port::{Reserved, reachable_name};
use crate::loadgen::API_KEY_VARIABLE;
use crate::store::{Process, host_name, with_variable};

/// How often the server is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How often a sign of life is given.
const BEAT: Duration = Duration::from_secs(2);
/// How often the seat is looked at.
const GLANCE: Duration = Duration::from_millis(500);
/// A look that comes this much later than it was due shows that everything stood still.
const STANDSTILL: Duration = Duration::from_secs(4);
/// How long the lease of a driver that is dead for sure may stay unchanged.
const DEAD_PATIENCE: Duration = Duration::from_secs(6);
/// How often another port is tried when the server says that its port is taken.
const PORTS: u32 = 5;
/// What servers write when their port is taken.
const TAKEN: [&str; 3] = ["address already in use", "address in use", "eaddrinuse"];

/// Why a server could not be hosted.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// No order.
    #[error("{0}: there is no order for a server here; `mst run` and `mst submit` write it")]
    NoOrder(String),
    /// Another order.
    #[error("the order that this was started for has been replaced: nothing to do")]
    Replaced,
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Hosts the server that the order of a seat names, until it ends or is to end. `asked` says whether a signal came.
///
/// # Errors
/// When there is nothing to start, or the seat cannot be written. That the server fails is told in its file.
pub fn run(seat: &Path, token: &str, asked: &dyn Fn() -> bool) -> Result<(), HostError> {
    let folder = Folder::at(seat);
    let order = folder
        .order()
        .ok_or_else(|| HostError::NoOrder(seat.display().to_string()))?;
    if order.token != token {
        return Err(HostError::Replaced);
    }
    let mut host = Host {
        status: first_status(&order),
        driver: DriverWatch::new(&order),
        folder,
        order,
        asked,
    };
    host.folder.tell(&host.status)?;
    let exit = host.serve()?;
    host.status.state = Phase::Ended;
    host.status.exit = Some(exit);
    // Another wrapper may be at work by now: its word counts.
    if host.folder.status().is_none_or(|s| s.token == host.order.token) {
        host.tell();
    }
    Ok(())
}

fn first_status(order: &Order) -> Status {
    let variable = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
    Status {
        schema: SCHEMA,
        token: order.token.clone(),
        number: order.number,
        state: Phase::Starting,
        host: if order.local {
            Ipv4Addr::LOCALHOST.to_string()
        } else {
            reachable_name(&host_name())
        },
        port: None,
        machine: host_name(),
        node: variable("SLURMD_NODENAME"),
        pid: None,
        job: variable("SLURM_JOB_ID"),
        step: variable("SLURM_STEP_ID").filter(|_| variable("SLURM_PROCID").is_some()),
        restart: variable("SLURM_RESTART_COUNT")
            .and_then(|v| v.parse().ok())
            .unwrap_or(0),
        beat: 0,
        started: chrono::Utc::now(),
        log_bytes: 0,
        stopped: false,
        stood_still: 0,
        memory_kills: 0,
        exit: None,
    }
}

struct Host<'a> {
    folder: Folder,
    order: Order,
    status: Status,
    driver: DriverWatch,
    asked: &'a dyn Fn() -> bool,
}

impl Host<'_> {
    fn tell(&mut self) {
        self.status.beat += 1;
        // A full disk is the run's trouble, not the server's: the next beat may be told again.
        let _ = self.folder.tell(&self.status);
    }

    /// Runs the server to its end; on another port where its own was taken meanwhile.
    fn serve(&mut self) -> Result<ServerExit, HostError> {
        let log = self.folder.log(self.order.number);
        let mut tries = 0;
        loop {
            tries += 1;
            let written = std::fs::metadata(&log).map_or(0, |m| m.len());
            let kills = MemoryKills::now();
            let mut child = match self.spawn(&log) {
                Ok(child) => child,
                Err(why) => {
                    return Ok(ServerExit {
                        why: Some(why),
                        ..ServerExit::default()
                    });
                }
            };
            let (status, why) = self.attend(&mut child, &log, &kills)?;
            self.clear(child.id() as i32);
            let signal = status.signal();
            let killed = signal == Some(Signal::SIGKILL as i32) || status.code() == Some(137);
            let exit = ServerExit {
                code: status.code(),
                signal,
                out_of_memory: why.is_none() && (kills.since() > 0 || killed && kills.anywhere()),
                why,
            };
            let new = std::fs::metadata(&log).map_or(0, |m| m.len()) > written;
            let taken = new && {
                let end = tail(&log, 30).to_ascii_lowercase();
                TAKEN.iter().any(|words| end.contains(words))
            };
            let again = self.order.port.is_none() && exit.why.is_none() && !status.success();
            if !(taken && again && tries < PORTS) {
                return Ok(exit);
            }
        }
    }

    /// Starts the server on a port that is free now.
    fn spawn(&mut self, log: &Path) -> Result<Child, String> {
        let address = if self.order.local {
            Ipv4Addr::LOCALHOST
        } else {
            Ipv4Addr::UNSPECIFIED
        };
        let salt = chrono::Utc::now().timestamp_subsec_nanos();
        let reserved = Reserved::take(
            self.order.port,
            address,
            u64::from(salt ^ std::process::id() << 8),
        );
        let (reserved, port) = reserved
            .and_then(|reserved| reserved.port().map(|port| (reserved, port)))
            .map_err(|error| {
                let wanted = self.order.port.unwrap_or(0);
                format!(
                    "could not be started: port {wanted} of {}: {error}; set SERVER_PORT=0 for a free one",
                    host_name()
                )
            })?;
        let fill = |word: &String| {
            word.replace("{port}", &port.to_string())
                .replace("{host}", &address.to_string())
                .replace("{folder}", &self.folder.path().to_string_lossy())
        };
        let argv: Vec<String> = self.order.argv.iter().map(fill).collect();
        let program = std::env::current_exe().map_err(|e| format!("could not be started: {e}"))?;
        let open = || -> std::io::Result<(File, File)> {
            let both = File::options().create(true).append(true).open(log)?;
            Ok((both.try_clone()?, both))
        };
        let (stdout, stderr) = open().map_err(|e| format!("could not be started: {}: {e}", log.display()))?;
        let mut command = Command::new(program);
        command
            .args(["host", "--"])
            .args(&argv)
            .current_dir(&self.order.cwd)
            .env(TOKEN_VARIABLE, &self.order.token)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            // A group of its own: what it starts is ended with it.
            .process_group(0);
        if let Some(key) = self.key() {
            command.env(API_KEY_VARIABLE, key);
        }
        drop(reserved);
        let child = command
            .spawn()
            .map_err(|e| format!("could not be started: {e}"))?;
        self.status.state = Phase::Running;
        self.status.port = Some(port);
        self.status.pid = Some(child.id() as i32);
        self.tell();
        Ok(child)
    }

    /// The key for the server's environment, unless it is there already.
    fn key(&self) -> Option<String> {
        if std::env::var_os(API_KEY_VARIABLE).is_some() {
            return None;
        }
        let text = std::fs::read_to_string(self.order.key_file.as_ref()?).ok()?;
        Some(text.trim().to_owned()).filter(|key| !key.is_empty())
    }

    /// Watches the server until it ended, or ends it and says why.
    fn attend(
        &mut self,
        child: &mut Child,
        log: &Path,
        kills: &MemoryKills,
    ) -> Result<(ExitStatus, Option<String>), HostError> {
        let pid = child.id() as i32;
        let (mut beat, mut glance) = (Instant::now(), Instant::now());
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok((status, None));
            }
            if (self.asked)() {
                return Ok((self.end(child)?, Some("was asked to end by a signal".to_owned())));
            }
            if glance.elapsed() >= GLANCE {
                glance = Instant::now();
                if let Some(why) = self.must_end() {
                    return Ok((self.end(child)?, Some(why)));
                }
            }
            let stopped = is_stopped(pid);
            if beat.elapsed() >= BEAT || stopped != self.status.stopped {
                beat = Instant::now();
                self.status.stood_still += u32::from(stopped && !self.status.stopped);
                self.status.stopped = stopped;
                self.status.log_bytes = std::fs::metadata(log).map_or(0, |m| m.len());
                self.status.memory_kills = kills.since();
                self.tell();
            }
            let before = Instant::now();
            std::thread::sleep(LOOK);
            self.status.stood_still += u32::from(before.elapsed() > STANDSTILL);
        }
    }

    /// Why the server is to end now, if it is.
    fn must_end(&mut self) -> Option<String> {
        let token = &self.order.token;
        if self.folder.is_asked_to_stop(token) {
            return Some("was asked to end".to_owned());
        }
        if self.folder.order().is_some_and(|order| order.token != *token) {
            return Some("was ended: another one takes its place".to_owned());
        }
        let newer = |s: Status| s.token == *token && s.restart > self.status.restart;
        if self.folder.status().is_some_and(newer) {
            return Some("was ended: its job was started again elsewhere".to_owned());
        }
        self.driver
            .is_gone(self.folder.lease())
            .then(|| "was ended: its driver is gone".to_owned())
    }

    /// Ends the server: SIGTERM, and SIGKILL after its grace.
    fn end(&mut self, child: &mut Child) -> Result<ExitStatus, HostError> {
        let group = Pid::from_raw(child.id() as i32);
        // It may have ended just now.
        let _ = killpg(group, Signal::SIGTERM);
        // A stopped one would not hear it.
        let _ = killpg(group, Signal::SIGCONT);
        let (end, mut beat) = (Instant::now() + self.order.grace, Instant::now());
        while Instant::now() < end {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if beat.elapsed() >= BEAT {
                beat = Instant::now();
                self.tell();
            }
            std::thread::sleep(LOOK);
        }
        let _ = killpg(group, Signal::SIGKILL);
        Ok(child.wait()?)
    }

    /// Ends what the server left behind, in its group or elsewhere.
    fn clear(&self, group: i32) {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        for pid in with_variable(TOKEN_VARIABLE, &self.order.token) {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }
}

/// Becomes the server: it dies with its wrapper, however that ends. Returns only when the program cannot be run.
pub fn become_server(argv: &[OsString]) -> std::io::Error {
    let Some((program, arguments)) = argv.split_first() else {
        return std::io::Error::other("the server's command is empty");
    };
    if let Err(error) = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL) {
        return error.into();
    }
    let error = Command::new(program).args(arguments).exec();
    let name = program.to_string_lossy();
    std::io::Error::new(
        error.kind(),
        format!("the server cannot be started: `{name}`: {error}"),
    )
}

/// Whether a process is stopped, from `/proc`, where there is one.
fn is_stopped(pid: i32) -> bool {
    matches!(process_state(pid), Some('T' | 't'))
}

fn process_state(pid: i32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Looks after the driver by way of its lease, which changes every two seconds.
struct DriverWatch {
    driver: Process,
    patience: Duration,
    seen: Option<Vec<u8>>,
    silent: Duration,
    looked: Instant,
}

impl DriverWatch {
    fn new(order: &Order) -> Self {
        Self {
            driver: order.driver.clone(),
            patience: order.patience,
            seen: None,
            silent: Duration::ZERO,
            looked: Instant::now(),
        }
    }

    /// Whether it has shown no life for too long. Time in which we stood still ourselves does not count.
    fn is_gone(&mut self, lease: Option<Vec<u8>>) -> bool {
        self.silent += self.looked.elapsed().min(2 * GLANCE);
        self.looked = Instant::now();
        if lease.is_some() && lease != self.seen {
            self.silent = Duration::ZERO;
            self.seen = lease;
        }
        let dead = || self.driver.is_local() && !self.lives();
        self.silent >= self.patience || self.silent >= DEAD_PATIENCE && dead()
    }

    fn lives(&self) -> bool {
        let pid = Pid::from_raw(self.driver.pid);
        kill(pid, None) != Err(Errno::ESRCH)
            && self.driver.is_alive()
            && process_state(self.driver.pid) != Some('Z')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_beats_is_there_and_one_that_does_not_is_gone() {
        let order = |pid| Order {
            schema: SCHEMA,
            token: "t".to_owned(),
            number: 1,
            argv: Vec::new(),
            cwd: "/".into(),
            key_file: None,
            port: None,
            local: true,
            driver: Process::of(pid),
            patience: Duration::from_secs(100),
            grace: Duration::from_secs(1),
        };
        let mut watch = DriverWatch::new(&order(std::process::id() as i32));
        watch.silent = Duration::from_secs(99);
        assert!(!watch.is_gone(Some(vec![1])), "a new lease is a sign of life");
        assert_eq!(watch.silent, Duration::ZERO);
        watch.silent = Duration::from_secs(50);
        assert!(!watch.is_gone(Some(vec![1])), "it lives, and has its patience");
        watch.silent = Duration::from_secs(101);
        assert!(watch.is_gone(Some(vec![1])));

        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let mut watch = DriverWatch::new(&order(child.id() as i32));
        child.kill().unwrap();
        let zombie = (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            process_state(child.id() as i32) == Some('Z')
        });
        assert!(zombie && !watch.is_gone(None), "its lease has a few seconds");
        watch.silent = Duration::from_secs(7);
        assert!(watch.is_gone(None));
        child.wait().unwrap();
    }
}
