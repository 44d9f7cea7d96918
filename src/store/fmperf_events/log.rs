//! What a `results.json` tells, one entry a request.

use crate::trial::{ClientHealth, Measurement, Outcome, RequestRecord, Response, TimeoutKind};
use crate::units::Rate;

use super::event::Event;

/// A request as its events tell it.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRequest {
    /// Worker that sent it; -1 where the file has none.
    pub worker: i64,
    /// Number of the request within its worker.
    pub index: i64,
    /// Earliest event, nanoseconds since 1970 (UTC).
    pub first_timestamp_ns: i64,
    /// What that event took: since the request was sent, in milliseconds.
    pub first_duration_ms: f64,
    /// Latest event, nanoseconds since 1970 (UTC).
    pub last_timestamp_ns: i64,
    /// First event that carries a token.
    pub first_token_ns: Option<i64>,
    /// Number of events.
    pub events: u32,
    /// Whether every event is fine.
    pub success: bool,
    /// Tokens of the events that are fine.
    pub tokens: u32,
    /// Tokens as the older program counts them: the largest `response_idx` plus one, a failing event included.
    pub indexed: u32,
    /// Sum of `n_tokens` over all events.
    pub reported: u32,
    /// Text of the first error.
    pub error: Option<Box<str>>,
    /// Whether any event came after duration and grace period.
    pub exclude: bool,
    /// Whether every event is what was expected.
    pub consistent: bool,
    /// Characters of the text.
    pub characters: u32,
    /// Index of the case in the workload file, where the file tells.
    pub sample: Option<u32>,
    /// Index into [`EventLog::profiles`], in mixes.
    pub profile: Option<u16>,
    /// `duration_ms` of every event in order; empty unless asked for by [`super::Detail::Tokens`].
    pub durations_ms: Vec<f64>,
}

impl EventRequest {
    /// A request of which nothing but the identity and time of its first event is known.
    pub(super) fn new(event: &Event<'_>) -> Self {
        Self {
            worker: event.worker,
            index: event.request,
            first_timestamp_ns: event.timestamp,
            first_duration_ms: event.duration_ms,
            last_timestamp_ns: event.timestamp,
            first_token_ns: None,
            events: 0,
            success: true,
            tokens: 0,
            indexed: 0,
            reported: 0,
            error: None,
            exclude: false,
            consistent: true,
            characters: 0,
            sample: event.sample.and_then(|n| u32::try_from(n).ok()),
            profile: None,
            durations_ms: Vec::new(),
        }
    }

    /// When it was sent, nanoseconds since 1970 (UTC). Computed as a 64-bit float as the older program does, which
    /// rounds to 256 ns.
    pub fn sent_ns(&self) -> i64 {
        (self.first_timestamp_ns as f64 - self.first_duration_ms * 1_000_000.0) as i64
    }

    /// The response that it stands for.
    pub fn response(&self) -> Response {
        Response {
            received_ns: received_ns(self.last_timestamp_ns),
            duration_ms: (self.last_timestamp_ns as f64 - self.sent_ns() as f64) / 1e6,
            success: self.success,
        }
    }

    /// How it ended, as far as fmperf's words tell.
    pub fn outcome(&self) -> Outcome {
        let Some(error) = self.error.as_deref() else {
            return Outcome::Ok;
        };
        let limits = [
            ("Request timeout", TimeoutKind::Request),
            ("TTFT timeout", TimeoutKind::Ttft),
            ("TPOT timeout", TimeoutKind::Tpot),
        ];
        limits
            .into_iter()
            .find(|(words, _)| error.starts_with(words))
            .map_or(Outcome::Failed, |(_, kind)| Outcome::Timeout(kind))
    }
}

/// The older program divides by 1e9 as a float and rounds to a microsecond before it drops the fraction: in the last half
/// microsecond of a second it already writes the next. Such a time is moved to that second.
fn received_ns(timestamp_ns: i64) -> i64 {
    let seconds = timestamp_ns as f64 / 1e9;
    let whole = seconds.trunc();
    if ((seconds - whole) * 1e6).round_ties_even() >= 1e6 {
        (whole as i64 + 1) * 1_000_000_000
    } else {
        timestamp_ns
    }
}

/// What a `results.json` tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventLog {
    /// Requests in order of first appearance.
    pub requests: Vec<EventRequest>,
    /// Number of events.
    pub events: u64,
    /// The rate asked for, requests per minute; upstream fmperf has none.
    pub req_min: Option<f64>,
    /// The duration asked for, seconds.
    pub duration_s: Option<f64>,
    /// Number of workers; the first form of the users' programs has none.
    pub users: Option<u32>,
    /// Names of the workload profiles, in mixes.
    pub profiles: Vec<String>,
}

impl EventLog {
    /// The log that a table of responses stands for: one event each, at its end.
    pub(crate) fn from_responses(responses: &[Response]) -> Self {
        let request = |(index, response): (usize, &Response)| EventRequest {
            worker: -1,
            index: index as i64,
            first_timestamp_ns: response.received_ns,
            first_duration_ms: if response.duration_ms.is_nan() {
                0.0
            } else {
                response.duration_ms
            },
            last_timestamp_ns: response.received_ns,
            first_token_ns: None,
            events: 1,
            success: response.success,
            tokens: 0,
            indexed: 0,
            reported: 0,
            error: (!response.success).then(|| "failed".into()),
            exclude: false,
            consistent: true,
            characters: 0,
            sample: None,
            profile: None,
            durations_ms: Vec::new(),
        };
        Self {
            requests: responses.iter().enumerate().map(request).collect(),
            events: responses.len() as u64,
            ..Self::default()
        }
    }

    /// Whether the events come from a closed loop (upstream fmperf): it cannot hold a rate, so there is none.
    pub fn is_closed_loop(&self) -> bool {
        self.events > 0 && self.req_min.is_none() && self.users.is_some()
    }

    /// The responses in the order of `output.csv`: by whole second of arrival, then by appearance.
    pub fn responses(&self) -> Vec<Response> {
        let mut responses: Vec<Response> = self.requests.iter().map(EventRequest::response).collect();
        responses.sort_by_key(Response::received_s);
        responses
    }

    /// Share of the requests that succeeded, in percent; `None` without requests.
    pub fn success_rate_percent(&self) -> Option<f64> {
        let good = self.requests.iter().filter(|r| r.success).count();
        (!self.requests.is_empty()).then(|| 100.0 * good as f64 / self.requests.len() as f64)
    }

    /// The measurement; `None` without requests. What the events do not say comes from `asked` and `duration_s`.
    ///
    /// fmperf keeps no intended send times: a request counts as intended when it was sent. When it was sent over a much
    /// longer time than asked for, the client did not keep its schedule, and the measurement is void; so it is when the
    /// events come from a closed loop.
    pub fn measurement(&self, asked: Option<Rate>, duration_s: Option<f64>) -> Option<Measurement> {
        let epoch_ns = self.requests.iter().map(EventRequest::sent_ns).min()?;
        let mut records: Vec<RequestRecord> = self.requests.iter().map(|r| record(r, epoch_ns)).collect();
        records.sort_by_key(|r| r.intended_ns);
        let last_sent_s = records.last().map_or(0.0, |r| r.intended_ns as f64 / 1e9);
        let last_done = records.iter().filter_map(|r| r.done_ns).max().unwrap_or(0);
        let count = records.len() as f64;
        // Without a duration: the time of the sends, and one gap more for the last.
        let spread_s = last_sent_s * (count / (count - 1.0).max(1.0));
        let duration_s = self.duration_s.or(duration_s).unwrap_or(spread_s);
        let asked = self.req_min.map(Rate::per_minute).or(asked);
        let offered_s = duration_s.max(last_sent_s).max(1e-3);
        let mut client = ClientHealth::default();
        if self.is_closed_loop() {
            client.void = Some(
                "the load generator ran a closed loop: its load follows the service and says nothing about a rate"
                    .to_owned(),
            );
        } else if last_sent_s > 1.05 * duration_s + 1.0 {
            client.void = Some(format!(
                "requests were sent over {last_sent_s:.1} s where {duration_s:.1} s were asked for"
            ));
        }
        Some(Measurement {
            asked: asked.unwrap_or_else(|| Rate::per_second(count / offered_s)),
            duration_s,
            offered_s,
            observed_s: (last_done as f64 / 1e9).max(offered_s),
            epoch_ns,
            records,
            client,
            planned_output: None,
            stopped_early: false,
            tokens: None,
        })
    }
}

fn record(request: &EventRequest, epoch_ns: i64) -> RequestRecord {
    let sent = request.sent_ns() - epoch_ns;
    RequestRecord {
        intended_ns: sent,
        sent_ns: Some(sent),
        first_token_ns: request.first_token_ns.map(|t| t - epoch_ns),
        done_ns: Some(request.last_timestamp_ns - epoch_ns),
        class: request.profile.unwrap_or(0),
        input_tokens: 0,
        output_tokens: request.tokens,
        outcome: request.outcome(),
    }
}
