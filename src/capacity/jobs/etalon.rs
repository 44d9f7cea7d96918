//! Jobs of etalon's files.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Job, allows, written};

/// The first port; each job has the next one.
const FIRST_PORT: u64 = 8000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    servers: Vec<Server>,
    models: Vec<Model>,
    parallel_specs: Vec<super::sarathi::Parallel>,
    request_generator_configs: Vec<Map<String, Value>>,
    request_configs: Vec<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Server {
    #[serde(default)]
    openai_server_engine: Value,
    #[serde(default)]
    openai_api_key: Value,
    #[serde(default, rename = "port")]
    _port: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    name: String,
    identifier: String,
    #[serde(default)]
    tokenizer: Option<String>,
    #[serde(default)]
    parallel_specs: Option<Vec<String>>,
    #[serde(default)]
    traces: Option<Vec<String>>,
}

/// In the tool's order: models, parallel specifications, generators, requests, servers.
pub(super) fn jobs(file: &File) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    for model in &file.models {
        for parallel in &file.parallel_specs {
            for generator in &file.request_generator_configs {
                for request in &file.request_configs {
                    for server in &file.servers {
                        if is_kept(model, &parallel.name, generator, request, server) {
                            let port = FIRST_PORT + jobs.len() as u64;
                            jobs.push(job(model, parallel, generator, request, server, port));
                        }
                    }
                }
            }
        }
    }
    jobs
}

/// The tool's filters, the hard-coded ones too. Those of a model's traces are held against the file of arrivals, not of
/// lengths.
fn is_kept(
    model: &Model,
    parallel: &str,
    generator: &Map<String, Value>,
    request: &Map<String, Value>,
    server: &Server,
) -> bool {
    let arrivals = generator
        .get("trace_request_interval_generator_trace_file")
        .and_then(Value::as_str);
    let trace = generator
        .get("trace_file_name")
        .and_then(Value::as_str)
        .unwrap_or("");
    let tokens = request
        .get("request_generator_max_tokens")
        .and_then(Value::as_u64);
    let self_hosted = ["vllm", "lightllm", "fastertransformers", "sarathi-serve"];
    let engine = server.openai_server_engine.as_str().unwrap_or("");
    allows(model.parallel_specs.as_ref(), Some(parallel))
        && allows(model.traces.as_ref(), arrivals)
        && !(model.name == "gpt-3.5-turbo" && self_hosted.contains(&engine))
        && !matches!((trace, tokens), ("sharegpt", Some(16384)) | ("arxiv", Some(8192)))
}

fn job(
    model: &Model,
    parallel: &super::sarathi::Parallel,
    generator: &Map<String, Value>,
    request: &Map<String, Value>,
    server: &Server,
    port: u64,
) -> Job {
    let of = |map: &Map<String, Value>, name: &str| map.get(name).map_or("None".to_owned(), written);
    let mut parts = vec![
        model.name.clone(),
        format!("tp{}_pp{}", parallel.tp_dimension, parallel.pp_dimension),
        of(generator, "request_interval_generator_provider"),
        of(generator, "request_length_generator_provider"),
        of(generator, "start_qps"),
    ];
    if parts[2] == "gamma" {
        parts.push(of(generator, "gamma_request_interval_generator_cv"));
    }
    for name in [
        "num_ray_clients",
        "timeout",
        "max_num_completed_requests",
        "llm_api",
    ] {
        parts.push(of(request, name));
    }
    parts.push(written(&server.openai_server_engine));
    parts.push(written(&server.openai_api_key));
    parts.push(port.to_string());
    let mut fields: Map<String, Value> = generator.clone();
    fields.extend(request.clone());
    let named: [(&str, Value); 13] = [
        ("engine", server.openai_server_engine.clone()),
        ("openai_server_engine", server.openai_server_engine.clone()),
        ("openai_api_key", server.openai_api_key.clone()),
        ("model", model.name.as_str().into()),
        ("identifier", model.identifier.as_str().into()),
        (
            "tokenizer",
            model.tokenizer.as_deref().map_or(Value::Null, Value::from),
        ),
        (
            "trace",
            generator.get("trace_file_name").cloned().unwrap_or(Value::Null),
        ),
        (
            "max_tokens",
            request
                .get("request_generator_max_tokens")
                .cloned()
                .unwrap_or(Value::Null),
        ),
        ("tp", parallel.tp_dimension.into()),
        ("pp", parallel.pp_dimension.into()),
        ("tp_dimension", parallel.tp_dimension.into()),
        ("pp_dimension", parallel.pp_dimension.into()),
        ("port", port.into()),
    ];
    fields.extend(named.map(|(name, value)| (name.to_owned(), value)));
    Job {
        key: parts.join("_"),
        gpus: parallel.gpus(),
        fields,
    }
}
