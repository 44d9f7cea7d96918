//! The life of a server as its driver leads it: launched, found well, cleared, started again, ended.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use super::files::{Folder, Order, Phase, SCHEMA, Status, TOKEN_VARIABLE, tail};
use super::launch::{Launched, Standing};
use super::wait::{Condition, Pulse};
use super::{Launcher, ServerError, Start, reset};
use crate::endpoint::{BaseUrl, EndpointError, discover, models};
use crate::loadgen::API_KEY_VARIABLE;
use crate::settings::{Secret, ServerSettings};
use crate::store::{Process, ServerFacts, StoreError, host_name, with_variable};

/// How long the lease of a driver on another machine may show no life before the server ends itself.
const DRIVER_PATIENCE: Duration = Duration::from_mins(3);
/// How long a server has to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(20);
/// How long the news of its end may take, over a slow file system.
const NEWS: Duration = Duration::from_secs(15);
/// A server that was healthy and does not answer for this long hangs.
pub(super) const HANG: Duration = Duration::from_secs(30);
/// How long one question to the health path may take.
const ANSWER: Duration = Duration::from_secs(10);
/// Lines of a log that an error shows.
const TAIL_LINES: usize = 20;

pub(super) struct Inner {
    pub(super) settings: ServerSettings,
    pub(super) folder: Folder,
    launcher: Launcher,
    program: PathBuf,
    prefix: Vec<String>,
    key: Option<Secret>,
    key_file: Option<PathBuf>,
    local: bool,
    pub(super) token: String,
    pub(super) number: u32,
    pub(super) launched: Option<Launched>,
    pub(super) pulse: Pulse,
    /// The server as it was when it was last found well.
    well: Option<Status>,
    restarts: u32,
}

impl Inner {
    /// Starts the server and waits until it is healthy. One that the cluster takes away meanwhile is started again: that
    /// says nothing about the server.
    pub(super) fn begin(
        start: Start<'_>,
        interrupted: &dyn Fn() -> bool,
        note: &mut dyn FnMut(&str),
    ) -> Result<Self, ServerError> {
        fs_err::create_dir_all(start.seat).map_err(StoreError::from)?;
        let folder = Folder::at(start.seat);
        let mut inner = Self {
            settings: start.settings.clone(),
            number: folder.order().map_or(0, |order| order.number),
            folder,
            launcher: start.launcher,
            program: start.program,
            prefix: start.prefix,
            key: start.key,
            key_file: start.key_file,
            local: start.local,
            token: String::new(),
            launched: None,
            pulse: Pulse::default(),
            well: None,
            restarts: 0,
        };
        inner.launch()?;
        while let Err(error) = inner.wait_until_healthy(interrupted, note) {
            match error {
                ServerError::Failed(why) if inner.is_lost() => inner.restart(&why, interrupted, note)?,
                other => {
                    inner.end();
                    return Err(other);
                }
            }
        }
        Ok(inner)
    }

    /// Whether only this machine needs to reach it.
    pub(super) fn is_local(&self) -> bool {
        self.local
    }

    /// Where it ran when it was last found well.
    pub(super) fn facts(&self) -> Option<ServerFacts> {
        let status = self.well.as_ref()?;
        Some(ServerFacts {
            host: status.node.as_ref().unwrap_or(&status.machine).clone(),
            slurm_job_id: status.job.clone(),
        })
    }

    /// Whether it was well all the time since it was last found so.
    pub(super) fn vouch(&mut self) -> Result<(), String> {
        self.pulse.forget();
        self.watch()?;
        self.undisturbed()?;
        self.answers_within(HANG, &|| false)
    }

    pub(super) fn url(&self) -> Option<String> {
        let status = self.pulse.status()?;
        Some(format!("http://{}:{}", status.host, status.port?))
    }

    /// Places a new order and launches a wrapper for it.
    fn launch(&mut self) -> Result<(), ServerError> {
        self.number += 1;
        let driver = Process::this();
        let nanos = chrono::Utc::now().timestamp_nanos_opt().unwrap_or(0);
        let before = std::mem::replace(
            &mut self.token,
            format!("{}-{}-{}-{nanos:x}", driver.host, driver.pid, self.number),
        );
        let mut argv = self.prefix.clone();
        argv.extend(self.settings.argv.iter().cloned());
        let order = Order {
            schema: SCHEMA,
            token: self.token.clone(),
            number: self.number,
            argv,
            cwd: std::env::current_dir().map_err(StoreError::from)?,
            key_file: self.key_file.clone(),
            port: self.settings.port,
            local: self.local,
            driver,
            patience: DRIVER_PATIENCE,
            grace: GRACE,
        };
        self.folder.place_order(&order)?;
        if before.is_empty() {
            self.outlast_predecessor();
        }
        self.folder.clear_stop()?;
        self.pulse = Pulse::default();
        self.well = None;
        let key = self.key.as_ref();
        let secrets: Vec<_> = key
            .map(|key| (API_KEY_VARIABLE.to_owned(), key.expose().to_owned()))
            .into_iter()
            .collect();
        self.launched = Some(
            self.launcher
                .launch(&self.program, &self.folder, &order, &secrets)?,
        );
        Ok(())
    }

    /// Waits for the server of a driver that sat here before: its wrapper has seen our order and ends it.
    fn outlast_predecessor(&self) {
        let end = Instant::now() + GRACE + NEWS;
        let (mut beat, mut changed) = (None, Instant::now());
        while let Some(status) = self.folder.status()
            && status.state != Phase::Ended
            && Instant::now() < end
        {
            if beat != Some(status.beat) {
                (beat, changed) = (Some(status.beat), Instant::now());
            }
            if changed.elapsed() > Duration::from_secs(6) {
                return;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Starts it again, if that is still allowed.
    fn restart(
        &mut self,
        why: &str,
        interrupted: &dyn Fn() -> bool,
        note: &mut dyn FnMut(&str),
    ) -> Result<(), ServerError> {
        // Also one whose seat was taken over: its order would end the server of the other.
        if interrupted() {
            return Err(ServerError::Interrupted);
        }
        let most = self.settings.restarts;
        if self.restarts >= most {
            return Err(ServerError::Failed(format!(
                "{why}\nit is not started again: SERVER_RESTARTS={most}"
            )));
        }
        self.restarts += 1;
        note(&format!(
            "{why}\nit is started again ({} of {most})",
            self.restarts
        ));
        self.end();
        self.launch()
    }

    /// Returns once it is healthy, whatever that takes.
    pub(super) fn ensure(
        &mut self,
        interrupted: &dyn Fn() -> bool,
        note: &mut dyn FnMut(&str),
    ) -> Result<(), ServerError> {
        self.pulse.forget();
        let why = match self.condition() {
            Condition::Up if self.is_the_same() => match self.answers_within(HANG, interrupted) {
                Ok(()) => {
                    self.found_well();
                    return Ok(());
                }
                Err(_) if interrupted() => return Err(ServerError::Interrupted),
                Err(why) => why,
            },
            // Slurm started its job again, or will.
            Condition::Up | Condition::Unseen | Condition::Waiting(_) => {
                match self.wait_until_healthy(interrupted, note) {
                    Err(ServerError::Failed(why)) => why,
                    other => return other,
                }
            }
            Condition::Down(why) => why,
        };
        self.restart(&why, interrupted, note)?;
        self.wait_until_healthy(interrupted, note)
    }

    pub(super) fn found_well(&mut self) {
        self.well = self.pulse.status().cloned();
    }

    /// Whether the server is the one that was well.
    fn is_the_same(&self) -> bool {
        match (&self.well, self.pulse.status()) {
            (Some(well), Some(now)) => well.identity() == now.identity(),
            _ => false,
        }
    }

    pub(super) fn reset(&mut self, interrupted: &dyn Fn() -> bool) -> Result<(), ServerError> {
        let (Some(how), Some(url)) = (&self.settings.reset, self.url()) else {
            return Ok(());
        };
        let key = self.key.as_ref().map(Secret::expose);
        let secrets: Vec<_> = key
            .map(|key| (API_KEY_VARIABLE.to_owned(), key.to_owned()))
            .into_iter()
            .collect();
        let log = self.folder.path().join("server-reset.log");
        match reset::reset(how, &url, key, &secrets, &log, interrupted) {
            Err(_) if interrupted() => Err(ServerError::Interrupted),
            done => done.map_err(ServerError::Failed),
        }
    }

    pub(super) fn watch(&mut self) -> Result<(), String> {
        match self.condition() {
            Condition::Up if self.is_the_same() => Ok(()),
            Condition::Up | Condition::Unseen => Err("the server was started again by Slurm".to_owned()),
            Condition::Waiting(why) => Err(format!("the server is to be started again: {why}")),
            Condition::Down(why) => Err(why),
        }
    }

    /// Whether nothing happened to it since it was found well that makes a measurement worthless.
    fn undisturbed(&self) -> Result<(), String> {
        let (Some(well), Some(now)) = (&self.well, self.pulse.status()) else {
            return Ok(());
        };
        if now.stood_still > well.stood_still {
            return Err(
                "the server stood still for a while during the trial: it, or its job, was stopped".to_owned(),
            );
        }
        if now.memory_kills > well.memory_kills {
            return Err(
                "the kernel ended a process beside the server for want of memory during the trial".to_owned(),
            );
        }
        Ok(())
    }

    /// Whether its health path answers, asked again and again for so long while its process lives.
    pub(super) fn answers_within(
        &mut self,
        limit: Duration,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<(), String> {
        let end = Instant::now() + limit;
        loop {
            let said = match self.is_healthy() {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            self.pulse.forget();
            if let Condition::Down(why) = self.condition() {
                return Err(why);
            }
            if interrupted() || Instant::now() >= end {
                let seconds = limit.as_secs();
                return Err(self.with_log(&format!(
                    "the server hangs: its process lives, and it does not answer for {seconds} s ({said})"
                )));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Asks the health path once. A server without it (404) is well if it lists models.
    pub(super) fn is_healthy(&self) -> Result<(), EndpointError> {
        let url = self.url().unwrap_or_default();
        let key = self.key.as_ref().map(Secret::expose);
        let base: BaseUrl = url.parse().map_err(EndpointError::Url)?;
        match discover::get(&base, &self.settings.health, key, ANSWER) {
            Ok(_) => Ok(()),
            Err(EndpointError::NotFound { .. }) => models(&url, key, ANSWER).map(|_| ()),
            Err(error) => Err(error),
        }
    }

    /// What is to be said, and the end of its log.
    pub(super) fn with_log(&self, words: &str) -> String {
        let log = self.folder.log(self.number);
        let end = tail(&log, TAIL_LINES);
        if end.is_empty() {
            return format!("{words}; its log ({}) is empty", log.display());
        }
        format!("{words}; the end of its log ({}):\n{end}", log.display())
    }

    /// Whether the cluster took it away.
    fn is_lost(&mut self) -> bool {
        let standing = self.launched.as_mut().map(Launched::standing);
        matches!(standing, Some(Standing::Over { lost: true, .. }))
    }

    /// Ends it, and what it left behind on this machine where its wrapper could not see to that.
    pub(super) fn end(&mut self) {
        if self.launched.is_none() {
            return;
        }
        self.ask_and_force();
        let status = self.folder.status().filter(|s| s.token == self.token);
        if status.is_some_and(|s| s.machine == host_name() && s.state != Phase::Ended) {
            for pid in with_variable(TOKEN_VARIABLE, &self.token) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        }
    }

    /// Asks, waits, and then uses force.
    fn ask_and_force(&mut self) {
        let Some(mut launched) = self.launched.take() else {
            return;
        };
        let asked = self.folder.ask_to_stop(&self.token).is_ok();
        let end = Instant::now() + GRACE + NEWS;
        while asked && Instant::now() < end {
            let ended = self
                .folder
                .status()
                .is_some_and(|s| s.token == self.token && s.state == Phase::Ended);
            match launched.standing() {
                Standing::Over { .. } => return,
                // Not begun: nothing is there to hear us.
                Standing::Waiting(_) if self.pulse.status().is_none() => break,
                // A job ends by itself then; a process is waited for.
                _ if ended && launched.is_job() => return,
                Standing::Waiting(_) | Standing::Alive => {}
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        launched.kill();
    }
}
