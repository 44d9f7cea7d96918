//! The paths and what they answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use serde_json::json;

use super::EmbeddedConfig;
use super::body::TokenStream;
use super::frames::Frames;
use super::pacer::{Pacer, Refusal};
use super::protocol::Ask;
use crate::loadgen::Api;

/// Largest body of a request in bytes: a million token ids fit.
const BODY_LIMIT: usize = 16 << 20;

struct Server {
    config: EmbeddedConfig,
    pacer: Arc<Pacer>,
    model_json: String,
    /// Seconds since 1970.
    created: u64,
    /// Numbers requests.
    next: AtomicU64,
}

pub(super) fn router(config: EmbeddedConfig, pacer: Arc<Pacer>) -> Router {
    let server = Server {
        model_json: json!(config.model).to_string(),
        created: chrono::Utc::now().timestamp().max(0) as u64,
        next: AtomicU64::new(0),
        config,
        pacer,
    };
    Router::new()
        .route(
            Api::Completions.path(),
            post(|server, headers, body| generate(Api::Completions, server, headers, body)),
        )
        .route(
            Api::Chat.path(),
            post(|server, headers, body| generate(Api::Chat, server, headers, body)),
        )
        .route("/v1/models", get(models))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .fallback(|| async { (StatusCode::NOT_FOUND, axum::Json(json!({"detail": "Not Found"}))) })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(Arc::new(server))
}

/// An error object in the form that clients of `OpenAI` and vLLM know.
fn error(status: StatusCode, kind: &str, message: &str) -> Response {
    (status, axum::Json(error_json(status, kind, message))).into_response()
}

fn error_json(status: StatusCode, kind: &str, message: &str) -> serde_json::Value {
    json!({"error": {"message": message, "type": kind, "param": null, "code": status.as_u16()}})
}

impl Server {
    /// Refuses clients without the key, and everyone while starting up.
    fn refuse(&self, headers: &HeaderMap) -> Option<Response> {
        if let Some(key) = &self.config.api_key {
            let given = headers
                .get(header::AUTHORIZATION)
                .and_then(|value| value.to_str().ok())
                .and_then(|value| value.strip_prefix("Bearer "));
            if given != Some(key) {
                let message = "a valid API key is needed: Authorization: Bearer …";
                return Some(error(StatusCode::UNAUTHORIZED, "Unauthorized", message));
            }
        }
        (!self.pacer.is_ready()).then(starting)
    }
}

fn starting() -> Response {
    let message = "the server is starting up";
    error(
        StatusCode::SERVICE_UNAVAILABLE,
        "ServiceUnavailableError",
        message,
    )
}

async fn health(State(server): State<Arc<Server>>) -> Response {
    if server.pacer.is_ready() {
        StatusCode::OK.into_response()
    } else {
        starting()
    }
}

async fn metrics(State(server): State<Arc<Server>>) -> Response {
    let text = server.pacer.metrics_text(&server.config.model);
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text,
    )
        .into_response()
}

async fn models(State(server): State<Arc<Server>>, headers: HeaderMap) -> Response {
    if let Some(refusal) = server.refuse(&headers) {
        return refusal;
    }
    let model = &server.config.model;
    axum::Json(json!({"object": "list", "data": [{
        "id": model, "object": "model", "created": server.created, "owned_by": "mst", "root": model,
        "parent": null, "max_model_len": server.config.replica.kv_tokens,
    }]}))
    .into_response()
}

async fn generate(
    api: Api,
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    if let Some(refusal) = server.refuse(&headers) {
        return refusal;
    }
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return error(rejection.status(), "BadRequestError", &rejection.body_text()),
    };
    let ask = match Ask::parse(api, &body, server.config.eos_after) {
        Ok(ask) => ask,
        Err(malformed) => return error(StatusCode::BAD_REQUEST, "BadRequestError", &malformed.0),
    };
    if let Some(model) = ask.model.as_ref().filter(|m| **m != server.config.model) {
        let message = format!("The model `{model}` does not exist.");
        return error(StatusCode::NOT_FOUND, "NotFoundError", &message);
    }
    let id = server.next.fetch_add(1, Ordering::Relaxed);
    let shape = ask.shape;
    let frames = Frames::new(&shape, id, &server.model_json, server.created);
    let size = (shape.input_tokens, shape.output_tokens);
    let mut ticket = match server.pacer.submit(id, size, frames) {
        Ok(ticket) => ticket,
        Err(refusal) => return refused(&server.config, refusal, shape.stream),
    };
    if shape.stream {
        let kind = [(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")];
        return (kind, Body::new(TokenStream(ticket))).into_response();
    }
    match ticket.pieces.recv().await {
        Some(whole) => ([(header::CONTENT_TYPE, "application/json")], whole).into_response(),
        None => error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalServerError",
            "the request was lost",
        ),
    }
}

fn refused(config: &EmbeddedConfig, refusal: Refusal, stream: bool) -> Response {
    if refusal == Refusal::NeverFits {
        let message = format!(
            "prompt and response exceed the {} tokens of the KV cache",
            config.replica.kv_tokens.unwrap_or(0)
        );
        return error(StatusCode::BAD_REQUEST, "BadRequestError", &message);
    }
    let code = u16::from(config.replica.overload_status);
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let kind = if status == StatusCode::TOO_MANY_REQUESTS {
        "TooManyRequestsError"
    } else {
        "ServiceUnavailableError"
    };
    let message = "the request queue is full";
    if stream && config.refuse_in_stream {
        let text = format!("data: {}\n\ndata: [DONE]\n\n", error_json(status, kind, message));
        return ([(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")], text).into_response();
    }
    error(status, kind, message)
}
