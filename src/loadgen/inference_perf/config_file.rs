//! The configuration file of `inference-perf`. JSON is YAML, too.

use serde_json::{Value, json};

use crate::loadgen::TrialJob;
use crate::loadgen::tool::Asked;

/// Requests that its workers may hold in all. A worker takes a request before its time comes, so this bounds how far it
/// looks ahead as well as what is in flight.
const MOST_HELD: usize = 20_000;
/// Processes that send.
const WORKERS: usize = 2;

/// The text of the file.
pub(super) fn text(asked: &Asked, job: &TrialJob, tokenizer: &str, folder: &str) -> String {
    let lengths = |length: u32| {
        json!({
            "type": "fixed", "min": length, "max": length, "mean": length, "std_dev": 0,
            "total_count": asked.count + 1,
        })
    };
    let file: Value = json!({
        "api": {"type": "completion", "streaming": true},
        "data": {
            "type": "random",
            "input_distribution": lengths(asked.input),
            "output_distribution": lengths(asked.output),
        },
        "load": {
            "type": "constant",
            "interval": 0,
            // Its count is the whole part of rate times duration; the gaps are stretched to the duration in any case.
            "stages": [{
                "rate": (asked.count as f64 + 0.5) / asked.duration_s,
                "duration": asked.duration_s as u64,
            }],
            "num_workers": WORKERS,
            "worker_max_concurrency": asked.count.clamp(100, MOST_HELD),
            "request_timeout": job.limits.request_s,
            // A kept connection that the server closed just as a request went out is replaced, as the native one does; the
            // time still counts from the first attempt.
            "request_retries": 1,
            "request_retry_backoff_sec": 0,
            "stage_teardown_grace_seconds": job.limits.drain_s,
            "base_seed": asked.seed & 0xffff_ffff,
        },
        "report": {"request_lifecycle": {
            "per_request": true,
            "per_request_fields": {"request": false, "response": false, "info": true, "response_chunks": false},
        }},
        "server": {
            "type": "vllm",
            "model_name": job.endpoint.model,
            "base_url": job.endpoint.base_url.trim_end_matches('/'),
            "ignore_eos": true,
        },
        "tokenizer": {"pretrained_model_name_or_path": tokenizer},
        "storage": {"local_storage": {"path": folder}},
    });
    format!("{file:#}\n")
}
