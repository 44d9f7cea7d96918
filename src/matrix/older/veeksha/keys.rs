//! The keys of veeksha's files.

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::matrix::older::Unused;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Older {
    #[serde(default, rename = "output_dir")]
    pub(super) _output_dir: Unused,
    #[serde(default = "one")]
    pub(super) start_value: f64,
    #[serde(default = "hundred")]
    pub(super) max_value: f64,
    #[serde(default = "two")]
    pub(super) expansion_factor: f64,
    #[serde(default = "twenty")]
    pub(super) max_iterations: u32,
    #[serde(default = "decimals")]
    pub(super) precision: u8,
    #[serde(default)]
    pub(super) benchmark_config: Benchmark,
}

fn one() -> f64 {
    1.0
}

fn hundred() -> f64 {
    100.0
}

fn two() -> f64 {
    2.0
}

fn twenty() -> u32 {
    20
}

fn decimals() -> u8 {
    2
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Benchmark {
    #[serde(rename = "output_dir")]
    pub(super) _output_dir: Unused,
    pub(super) seed: Option<u64>,
    pub(super) traffic_scheduler: Option<Spanned<Traffic>>,
    pub(super) session_generator: Option<Spanned<Sessions>>,
    pub(super) evaluators: Option<Vec<Spanned<Evaluator>>>,
    pub(super) client: Option<Spanned<Client>>,
    pub(super) runtime: Runtime,
    #[serde(rename = "trace_recorder")]
    pub(super) _trace_recorder: Unused,
    pub(super) server: Option<Spanned<serde_json::Value>>,
    pub(super) endpoint: Option<Endpoint>,
    #[serde(rename = "wandb")]
    pub(super) _wandb: Unused,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Traffic {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) interval_generator: Option<Spanned<Generator>>,
    #[serde(default, rename = "cancel_session_on_failure")]
    pub(super) _cancel: Unused,
    #[serde(default, rename = "target_concurrent_sessions")]
    pub(super) _target: Unused,
    #[serde(default, rename = "rampup_seconds")]
    pub(super) _rampup: Unused,
}

/// A generator of intervals or of lengths.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Generator {
    #[serde(rename = "type")]
    pub(super) kind: String,
    // Set by the search.
    #[serde(default, rename = "arrival_rate")]
    pub(super) _arrival_rate: Unused,
    #[serde(default, rename = "interval")]
    pub(super) _interval: Unused,
    #[serde(default)]
    pub(super) cv: Option<f64>,
    #[serde(default)]
    pub(super) value: Option<u32>,
    #[serde(default)]
    pub(super) min: Option<u32>,
    #[serde(default)]
    pub(super) max: Option<u32>,
    #[serde(default)]
    pub(super) theta: Option<f64>,
    #[serde(default)]
    pub(super) scramble: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sessions {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) session_graph: Option<Spanned<Graph>>,
    #[serde(default)]
    pub(super) channels: Option<Vec<Spanned<Channel>>>,
    #[serde(default)]
    pub(super) output_spec: Option<Output>,
    #[serde(default)]
    pub(super) trace_file: Option<String>,
    #[serde(default)]
    pub(super) flavor: Option<Spanned<Flavor>>,
    #[serde(default, rename = "wrap_mode")]
    pub(super) _wrap_mode: Unused,
}

#[derive(Deserialize)]
pub(super) struct Flavor {
    #[serde(rename = "type")]
    pub(super) kind: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Graph {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default, rename = "inherit_history")]
    pub(super) _inherit_history: Unused,
    #[serde(default)]
    pub(super) num_request_generator: Option<Generator>,
    #[serde(default, rename = "request_wait_generator")]
    pub(super) _wait: Unused,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Channel {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) body_length_generator: Option<Spanned<Generator>>,
    #[serde(default)]
    pub(super) shared_prefix_ratio: Option<f64>,
    #[serde(default, rename = "shared_prefix_probability")]
    pub(super) _shared_prefix_probability: Unused,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Output {
    #[serde(default)]
    pub(super) text: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Text {
    #[serde(default)]
    pub(super) output_length_generator: Option<Spanned<Generator>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Evaluator {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default, rename = "target_channels")]
    pub(super) _target_channels: Unused,
    #[serde(default)]
    pub(super) slos: Option<Vec<Spanned<Slo>>>,
    #[serde(default, rename = "stream_metrics")]
    pub(super) _stream_metrics: Unused,
    #[serde(default, rename = "stream_metrics_interval")]
    pub(super) _stream_metrics_interval: Unused,
    #[serde(default, rename = "text_channel")]
    pub(super) _text_channel: Unused,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Slo {
    #[serde(default, rename = "type")]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) name: Option<String>,
    pub(super) metric: String,
    #[serde(default)]
    pub(super) percentile: Option<f64>,
    pub(super) value: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Client {
    #[serde(default, rename = "type")]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) api_base: Option<String>,
    #[serde(default)]
    pub(super) api_key: Option<String>,
    #[serde(default)]
    pub(super) model: Option<String>,
    #[serde(default)]
    pub(super) request_timeout: Option<f64>,
    // How the wished length is named in the request: found out here.
    #[serde(default, rename = "max_tokens_param")]
    pub(super) _max_tokens_param: Unused,
    #[serde(default, rename = "min_tokens_param")]
    pub(super) _min_tokens_param: Unused,
    #[serde(default, rename = "use_min_tokens_prompt_fallback")]
    pub(super) _prompt_fallback: Unused,
    #[serde(default, rename = "ignore_eos")]
    pub(super) _ignore_eos: Unused,
    #[serde(default, rename = "address_append_value")]
    pub(super) _address: Unused,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Endpoint {
    #[serde(default)]
    pub(super) api_base: Option<String>,
    #[serde(default)]
    pub(super) api_key: Option<String>,
    #[serde(default)]
    pub(super) model: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Runtime {
    pub(super) max_sessions: Option<i64>,
    pub(super) benchmark_timeout: Option<f64>,
    #[serde(rename = "post_timeout_grace_seconds")]
    pub(super) _grace: Unused,
    #[serde(rename = "num_dispatcher_threads")]
    pub(super) _dispatchers: Unused,
    #[serde(rename = "num_completion_threads")]
    pub(super) _completions: Unused,
    #[serde(rename = "num_client_threads")]
    pub(super) _clients: Unused,
    #[serde(rename = "pregenerate_sessions")]
    pub(super) _pregenerate: Unused,
}
