//! How a server is: its signs of life, and waiting for it while it shows some.

use std::time::{Duration, Instant};

use super::ServerError;
use super::files::{Folder, Phase, Status, tail, tells_of_memory};
use super::launch::Standing;
use super::life::Inner;
use crate::endpoint::EndpointError;
use crate::store::host_name;

/// How often the wrapper's file is read.
const READ: Duration = Duration::from_millis(500);
/// How long signs of life may be missing on this machine.
const SILENT_HERE: Duration = Duration::from_secs(20);
/// How long they may be missing elsewhere: file systems on the network show a new file up to a minute late.
const SILENT_ELSEWHERE: Duration = Duration::from_secs(90);
/// Without signs of life for this long, Slurm is asked.
const DOUBT: Duration = Duration::from_secs(8);
/// How long a wrapper that was started may take to show its first sign of life.
const FIRST_SIGN: Duration = Duration::from_mins(5);
/// How long the last word of a wrapper that is gone may take to be seen.
const LAST_WORD: Duration = Duration::from_secs(2);

/// How a server is.
pub(super) enum Condition {
    /// Its process lives.
    Up,
    /// It has not been started yet; why.
    Waiting(String),
    /// It was started, and has not shown up.
    Unseen,
    /// It is gone or stopped.
    Down(String),
}

/// The wrapper's signs of life.
#[derive(Default)]
pub(super) struct Pulse {
    status: Option<Status>,
    /// For how long it has not changed, as far as we were there to see it.
    silent: Duration,
    read: Option<Instant>,
}

impl Pulse {
    /// The wrapper's last word.
    pub(super) fn status(&self) -> Option<&Status> {
        self.status.as_ref()
    }

    /// Makes the next look read the file, however short the last one is ago.
    pub(super) fn forget(&mut self) {
        if let Some(read) = &mut self.read {
            *read = read.checked_sub(READ).unwrap_or(*read);
        }
    }

    /// Reads the file, twice a second at most.
    fn look(&mut self, folder: &Folder, token: &str) {
        let since = self.read.map(|at| at.elapsed());
        if since.is_some_and(|since| since < READ) {
            return;
        }
        self.read = Some(Instant::now());
        // A pause in which nobody looked is not silence.
        self.silent += since.unwrap_or_default().min(2 * READ);
        let now = folder.status().filter(|s| s.token == token);
        if now.is_some() && now != self.status {
            self.status = now;
            self.silent = Duration::ZERO;
        }
    }
}

impl Inner {
    /// How the server is, by its wrapper's file and by what launched it.
    pub(super) fn condition(&mut self) -> Condition {
        self.pulse.look(&self.folder, &self.token);
        if let Some(why) = self.ended() {
            return Condition::Down(why);
        }
        let silent = self.pulse.silent;
        let begun = self.pulse.status.is_some();
        let Some(launched) = &mut self.launched else {
            return Condition::Down("the server was ended".to_owned());
        };
        if !launched.is_job() || !begun || silent >= DOUBT {
            match launched.standing() {
                Standing::Waiting(why) => return Condition::Waiting(why),
                Standing::Over { why, .. } => return Condition::Down(self.last_word(&why)),
                Standing::Alive => {}
            }
        }
        let Some(status) = &self.pulse.status else {
            return Condition::Unseen;
        };
        if status.stopped {
            return Condition::Down("the server hangs: its process is stopped (state T)".to_owned());
        }
        let patience = if status.machine == host_name() {
            SILENT_HERE
        } else {
            SILENT_ELSEWHERE
        };
        if silent >= patience {
            let seconds = silent.as_secs();
            let words = format!(
                "the server's wrapper on {} has shown no life for {seconds} s",
                status.machine
            );
            return Condition::Down(self.with_log(&words));
        }
        Condition::Up
    }

    /// What the wrapper said at its end.
    fn ended(&self) -> Option<String> {
        let status = self.pulse.status.as_ref().filter(|s| s.state == Phase::Ended)?;
        let exit = status.exit.clone().unwrap_or_default();
        // Slurm asks before it kills what takes too much memory.
        let said = tail(&self.folder.launch_log(self.number), 5);
        if exit.why.is_some() && tells_of_memory(&said) {
            return Some(self.with_log(&format!("the server ran out of memory: Slurm said\n{said}\n")));
        }
        Some(self.with_log(&format!("the server {exit}")))
    }

    /// What is known of a server whose launcher is gone: its wrapper's last word, where it comes.
    fn last_word(&mut self, why: &str) -> String {
        let end = Instant::now() + LAST_WORD;
        loop {
            self.pulse.forget();
            self.pulse.look(&self.folder, &self.token);
            if let Some(told) = self.ended() {
                return told;
            }
            if Instant::now() >= end {
                return self.with_log(&format!("the server {why}"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until the health path answers. There is no limit but those of the settings: a server that lives and says
    /// something is given time, and a job that waits in the queue all of it.
    pub(super) fn wait_until_healthy(
        &mut self,
        interrupted: &dyn Fn() -> bool,
        note: &mut dyn FnMut(&str),
    ) -> Result<(), ServerError> {
        let launched = Instant::now();
        let mut told = String::new();
        // When it began to run, and when its log last grew.
        let (mut unseen, mut running) = (None, None);
        let mut log = (0, Instant::now());
        loop {
            if interrupted() {
                return Err(ServerError::Interrupted);
            }
            match self.condition() {
                Condition::Down(why) => return Err(ServerError::Failed(why)),
                Condition::Waiting(why) => {
                    if why != told {
                        note(&format!("the server waits: {why}"));
                        told = why;
                    }
                    (unseen, running) = (None, None);
                }
                Condition::Unseen => {
                    if unseen.get_or_insert_with(Instant::now).elapsed() >= FIRST_SIGN {
                        let log = self.folder.launch_log(self.number);
                        return Err(ServerError::Failed(format!(
                            "the server's wrapper did not show up within {} s; the end of {}:\n{}",
                            FIRST_SIGN.as_secs(),
                            log.display(),
                            tail(&log, 10)
                        )));
                    }
                }
                Condition::Up => {
                    let began = *running.get_or_insert_with(|| {
                        log.1 = Instant::now();
                        Instant::now()
                    });
                    if self.knock(began, &mut log)? {
                        self.found_well();
                        return Ok(());
                    }
                }
            }
            let pause = if launched.elapsed() < Duration::from_secs(20) {
                100
            } else {
                1000
            };
            std::thread::sleep(Duration::from_millis(pause));
        }
    }

    /// Asks the health path once, and says whether it is well; an error when it has had its time.
    fn knock(&mut self, began: Instant, log: &mut (u64, Instant)) -> Result<bool, ServerError> {
        let status = self.pulse.status.as_ref();
        if status.is_none_or(|s| s.state != Phase::Running) {
            return Ok(false);
        }
        let bytes = status.map_or(0, |s| s.log_bytes);
        if bytes != log.0 {
            *log = (bytes, Instant::now());
        }
        let error = match self.is_healthy() {
            Ok(()) => return Ok(true),
            Err(error @ EndpointError::Unauthorized { .. }) => {
                return Err(ServerError::Failed(format!("the server is up, but {error}")));
            }
            Err(error) => error,
        };
        let loopback = matches!(error, EndpointError::Refused { .. }) && !self.is_local();
        let hint = if loopback {
            " (does it listen beyond its own machine, with --host {host} or the like?)"
        } else {
            ""
        };
        let said = format!("{error}{hint}");
        let (limit, silence) = (self.settings.start_limit, self.settings.silence_limit);
        let shown = |time: Duration| humantime::format_duration(time);
        if began.elapsed() >= limit {
            return Err(ServerError::Failed(self.with_log(&format!(
                "the server is not healthy after {} (SERVER_START_LIMIT), although its process lives: {said}",
                shown(limit)
            ))));
        }
        if log.1.elapsed() >= silence {
            return Err(ServerError::Failed(self.with_log(&format!(
                "the server is not healthy and has written nothing for {} (SERVER_SILENCE_LIMIT): {said}",
                shown(silence)
            ))));
        }
        Ok(false)
    }
}
