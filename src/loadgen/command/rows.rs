//! From rows to request records.

use std::path::Path;

use super::columns::{Columns, TimeColumn};
use super::table::{Row, for_each_row};
use crate::loadgen::LoadGenError;
use crate::trial::{Outcome, RequestRecord};
use crate::units::TokenPair;

/// Times above this are since 1970 (the year 1980 in nanoseconds); below, the clock's origin is unknown.
const EPOCH_FROM_NS: i64 = 315_000_000_000_000_000;

/// What a file holds.
#[derive(Debug)]
pub(super) struct Requests {
    /// In order of intended time, relative to the first.
    pub(super) records: Vec<RequestRecord>,
    /// The first intended time since 1970, where the file's clock is that.
    pub(super) epoch_ns: Option<i64>,
}

/// Reads all requests; `pair` says what was asked of them, where it was the same kind for all.
pub(super) fn read(
    path: &Path,
    columns: &Columns,
    pair: Option<TokenPair>,
) -> Result<Requests, LoadGenError> {
    let mut records: Vec<RequestRecord> = Vec::new();
    // In JSON a key may be absent from a row; one absent from all is a mistake in the mapping, unless nothing succeeded.
    let mut missing = columns.expected();
    let mut rows = 0;
    let key = columns.sent.as_ref().or(columns.intended.as_ref());
    let key = key.map_or("", |column| column.name.as_str());
    for_each_row(path, key, |_, row| {
        rows += 1;
        missing.retain(|name| !row.has(name));
        records.extend(record(row, columns, pair)?);
        Ok(())
    })?;
    let nothing_worked = !records.is_empty() && records.iter().all(|r| r.outcome == Outcome::Failed);
    if let Some(name) = missing.first().filter(|_| rows > 0 && !nothing_worked) {
        return Err(LoadGenError::Output {
            path: path.to_owned(),
            why: format!("no row has a value `{name}`; is the mapping of columns right?"),
        });
    }
    let Some(first) = records.iter().map(|r| r.intended_ns).min() else {
        return Err(LoadGenError::Output {
            path: path.to_owned(),
            why: "it holds no request".to_owned(),
        });
    };
    for record in &mut records {
        record.intended_ns -= first;
        for time in [
            &mut record.sent_ns,
            &mut record.first_token_ns,
            &mut record.done_ns,
        ] {
            *time = time.map(|t| t - first);
        }
    }
    records.sort_by_key(|r| r.intended_ns);
    Ok(Requests {
        records,
        epoch_ns: (first > EPOCH_FROM_NS).then_some(first),
    })
}

/// One request; `None` where it was never sent.
fn record(
    row: &Row<'_>,
    columns: &Columns,
    pair: Option<TokenPair>,
) -> Result<Option<RequestRecord>, String> {
    let time = |column: &Option<TimeColumn>, sent: Option<i64>| -> Result<Option<i64>, String> {
        let Some(column) = column else { return Ok(None) };
        let Some(text) = row.cell(&column.name)? else {
            return Ok(None);
        };
        let value = column
            .unit
            .parse(&text)
            .ok_or_else(|| format!("`{text}` in column `{column}` is not a time"))?;
        if !column.after_sent {
            return Ok(Some(value));
        }
        let sent =
            sent.ok_or_else(|| format!("column `{column}` counts from the send time, which is missing"))?;
        Ok(Some(sent + value))
    };
    let count = |column: &Option<String>| -> Result<Option<u32>, String> {
        let Some(name) = column else { return Ok(None) };
        let Some(text) = row.cell(name)? else {
            return Ok(None);
        };
        let value = text.parse::<f64>().ok().filter(|v| *v >= 0.0 && v.fract() == 0.0);
        value
            .map(|v| Some(v as u32))
            .ok_or_else(|| format!("`{text}` in column `{name}` is not a number of tokens"))
    };
    let intended = time(&columns.intended, None)?;
    let Some(sent) = time(&columns.sent, None)?.or(intended.filter(|_| columns.sent.is_none())) else {
        return Ok(None);
    };
    let done = time(&columns.done, Some(sent))?;
    if done.is_some_and(|d| d < sent) {
        return Err("the request ended before it was sent; is the unit of a column wrong?".to_owned());
    }
    let input = count(&columns.input_tokens)?;
    let output = count(&columns.output_tokens)?;
    let error = match &columns.error {
        Some(name) => row.cell(name)?.filter(|e| !is_no_error(e)),
        None => None,
    };
    let ok = match &columns.ok {
        Some(name) => row.cell(name)?.map_or(Ok(false), |text| truth(&text, name))?,
        None => true,
    };
    let asked_output = pair.map(|p| p.output);
    let outcome = if error.is_some() || !ok {
        Outcome::Failed
    } else if done.is_none() {
        Outcome::Unfinished
    } else if output == Some(0) {
        Outcome::NoTokens
    } else if output
        .zip(asked_output)
        .is_some_and(|(n, range)| !range.contains(n))
    {
        Outcome::WrongLength
    } else {
        Outcome::Ok
    };
    let asked = |range: Option<crate::units::TokenRange>| range.map_or(0, |r| r.mean().round() as u32);
    Ok(Some(RequestRecord {
        intended_ns: intended.unwrap_or(sent),
        sent_ns: Some(sent),
        // Some programs write 0 where there was none.
        first_token_ns: time(&columns.first_token, Some(sent))?
            .filter(|t| outcome != Outcome::Failed || *t > sent),
        done_ns: done.or((outcome == Outcome::Failed).then_some(sent)),
        class: 0,
        input_tokens: input.unwrap_or_else(|| asked(pair.map(|p| p.input))),
        output_tokens: output.unwrap_or_else(|| if outcome.is_ok() { asked(asked_output) } else { 0 }),
        outcome,
    }))
}

/// Words that programs write where there is no error.
fn is_no_error(text: &str) -> bool {
    ["none", "null", "false", "0", "ok"].contains(&text.to_ascii_lowercase().as_str())
}

fn truth(text: &str, name: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "ok" | "success" | "200" => Ok(true),
        "false" | "0" | "no" | "failed" | "failure" | "error" => Ok(false),
        _ => Err(format!("`{text}` in column `{name}` is neither true nor false")),
    }
}
