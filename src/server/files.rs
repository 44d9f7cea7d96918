//! The files in a seat by which driver and wrapper speak to each other.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::store::runs::RunError;
use crate::store::{Process, StoreError, read_json, write_json};

const ORDER: &str = "server-order.json";
const STATUS: &str = "server.json";
const STOP: &str = "server-stop";

/// Version of the files.
pub(super) const SCHEMA: u32 = 1;

/// Environment variable of a server that holds the token of its order, by which its stray processes are found.
pub(super) const TOKEN_VARIABLE: &str = "MST_SERVER_TOKEN";

/// What the wrapper is to start. It holds no secret: a key reaches the server by its environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Version of this file.
    pub schema: u32,
    /// Unlike any other order's. A wrapper whose token is no longer here ends its server.
    pub token: String,
    /// Counts the servers of this seat.
    pub number: u32,
    /// Program and arguments with `{port}`, `{host}` and `{folder}`.
    pub argv: Vec<String>,
    /// Working folder.
    pub cwd: PathBuf,
    /// File with the API key, where there is one; the server finds the key in its environment.
    pub key_file: Option<PathBuf>,
    /// The port; `None`: a free one.
    pub port: Option<u16>,
    /// Whether only this machine needs to reach it.
    pub local: bool,
    /// The driver. When it is gone, so is the server.
    pub driver: Process,
    /// How long the driver's lease may show no life before the server is ended.
    pub patience: Duration,
    /// How long the server has to end after SIGTERM.
    pub grace: Duration,
}

/// Where a server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The wrapper is there, its server not yet.
    Starting,
    /// The server's process lives; whether it can work, its health path says.
    Running,
    /// It is over.
    Ended,
}

/// How a server ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerExit {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether the kernel ended it for want of memory.
    pub out_of_memory: bool,
    /// Why the wrapper ended it, where it did, or why it could not be started.
    pub why: Option<String>,
}

/// What the wrapper tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of this file.
    pub schema: u32,
    /// That of the order.
    pub token: String,
    /// That of the order.
    pub number: u32,
    /// Where it stands.
    pub state: Phase,
    /// Name or address that reaches it.
    pub host: String,
    /// Its port.
    pub port: Option<u16>,
    /// The machine that it runs on.
    pub machine: String,
    /// The node, as Slurm calls it.
    pub node: Option<String>,
    /// Its process.
    pub pid: Option<i32>,
    /// The Slurm job, where there is one.
    pub job: Option<String>,
    /// The step of that job.
    pub step: Option<String>,
    /// How often the job was requeued.
    pub restart: u32,
    /// Counts signs of life.
    pub beat: u64,
    /// When the wrapper started.
    pub started: DateTime<Utc>,
    /// Size of its log.
    pub log_bytes: u64,
    /// Whether its process is stopped.
    pub stopped: bool,
    /// How often it was seen stopped, or everything around it stood still.
    pub stood_still: u32,
    /// How often the kernel ended a process beside it for want of memory.
    pub memory_kills: u64,
    /// How it ended.
    pub exit: Option<ServerExit>,
}

impl Status {
    /// What tells one start of a server from another.
    pub(super) fn identity(&self) -> (String, u32, Option<i32>, Option<u16>) {
        (self.machine.clone(), self.restart, self.pid, self.port)
    }
}

/// A seat, as far as servers need it.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The order, where there is one that can be read.
    pub(super) fn order(&self) -> Option<Order> {
        read_json(&self.0.join(ORDER)).ok()
    }

    pub(super) fn place_order(&self, order: &Order) -> Result<(), StoreError> {
        write_json(&self.0.join(ORDER), order)
    }

    /// What the wrapper told last, where that can be read.
    pub(super) fn status(&self) -> Option<Status> {
        read_json(&self.0.join(STATUS)).ok()
    }

    /// Tells something new. Not synced: it is out of date in two seconds anyway.
    pub(super) fn tell(&self, status: &Status) -> std::io::Result<()> {
        let fresh = self.0.join(format!(".{STATUS}-{}", std::process::id()));
        fs_err::write(&fresh, serde_json::to_vec_pretty(status)?)?;
        fs_err::rename(&fresh, self.0.join(STATUS))
    }

    /// Asks the wrapper of this token to end its server.
    pub(super) fn ask_to_stop(&self, token: &str) -> std::io::Result<()> {
        fs_err::write(self.0.join(STOP), token)
    }

    /// Whether the wrapper of this token is asked; an empty file asks every one.
    pub(super) fn is_asked_to_stop(&self, token: &str) -> bool {
        fs_err::read_to_string(self.0.join(STOP)).is_ok_and(|text| text.is_empty() || text == token)
    }

    pub(super) fn clear_stop(&self) -> Result<(), RunError> {
        match fs_err::remove_file(self.0.join(STOP)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The lease of the driver as it stands there now.
    pub(super) fn lease(&self) -> Option<Vec<u8>> {
        std::fs::read(self.0.join(crate::store::layout::LEASE)).ok()
    }

    /// The log of a server.
    pub(super) fn log(&self, number: u32) -> PathBuf {
        self.0.join(format!("server-{number}.log"))
    }

    /// The log of what launches it.
    pub(super) fn launch_log(&self, number: u32) -> PathBuf {
        self.0.join(format!("server-{number}.launch.log"))
    }

    /// The script of its job.
    pub(super) fn script(&self, number: u32) -> PathBuf {
        self.0.join(format!("server-{number}.slurm"))
    }
}

/// Whether Slurm says so that something ran out of memory.
pub(super) fn tells_of_memory(said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    [
        "oom-kill",
        "oom_kill",
        "out of memory",
        "exceeded memory limit",
        "exceeded job memory limit",
    ]
    .iter()
    .any(|words| said.contains(words))
}

/// The last lines of a log.
pub(super) fn tail(log: &Path, lines: usize) -> String {
    use std::io::{Read, Seek, SeekFrom};
    const MOST: u64 = 1 << 14;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(log)?;
        let from = file.metadata()?.len().saturating_sub(MOST);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

impl std::fmt::Display for ServerExit {
    /// As the rest of a sentence that begins with the server.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(why) = &self.why {
            return f.write_str(why);
        }
        match (self.out_of_memory, self.signal, self.code) {
            (true, ..) => f.write_str("ran out of memory, and the kernel ended it"),
            (false, Some(signal), _) => {
                let name =
                    nix::sys::signal::Signal::try_from(signal).map_or("?", nix::sys::signal::Signal::as_str);
                write!(f, "was ended by signal {signal} ({name})")
            }
            (false, None, Some(0)) => f.write_str("ended by itself, with status 0"),
            (false, None, Some(code)) => write!(f, "ended with status {code}"),
            (false, None, None) => f.write_str("ended, nobody knows how"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_server_is_told_in_words() {
        let exit = ServerExit::default();
        for (exit, words) in [
            (
                ServerExit {
                    signal: Some(9),
                    ..exit.clone()
                },
                "was ended by signal 9 (SIGKILL)",
            ),
            (
                ServerExit {
                    signal: Some(9),
                    out_of_memory: true,
                    ..exit.clone()
                },
                "ran out of memory, and the kernel ended it",
            ),
            (
                ServerExit {
                    code: Some(3),
                    ..exit.clone()
                },
                "ended with status 3",
            ),
            (
                ServerExit {
                    code: Some(0),
                    ..exit.clone()
                },
                "ended by itself, with status 0",
            ),
        ] {
            assert_eq!(exit.to_string(), words);
        }
    }

    #[test]
    fn a_stop_is_for_the_one_that_it_names() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::at(dir.path());
        assert!(!folder.is_asked_to_stop("a"));
        folder.ask_to_stop("a").unwrap();
        assert!(folder.is_asked_to_stop("a") && !folder.is_asked_to_stop("b"));
        folder.ask_to_stop("").unwrap();
        assert!(folder.is_asked_to_stop("b"));
        folder.clear_stop().unwrap();
        folder.clear_stop().unwrap();
        assert!(!folder.is_asked_to_stop("b"));
    }

    #[test]
    fn the_tail_of_a_log_is_short() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        assert_eq!(tail(&log, 3), "");
        std::fs::write(&log, "far back\n\n".repeat(9999) + "one\n\ntwo\n").unwrap();
        assert_eq!(tail(&log, 2), "one\ntwo");
        assert_eq!(tail(&log, 3), "far back\none\ntwo");
    }
}
