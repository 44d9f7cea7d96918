//! One driver per token pair: an exclusively created file with a heartbeat.
//!
//! Not `flock`, which NFS and Lustre may lack. A lease is stale when its owner is a dead process of this host, or when
//! its heartbeat did not change while we watched; another host's clock is never compared with ours. A stale lease is
//! renamed away before a new one is created, so that of two takers one wins.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::layout::LEASE;

/// How often the owner gives a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long a foreign host's lease must stay unchanged before it counts as stale.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who holds a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    host: String,
    pid: i32,
    /// Start time of the process in clock ticks since boot: tells a process from a later one with its number.
    started: u64,
    /// Unlike any other lease's.
    token: String,
    beat: u64,
}

/// The error of taking a lease.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody has it.
    #[error(
        "{} is in use by process {pid} on {host}; wait for it (`--wait`), end it, or give another RESULTS_DIR",
        path.display()
    )]
    Held {
        /// The pair's folder.
        path: PathBuf,
        /// Host of the owner.
        host: String,
        /// Process of the owner.
        pid: i32,
    },
    /// We had it, and somebody took it.
    #[error("{}: the lease was taken over by another process; nothing more is written here", path.display())]
    Lost {
        /// The pair's folder.
        path: PathBuf,
    },
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// A held lease; given back on drop.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    token: String,
    stop: Arc<AtomicBool>,
    heart: Option<JoinHandle<()>>,
}

impl Lease {
    /// Takes the lease of the folder `pair`. A live owner is an error at once; an owner on another host is watched for
    /// half a minute first.
    ///
    /// # Errors
    /// When somebody holds it, or the folder cannot be written.
    pub fn take(pair: &Path) -> Result<Self, LeaseError> {
        fs_err::create_dir_all(pair)?;
        let path = pair.join(LEASE);
        let host = host_name();
        let pid = std::process::id() as i32;
        let started = process_start(pid).unwrap_or(0);
        let token = format!("{host}-{pid}-{started}-{:x}", nonce());
        let owner = Owner {
            host: host.clone(),
            pid,
            started,
            token: token.clone(),
            beat: 0,
        };
        let mut watched: Option<(Owner, Instant)> = None;
        loop {
            match create(&path, &owner) {
                Ok(()) => break,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
            // A lease that cannot be read is being written, or was cut short by a crash: watched like a foreign one.
            let found = read(&path).unwrap_or(Owner {
                host: "?".to_owned(),
                pid: 0,
                started: 0,
                token: String::new(),
                beat: 0,
            });
            let held = || LeaseError::Held {
                path: pair.to_owned(),
                host: found.host.clone(),
                pid: found.pid,
            };
            let stale = if found.host == host {
                !is_alive(found.pid, found.started)
            } else {
                match &watched {
                    Some((seen, since)) if *seen == found => since.elapsed() >= PATIENCE,
                    Some(_) => return Err(held()),
                    None => {
                        watched = Some((found.clone(), Instant::now()));
                        false
                    }
                }
            };
            if stale {
                let away = pair.join(format!("{LEASE}.stale-{:x}", nonce()));
                if fs_err::rename(&path, &away).is_ok() {
                    fs_err::remove_file(&away)?;
                }
            } else if found.host == host {
                return Err(held());
            } else {
                std::thread::sleep(Duration::from_millis(500));
            }
        }
        let stop = Arc::new(AtomicBool::new(false));
        let heart = {
            let (path, stop) = (path.clone(), Arc::clone(&stop));
            std::thread::spawn(move || beat(&path, owner, &stop))
        };
        Ok(Self {
            path,
            token,
            stop,
            heart: Some(heart),
        })
    }

    /// Whether the lease is still ours: asked before anything is put in its final place, so that a driver that was
    /// suspended and overtaken writes no more.
    ///
    /// # Errors
    /// When it was taken over.
    pub fn check(&self) -> Result<(), LeaseError> {
        // The heartbeat replaces the file by rename, so it is always there and whole.
        match read(&self.path) {
            Some(owner) if owner.token == self.token => Ok(()),
            _ => Err(LeaseError::Lost {
                path: self.path.clone(),
            }),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(heart) = self.heart.take() {
            heart.thread().unpark();
            // A heart that panicked has nothing more to say.
            let _ = heart.join();
        }
        if self.check().is_ok() {
            let _ = fs_err::remove_file(&self.path);
        }
    }
}

/// Gives signs of life until told to stop or until the lease is no longer ours.
fn beat(path: &Path, mut owner: Owner, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        std::thread::park_timeout(HEARTBEAT);
        if stop.load(Ordering::Relaxed) || read(path).is_none_or(|o| o.token != owner.token) {
            return;
        }
        owner.beat += 1;
        let fresh = path.with_extension(format!("beat-{}", owner.pid));
        let written = serde_json::to_vec(&owner)
            .map_err(std::io::Error::other)
            .and_then(|text| {
                fs_err::write(&fresh, text)?;
                fs_err::rename(&fresh, path)
            });
        if written.is_err() {
            // A full disk stops the heart, not the run: the lease of a live local process is not stale.
            let _ = fs_err::remove_file(&fresh);
        }
    }
}

/// A number unlike any other of this process.
fn nonce() -> u128 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos());
    now << 32 | u128::from(COUNT.fetch_add(1, Ordering::Relaxed))
}

fn create(path: &Path, owner: &Owner) -> std::io::Result<()> {
    let mut file = fs_err::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)?;
    file.write_all(&serde_json::to_vec(owner).map_err(std::io::Error::other)?)?;
    file.sync_all()
}

fn read(path: &Path) -> Option<Owner> {
    serde_json::from_slice(&fs_err::read(path).ok()?).ok()
}

/// This host's name.
pub fn host_name() -> String {
    nix::unistd::gethostname().map_or_else(|_| "unknown".to_owned(), |n| n.to_string_lossy().into_owned())
}

/// Start time of a process from `/proc`, where there is one.
fn process_start(pid: i32) -> Option<u64> {
    let stat = fs_err::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold blanks; field 22 is the 20th after it.
    stat.rsplit_once(") ")?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Whether the process that began at `started` still runs.
fn is_alive(pid: i32, started: u64) -> bool {
    if kill(Pid::from_raw(pid), None) == Err(nix::errno::Errno::ESRCH) {
        return false;
    }
    process_start(pid).is_none_or(|now| now == started)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_owner_keeps_it_and_a_dead_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let lease = Lease::take(dir.path()).unwrap();
        lease.check().unwrap();
        assert!(matches!(Lease::take(dir.path()), Err(LeaseError::Held { .. })));
        drop(lease);
        assert!(!dir.path().join(LEASE).exists());

        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id() as i32;
        child.wait().unwrap();
        let dead = Owner {
            host: host_name(),
            pid,
            started: 1,
            token: "t".to_owned(),
            beat: 3,
        };
        create(&dir.path().join(LEASE), &dead).unwrap();
        Lease::take(dir.path()).unwrap().check().unwrap();
    }

    #[test]
    fn a_lease_that_was_taken_over_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let lease = Lease::take(dir.path()).unwrap();
        let thief = Owner {
            host: "other".to_owned(),
            pid: 1,
            started: 1,
            token: "x".to_owned(),
            beat: 0,
        };
        std::fs::write(dir.path().join(LEASE), serde_json::to_vec(&thief).unwrap()).unwrap();
        assert!(matches!(lease.check(), Err(LeaseError::Lost { .. })));
        drop(lease);
        assert!(dir.path().join(LEASE).exists(), "a lost lease is not removed");
    }
}
