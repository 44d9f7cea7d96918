//! The driver's side of a model server.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use super::Launcher;
use super::life::{HANG, Inner};
use crate::executor::slurm::SubmitError;
use crate::loadgen::API_KEY_VARIABLE;
use crate::runner::TrialError;
use crate::settings::{Secret, ServerSettings};
use crate::store::runs::RunError;
use crate::store::{ServerFacts, StoreError};

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
        let inner = Inner::begin(start, interrupted, note)?;
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
        self.inner.borrow().facts()
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
        self.inner.borrow_mut().vouch()
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
