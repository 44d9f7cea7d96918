//! What fmperf's `results.json` tells, as a measurement.
//!
//! fmperf records no intended times, and a request whose connection failed leaves no record at all: only a gap in the
//! request numbers of its worker. Such gaps become failed requests here, so that they count.

use std::collections::BTreeMap;
use std::path::Path;

use super::workload_file::Case;
use crate::loadgen::{LoadGenError, TrialJob, delivered};
use crate::trial::{Measurement, Outcome, RequestRecord, TimeoutKind};
use crate::units::TokenPair;

/// One request of a `results.json`: its events joined.
#[derive(Clone, Debug, PartialEq)]
pub struct FmperfRequest {
    /// Worker that sent it.
    pub worker: u32,
    /// Its number in the worker, from 0.
    pub index: u32,
    /// Index of the case in the workload file.
    pub sample: Option<u32>,
    /// Send time: the first event's timestamp minus its duration, nanoseconds since 1970.
    pub sent_ns: i64,
    /// First token, where one came.
    pub first_token_ns: Option<i64>,
    /// Last event.
    pub done_ns: i64,
    /// Tokens that arrived.
    pub tokens: u32,
    /// Whether all its events are ok.
    pub ok: bool,
    /// The first error in fmperf's words.
    pub error: Option<String>,
}

/// A whole `results.json`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FmperfEvents {
    /// All requests, in any order.
    pub requests: Vec<FmperfRequest>,
    /// `exp_req_min` of the first event; upstream fmperf, which cannot hold a rate, has none.
    pub asked_per_minute: Option<f64>,
    /// `exp_num_users` of the first event: the number of workers.
    pub workers: Option<u32>,
}

/// Reads a `results.json`. Given at construction, because the archive's reader lives in a higher room.
pub type EventReader = fn(&Path) -> Result<FmperfEvents, LoadGenError>;

/// The measurement of a trial. `requests` must not be empty.
pub(super) fn measurement(
    events: &FmperfEvents,
    cases: &[Case],
    job: &TrialJob,
    workers: u32,
) -> Measurement {
    let spec = &job.spec;
    let epoch_ns = events.requests.iter().map(|r| r.sent_ns).min().unwrap_or(0);
    let wanted = match spec.workload.classes.as_slice() {
        [only] => Some(only.pair),
        _ => None,
    };
    let mut records: Vec<RequestRecord> = events
        .requests
        .iter()
        .map(|request| {
            let case = request.sample.and_then(|s| cases.get(s as usize));
            record(request, case, wanted, epoch_ns)
        })
        .collect();
    let typical_input = records.first().map_or(0, |r| r.input_tokens);
    for sent_ns in lost(&events.requests) {
        let at = sent_ns - epoch_ns;
        records.push(RequestRecord {
            intended_ns: at,
            sent_ns: Some(at),
            first_token_ns: None,
            done_ns: Some(at),
            class: 0,
            input_tokens: typical_input,
            output_tokens: 0,
            outcome: Outcome::Connect,
        });
    }
    records.sort_by_key(|r| r.intended_ns);
    let end_ns = records.iter().filter_map(|r| r.done_ns).max().unwrap_or(0);
    let client = delivered::health(&records, spec.rate, spec.duration_s, workers);
    Measurement {
        asked: spec.rate,
        duration_s: spec.duration_s,
        offered_s: spec.duration_s,
        observed_s: (end_ns as f64 / 1e9).max(spec.duration_s),
        epoch_ns,
        records,
        client,
        planned_output: None,
        stopped_early: false,
        tokens: None,
    }
}

fn record(
    request: &FmperfRequest,
    case: Option<&Case>,
    wanted: Option<TokenPair>,
    epoch_ns: i64,
) -> RequestRecord {
    let sent = request.sent_ns - epoch_ns;
    let outcome = if !request.ok {
        outcome_of(request.error.as_deref().unwrap_or(""))
    } else if request.tokens == 0 {
        Outcome::NoTokens
    } else if case.and_then(Case::own_output).map_or_else(
        || wanted.is_some_and(|p| !p.output.contains(request.tokens)),
        |n| n != request.tokens,
    ) {
        // A stream that was cut ends without an error in fmperf: only its length tells.
        Outcome::WrongLength
    } else {
        Outcome::Ok
    };
    RequestRecord {
        intended_ns: sent,
        sent_ns: Some(sent),
        first_token_ns: request.first_token_ns.map(|t| t - epoch_ns),
        done_ns: Some(request.done_ns - epoch_ns),
        class: case.map_or(0, Case::class),
        input_tokens: case
            .and_then(Case::input_tokens)
            .or(wanted.map(|p| p.input.mean().round() as u32))
            .unwrap_or(0),
        output_tokens: request.tokens,
        outcome,
    }
}

/// The outcome that an error text of fmperf stands for.
fn outcome_of(error: &str) -> Outcome {
    const KNOWN: [(&str, Outcome); 9] = [
        ("Request timeout", Outcome::Timeout(TimeoutKind::Request)),
        ("TTFT timeout", Outcome::Timeout(TimeoutKind::Ttft)),
        ("TPOT timeout", Outcome::Timeout(TimeoutKind::Tpot)),
        ("Read timed out", Outcome::Timeout(TimeoutKind::Request)),
        // An error status is not looked at; its body then is no stream of events.
        ("list index out of range", Outcome::BadResponse),
        ("'usage'", Outcome::BadResponse),
        ("Connection broken", Outcome::BrokenStream),
        ("Response ended prematurely", Outcome::BrokenStream),
        ("Connection aborted", Outcome::BrokenStream),
    ];
    KNOWN
        .iter()
        .find(|(text, _)| error.contains(text))
        .map_or(Outcome::Failed, |(_, outcome)| *outcome)
}

/// Send times of the requests that left no record, taken midway between their neighbours in the same worker.
fn lost(requests: &[FmperfRequest]) -> Vec<i64> {
    let mut workers: BTreeMap<u32, BTreeMap<u32, i64>> = BTreeMap::new();
    for request in requests {
        workers
            .entry(request.worker)
            .or_default()
            .insert(request.index, request.sent_ns);
    }
    let start = requests.iter().map(|r| r.sent_ns).min().unwrap_or(0);
    let mut lost = Vec::new();
    for sent in workers.values() {
        let (mut next_index, mut before) = (0, start);
        for (&index, &at) in sent {
            let gap = i64::from(index - next_index);
            lost.extend((1..=gap).map(|k| before + (at - before) * k / (gap + 1)));
            (next_index, before) = (index + 1, at);
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(worker: u32, index: u32, sent_ns: i64) -> FmperfRequest {
        FmperfRequest {
            worker,
            index,
            sample: None,
            sent_ns,
            first_token_ns: None,
            done_ns: sent_ns + 1,
            tokens: 0,
            ok: true,
            error: None,
        }
    }

    #[test]
    fn gaps_in_the_numbers_are_lost_requests() {
        let requests = [request(0, 0, 100), request(0, 3, 400), request(1, 1, 300)];
        assert_eq!(lost(&requests), [200, 300, 200]);
        assert!(lost(&[request(0, 0, 5), request(0, 1, 6)]).is_empty());
    }

    #[test]
    fn error_texts_are_understood() {
        for (text, expected) in [
            ("Request timeout: 300.0s exceeded", "timeout-request"),
            ("TTFT timeout: 60.0s exceeded (TTFT: 61.000s)", "timeout-ttft"),
            ("TPOT timeout: 30.0s exceeded", "timeout-tpot"),
            ("list index out of range", "bad-response"),
            (
                "('Connection broken: InvalidChunkLength(...)', x)",
                "broken-stream",
            ),
            ("something else", "failed"),
        ] {
            assert_eq!(outcome_of(text).to_string(), expected);
        }
    }
}
