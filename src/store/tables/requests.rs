//! The rows of `output.csv`, from events or from our own rows.

use std::sync::Arc;

use crate::store::fmperf_events::{EventLog, EventRequest};
use crate::trial::{Outcome, RawRow, RequestRecord, Response};

use super::token_stats::quantile;

/// A finished request.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestLine {
    /// Worker that sent it; 0 for our own load generator, -1 where unknown.
    pub worker: i64,
    /// Its number within the worker.
    pub index: i64,
    /// Intended send time, nanoseconds since 1970; our own load generator knows it.
    pub intended_ns: Option<i64>,
    /// Send time, nanoseconds since 1970.
    pub sent_ns: i64,
    /// First token, nanoseconds since 1970.
    pub first_token_ns: Option<i64>,
    /// Arrival of the end, response time and success.
    pub response: Response,
    /// Events.
    pub records: u32,
    /// Tokens that arrived.
    pub tokens: u32,
    /// Tokens as the older program counts them for its statistics: a failing event is one.
    pub indexed: u32,
    /// Tokens as the older driver counts them: the sum of `n_tokens`.
    pub reported: u32,
    /// Prompt tokens, where known.
    pub input_tokens: Option<u32>,
    /// How its tokens were spaced, where known.
    pub pace: Option<Pace>,
    /// Workload class.
    pub class: u16,
    /// Whether it ended after duration and grace period.
    pub exclude: bool,
    /// Whether it answered what was expected.
    pub consistent: bool,
    /// Error in words.
    pub error: Option<Arc<str>>,
    /// How it ended.
    pub outcome: Outcome,
    /// Characters of the answer, where known.
    pub characters: Option<u32>,
}

/// How the events of a request were spaced, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Sum of all durations: from sending to the last event.
    pub sum: f64,
    /// Mean duration, the first token's included.
    pub mean: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
    /// Sample standard deviation; needs two.
    pub stdev: Option<f64>,
    /// 95th percentile.
    pub p95: f64,
    /// Mean interval between tokens: without the first.
    pub interval_mean: Option<f64>,
    /// Sample standard deviation of the intervals.
    pub interval_stdev: Option<f64>,
}

impl Pace {
    /// From the durations of all events in order; `None` without events.
    pub fn of(durations_ms: &[f64]) -> Option<Self> {
        let mut sorted = durations_ms.to_vec();
        sorted.sort_by(f64::total_cmp);
        let intervals = durations_ms.get(1..).unwrap_or_default();
        Some(Self {
            sum: durations_ms.iter().sum(),
            mean: mean(durations_ms)?,
            min: *sorted.first()?,
            max: *sorted.last()?,
            stdev: stdev(durations_ms),
            p95: quantile(&sorted, 0.95)?,
            interval_mean: mean(intervals),
            interval_stdev: stdev(intervals),
        })
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn stdev(values: &[f64]) -> Option<f64> {
    let mean = mean(values).filter(|_| values.len() > 1)?;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// All finished requests of a trial, by whole second of arrival.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestTable {
    /// The requests.
    pub lines: Vec<RequestLine>,
    /// Names of the workload classes, in mixes; else empty.
    pub profiles: Vec<String>,
    /// Workers, where known.
    pub users: Option<u32>,
}

impl RequestTable {
    /// From the events of a `results.json`; with [`crate::store::fmperf_events::Detail::Tokens`] the spacing is known.
    pub fn from_events(log: EventLog) -> Self {
        let lines = log.requests.into_iter().map(event_line).collect();
        Self::sorted(lines, log.profiles, log.users)
    }

    /// From our own rows, whose times count from `epoch_ns`. Requests that never ended have no row here, as in the older
    /// files.
    ///
    /// # Errors
    /// The first error of `rows`.
    pub fn from_rows<E>(
        rows: impl IntoIterator<Item = Result<RawRow, E>>,
        epoch_ns: i64,
        profiles: Vec<String>,
    ) -> Result<Self, E> {
        let mut lines = Vec::new();
        for row in rows {
            lines.extend(row_line(&row?, epoch_ns));
        }
        lines.sort_by_key(|l| l.index);
        Ok(Self::sorted(lines, profiles, Some(1)))
    }

    /// From the records of a measurement, where nothing finer is known.
    pub fn from_records(records: &[RequestRecord], epoch_ns: i64, profiles: Vec<String>) -> Self {
        let line = |(i, r): (usize, &RequestRecord)| record_line(i as i64, r, epoch_ns);
        let lines = records.iter().enumerate().filter_map(line).collect();
        Self::sorted(lines, profiles, None)
    }

    fn sorted(mut lines: Vec<RequestLine>, profiles: Vec<String>, users: Option<u32>) -> Self {
        lines.sort_by_key(|l| l.response.received_s());
        Self {
            lines,
            profiles,
            users,
        }
    }

    /// The responses, in the order of the table.
    pub fn responses(&self) -> Vec<Response> {
        self.lines.iter().map(|l| l.response).collect()
    }

    /// Share of the requests that succeeded, in percent; `None` without requests.
    pub fn success_rate_percent(&self) -> Option<f64> {
        let good = self.lines.iter().filter(|l| l.response.success).count();
        (!self.lines.is_empty()).then(|| 100.0 * good as f64 / self.lines.len() as f64)
    }
}

fn event_line(request: EventRequest) -> RequestLine {
    RequestLine {
        worker: request.worker,
        index: request.index,
        intended_ns: None,
        sent_ns: request.sent_ns(),
        first_token_ns: request.first_token_ns,
        response: request.response(),
        records: request.events,
        tokens: request.tokens,
        indexed: request.indexed,
        reported: request.reported,
        input_tokens: None,
        pace: Pace::of(&request.durations_ms),
        class: request.profile.unwrap_or(0),
        exclude: request.exclude,
        consistent: request.consistent,
        outcome: request.outcome(),
        error: request.error.map(Arc::from),
        characters: Some(request.characters),
    }
}

fn record_line(index: i64, record: &RequestRecord, epoch_ns: i64) -> Option<RequestLine> {
    Some(RequestLine {
        worker: 0,
        index,
        intended_ns: Some(epoch_ns + record.intended_ns),
        sent_ns: epoch_ns + record.sent_ns?,
        first_token_ns: record.first_token_ns.map(|t| epoch_ns + t),
        response: Response::from_record(record, epoch_ns)?,
        records: record.output_tokens,
        tokens: record.output_tokens,
        indexed: record.output_tokens + u32::from(!record.outcome.is_ok()),
        reported: record.output_tokens,
        input_tokens: (record.input_tokens > 0).then_some(record.input_tokens),
        pace: None,
        class: record.class,
        exclude: false,
        consistent: true,
        error: (!record.outcome.is_ok()).then(|| record.outcome.to_string().into()),
        outcome: record.outcome,
        characters: None,
    })
}

fn row_line(row: &RawRow, epoch_ns: i64) -> Option<RequestLine> {
    let mut line = record_line(i64::from(row.i), &row.record(), epoch_ns)?;
    let gaps = row.gaps_us.iter().map(|&g| f64::from(g) / 1e3);
    let durations: Vec<f64> = row
        .first_us
        .map(|f| f as f64 / 1e3)
        .into_iter()
        .chain(gaps)
        .collect();
    line.pace = Pace::of(&durations);
    line.records = durations.len() as u32 + u32::from(!line.response.success);
    if let Some(error) = row.error.as_deref().filter(|_| !line.response.success) {
        line.error = Some(error.into());
    }
    Some(line)
}
