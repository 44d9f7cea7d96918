//! The files of `inference-perf`: requests with the time of every chunk, in seconds of a clock of unknown origin, and its
//! summary of a stage.

use std::io::BufReader;
use std::path::Path;
use std::time::UNIX_EPOCH;

use chrono::DateTime;
use fs_err as fs;
use serde::Deserialize;

use super::{NAME, outcome_of, tool};
use crate::loadgen::LoadGenError;
use crate::loadgen::tool::{Request, Requests, gaps_us};
use crate::trial::ClientHealth;

/// Its schedule begins so long after it notes the start of a stage.
const HEAD_START_NS: i64 = 1_000_000_000;

#[derive(Deserialize)]
struct Row {
    start_time: f64,
    end_time: f64,
    info: Option<Info>,
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Info {
    response_metrics: Option<Response>,
}

#[derive(Deserialize)]
struct Response {
    output_tokens: u32,
    #[serde(default)]
    server_usage: Option<Usage>,
    #[serde(default)]
    chunk_times: Vec<f64>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: Option<u32>,
    #[serde(default)]
    completion_tokens: Option<u32>,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    error_type: String,
    #[serde(default)]
    error_msg: String,
}

/// Reads all requests.
///
/// # Errors
/// When the file is missing, truncated, or not what it should be.
pub(super) fn read(path: &Path, dir: &Path) -> Result<Requests, LoadGenError> {
    let file = BufReader::new(tool::open(NAME, path, dir)?);
    let rows: Vec<Row> = serde_json::from_reader(file).map_err(|e| tool::malformed(path, e))?;
    Ok(Requests::new(rows.into_iter().map(request).collect(), false))
}

fn request(row: Row) -> Request {
    let ns = |seconds: f64| (seconds * 1e9).round() as i64;
    let sent_ns = ns(row.start_time);
    let failure = row
        .error
        .map(|e| outcome_of(None, &format!("{}: {}", e.error_type, e.error_msg)));
    let response = row.info.and_then(|info| info.response_metrics);
    let usage = response.as_ref().and_then(|r| r.server_usage.as_ref());
    // Its own count is that of the answer's text encoded again, which need not be the tokens that were made.
    let output_tokens = usage
        .and_then(|u| u.completion_tokens)
        .or(response.as_ref().map(|r| r.output_tokens))
        .unwrap_or(0);
    let input_tokens = usage.and_then(|u| u.prompt_tokens);
    let chunks = response.map(|r| r.chunk_times).unwrap_or_default();
    Request {
        intended_ns: sent_ns,
        sent_ns,
        first_token_ns: chunks.first().copied().map(ns),
        done_ns: Some(ns(row.end_time)),
        input_tokens,
        output_tokens,
        failure,
        gaps_us: gaps_us(
            chunks.windows(2).map(|pair| pair[1] - pair[0]),
            if failure.is_none() { output_tokens } else { 0 },
        ),
    }
}

/// The wall-clock time of the first request, nanoseconds since 1970: to some tenths of a second from the `report` on the
/// stage, else from the time at which the requests were written, `end_ns` or more after the first of them.
pub(super) fn epoch_ns(report: &Path, requests: &Path, end_ns: i64) -> Result<i64, LoadGenError> {
    let text = fs::read_to_string(report).unwrap_or_default();
    let start = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("start:"))
        .and_then(|value| DateTime::parse_from_rfc3339(value.trim().trim_matches(['\'', '"'])).ok())
        .and_then(|time| time.timestamp_nanos_opt());
    if let Some(start) = start {
        return Ok(start + HEAD_START_NS);
    }
    let written = fs::metadata(requests)?.modified()?;
    let since = written.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(since.as_nanos() as i64 - end_ns)
}

#[derive(Deserialize)]
struct Stage {
    load_summary: LoadSummary,
}

#[derive(Deserialize)]
struct LoadSummary {
    schedule_delay: Option<Delay>,
}

#[derive(Deserialize)]
struct Delay {
    median: f64,
    p99: f64,
    max: f64,
}

/// How late its sends were, from its summary in seconds. The file is not there where it was told not to write it.
pub(super) fn add_lateness(path: &Path, client: &mut ClientHealth) -> Result<(), LoadGenError> {
    let text = match fs::read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let stage: Stage = serde_json::from_slice(&text).map_err(|e| tool::malformed(path, e))?;
    if let Some(delay) = stage.load_summary.schedule_delay {
        client.lateness_p50_ms = Some(delay.median * 1e3);
        client.lateness_p99_ms = Some(delay.p99 * 1e3);
        client.lateness_max_ms = Some(delay.max * 1e3);
    }
    Ok(())
}
