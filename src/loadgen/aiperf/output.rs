//! `AIPerf`'s `profile_export.jsonl`: a request a line, times in nanoseconds since 1970, latencies in milliseconds.

use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;

use super::{NAME, outcome_of, tool};
use crate::loadgen::LoadGenError;
use crate::loadgen::tool::{Request, Requests, gaps_us};

#[derive(Deserialize)]
struct Row {
    metadata: Metadata,
    metrics: Metrics,
    #[serde(default)]
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    credit_issued_ns: Option<i64>,
    request_start_ns: i64,
    request_end_ns: i64,
    benchmark_phase: String,
    was_cancelled: bool,
}

#[derive(Deserialize)]
struct Metrics {
    time_to_first_token: Option<Value<f64>>,
    inter_chunk_latency: Option<Value<Vec<f64>>>,
    usage_prompt_tokens: Option<Value<u32>>,
    usage_completion_tokens: Option<Value<u32>>,
    output_sequence_length: Option<Value<u32>>,
}

#[derive(Deserialize)]
struct Value<T> {
    value: T,
    unit: String,
}

impl<T> Value<T> {
    /// The value, if its unit is the one that is known.
    fn in_unit(self, unit: &str) -> Result<T, String> {
        if self.unit == unit {
            return Ok(self.value);
        }
        Err(format!("a value is in `{}` where `{unit}` is known", self.unit))
    }
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    code: Option<u16>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    message: String,
}

/// Reads all requests.
///
/// # Errors
/// When the file is missing or a line is not what it should be.
pub(super) fn read(path: &Path, dir: &Path) -> Result<Requests, LoadGenError> {
    let mut requests = Vec::new();
    let lines = BufReader::new(tool::open(NAME, path, dir)?).split(b'\n');
    for (number, line) in (1u64..).zip(lines) {
        let line = line?;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let at = |why: String| tool::malformed(path, format!("line {number}: {why}"));
        let row: Row = serde_json::from_slice(&line).map_err(|e| at(e.to_string()))?;
        if row.metadata.benchmark_phase == "profiling" {
            requests.push(request(row).map_err(at)?);
        }
    }
    Ok(Requests::new(requests, true))
}

fn request(row: Row) -> Result<Request, String> {
    let Row {
        metadata,
        metrics,
        error,
    } = row;
    let sent_ns = metadata.request_start_ns;
    let count = |value: Option<Value<u32>>| value.map(|v| v.in_unit("tokens")).transpose();
    let ttft_ms = metrics.time_to_first_token.map(|v| v.in_unit("ms")).transpose()?;
    let chunks_ms = metrics.inter_chunk_latency.map(|v| v.in_unit("ms")).transpose()?;
    let output_tokens = count(metrics.usage_completion_tokens)?
        .or(count(metrics.output_sequence_length)?)
        .unwrap_or(0);
    // One that the end of the run cut off was still running.
    let open = metadata.was_cancelled;
    let failure = error.filter(|_| !open).map(|e| {
        let words = format!("{}: {}", e.kind.as_deref().unwrap_or(""), e.message);
        outcome_of(e.code, &words)
    });
    Ok(Request {
        intended_ns: metadata.credit_issued_ns.unwrap_or(sent_ns),
        sent_ns,
        first_token_ns: ttft_ms.map(|ms| sent_ns + (ms * 1e6).round() as i64),
        done_ns: (!open).then_some(metadata.request_end_ns),
        input_tokens: count(metrics.usage_prompt_tokens)?,
        output_tokens,
        failure,
        gaps_us: gaps_us(
            chunks_ms.unwrap_or_default().into_iter().map(|ms| ms / 1e3),
            if failure.is_none() { output_tokens } else { 0 },
        ),
    })
}
