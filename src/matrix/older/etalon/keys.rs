//! The keys of etalon's files.

use serde::Deserialize;
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use crate::matrix::older::{Parallel, Unused};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Older {
    pub(super) servers: Vec<Spanned<Server>>,
    pub(super) models: Vec<Spanned<Model>>,
    pub(super) parallel_specs: Vec<Spanned<Parallel>>,
    pub(super) request_generator_configs: Vec<Spanned<Generator>>,
    pub(super) request_configs: Vec<Spanned<Requests>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub(super) openai_server_engine: Option<String>,
    #[serde(default)]
    pub(super) openai_api_key: Option<String>,
    #[serde(default, rename = "port")]
    pub(super) _port: Unused,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Model {
    pub(super) name: String,
    pub(super) identifier: String,
    #[serde(default, rename = "tokenizer")]
    pub(super) _tokenizer: Unused,
    #[serde(default)]
    pub(super) parallel_specs: Option<Vec<String>>,
    #[serde(default)]
    pub(super) traces: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Generator {
    pub(super) start_qps: f64,
    pub(super) request_interval_generator_provider: String,
    pub(super) request_length_generator_provider: String,
    #[serde(default)]
    pub(super) gamma_request_interval_generator_cv: Option<f64>,
    #[serde(default)]
    pub(super) trace_request_interval_generator_trace_file: Option<String>,
    #[serde(default, rename = "trace_request_interval_generator_start_time")]
    pub(super) _start_time: Unused,
    #[serde(default, rename = "trace_request_interval_generator_end_time")]
    pub(super) _end_time: Unused,
    #[serde(default, rename = "trace_request_interval_generator_time_scale_factor")]
    pub(super) _time_scale: Unused,
    #[serde(default)]
    pub(super) trace_request_length_generator_trace_file: Option<String>,
    #[serde(default)]
    pub(super) trace_request_length_generator_prefill_scale_factor: Option<f64>,
    #[serde(default)]
    pub(super) trace_request_length_generator_decode_scale_factor: Option<f64>,
    #[serde(default)]
    pub(super) fixed_request_generator_prefill_tokens: Option<u32>,
    #[serde(default)]
    pub(super) fixed_request_generator_decode_tokens: Option<u32>,
    #[serde(default)]
    pub(super) synthetic_request_generator_min_tokens: Option<u32>,
    #[serde(default)]
    pub(super) synthetic_request_generator_prefill_to_decode_ratio: Option<f64>,
    #[serde(default)]
    pub(super) zipf_request_length_generator_theta: Option<f64>,
    #[serde(default)]
    pub(super) zipf_request_length_generator_scramble: Option<bool>,
    #[serde(default = "seed")]
    pub(super) seed: u64,
    #[serde(default)]
    pub(super) trace_file_name: Option<String>,
}

fn seed() -> u64 {
    42
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "etalon's keys")]
pub(super) struct Requests {
    #[serde(default)]
    pub(super) num_ray_clients: Option<u32>,
    #[serde(default)]
    pub(super) num_concurrent_requests_per_client: Option<u32>,
    #[serde(default)]
    pub(super) timeout: Option<f64>,
    #[serde(default)]
    pub(super) max_num_completed_requests: Option<usize>,
    #[serde(default)]
    pub(super) additional_sampling_params: Option<Map<String, Value>>,
    #[serde(default)]
    pub(super) llm_api: Option<String>,
    #[serde(default)]
    pub(super) request_generator_max_tokens: Option<u32>,
}
