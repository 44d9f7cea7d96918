//! What a server tells of itself at `/metrics`: how many requests run and wait, and how full its KV cache is.

mod exposition;
mod gauges;

pub use exposition::{Sample, samples};
pub use gauges::{Engine, Gauges};

use std::time::Duration;

use super::{BaseUrl, EndpointError, discover};

/// The path below the base URL.
pub const METRICS_PATH: &str = "/metrics";

/// Asks once. `None` where the page has none of the metrics that are known here.
///
/// # Errors
/// See [`EndpointError`]; a server without metrics answers 404.
pub fn ask(
    url: &BaseUrl,
    path: &str,
    key: Option<&str>,
    timeout: Duration,
) -> Result<Option<Gauges>, EndpointError> {
    let (_, page) = discover::get(url, path, key, timeout)?;
    Ok(Gauges::read(&String::from_utf8_lossy(&page)))
}
