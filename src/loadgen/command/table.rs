//! The output file as rows of cells: CSV with a header, one JSON object a line, or one object whose columns are lists.

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
    /// The place of the row in the lists of an object, and the object.
    Lists(usize, &'a Map<String, Value>),
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
            Self::Json(object) => scalar(name, lookup(object, name)),
            Self::Lists(place, object) => {
                let mut parts = Vec::new();
                for part in name.split('+') {
                    let entry = match lookup(object, part) {
                        Some(Value::Array(list)) => list.get(*place).ok_or_else(|| {
                            format!(
                                "the list `{part}` ends after {} entries, others go on",
                                list.len()
                            )
                        })?,
                        _ => return Err(format!("`{part}` is not a list with an entry for each request")),
                    };
                    parts.push((part, entry));
                }
                match parts.as_slice() {
                    [(_, entry)] if !entry.is_array() => scalar(name, Some(entry)),
                    _ => total(name, &parts).map(Some),
                }
            }
        }
    }

    /// Whether the row has such a column at all.
    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::Csv { header, .. } => header.iter().any(|h| h.trim() == name),
            Self::Json(object) => lookup(object, name).is_some(),
            Self::Lists(_, object) => name.split('+').all(|part| lookup(object, part).is_some()),
        }
    }
}

fn scalar(name: &str, value: Option<&Value>) -> Result<Option<String>, String> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok((!text.trim().is_empty()).then(|| text.trim().to_owned())),
        Some(Value::Bool(value)) => Ok(Some(value.to_string())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(format!("`{name}` is neither a number nor a text")),
    }
}

/// The sum of numbers and of lists of numbers: the time to the first token and the gaps after it, say.
fn total(name: &str, parts: &[(&str, &Value)]) -> Result<String, String> {
    let mut sum = 0.0;
    for (_, part) in parts {
        let one = std::slice::from_ref(*part);
        for value in part.as_array().map_or(one, Vec::as_slice) {
            sum += value
                .as_f64()
                .ok_or_else(|| format!("`{name}` holds other things than numbers"))?;
        }
    }
    Ok(sum.to_string())
}

fn lookup<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = object.get(name) {
        return Some(value);
    }
    let (first, rest) = name.split_once('.')?;
    lookup(object.get(first)?.as_object()?, rest)
}

/// Calls `each` with every row and its line number. Files named `.jsonl`, `.ndjson` or `.json` hold an object a line, all
/// others CSV. An object is a request, or many, where `key` leads to a list in it: then so many as that has entries.
pub(super) fn for_each_row(
    path: &Path,
    key: &str,
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
            let object: Map<String, Value> = serde_json::from_slice(&line)
                .map_err(|e| at(Some(number), format!("not a JSON object: {e}")))?;
            let Some(Value::Array(entries)) = lookup(&object, key) else {
                each(number, &Row::Json(object)).map_err(|why| at(Some(number), why))?;
                continue;
            };
            for place in 0..entries.len() {
                each(number, &Row::Lists(place, &object))
                    .map_err(|why| at(Some(number), format!("entry {}: {why}", place + 1)))?;
            }
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
