//! Asking an endpoint what it serves and whether it is well. Blocking, for use before a trial.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, header};
use serde::Deserialize;

use super::{BaseUrl, Connector, EndpointError};

/// Most of an answer that is read.
const BODY_LIMIT: usize = 4 << 20;

#[derive(Deserialize)]
struct ModelList {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
    /// vLLM.
    #[serde(default)]
    max_model_len: Option<serde_json::Value>,
    /// llama.cpp.
    #[serde(default)]
    meta: Option<serde_json::Value>,
}

/// A model that an endpoint lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedModel {
    /// Its name.
    pub id: String,
    /// Longest request, prompt and response, in tokens, where the endpoint tells.
    pub max_model_len: Option<u32>,
}

/// The models that `/v1/models` lists, by name.
///
/// # Errors
/// See [`EndpointError`]; each says what to do.
pub fn models(base_url: &str, key: Option<&str>, timeout: Duration) -> Result<Vec<String>, EndpointError> {
    let served = served(base_url, key, timeout)?;
    Ok(served.into_iter().map(|m| m.id).collect())
}

/// The models that `/v1/models` lists.
///
/// # Errors
/// See [`EndpointError`]; each says what to do.
pub fn served(
    base_url: &str,
    key: Option<&str>,
    timeout: Duration,
) -> Result<Vec<ServedModel>, EndpointError> {
    let url: BaseUrl = base_url.parse()?;
    let (address, body) = get(&url, "/v1/models", key, timeout)?;
    let list: ModelList = serde_json::from_slice(&body).map_err(|_| EndpointError::NotOpenAi {
        url: address.clone(),
        why: format!("expected a list of models, found: {}", super::error::said(&body)),
    })?;
    if list.data.is_empty() {
        return Err(EndpointError::NotOpenAi {
            url: address,
            why: "it lists no model".to_owned(),
        });
    }
    let length = |value: &serde_json::Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
    Ok(list
        .data
        .into_iter()
        .map(|model| ServedModel {
            id: model.id,
            // Of llama.cpp: what one slot takes, else what the model was trained with, which bounds it.
            max_model_len: [
                model.max_model_len.as_ref(),
                model.meta.as_ref().and_then(|meta| meta.get("n_ctx")),
                model.meta.as_ref().and_then(|meta| meta.get("n_ctx_train")),
            ]
            .into_iter()
            .flatten()
            .find_map(length),
        })
        .collect())
}

/// Whether `/health` answers with success. A server without that path (404) is taken to be well if it lists models.
///
/// # Errors
/// See [`EndpointError`].
pub fn health(base_url: &str, key: Option<&str>, timeout: Duration) -> Result<(), EndpointError> {
    let url: BaseUrl = base_url.parse()?;
    match get(&url, "/health", key, timeout) {
        Ok(_) => Ok(()),
        Err(EndpointError::NotFound { .. }) => models(base_url, key, timeout).map(|_| ()),
        Err(error) => Err(error),
    }
}

/// Fetches `path`; returns the full address and the body of a successful answer.
///
/// # Errors
/// See [`EndpointError`].
pub fn get(
    url: &BaseUrl,
    path: &str,
    key: Option<&str>,
    timeout: Duration,
) -> Result<(String, Bytes), EndpointError> {
    ask(url, path, None, key, timeout)
}

/// Posts a JSON document to `path`; returns the full address and the body of a successful answer.
///
/// # Errors
/// See [`EndpointError`].
pub fn post(
    url: &BaseUrl,
    path: &str,
    document: &serde_json::Value,
    key: Option<&str>,
    timeout: Duration,
) -> Result<(String, Bytes), EndpointError> {
    ask(url, path, Some(document), key, timeout)
}

fn ask(
    url: &BaseUrl,
    path: &str,
    document: Option<&serde_json::Value>,
    key: Option<&str>,
    timeout: Duration,
) -> Result<(String, Bytes), EndpointError> {
    Caller::new(url)?.ask(path, document, key, timeout)
}

/// Asks one endpoint again and again: the host's name is resolved, and certificate authorities are read, once.
pub(super) struct Caller {
    connector: Connector,
    runtime: tokio::runtime::Runtime,
}

impl Caller {
    /// Blocks while the name is resolved.
    pub(super) fn new(url: &BaseUrl) -> Result<Self, EndpointError> {
        let connector = Connector::new(url, false)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| EndpointError::Unreachable {
                url: url.to_string(),
                why: e.to_string(),
            })?;
        Ok(Self { connector, runtime })
    }

    /// Asks once, over a connection of its own; returns the full address and the body of a successful answer.
    pub(super) fn ask(
        &self,
        path: &str,
        document: Option<&serde_json::Value>,
        key: Option<&str>,
        timeout: Duration,
    ) -> Result<(String, Bytes), EndpointError> {
        let Self { connector, runtime } = self;
        let url = connector.url();
        let address = format!("{url}{path}");
        let exchange = async {
            let mut connection = connector.connect().await.map_err(|e| connect_error(url, &e))?;
            let method = if document.is_some() {
                Method::POST
            } else {
                Method::GET
            };
            let mut request = Request::builder()
                .method(method)
                .uri(url.path(path))
                .header(header::HOST, url.authority());
            if document.is_some() {
                request = request.header(header::CONTENT_TYPE, "application/json");
            }
            if let Some(key) = key {
                request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
            }
            let request = request
                .body(Full::new(
                    document.map_or_else(Bytes::new, |d| d.to_string().into()),
                ))
                .map_err(|_| EndpointError::Unreachable {
                    url: address.clone(),
                    why: "the key or the URL has characters that HTTP does not allow".to_owned(),
                })?;
            let not_http = |e: hyper::Error| EndpointError::NotOpenAi {
                url: address.clone(),
                why: format!("the answer is not HTTP ({e})"),
            };
            let pending = connection.send(request);
            let response = connection.drive(pending).await.map_err(not_http)?;
            let status = response.status().as_u16();
            let collect = Limited::new(response.into_body(), BODY_LIMIT).collect();
            let body = connection
                .drive(collect)
                .await
                .map_err(|e| EndpointError::NotOpenAi {
                    url: address.clone(),
                    why: format!("the answer broke off ({e})"),
                })?;
            Ok::<_, EndpointError>((status, body.to_bytes()))
        };
        let (status, body) = runtime
            .block_on(async { tokio::time::timeout(timeout, exchange).await })
            .map_err(|_| EndpointError::Timeout {
                url: address.clone(),
                seconds: timeout.as_secs_f64(),
            })??;
        if (200..300).contains(&status) {
            Ok((address, body))
        } else {
            Err(EndpointError::from_status(&address, status, &body))
        }
    }
}

/// What a failure to connect means.
pub(crate) fn connect_error(url: &BaseUrl, error: &io::Error) -> EndpointError {
    let url = url.to_string();
    match error.kind() {
        io::ErrorKind::ConnectionRefused => EndpointError::Refused { url },
        // The kind that the TLS library gives its own errors.
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof if url.starts_with("https") => {
            EndpointError::Tls {
                url,
                why: error.to_string(),
            }
        }
        _ => EndpointError::Unreachable {
            url,
            why: error.to_string(),
        },
    }
}
