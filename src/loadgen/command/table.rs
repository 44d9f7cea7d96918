//! The output file as rows of cells: CSV with a header, or one JSON object a line.

use std::io::{BufRead, BufReader};
use std::path::Path;

use fs_err as fs;
use serde_json::{Map, Value};

use crate::loadgen::LoadGenError;

/// One row; cells are asked for by column name.
pub(super) enum Row<'a> {
    Csv {
        header: &'a csv::StringRecord,
        record: &'a csv::StringRecord,
    },
    Json(Map<String, Value>),
}

impl Row<'_> {
    /// The text of a cell; `Ok(None)` where it is empty or null. In JSON a name with dots also leads into objects.
    ///
    /// # Errors
    /// When there is no such column (in CSV), or the cell holds an object or a list.
    pub(super) fn cell(&self, name: &str) -> Result<Option<String>, String> {
        match self {
            Self::Csv { header, record } => {
                let place = header.iter().position(|h| h.trim() == name).ok_or_else(|| {
                    let there: Vec<&str> = header.iter().collect();
                    format!("no column `{name}`; there are {}", there.join(", "))
                })?;
                let text = record.get(place).unwrap_or("").trim();
                Ok((!text.is_empty()).then(|| text.to_owned()))
            }
            Self::Json(object) => match lookup(object, name) {
                None | Some(Value::Null) => Ok(None),
                Some(Value::String(text)) => Ok((!text.trim().is_empty()).then(|| text.trim().to_owned())),
                Some(Value::Bool(value)) => Ok(Some(value.to_string())),
                Some(Value::Number(number)) => Ok(Some(number.to_string())),
                Some(_) => Err(format!("`{name}` is neither a number nor a text")),
            },
        }
    }

    /// Whether the row has such a column at all.
    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::Csv { header, .. } => header.iter().any(|h| h.trim() == name),
            Self::Json(object) => lookup(object, name).is_some(),
        }
    }
}

fn lookup<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = object.get(name) {
        return Some(value);
    }
    let (first, rest) = name.split_once('.')?;
    lookup(object.get(first)?.as_object()?, rest)
}

/// Calls `each` with every row and its line number. Files named `.jsonl`, `.ndjson` or `.json` hold an object a line, all
/// others CSV.
pub(super) fn for_each_row(
    path: &Path,
    mut each: impl FnMut(u64, &Row<'_>) -> Result<(), String>,
) -> Result<(), LoadGenError> {
    let at = |line: Option<u64>, why: String| LoadGenError::Output {
        path: path.to_owned(),
        why: line.map_or_else(|| why.clone(), |n| format!("line {n}: {why}")),
    };
    let file = fs::File::open(path).map_err(|e| {
        let why = match e.kind() {
            std::io::ErrorKind::NotFound => "the command did not write this file".to_owned(),
            _ => e.to_string(),
        };
        at(None, why)
    })?;
    let json = path
        .extension()
        .is_some_and(|e| e == "jsonl" || e == "ndjson" || e == "json");
    if json {
        for (number, line) in (1u64..).zip(BufReader::new(file).split(b'\n')) {
            let line = line?;
            if line.trim_ascii().is_empty() {
                continue;
            }
            let object = serde_json::from_slice(&line)
                .map_err(|e| at(Some(number), format!("not a JSON object: {e}")))?;
            each(number, &Row::Json(object)).map_err(|why| at(Some(number), why))?;
        }
        return Ok(());
    }
    let mut reader = csv::ReaderBuilder::new().from_reader(BufReader::new(file));
    let header = reader.headers().map_err(|e| at(Some(1), e.to_string()))?.clone();
    let mut record = csv::StringRecord::new();
    while reader
        .read_record(&mut record)
        .map_err(|e| at(e.position().map(csv::Position::line), e.to_string()))?
    {
        let number = record.position().map_or(0, csv::Position::line);
        let row = Row::Csv {
            header: &header,
            record: &record,
        };
        each(number, &row).map_err(|why| at(Some(number), why))?;
    }
    Ok(())
}
