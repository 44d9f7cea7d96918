//! A live endpoint, asked over HTTP.

use std::time::Duration;

use super::{ProfileError, Subject};
use crate::endpoint::scrape::{Engine, Gauges, Scraper};
use crate::endpoint::{BaseUrl, EndpointError, discover};
use crate::loadgen::native::{LoneAnswer, LoneClient, TrialFailure};
use crate::loadgen::{Endpoint, PromptEncoding};
use crate::store::prefill::ProfiledServer;
use crate::workload::prompts::PromptFactory;
use crate::workload::{PlannedRequest, PromptSource, PromptSpec};

/// How long a question beside the measurement may take.
const ASIDE: Duration = Duration::from_secs(5);

/// A live endpoint.
pub struct LiveSubject {
    client: LoneClient,
    prompts: PromptFactory,
    url: BaseUrl,
    key: Option<String>,
    scraper: Scraper,
    /// Whether it tells of its queue; asked once.
    metrics: Option<Engine>,
}

impl LiveSubject {
    /// An endpoint whose prompts are put on the wire so; a request may take `limit`.
    ///
    /// # Errors
    /// When it cannot be used so.
    pub fn new(
        endpoint: &Endpoint,
        encoding: &PromptEncoding,
        key: Option<String>,
        limit: Duration,
    ) -> Result<Self, ProfileError> {
        let url: BaseUrl = endpoint
            .base_url
            .parse()
            .map_err(|e| TrialFailure::from(EndpointError::from(e)))?;
        let spec = PromptSpec {
            source: PromptSource::Builtin,
            unique_prefix: true,
        };
        let prompts =
            PromptFactory::new(&spec, &[], encoding, None).map_err(|e| TrialFailure::bad_job(&e))?;
        let client = LoneClient::new(endpoint, key.as_deref(), limit)?;
        let scraper = Scraper::new(&url, key.clone(), ASIDE).map_err(TrialFailure::from)?;
        let mut subject = Self {
            client,
            scraper,
            prompts,
            url,
            key,
            metrics: None,
        };
        subject.metrics = subject.gauges().map(|gauges| gauges.engine);
        Ok(subject)
    }

    /// What the server tells of itself, beside the longest request.
    pub fn server(&self) -> ProfiledServer {
        let version = discover::get(&self.url, "/version", self.key.as_deref(), ASIDE)
            .ok()
            .and_then(|(_, body)| serde_json::from_slice::<serde_json::Value>(&body).ok())
            .and_then(|answer| answer.get("version")?.as_str().map(str::to_owned));
        ProfiledServer {
            engine: self.metrics.map(|engine| engine.to_string()),
            version,
            max_model_len: None,
        }
    }

    /// Fields of a request that the server refused.
    pub fn dropped(&self) -> Vec<&'static str> {
        self.client.dropped()
    }

    fn gauges(&self) -> Option<Gauges> {
        // No metrics and no answer are alike here: the measurement itself tells a server that is gone.
        self.scraper.ask().ok().flatten()
    }
}

impl Subject for LiveSubject {
    fn ask(&mut self, tokens: u32, salt: u64) -> Result<LoneAnswer, ProfileError> {
        let prompt = self.prompts.prompt(&PlannedRequest {
            intended_ns: 0,
            class: 0,
            input_tokens: tokens,
            output_tokens: 1,
            salt,
        });
        Ok(self.client.ask(&prompt, salt)?)
    }

    fn present(&mut self) -> Option<f64> {
        self.metrics?;
        self.gauges().map(|gauges| gauges.present())
    }

    fn alive(&mut self) -> Result<(), String> {
        let url = self.url.to_string();
        discover::health(&url, self.key.as_deref(), ASIDE).map_err(|e| e.to_string())
    }
}
