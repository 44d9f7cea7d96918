//! The config explorer's CSV.

use std::collections::HashMap;
use std::io::BufRead;

use csv::{ByteRecord, ErrorKind, ReaderBuilder};

use super::super::Trace;
use super::super::trace::NO_SESSION;
use super::rows::{self, HashId, Rows};
use super::{TraceError, Wrong, at};
use crate::sim::Time;

const REMEDY: &str = "correct the line or remove it";

/// Where the columns are.
struct Columns {
    arrival: Option<usize>,
    input: usize,
    output: usize,
    hashes: Option<(usize, usize)>,
    session: Option<usize>,
}

impl Columns {
    fn find(header: &ByteRecord, name: &str) -> Result<Self, TraceError> {
        let place = |column: &str| header.iter().position(|c| c.trim_ascii() == column.as_bytes());
        let need = |column: &'static str| {
            place(column).ok_or_else(|| {
                let present: Vec<_> = header.iter().map(|c| format!("`{}`", c.escape_ascii())).collect();
                TraceError::Column {
                    name: name.to_owned(),
                    column,
                    present: present.join(", "),
                }
            })
        };
        Ok(Self {
            arrival: place("arrived_at"),
            input: need("num_prefill_tokens")?,
            output: need("num_decode_tokens")?,
            hashes: match place("block_hash_ids") {
                Some(hashes) => Some((hashes, need("block_size")?)),
                None => None,
            },
            session: place("session_id"),
        })
    }
}

pub(super) fn read(reader: impl BufRead, name: &str) -> Result<Trace, TraceError> {
    let mut reader = ReaderBuilder::new().from_reader(reader);
    let broken = |e: csv::Error| {
        let line = e.position().map_or(1, csv::Position::line);
        let what = match e.kind() {
            ErrorKind::UnequalLengths {
                expected_len, len, ..
            } => {
                format!("there are {len} fields, but {expected_len} columns")
            }
            ErrorKind::Io(e) => format!("cannot be read: {e}"),
            _ => e.to_string(),
        };
        at(name, line)((what, "check that the file is whole"))
    };
    let header = reader.byte_headers().map_err(broken)?.clone();
    if header.is_empty() {
        return Err(TraceError::Empty {
            name: name.to_owned(),
        });
    }
    let columns = Columns::find(&header, name)?;
    let mut rows = Rows::new(name);
    let mut sessions = HashMap::new();
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(broken)? {
        let line = record.position().map_or(0, csv::Position::line);
        push(&mut rows, &mut sessions, &columns, &record).map_err(at(name, line))?;
    }
    rows.finish()
}

fn push(
    rows: &mut Rows,
    sessions: &mut HashMap<Box<[u8]>, u32>,
    columns: &Columns,
    record: &ByteRecord,
) -> Result<(), Wrong> {
    let input = tokens(record, columns.input, "num_prefill_tokens")?;
    let output = tokens(record, columns.output, "num_decode_tokens")?;
    rows.lengths(input, output);
    if let Some(place) = columns.arrival {
        let seconds = number(&record[place], "arrived_at")?;
        rows.arrival(Time::from_seconds(rows::arrival("arrived_at", seconds)?));
    }
    if let Some((hashes, size)) = columns.hashes {
        let list = record[hashes].trim_ascii();
        if list.is_empty() {
            rows.hashes(&[], 0)?;
        } else {
            let ids: Vec<HashId> = serde_json::from_slice(list).map_err(|e| {
                let what = e.to_string();
                let what = what.split(" at line ").next().unwrap_or_default();
                (
                    format!("`block_hash_ids` is no list of whole numbers ({what})"),
                    "write it like \"[0, 1, 2]\"",
                )
            })?;
            rows.hashes(&ids, tokens(record, size, "block_size")?)?;
        }
    }
    if let Some(place) = columns.session {
        let id = record[place].trim_ascii();
        let new = sessions.len() as u32;
        rows.session(match id {
            b"" => NO_SESSION,
            id => match sessions.get(id) {
                Some(known) => *known,
                None => *sessions.entry(id.into()).or_insert(new),
            },
        });
    }
    Ok(())
}

fn tokens(record: &ByteRecord, place: usize, column: &str) -> Result<u32, Wrong> {
    rows::tokens(column, number(&record[place], column)?)
}

fn number(field: &[u8], column: &str) -> Result<f64, Wrong> {
    let field = field.trim_ascii();
    let text = std::str::from_utf8(field).ok();
    text.and_then(|t| t.parse().ok()).ok_or_else(|| {
        let what = if field.is_empty() {
            format!("`{column}` is empty")
        } else {
            format!("`{column}` is `{}`, not a number", field.escape_ascii())
        };
        (what, REMEDY)
    })
}
