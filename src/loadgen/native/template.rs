//! What the head of every request says.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Method, Request, Uri};

use super::failure::TrialFailure;
use crate::endpoint::BaseUrl;
use crate::loadgen::Api;

/// What the head of every request says.
#[derive(Clone)]
pub(super) struct Template {
    /// Path.
    uri: Uri,
    /// Headers, the key among them.
    headers: HeaderMap,
}

impl Template {
    /// The head that all requests share; `fresh` asks the server to close the connection after the answer.
    ///
    /// # Errors
    /// When the URL or the key cannot stand in a header.
    pub(super) fn new(api: Api, url: &BaseUrl, key: Option<&str>, fresh: bool) -> Result<Self, TrialFailure> {
        let bad = |what: &str| {
            TrialFailure::new(
                "bad-job",
                format!("{what} has characters that HTTP does not allow"),
            )
        };
        let uri: Uri = url.path(api.path()).parse().map_err(|_| bad("the URL's path"))?;
        let mut headers = HeaderMap::new();
        let host = HeaderValue::try_from(url.authority()).map_err(|_| bad("the host name"))?;
        headers.insert(header::HOST, host);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        headers.insert(
            header::USER_AGENT,
            HeaderValue::from_static(concat!("mst/", env!("CARGO_PKG_VERSION"))),
        );
        if let Some(key) = key {
            let mut value = HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| bad("the API key"))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        if fresh {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(Self { uri, headers })
    }

    /// Fills in a request's head.
    pub(super) fn apply(&self, request: &mut Request<Full<Bytes>>) {
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
    }
}
