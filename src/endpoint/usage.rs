//! How many tokens an endpoint counts in a text.

use std::time::Duration;

use serde_json::{Value, json};

use super::{BaseUrl, EndpointError, discover};

/// Sends `text` for a response of one token and reads the prompt length from the reported usage; `None` where the
/// server reports none. `path` names the API: `/v1/completions` or `/v1/chat/completions`.
///
/// # Errors
/// See [`EndpointError`].
pub fn prompt_tokens(
    base_url: &str,
    path: &str,
    model: &str,
    text: &str,
    key: Option<&str>,
    timeout: Duration,
) -> Result<Option<u32>, EndpointError> {
    let url: BaseUrl = base_url.parse()?;
    let mut document = json!({ "model": model, "max_tokens": 1, "temperature": 0.0, "stream": false });
    if path.contains("chat") {
        document["messages"] = json!([{ "role": "user", "content": text }]);
    } else {
        document["prompt"] = text.into();
    }
    let (address, body) = discover::post(&url, path, &document, key, timeout)?;
    let answer: Value = serde_json::from_slice(&body).map_err(|_| EndpointError::NotOpenAi {
        url: address,
        why: format!("expected a completion, found: {}", super::said(&body)),
    })?;
    Ok(answer
        .pointer("/usage/prompt_tokens")
        .and_then(Value::as_u64)
        .map(|n| n as u32))
}
