//! Names a process so that a later one with its number is not taken for it.

use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// A process of some host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Host name.
    pub host: String,
    /// Process number.
    pub pid: i32,
    /// Start time in clock ticks since boot; zero where unknown.
    pub started: u64,
}

impl Process {
    /// A process of this host.
    pub fn of(pid: i32) -> Self {
        Self {
            host: host_name(),
            pid,
            started: start_time(pid).unwrap_or(0),
        }
    }

    /// This process.
    pub fn this() -> Self {
        Self::of(std::process::id() as i32)
    }

    /// Whether it is of this host; only then [`Process::is_alive`] means anything.
    pub fn is_local(&self) -> bool {
        self.host == host_name()
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        self.pid > 0
            && kill(Pid::from_raw(self.pid), None) != Err(nix::errno::Errno::ESRCH)
            && start_time(self.pid).is_none_or(|now| now == self.started)
    }
}

/// Processes of this host and user whose environment has this variable, from `/proc`, where there is one.
pub fn with_variable(name: &str, value: &str) -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let wanted = format!("{name}={value}");
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            // Others' environments cannot be read, and processes may end while we look.
            let environment = std::fs::read(entry.path().join("environ")).ok()?;
            let has = environment.split(|&b| b == 0).any(|v| v == wanted.as_bytes());
            has.then(|| Pid::from_raw(pid))
        })
        .collect()
}

/// This host's name.
pub fn host_name() -> String {
    nix::unistd::gethostname().map_or_else(|_| "unknown".to_owned(), |n| n.to_string_lossy().into_owned())
}

/// Start time of a process from `/proc`, where there is one.
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold blanks; field 22 is the 20th after it.
    stat.rsplit_once(") ")?.1.split_whitespace().nth(19)?.parse().ok()
}
