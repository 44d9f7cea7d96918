//! The driver's side of a model server.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Launcher;
use super::files::{Folder, Order, Phase, SCHEMA, Status, tail};
use super::launch::{Launched, Standing};
use super::reset;
use super::wait::{Condition, Pulse};
use crate::endpoint::{BaseUrl, EndpointError, discover, models};
use crate::executor::slurm::SubmitError;
use crate::loadgen::API_KEY_VARIABLE;
use crate::runner::TrialError;
use crate::settings::{Secret, ServerSettings};
use crate::store::runs::RunError;
use crate::store::{Process, ServerFacts, StoreError};

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

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// It does not work; what became of it.
    #[error("{0}")]
    Failed(String),
    /// It cannot be started as it is asked for.
    #[error("{0}")]
    Unusable(String),
    /// The script of its job.
    #[error("the script of the server's job: {0}")]
    Script(String),
    /// Slurm did not take its job.
    #[error("the server's job was not submitted: {0}")]
    Submit(#[from] SubmitError),
    /// The seat.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The run's folder.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl From<ServerError> for TrialError {
    fn from(error: ServerError) -> Self {
        match error {
            ServerError::Interrupted => Self::Interrupted,
            ServerError::Store(error) => Self::Store(error),
            other => Self::Endpoint(other.to_string()),
        }
    }
}

/// What a server is started from.
pub struct Start<'a> {
    /// What the settings say.
    pub settings: &'a ServerSettings,
    /// The driver's seat, whose lease the driver holds.
    pub seat: &'a Path,
    /// This program, where it can be run at the server's place.
    pub program: PathBuf,
    /// Words before the command: a container.
    pub prefix: Vec<String>,
    /// The API key that the server is to demand; in its environment, under the name that load generators know.
    pub key: Option<Secret>,
    /// A file with that key, for a server whose environment we do not make.
    pub key_file: Option<PathBuf>,
    /// How it gets to its place.
    pub launcher: Launcher,
    /// Whether only this machine needs to reach it.
    pub local: bool,
}

/// A model server that belongs to the run; ended on drop.
pub struct ModelServer {
    inner: RefCell<Inner>,
}

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

impl ModelServer {
    /// Starts the server and waits until it is healthy, for as long as it shows life.
    ///
    /// # Errors
    /// When it ends, hangs or says nothing for too long; the message holds the end of its log.
    pub fn start(
        start: Start<'_>,
        interrupted: &dyn Fn() -> bool,
        note: &mut dyn FnMut(&str),
    ) -> Result<Self, ServerError> {
        check(start.settings, start.key.as_ref())?;
        fs_err::create_dir_all(start.seat).map_err(StoreError::from)?;
        let folder = Folder::at(start.seat);
        let mut inner = Inner {
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
        let mut why = inner.wait_until_healthy(interrupted, note);
        // Taken away by the cluster: that says nothing about the server.
        while let Err(ServerError::Failed(words)) = &why
            && inner.is_lost()
        {
            inner.restart(&words.clone(), interrupted, note)?;
            why = inner.wait_until_healthy(interrupted, note);
        }
        why?;
        Ok(Self {
            inner: RefCell::new(inner),
        })
    }

    /// Where it answers.
    pub fn url(&self) -> String {
        self.inner.borrow().url().unwrap_or_default()
    }

    /// Where it runs.
    pub fn facts(&self) -> Option<ServerFacts> {
        let inner = self.inner.borrow();
        let status = inner.well.as_ref()?;
        Some(ServerFacts {
            host: status.machine.clone(),
            slurm_job_id: status.job.clone(),
        })
    }

    /// Returns once it is healthy and cleared for a trial; one that died or hangs is started again.
    ///
    /// # Errors
    /// When it cannot be had.
    pub fn ready(
        &self,
        interrupted: &dyn Fn() -> bool,
        note: &mut dyn FnMut(&str),
    ) -> Result<(), ServerError> {
        let mut inner = self.inner.borrow_mut();
        inner.ensure(interrupted, note)?;
        inner.reset(interrupted)
    }

    /// Whether it is known to be gone; cheap.
    ///
    /// # Errors
    /// What became of it.
    pub fn watch(&self) -> Result<(), String> {
        self.inner.borrow_mut().watch()
    }

    /// Whether it answers, within half a minute.
    ///
    /// # Errors
    /// What it does instead.
    pub fn alive(&self) -> Result<(), String> {
        self.inner.borrow_mut().answers_within(HANG, &|| false)
    }

    /// Whether it was well all the time since [`ModelServer::ready`], so that what was measured is its answer.
    ///
    /// # Errors
    /// What came between.
    pub fn vouch(&self) -> Result<(), String> {
        let mut inner = self.inner.borrow_mut();
        inner.pulse.forget();
        inner.watch()?;
        inner.undisturbed()?;
        inner.answers_within(HANG, &|| false)
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.inner.borrow_mut().end();
    }
}

/// What can be told before anything is started.
fn check(settings: &ServerSettings, key: Option<&Secret>) -> Result<(), ServerError> {
    let has = |text: &str| settings.argv.iter().any(|word| word.contains(text));
    if key.is_some_and(|key| has(key.expose())) {
        return Err(ServerError::Unusable(format!(
            "SERVER_COMMAND holds the API key, which everybody on the machine could read; let the server take it from \
             the environment variable {API_KEY_VARIABLE}"
        )));
    }
    if settings.port.is_none() && !has("{port}") {
        return Err(ServerError::Unusable(
            "SERVER_COMMAND has no {port}; write it where the command takes its port (vllm serve … --port {port}), or \
             set SERVER_PORT to the port that the server takes by itself"
                .to_owned(),
        ));
    }
    Ok(())
}

impl Inner {
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
    fn ensure(
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
            Condition::Up | Condition::Waiting(_) => match self.wait_until_healthy(interrupted, note) {
                Err(ServerError::Failed(why)) => why,
                other => return other,
            },
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

    fn reset(&mut self, interrupted: &dyn Fn() -> bool) -> Result<(), ServerError> {
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

    fn watch(&mut self) -> Result<(), String> {
        match self.condition() {
            Condition::Up if self.is_the_same() => Ok(()),
            Condition::Up => Err("the server was started again by Slurm".to_owned()),
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
    fn answers_within(&mut self, limit: Duration, interrupted: &dyn Fn() -> bool) -> Result<(), String> {
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

    /// Ends it: asks, waits, and then uses force.
    fn end(&mut self) {
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
                // Not begun, or to begin again: nothing is there to hear us.
                Standing::Waiting(_) => break,
                // A job ends by itself then; a process is waited for.
                Standing::Alive if ended && launched.is_job() => return,
                Standing::Alive => {}
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        launched.kill();
    }
}
