//! Mooncake's JSON lines.

use std::io::BufRead;

use serde::Deserialize;

use super::super::Trace;
use super::super::trace::NO_SESSION;
use super::rows::{self, HashId, Rows};
use super::{TraceError, Wrong, at};
use crate::sim::Time;

/// Tokens that a hash stands for.
const BLOCK: u32 = 512;
const REMEDY: &str = "each line must be like {\"timestamp\": 0, \"input_length\": 10, \"output_length\": 5, \"hash_ids\": [1]}";

#[derive(Deserialize)]
struct Line {
    timestamp: f64,
    input_length: f64,
    output_length: f64,
    #[serde(default)]
    hash_ids: Vec<HashId>,
}

pub(super) fn read(mut reader: impl BufRead, name: &str) -> Result<Trace, TraceError> {
    let mut rows = Rows::new(name);
    let mut text = Vec::new();
    for line in 1.. {
        text.clear();
        let unreadable = |e: std::io::Error| (format!("cannot be read: {e}"), "check that the file is whole");
        let read = reader
            .read_until(b'\n', &mut text)
            .map_err(|e| at(name, line)(unreadable(e)))?;
        if read == 0 {
            break;
        }
        if !text.trim_ascii().is_empty() {
            push(&mut rows, &text).map_err(at(name, line))?;
        }
    }
    let mut trace = rows.finish()?;
    conversations(&mut trace);
    Ok(trace)
}

fn push(rows: &mut Rows, text: &[u8]) -> Result<(), Wrong> {
    let line: Line = serde_json::from_slice(text).map_err(|e| {
        let what = e.to_string();
        // The line is given by our own count.
        let what = what.split(" at line ").next().unwrap_or_default().to_owned();
        (what, REMEDY)
    })?;
    let input = rows::tokens("input_length", line.input_length)?;
    let output = rows::tokens("output_length", line.output_length)?;
    rows.lengths(input, output);
    rows::arrival("timestamp", line.timestamp / 1e3)?;
    rows.arrival(Time::from_us(line.timestamp * 1e3));
    rows.hashes(&line.hash_ids, BLOCK)
}

/// Tells the conversations of a trace apart by its hashes.
fn conversations(trace: &mut Trace) {
    let table = &trace.prefixes;
    let mut firsts = vec![0_u32; table.distinct as usize];
    for span in trace.spans.iter().filter(|s| s.len > 0) {
        firsts[table.of(*span)[0] as usize] += 1;
    }
    let begun = firsts.iter().map(|n| u64::from(*n)).sum::<u64>();
    let system = firsts.iter().position(|n| 2 * u64::from(*n) > begun && *n > 1);
    let mut number = vec![NO_SESSION; table.distinct as usize];
    let mut next = 0;
    trace.sessions = trace
        .spans
        .iter()
        .map(|span| {
            let hashes = table.of(*span);
            let named = hashes.first().map(|h| *h as usize) == system && system.is_some();
            let Some(hash) = hashes.get(usize::from(named)) else {
                return NO_SESSION;
            };
            let session = &mut number[*hash as usize];
            if *session == NO_SESSION {
                *session = next;
                next += 1;
            }
            *session
        })
        .collect();
}
