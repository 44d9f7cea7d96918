//! One driver per token pair: an exclusively created file with a heartbeat.
//!
//! Not `flock`, which NFS and Lustre may lack. A lease is stale when its owner is a dead process of this host, or when
//! its heartbeat did not change while we watched; another host's clock is never compared with ours. A stale lease is
//! renamed away before a new one is created, so that of two takers one wins.
//!
//! A submitted run may be started again while an older incarnation still lives on a node that the cluster has given up.
//! Of one run, the later incarnation takes the lease at once, and keeps it; the older one sees that and stops.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::layout::LEASE;
use super::pid::Process;

/// How often the owner gives a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long a foreign host's lease must stay unchanged before it counts as stale.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which start of a submitted run a driver is. Of two of the same run the later one is right.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incarnation {
    /// The run; empty for a driver that was started by hand.
    pub run: String,
    /// Number of the submission.
    pub submission: u32,
    /// How often Slurm put that job back into the queue.
    pub restart: u32,
}

impl Incarnation {
    /// Whether this one takes the place of `other`.
    fn supersedes(&self, other: &Self) -> bool {
        !self.run.is_empty()
            && self.run == other.run
            && (self.submission, self.restart) > (other.submission, other.restart)
    }
}

/// Who holds a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    process: Process,
    #[serde(default)]
    incarnation: Incarnation,
    /// Unlike any other lease's.
    token: String,
    beat: u64,
}

impl Owner {
    /// Whether the lease is ours although the file says `found`: an earlier incarnation that has not noticed yet may
    /// have put its last sign of life over ours.
    fn still_holds(&self, found: &Self) -> bool {
        found.token == self.token || self.incarnation.supersedes(&found.incarnation)
    }
}

/// The error of taking a lease.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody has it.
    #[error(
        "{} is in use by process {pid} on {host}; wait for it (`mst run --wait`), end it, or use another results folder",
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
    owner: Owner,
    stop: Arc<AtomicBool>,
    lost: Arc<AtomicBool>,
    heart: Option<JoinHandle<()>>,
    superseded: bool,
}

impl Lease {
    /// Takes the lease of the folder `pair`. A live owner is an error at once; an owner on another host is watched for
    /// half a minute first.
    ///
    /// # Errors
    /// When somebody holds it, or the folder cannot be written.
    pub fn take(pair: &Path) -> Result<Self, LeaseError> {
        Self::take_as(pair, &Incarnation::default())
    }

    /// Takes the lease of a folder for an incarnation of a run: from an earlier one of the same run at once, even if that
    /// still lives.
    ///
    /// # Errors
    /// When somebody else holds it, or the folder cannot be written.
    pub fn take_as(pair: &Path, incarnation: &Incarnation) -> Result<Self, LeaseError> {
        fs_err::create_dir_all(pair)?;
        let path = pair.join(LEASE);
        let process = Process::this();
        let token = format!(
            "{}-{}-{}-{:x}",
            process.host,
            process.pid,
            process.started,
            nonce()
        );
        let owner = Owner {
            process,
            incarnation: incarnation.clone(),
            token,
            beat: 0,
        };
        let mut superseded = false;
        let mut watched: Option<(Owner, Instant)> = None;
        loop {
            match create(&path, &owner) {
                Ok(()) => break,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
            // A lease that cannot be read is being written, or was cut short by a crash: watched like a foreign one.
            let found = read(&path).unwrap_or_default();
            let held = || LeaseError::Held {
                path: pair.to_owned(),
                host: found.process.host.clone(),
                pid: found.process.pid,
            };
            let local = found.process.is_local();
            let older = incarnation.supersedes(&found.incarnation);
            if local && found.process.is_alive() && !older {
                return Err(held());
            }
            let unchanged_since = match &watched {
                Some((seen, since)) if *seen == found => *since,
                Some(_) if !older => return Err(held()),
                Some(_) => Instant::now(),
                None => {
                    let now = Instant::now();
                    watched = Some((found.clone(), now));
                    now
                }
            };
            if local || older || unchanged_since.elapsed() >= PATIENCE {
                superseded |= older;
                let away = pair.join(format!("{LEASE}.stale-{:x}", nonce()));
                if fs_err::rename(&path, &away).is_ok() {
                    // Another taker may have been quicker, and this is its lease: put it back.
                    if read(&away).unwrap_or_default().token != found.token {
                        let _ = fs_err::hard_link(&away, &path);
                    }
                    fs_err::remove_file(&away)?;
                }
                watched = None;
            } else {
                std::thread::sleep(Duration::from_millis(500));
            }
        }
        let (stop, lost) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let heart = {
            let (path, owner) = (path.clone(), owner.clone());
            let (stop, lost) = (Arc::clone(&stop), Arc::clone(&lost));
            std::thread::spawn(move || beat(&path, owner, &stop, &lost))
        };
        Ok(Self {
            path,
            owner,
            stop,
            lost,
            heart: Some(heart),
            superseded,
        })
    }

    /// Whether it was taken from an earlier incarnation, which needs a moment to notice and may still send requests.
    pub fn superseded_another(&self) -> bool {
        self.superseded
    }

    /// Whether the heartbeat has found it taken over: known within some seconds, asked without touching the disk.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Whether somebody else is seen to hold it; asks the disk, which may know earlier than the heartbeat. A file that
    /// cannot be read says nothing.
    pub fn is_taken(&self) -> bool {
        read(&self.path).is_some_and(|found| !self.owner.still_holds(&found))
    }

    /// The folder that is leased, by name.
    pub fn pair_name(&self) -> String {
        self.path
            .parent()
            .and_then(Path::file_name)
            .map_or_else(String::new, |n| n.to_string_lossy().into_owned())
    }

    /// Whether the lease is still ours: asked before anything is put in its final place, so that a driver that was
    /// suspended and overtaken writes no more.
    ///
    /// # Errors
    /// When it was taken over.
    pub fn check(&self) -> Result<(), LeaseError> {
        // The heartbeat replaces the file by rename, so it is always there and whole.
        match read(&self.path) {
            Some(found) if self.owner.still_holds(&found) => Ok(()),
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

/// Who holds a lease, for display.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its host.
    pub host: String,
    /// Its process.
    pub pid: i32,
    /// Whether it lives, where it is a process of this host.
    pub lives: Option<bool>,
    /// When it last gave a sign of life, by the file system's clock.
    pub beat: SystemTime,
}

/// Who holds the lease of a folder, without any attempt to take it.
pub fn holder(folder: &Path) -> Option<Holder> {
    let path = folder.join(LEASE);
    let beat = std::fs::metadata(&path).ok()?.modified().ok()?;
    let process = read(&path)?.process;
    Some(Holder {
        lives: process.is_local().then(|| process.is_alive()),
        host: process.host,
        pid: process.pid,
        beat,
    })
}

/// Gives signs of life until told to stop or until the lease is no longer ours.
fn beat(path: &Path, mut owner: Owner, stop: &AtomicBool, lost: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        std::thread::park_timeout(HEARTBEAT);
        if stop.load(Ordering::Relaxed) {
            return;
        }
        if read(path).is_none_or(|found| !owner.still_holds(&found)) {
            lost.store(true, Ordering::Relaxed);
            return;
        }
        owner.beat += 1;
        let fresh = path.with_extension(format!("beat-{}", owner.process.pid));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_owner_keeps_it_and_a_dead_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let lease = Lease::take(dir.path()).unwrap();
        lease.check().unwrap();
        let now = holder(dir.path()).unwrap();
        assert_eq!((now.lives, now.pid), (Some(true), std::process::id() as i32));
        assert!(matches!(Lease::take(dir.path()), Err(LeaseError::Held { .. })));
        drop(lease);
        assert!(!dir.path().join(LEASE).exists());

        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id() as i32;
        child.wait().unwrap();
        let process = Process {
            host: Process::this().host,
            pid,
            started: 1,
        };
        let dead = Owner {
            process,
            incarnation: Incarnation::default(),
            token: "t".to_owned(),
            beat: 3,
        };
        create(&dir.path().join(LEASE), &dead).unwrap();
        Lease::take(dir.path()).unwrap().check().unwrap();
    }

    #[test]
    fn a_later_incarnation_of_a_run_takes_over_and_the_earlier_one_cannot_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let start = |run: &str, submission, restart| Incarnation {
            run: run.to_owned(),
            submission,
            restart,
        };
        let zombie = Lease::take_as(dir.path(), &start("a", 1, 3)).unwrap();
        for other in [
            start("a", 1, 3),
            start("a", 1, 2),
            start("b", 9, 9),
            Incarnation::default(),
        ] {
            let taken = Lease::take_as(dir.path(), &other);
            assert!(matches!(taken, Err(LeaseError::Held { .. })), "{other:?}");
        }
        let heir = Lease::take_as(dir.path(), &start("a", 2, 0)).unwrap();
        assert!(heir.superseded_another() && !zombie.superseded_another());
        assert!(matches!(zombie.check(), Err(LeaseError::Lost { .. })));
        assert!(zombie.is_taken() && !heir.is_taken());
        // The zombie's last sign of life comes late.
        let late = serde_json::to_vec(&zombie.owner).unwrap();
        std::fs::write(dir.path().join(LEASE), late).unwrap();
        heir.check().unwrap();
        let noticed = (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            read(&dir.path().join(LEASE)).is_some_and(|found| found.token == heir.owner.token)
        });
        assert!(noticed && !heir.is_lost());
        assert!((0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            zombie.is_lost()
        }));
        drop(zombie);
        heir.check().unwrap();
    }

    #[test]
    fn a_lease_that_was_taken_over_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let lease = Lease::take(dir.path()).unwrap();
        let process = Process {
            host: "other".to_owned(),
            pid: 1,
            started: 1,
        };
        let thief = Owner {
            process,
            incarnation: Incarnation::default(),
            token: "x".to_owned(),
            beat: 0,
        };
        std::fs::write(dir.path().join(LEASE), serde_json::to_vec(&thief).unwrap()).unwrap();
        assert!(matches!(lease.check(), Err(LeaseError::Lost { .. })));
        drop(lease);
        assert!(dir.path().join(LEASE).exists(), "a lost lease is not removed");
    }
}
