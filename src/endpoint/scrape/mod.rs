//! What a server tells of itself at `/metrics`: how many requests run and wait, and how full its KV cache is.

mod exposition;
mod gauges;

pub use exposition::{Sample, samples};
pub use gauges::{Engine, Gauges};

use std::time::Duration;

use super::discover::Caller;
use super::{BaseUrl, EndpointError};

/// The path below the base URL.
const PATH: &str = "/metrics";

/// Asks a server for its metrics.
pub struct Scraper {
    caller: Caller,
    path: &'static str,
    key: Option<String>,
    timeout: Duration,
}

impl Scraper {
    /// At `/metrics` below the base URL of an endpoint. Blocks while its name is resolved.
    ///
    /// # Errors
    /// When the name is not known.
    pub fn new(base_url: &BaseUrl, key: Option<String>, timeout: Duration) -> Result<Self, EndpointError> {
        Ok(Self {
            caller: Caller::new(base_url)?,
            path: PATH,
            key,
            timeout,
        })
    }

    /// At an address of its own, `/metrics` where it has no path. The endpoint's key is not sent there.
    ///
    /// # Errors
    /// When the name is not known.
    pub fn elsewhere(address: &BaseUrl, timeout: Duration) -> Result<Self, EndpointError> {
        let mut scraper = Self::new(address, None, timeout)?;
        if !address.path("").is_empty() {
            scraper.path = "";
        }
        Ok(scraper)
    }

    /// Asks once. `None` where the page has none of the metrics that are known here.
    ///
    /// # Errors
    /// See [`EndpointError`]; a server without metrics answers 404.
    pub fn ask(&self) -> Result<Option<Gauges>, EndpointError> {
        let (_, page) = self
            .caller
            .ask(self.path, None, self.key.as_deref(), self.timeout)?;
        Ok(Gauges::read(&String::from_utf8_lossy(&page)))
    }
}
