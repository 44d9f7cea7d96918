//! Reads `output.csv` and the halves of every generation.

use std::path::Path;

use csv::StringRecord;

use crate::trial::{Halves, Response};

use super::error::line_of;
use super::{TableError, time};

/// What an `output.csv` or a half tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResponseTable {
    /// The responses, in the order of the file. A response without a time has `NaN`.
    pub responses: Vec<Response>,
    /// The smallest success rate of the run that any row says, in percent.
    pub success_rate_percent: Option<f64>,
    /// The verdict that the older program added as a column, where it did.
    pub evaluation: Option<bool>,
}

/// The columns, the latest name first.
const RECEIVED: [&str; 2] = ["full_response_received_at_utc", "received_timestamp"];
const DURATION: [&str; 2] = ["request_duration_ms", "complete_response_time"];
const SUCCESS: [&str; 2] = ["successful_request", "success"];
const RATE: &str = "success_rate";
const EVALUATION: &str = "no_statistical_difference";

/// Reads an `output.csv`, a half or a `results_from_json.csv`.
///
/// # Errors
/// [`TableError`] with file and line when it cannot be read, is not UTF-8, lacks a column or has a wrong cell.
pub fn read_responses(path: &Path) -> Result<ResponseTable, TableError> {
    let mut reader = open(path)?;
    let header = reader.headers().map_err(|e| TableError::csv(path, e))?.clone();
    let place = |names: [&'static str; 2]| {
        let found = names
            .iter()
            .find_map(|name| header.iter().position(|h| h.trim() == *name));
        found.ok_or_else(|| TableError::MissingColumn {
            path: path.to_owned(),
            column: names[0],
            found: header.iter().collect::<Vec<_>>().join(", "),
        })
    };
    let columns = [place(RECEIVED)?, place(DURATION)?, place(SUCCESS)?];
    let optional = |name: &str| header.iter().position(|h| h.trim() == name);
    let (rate, evaluation) = (optional(RATE), optional(EVALUATION));
    let mut table = ResponseTable::default();
    let mut record = StringRecord::new();
    while reader
        .read_record(&mut record)
        .map_err(|e| TableError::csv(path, e))?
    {
        let row = Row {
            path,
            header: &header,
            record: &record,
        };
        table.responses.push(Response {
            received_ns: row.cell(columns[0], "a UTC time from 1970 to 2100", time::parse)?,
            duration_ms: row.cell(columns[1], "a number of milliseconds", |t| match t {
                "" | "nan" | "NaN" => Some(f64::NAN),
                _ => t.parse().ok().filter(|ms: &f64| ms.abs() < 1e12),
            })?,
            success: row.cell(columns[2], "True or False", truth)?,
        });
        if let Some(rate) = rate.filter(|&i| !record[i].is_empty()) {
            let percent = row.cell(rate, "a percentage", |t| t.parse::<f64>().ok())?;
            let lowest = table.success_rate_percent.unwrap_or(percent);
            table.success_rate_percent = Some(lowest.min(percent));
        }
        if let Some(evaluation) = evaluation.filter(|&i| !record[i].is_empty()) {
            table.evaluation = Some(row.cell(evaluation, "True or False", truth)?);
        }
    }
    Ok(table)
}

/// Reads `first_half.csv` and `second_half.csv` of a folder, with the smallest success rate of both.
///
/// # Errors
/// As [`read_responses`].
pub fn read_halves(dir: &Path) -> Result<(Halves, Option<f64>), TableError> {
    let first = read_responses(&dir.join("first_half.csv"))?;
    let second = read_responses(&dir.join("second_half.csv"))?;
    let rates = [first.success_rate_percent, second.success_rate_percent];
    let halves = Halves {
        first: first.responses,
        second: second.responses,
    };
    Ok((halves, rates.into_iter().flatten().reduce(f64::min)))
}

/// Opens a CSV file that has at least a header.
pub(super) fn open(path: &Path) -> Result<csv::Reader<std::fs::File>, TableError> {
    let file = std::fs::File::open(path).map_err(|e| TableError::io(path, e))?;
    let length = file.metadata().map_err(|e| TableError::io(path, e))?.len();
    if length == 0 {
        return Err(TableError::Malformed {
            path: path.to_owned(),
            line: 1,
            why: "the file is empty; a table without rows has at least its header".to_owned(),
        });
    }
    Ok(csv::Reader::from_reader(file))
}

/// One row, to be read cell by cell.
struct Row<'a> {
    path: &'a Path,
    header: &'a StringRecord,
    record: &'a StringRecord,
}

impl Row<'_> {
    fn cell<T>(
        &self,
        column: usize,
        expected: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, TableError> {
        let value = self.record[column].trim();
        parse(value).ok_or_else(|| TableError::Cell {
            path: self.path.to_owned(),
            line: line_of(self.path, self.record.position()),
            column: self.header[column].to_owned(),
            value: value.to_owned(),
            expected,
        })
    }
}

/// A truth value in any of the spellings that the generations have.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "1.0" | "yes" => Some(true),
        "false" | "0" | "0.0" | "no" => Some(false),
        _ => None,
    }
}
