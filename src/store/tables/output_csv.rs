//! Writes `output.csv`, its halves and `results_from_json.csv`: one row a finished request.

use std::io::Write;

use crate::trial::Halves;

use super::pyfloat::{PyBool, PyFloat};
use super::requests::{RequestLine, RequestTable};
use super::{Layout, time};

/// The columns up to March 2026.
const NEW: [&str; 7] = [
    "received_timestamp",
    "complete_response_time",
    "success_rate",
    "success",
    "worker_idx",
    "request_idx",
    "global_request_id",
];

/// The latest columns.
const LATEST: [&str; 28] = [
    "request_idx",
    "request_sent_at_utc",
    "first_token_at_utc",
    "full_response_received_at_utc",
    "successful_request",
    "records_in_request",
    "response_token_count",
    "input_token_count",
    "output_token_count",
    "first_token_ms",
    "request_duration_ms",
    "token_generation_duration_sum_ms",
    "token_generation_duration_avg_ms",
    "token_generation_duration_min_ms",
    "token_generation_duration_max_ms",
    "token_generation_duration_stdev_ms",
    "token_generation_duration_p95_ms",
    "inter_token_interval_avg_ms",
    "inter_token_interval_stdev_ms",
    "tokens_per_second",
    "worker_idx",
    "exp_num_users",
    "workload_profile",
    "exclude",
    "consistent",
    "error",
    "response_char_count",
    "success_rate",
];

/// Ours, behind the latest.
const OURS: [&str; 3] = ["intended_at_utc", "lateness_ms", "outcome"];

/// Which rows, and how lines and times are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `output.csv`: all rows, CRLF.
    Output,
    /// `first_half.csv`: before the middle, LF.
    First,
    /// `second_half.csv`: from the middle on, LF.
    Second,
}

/// Writes one of the three files.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_requests(
    out: impl Write,
    layout: Layout,
    part: Part,
    table: &RequestTable,
    filter_buffer_s: i64,
) -> csv::Result<()> {
    let terminator = match part {
        Part::Output => csv::Terminator::CRLF,
        Part::First | Part::Second => csv::Terminator::Any(b'\n'),
    };
    let mut writer = csv::WriterBuilder::new().terminator(terminator).from_writer(out);
    let success = table.success_rate_percent().map(text_of).unwrap_or_default();
    match layout {
        Layout::New | Layout::Doc => writer.write_record(NEW)?,
        Layout::Latest => writer.write_record(LATEST)?,
        Layout::Mst => writer.write_record(LATEST.iter().chain(&OURS))?,
    }
    for line in select(table, part, filter_buffer_s) {
        match layout {
            Layout::New | Layout::Doc => writer.write_record(older(line, part, &success))?,
            Layout::Latest | Layout::Mst => {
                let mut cells = latest(line, table, &success);
                if layout == Layout::Mst {
                    cells.extend(ours(line));
                }
                writer.write_record(cells)?;
            }
        }
    }
    writer.flush()?;
    Ok(())
}

/// The rows of a part, in the order of the table.
fn select(table: &RequestTable, part: Part, buffer_s: i64) -> impl Iterator<Item = &RequestLine> {
    let responses = table.responses();
    let bounds = Halves::bounds(&responses, buffer_s);
    table.lines.iter().filter(move |line| {
        let half = bounds.and_then(|b| b.half(&line.response));
        match part {
            Part::Output => true,
            Part::First => half == Some(false),
            Part::Second => half == Some(true),
        }
    })
}

fn text_of(value: f64) -> String {
    PyFloat(value).to_string()
}

fn older(line: &RequestLine, part: Part, success_rate: &str) -> [String; 7] {
    let received = match part {
        Part::Output => time::compact(line.response.received_ns),
        Part::First | Part::Second => time::spaced(line.response.received_ns),
    };
    [
        received,
        text_of(line.response.duration_ms),
        success_rate.to_owned(),
        PyBool(line.response.success).to_string(),
        line.worker.to_string(),
        line.index.to_string(),
        format!("{}:{}", line.worker, line.index),
    ]
}

fn latest(line: &RequestLine, table: &RequestTable, success_rate: &str) -> Vec<String> {
    let number = |value: Option<f64>| value.map(text_of).unwrap_or_default();
    let count = |value: Option<u32>| value.map(|n| n.to_string()).unwrap_or_default();
    let pace = line.pace;
    let seconds = line.response.duration_ms / 1e3;
    vec![
        line.index.to_string(),
        time::iso(line.sent_ns),
        line.first_token_ns.map(time::iso).unwrap_or_default(),
        time::iso(line.response.received_ns),
        PyBool(line.response.success).to_string(),
        line.records.to_string(),
        line.tokens.to_string(),
        count(line.input_tokens),
        line.tokens.to_string(),
        number(
            line.first_token_ns
                .map(|t| (t as f64 - line.sent_ns as f64) / 1e6),
        ),
        text_of(line.response.duration_ms),
        number(pace.map(|p| p.sum)),
        number(pace.map(|p| p.mean)),
        number(pace.map(|p| p.min)),
        number(pace.map(|p| p.max)),
        number(pace.and_then(|p| p.stdev)),
        number(pace.map(|p| p.p95)),
        number(pace.and_then(|p| p.interval_mean)),
        number(pace.and_then(|p| p.interval_stdev)),
        number((seconds > 0.0).then(|| f64::from(line.tokens) / seconds)),
        line.worker.to_string(),
        count(table.users),
        table
            .profiles
            .get(usize::from(line.class))
            .cloned()
            .unwrap_or_default(),
        PyBool(line.exclude).to_string(),
        PyBool(line.consistent).to_string(),
        line.error.as_deref().unwrap_or("None").to_owned(),
        count(line.characters),
        success_rate.to_owned(),
    ]
}

fn ours(line: &RequestLine) -> [String; 3] {
    let lateness = line.intended_ns.map(|i| (line.sent_ns - i) as f64 / 1e6);
    [
        line.intended_ns.map(time::iso).unwrap_or_default(),
        lateness.map(text_of).unwrap_or_default(),
        line.outcome.to_string(),
    ]
}
