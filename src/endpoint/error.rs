//! What can be wrong with an endpoint, and what to do about it.

use super::UrlError;

/// Why an endpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The URL is not one.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// Nobody listens there.
    #[error("{url} refused the connection: is the server running, and is the port right?")]
    Refused {
        /// The endpoint.
        url: String,
    },
    /// It cannot be reached for another reason.
    #[error("{url} cannot be reached: {why}; check the host name and the network")]
    Unreachable {
        /// The endpoint.
        url: String,
        /// Why.
        why: String,
    },
    /// No encrypted connection could be made.
    #[error(
        "no TLS connection to {url}: {why}; set SSL_CERT_FILE to the certificate authority's file, or use http:// where the server has no TLS"
    )]
    Tls {
        /// The endpoint.
        url: String,
        /// Why.
        why: String,
    },
    /// Status 401 or 403.
    #[error("{url} answered {status}: set API_KEY to a valid key")]
    Unauthorized {
        /// The address that was asked.
        url: String,
        /// The status.
        status: u16,
    },
    /// Status 404.
    #[error("{url} answered 404: {why}; check the URL, the API and the model's name")]
    NotFound {
        /// The address that was asked.
        url: String,
        /// What the server said.
        why: String,
    },
    /// Another status that is not success.
    #[error("{url} answered {status}: {why}")]
    Status {
        /// The address that was asked.
        url: String,
        /// The status.
        status: u16,
        /// What the server said.
        why: String,
    },
    /// An answer that the API does not know.
    #[error("{url} does not speak the OpenAI API: {why}; is this the model server's address?")]
    NotOpenAi {
        /// The address that was asked.
        url: String,
        /// What is wrong with the answer.
        why: String,
    },
    /// No answer in time.
    #[error("{url} did not answer within {seconds} s: is the model still loading?")]
    Timeout {
        /// The address that was asked.
        url: String,
        /// The limit.
        seconds: f64,
    },
}

impl EndpointError {
    /// One word for it, as `failure.json` holds it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Url(_) => "bad-url",
            Self::Refused { .. } | Self::Unreachable { .. } => "unreachable",
            Self::Tls { .. } => "tls",
            Self::Unauthorized { .. } => "unauthorized",
            Self::NotFound { .. } => "not-found",
            Self::Status { .. } | Self::NotOpenAi { .. } => "bad-endpoint",
            Self::Timeout { .. } => "timeout",
        }
    }

    /// The error that a status other than success stands for; `body` is what came with it.
    pub fn from_status(url: &str, status: u16, body: &[u8]) -> Self {
        let url = url.to_owned();
        let why = said(body);
        match status {
            401 | 403 => Self::Unauthorized { url, status },
            404 => Self::NotFound { url, why },
            _ => Self::Status { url, status, why },
        }
    }
}

/// The message of an error object, else the beginning of the text, on one line.
pub(crate) fn said(body: &[u8]) -> String {
    let message = serde_json::from_slice::<serde_json::Value>(body)
        .ok()
        .and_then(|value| {
            let found = ["/error/message", "/message", "/detail", "/error"];
            found
                .iter()
                .find_map(|path| value.pointer(path)?.as_str().map(str::to_owned))
        });
    let text = message.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() {
        return "(no message)".to_owned();
    }
    let mut short: String = line.chars().take(300).collect();
    if short.len() < line.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_in_every_dialect() {
        for (body, expected) in [
            (
                r#"{"error":{"message":"no such model","code":404}}"#,
                "no such model",
            ),
            (r#"{"detail":"Not Found"}"#, "Not Found"),
            (r#"{"object":"error","message":"m"}"#, "m"),
            ("<html>\n  busy </html>", "<html> busy </html>"),
            ("", "(no message)"),
        ] {
            assert_eq!(said(body.as_bytes()), expected);
        }
    }
}
