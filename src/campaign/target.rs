//! What is loaded: a live endpoint, the embedded one, or a model server of our own.

use std::path::Path;

use super::home::{self, Home};
use crate::endpoint::embedded::{EmbeddedConfig, EmbeddedError, EmbeddedServer};
use crate::endpoint::{EndpointError, calibrated, discover};
use crate::loadgen::{Api, Endpoint, PromptEncoding};
use crate::runner::server_metrics::ServerMetrics;
use crate::runner::{Service, TrialError};
use crate::server::{ModelServer, ServerError};
use crate::settings::{Secret, ServerSettings, Settings};
use crate::sim::affine::{ReplicaConfig, true_capacity};
use crate::store::ServerFacts;
use crate::units::Rate;
use crate::workload::LengthClass;
use crate::workload::prompts::PromptError;

/// Why a target cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The embedded server.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// The prompts.
    #[error(transparent)]
    Prompts(#[from] PromptError),
    /// A server of our own.
    #[error(transparent)]
    Server(#[from] ServerError),
}

/// What is loaded, ready.
pub struct Target {
    /// Where and how to reach it; the URL is that of the beginning.
    endpoint: Endpoint,
    /// Names it in the identity of a trial.
    pub label: String,
    /// How prompts are sent.
    pub encoding: PromptEncoding,
    /// What was found out on the way.
    pub notes: Vec<String>,
    key: Option<Secret>,
    metrics: ServerMetrics,
    timeout: std::time::Duration,
    embedded: Option<(EmbeddedServer, ReplicaConfig)>,
    /// Ended when this is dropped.
    server: Option<ModelServer>,
}

impl Target {
    /// Starts the embedded server or one of our own, in its home, and asks the endpoint what it serves and how it counts
    /// tokens.
    ///
    /// # Errors
    /// When the endpoint does not answer as it should; the message says what to do.
    pub fn open(
        settings: &Settings,
        home: Option<&Home<'_>>,
        interrupted: &dyn Fn() -> bool,
        note: &mut dyn FnMut(&str),
    ) -> Result<Self, TargetError> {
        match (&settings.server, &settings.url) {
            (Some(server), _) => Self::hosted(settings, server, home, interrupted, note),
            (None, None) => Self::embedded(settings),
            (None, Some(url)) => Self::live(settings, url),
        }
    }

    /// Starts the server and asks it.
    fn hosted(
        settings: &Settings,
        server: &ServerSettings,
        home: Option<&Home<'_>>,
        interrupted: &dyn Fn() -> bool,
        note: &mut dyn FnMut(&str),
    ) -> Result<Self, TargetError> {
        let home =
            home.ok_or_else(|| ServerError::Unusable("a model server needs a run's folder".to_owned()))?;
        let start = home::start(settings, server, home)?;
        let server = ModelServer::start(start, interrupted, note)?;
        let url = server.url();
        note(&format!("the model server answers at {url}"));
        let mut target = Self::live(settings, &url)?;
        // Its URL may be another one each time.
        target.label = Self::label_of(settings);
        target.server = Some(server);
        Ok(target)
    }

    /// Names the target in the identity of a trial: as it was told, else by the command or the URL.
    pub fn label_of(settings: &Settings) -> String {
        let command = || settings.server.as_ref().map(|server| server.argv.join(" "));
        settings
            .target_label
            .clone()
            .or_else(command)
            .or_else(|| settings.url.clone())
            .unwrap_or_default()
    }

    /// Where and how to reach it now.
    pub fn endpoint(&self) -> Endpoint {
        let mut endpoint = self.endpoint.clone();
        if let Some(server) = &self.server {
            endpoint.base_url = server.url();
        }
        endpoint
    }

    /// Where it tells how loaded it is.
    pub fn metrics(&self) -> &ServerMetrics {
        &self.metrics
    }

    /// The model that requests name.
    pub fn model(&self) -> &str {
        &self.endpoint.model
    }

    /// Its URL; empty for the embedded server.
    pub fn url(&self) -> String {
        if self.embedded.is_some() {
            String::new()
        } else {
            self.endpoint().base_url
        }
    }

    /// Where its server runs, where that is one of ours.
    pub fn server_facts(&self) -> Option<ServerFacts> {
        self.server.as_ref()?.facts()
    }

    /// What can be said without contacting anybody, for a dry run.
    pub fn unopened(settings: &Settings) -> Self {
        let base_url = settings
            .url
            .clone()
            .unwrap_or_else(|| "http://127.0.0.1:0".to_owned());
        let model = settings.model.clone().unwrap_or_else(|| "model".to_owned());
        Self {
            endpoint: Endpoint {
                base_url,
                api: settings.api,
                model,
            },
            label: Self::label_of(settings),
            encoding: PromptEncoding::ANY_IDS,
            notes: Vec::new(),
            key: None,
            metrics: ServerMetrics::off(),
            timeout: settings.discovery_timeout,
            embedded: None,
            server: None,
        }
    }

    fn embedded(settings: &Settings) -> Result<Self, TargetError> {
        let config = EmbeddedConfig::default();
        let replica = config.replica.clone();
        let model = config.model.clone();
        let server = EmbeddedServer::start(config)?;
        let encoding = match settings.api {
            Api::Completions => PromptEncoding::ANY_IDS,
            // The embedded server counts a word as a token.
            Api::Chat => PromptEncoding::Calibrated {
                overhead: 0.0,
                per_word: 1.0,
            },
        };
        Ok(Self {
            endpoint: Endpoint {
                base_url: server.base_url(),
                api: settings.api,
                model,
            },
            label: settings
                .target_label
                .clone()
                .unwrap_or_else(|| server.label().to_owned()),
            encoding,
            notes: vec![format!("the embedded server answers at {}", server.base_url())],
            key: None,
            metrics: metrics(settings),
            timeout: settings.discovery_timeout,
            embedded: Some((server, replica)),
            server: None,
        })
    }

    fn live(settings: &Settings, url: &str) -> Result<Self, TargetError> {
        let key = settings.api_key.clone();
        let timeout = settings.discovery_timeout;
        let models = discover::models(url, key.as_ref().map(Secret::expose), timeout)?;
        let mut notes = Vec::new();
        let model = if let Some(model) = &settings.model {
            if !models.contains(model) {
                notes.push(format!(
                    "MODEL={model} is not among those that {url} lists: {}",
                    models.join(", ")
                ));
            }
            model.clone()
        } else {
            if models.len() > 1 {
                notes.push(format!(
                    "{url} lists {}; the first is used, set MODEL for another",
                    models.join(", ")
                ));
            }
            models.into_iter().next().unwrap_or_default()
        };
        let mut target = Self {
            endpoint: Endpoint {
                base_url: url.to_owned(),
                api: settings.api,
                model,
            },
            label: settings.target_label.clone().unwrap_or_else(|| url.to_owned()),
            encoding: PromptEncoding::ANY_IDS,
            notes,
            key,
            metrics: metrics(settings),
            timeout: settings.request_timeout,
            embedded: None,
            server: None,
        };
        target.encoding = match &settings.tokenizer {
            Some(path) => PromptEncoding::Tokenizer { path: absolute(path) },
            None if settings.api == Api::Completions && settings.prompts_file.is_none() => {
                PromptEncoding::ANY_IDS
            }
            None => target.calibrate()?,
        };
        target.timeout = timeout;
        Ok(target)
    }

    /// Sends a few texts and reads how many tokens the server counts in them.
    fn calibrate(&mut self) -> Result<PromptEncoding, TargetError> {
        let key = self.key.as_ref().map(Secret::expose);
        let (encoding, note) = calibrated::text(&self.endpoint, key, self.timeout)?;
        self.notes.push(note);
        Ok(encoding)
    }

    /// The true capacity, where the target is the embedded server.
    pub fn true_capacity(&self, classes: &[LengthClass]) -> Option<Rate> {
        let (_, replica) = self.embedded.as_ref()?;
        true_capacity(replica, classes).ok().map(|truth| truth.rate)
    }

    /// How far the embedded server fell behind its own clock: then its true capacity was less than it says.
    pub fn embedded_lag(&self) -> Option<std::time::Duration> {
        self.embedded.as_ref().map(|(server, _)| server.max_lag())
    }
}

impl Service for Target {
    fn ready(&self, interrupted: &dyn Fn() -> bool, note: &mut dyn FnMut(&str)) -> Result<(), TrialError> {
        match &self.server {
            Some(server) => Ok(server.ready(interrupted, note)?),
            None => Ok(()),
        }
    }

    fn watch(&self) -> Result<(), String> {
        self.server.as_ref().map_or(Ok(()), ModelServer::watch)
    }

    fn vouch(&self) -> Result<(), String> {
        self.server.as_ref().map_or(Ok(()), ModelServer::vouch)
    }

    fn outlives_drivers(&self) -> bool {
        // One of ours is ended and started anew by the next driver.
        self.embedded.is_none() && self.server.is_none()
    }

    fn alive(&self) -> Result<(), String> {
        if let Some(server) = &self.server {
            return server.alive();
        }
        discover::health(
            &self.endpoint.base_url,
            self.key.as_ref().map(Secret::expose),
            self.timeout,
        )
        .map_err(|e| e.to_string())
    }
}

/// Where the settings say that metrics are.
fn metrics(settings: &Settings) -> ServerMetrics {
    if !settings.server_metrics {
        return ServerMetrics::off();
    }
    let key = settings.api_key.as_ref().map(|key| key.expose().to_owned());
    ServerMetrics::new(settings.server_metrics_url.clone(), key)
}

fn absolute(path: &Path) -> std::path::PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
