//! Writes `results.json` from our rows, in fmperf's event schema, without holding more than one row.

use std::io::{self, Write};

use crate::store::tables::PyFloat;
use crate::trial::{Outcome, RawRow};

/// What the events of a trial have in common.
#[derive(Clone, Debug, Default)]
pub struct EventHeader {
    /// Start of the trial, nanoseconds since 1970 (UTC).
    pub epoch_ns: i64,
    /// The rate asked for, requests per minute.
    pub req_min: f64,
    /// The duration asked for, seconds.
    pub duration_s: f64,
    /// How long after the duration an event may come before it is excluded, seconds.
    pub grace_s: f64,
    /// When observation ended, nanoseconds since the start: the time of the failing event of unfinished requests.
    pub observed_ns: u64,
    /// Profile names by class (`1-100:1-100`), in mixes; else empty.
    pub profiles: Vec<String>,
}

/// Writes the document in one line, with the separators of Python's `json.dump`, and returns the number of events.
///
/// `worker_idx` is 0 and `request_idx` the row's index in the schedule; there is no text, and tokens that came in one read
/// are events of one time, the later ones of duration 0. A request that is not good ends in fmperf's failing event;
/// one that was never sent leaves no trace.
///
/// # Errors
/// When `out` cannot be written or a row cannot be read.
pub fn write_results_json<W, E>(
    out: &mut W,
    header: &EventHeader,
    rows: impl IntoIterator<Item = Result<RawRow, E>>,
) -> io::Result<u64>
where
    W: Write,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut writer = EventWriter {
        out,
        header,
        req_min: PyFloat(header.req_min).to_string(),
        duration: PyFloat(header.duration_s).to_string(),
        count: 0,
    };
    writer.out.write_all(b"{\"results\": [")?;
    for row in rows {
        writer.request(&row.map_err(io::Error::other)?)?;
    }
    let count = writer.count;
    out.write_all(b"], \"energy\": {}}")?;
    Ok(count)
}

struct EventWriter<'a, W> {
    out: &'a mut W,
    header: &'a EventHeader,
    req_min: String,
    duration: String,
    count: u64,
}

/// One event of a row. Times are nanoseconds since the start.
struct Step<'a> {
    at_ns: u64,
    previous_ns: u64,
    index: usize,
    finish: Option<&'a str>,
    error: Option<&'a str>,
}

impl<W: Write> EventWriter<'_, W> {
    fn request(&mut self, row: &RawRow) -> io::Result<()> {
        let Some(sent_ns) = row.sent_ns else {
            return Ok(());
        };
        let good = row.outcome.parse().is_ok_and(Outcome::is_ok);
        let tokens = row.first_us.map_or(0, |_| 1 + row.gaps_us.len());
        let mut previous_ns = sent_ns;
        for index in 0..tokens {
            let at_ns = match index {
                0 => row.first_token_ns().unwrap_or(sent_ns),
                _ => previous_ns + u64::from(row.gaps_us[index - 1]) * 1_000,
            };
            let finish = row.finish.as_deref().filter(|_| index + 1 == tokens);
            self.event(
                row,
                &Step {
                    at_ns,
                    previous_ns,
                    index,
                    finish,
                    error: None,
                },
            )?;
            previous_ns = at_ns;
        }
        if !good {
            let at_ns = row.done_ns.unwrap_or(self.header.observed_ns).max(previous_ns);
            let error = Some(row.error.as_deref().unwrap_or(&row.outcome));
            self.event(
                row,
                &Step {
                    at_ns,
                    previous_ns,
                    index: tokens,
                    finish: None,
                    error,
                },
            )?;
        }
        Ok(())
    }

    fn event(&mut self, row: &RawRow, step: &Step<'_>) -> io::Result<()> {
        if self.count > 0 {
            self.out.write_all(b", ")?;
        }
        self.count += 1;
        let good = step.error.is_none();
        self.out.write_all(b"{\"response\": ")?;
        if good {
            self.out
                .write_all(b"{\"index\": 0, \"text\": \"\", \"logprobs\": null, \"finish_reason\": ")?;
            match step.finish {
                None => self.out.write_all(b"null")?,
                Some(reason) => write_string(self.out, reason)?,
            }
            self.out.write_all(b", \"stop_reason\": null}")?;
        } else {
            self.out.write_all(b"null")?;
        }
        write!(self.out, ", \"ok\": {good}, \"error\": ")?;
        write_string(self.out, step.error.unwrap_or("None"))?;
        let late = step.at_ns as f64 / 1e9 > self.header.duration_s + self.header.grace_s;
        write!(
            self.out,
            ", \"timestamp\": {}, \"exp_req_min\": {}, \"exp_duration\": {}, \"duration_ms\": {}, \"exclude\": {late}, \
             \"worker_idx\": 0, \"request_idx\": {}, \"sample_idx\": 0, \"response_idx\": {}, \"n_tokens\": {}, \
             \"exp_num_users\": 1, \"consistent\": {good}",
            self.header.epoch_ns + step.at_ns as i64,
            self.req_min,
            self.duration,
            PyFloat((step.at_ns - step.previous_ns) as f64 / 1000.0 / 1000.0),
            row.i,
            step.index,
            u8::from(good),
        )?;
        if let Some(profile) = self.header.profiles.get(usize::from(row.class)) {
            self.out.write_all(b", \"workload_profile\": ")?;
            write_string(self.out, profile)?;
        }
        self.out.write_all(b"}")
    }
}

/// A JSON string in ASCII, as `json.dump` writes it.
fn write_string(out: &mut impl Write, text: &str) -> io::Result<()> {
    out.write_all(b"\"")?;
    for character in text.chars() {
        match character {
            '"' => out.write_all(b"\\\"")?,
            '\\' => out.write_all(b"\\\\")?,
            '\n' => out.write_all(b"\\n")?,
            '\r' => out.write_all(b"\\r")?,
            '\t' => out.write_all(b"\\t")?,
            ' '..='~' => out.write_all(&[character as u8])?,
            other => {
                let mut units = [0; 2];
                for unit in other.encode_utf16(&mut units) {
                    write!(out, "\\u{unit:04x}")?;
                }
            }
        }
    }
    out.write_all(b"\"")
}
