//! `GuideLLM`'s `benchmarks.json`. All its times are seconds since 1970, as floats: exact to a quarter of a microsecond.

use std::io::BufReader;
use std::path::Path;

use serde::Deserialize;

use super::{NAME, outcome_of, tool};
use crate::loadgen::LoadGenError;
use crate::loadgen::tool::{Request, Requests};
use crate::trial::{Outcome, TimeoutKind};

/// The version of the file's form that is read here.
const FORM: u32 = 2;

#[derive(Deserialize)]
struct File {
    metadata: Metadata,
    benchmarks: Vec<Benchmark>,
}

#[derive(Deserialize)]
struct Metadata {
    version: u32,
}

#[derive(Deserialize)]
struct Benchmark {
    requests: Groups,
}

#[derive(Deserialize)]
struct Groups {
    successful: Vec<Row>,
    errored: Vec<Row>,
    incomplete: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    info: Info,
    prompt_tokens: Option<u32>,
    output_tokens: Option<u32>,
}

#[derive(Deserialize)]
struct Info {
    timings: Timings,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Timings {
    targeted_start: Option<f64>,
    request_start: Option<f64>,
    first_token_iteration: Option<f64>,
    request_end: Option<f64>,
    resolve_end: Option<f64>,
}

/// Reads all requests.
///
/// # Errors
/// When the file is missing, truncated, or of another form.
pub(super) fn read(path: &Path, dir: &Path) -> Result<Requests, LoadGenError> {
    let file = BufReader::new(tool::open(NAME, path, dir)?);
    let file: File = serde_json::from_reader(file).map_err(|e| tool::malformed(path, e))?;
    if file.metadata.version != FORM {
        let why = format!(
            "its form has version {}; version {FORM} is what is known here",
            file.metadata.version
        );
        return Err(tool::malformed(path, why));
    }
    let [benchmark] = <[Benchmark; 1]>::try_from(file.benchmarks)
        .map_err(|all| tool::malformed(path, format!("it holds {} benchmarks, not one", all.len())))?;
    let Groups {
        successful,
        errored,
        incomplete,
    } = benchmark.requests;
    let requests = successful
        .into_iter()
        .map(|row| request(row, End::Whole))
        .chain(errored.into_iter().map(|row| request(row, End::Failed)))
        .chain(incomplete.into_iter().map(|row| request(row, End::Open)))
        .flatten()
        .collect();
    Ok(Requests::new(requests, true))
}

/// Which of the three lists a request stands in.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Whole,
    Failed,
    Open,
}

/// One request; `None` where it was never sent.
fn request(row: Row, end: End) -> Option<Request> {
    let ns = |seconds: f64| (seconds * 1e9).round() as i64;
    let times = row.info.timings;
    let sent_ns = ns(times.request_start?);
    let done = times
        .request_end
        .or(times.resolve_end)
        .filter(|_| end != End::Open);
    let first = times.first_token_iteration;
    let failure =
        (end == End::Failed).then(
            || match outcome_of(None, row.info.error.as_deref().unwrap_or("")) {
                // httpx counts the silence between two reads.
                Outcome::Timeout(_) if first.is_some() => Outcome::Timeout(TimeoutKind::Tpot),
                Outcome::Timeout(_) => Outcome::Timeout(TimeoutKind::Ttft),
                other => other,
            },
        );
    Some(Request {
        intended_ns: times.targeted_start.map_or(sent_ns, ns),
        sent_ns,
        first_token_ns: first.map(ns),
        done_ns: done.map(ns).or((end != End::Open).then_some(sent_ns)),
        input_tokens: row.prompt_tokens,
        output_tokens: row.output_tokens.unwrap_or(0),
        failure,
        gaps_us: Vec::new(),
    })
}
