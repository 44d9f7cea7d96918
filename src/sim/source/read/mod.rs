//! Reading traces, a line at a time.

mod csv_file;
mod mooncake;
mod rows;

use std::io::BufRead;

use serde::{Deserialize, Serialize};

use super::Trace;

/// How a trace is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraceFormat {
    /// Mooncake's JSON lines: `timestamp` (milliseconds), `input_length`, `output_length`, `hash_ids` (one for each 512
    /// tokens of the prompt, the last perhaps for fewer).
    ///
    /// A request's conversation is its first hash; where more than half of all requests begin with the same hash, that is
    /// a system prompt, and the conversation is the second hash. A request with nothing but the system prompt belongs to
    /// none.
    Mooncake,
    /// The config explorer's CSV, and Vidur's: `num_prefill_tokens`, `num_decode_tokens`, and if there are any
    /// `arrived_at` (seconds), `block_hash_ids` (a JSON list: one for each full block of prompt and response, all kept),
    /// `block_size` (tokens of such a block), `session_id`. Other columns are ignored.
    Csv,
}

impl TraceFormat {
    /// By the ending of a file's name, `.gz` aside: JSON lines are Mooncake's, all else is CSV.
    pub fn of_name(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        let json = [".jsonl", ".json", ".ndjson"];
        if json.iter().any(|ending| name.ends_with(ending)) {
            Self::Mooncake
        } else {
            Self::Csv
        }
    }
}

/// Why a trace cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// A line is wrong.
    #[error("{name}:{line}: {what}; {remedy}")]
    Line {
        /// The trace.
        name: String,
        /// Line number, counted from one.
        line: u64,
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A column is missing.
    #[error(
        "{name}:1: there is no column `{column}`, only {present}; rename the column that holds it, or add it"
    )]
    Column {
        /// The trace.
        name: String,
        /// What is missing.
        column: &'static str,
        /// What is there.
        present: String,
    },
    /// There are no requests.
    #[error("{name}: there are no requests in it; check the path, and that the file is whole")]
    Empty {
        /// The trace.
        name: String,
    },
}

/// What is wrong with a line, and what to do about it.
type Wrong = (String, &'static str);

pub(super) fn read(reader: impl BufRead, format: TraceFormat, name: &str) -> Result<Trace, TraceError> {
    match format {
        TraceFormat::Mooncake => mooncake::read(reader, name),
        TraceFormat::Csv => csv_file::read(reader, name),
    }
}

fn at(name: &str, line: u64) -> impl Fn(Wrong) -> TraceError {
    move |(what, remedy)| TraceError::Line {
        name: name.to_owned(),
        line,
        what,
        remedy,
    }
}

#[cfg(test)]
mod tests;
