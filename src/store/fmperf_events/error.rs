//! Why a `results.json` cannot be read.

use std::path::PathBuf;

/// Why a `results.json` cannot be read. Positions count the bytes of the document, after decompression.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// The file cannot be opened or read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Nothing in it.
    #[error(
        "{}: the file is empty: the load generator did not finish writing it; a run without events has `{{\"results\": []}}`",
        path.display()
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Bytes that are not UTF-8.
    #[error("{}: byte {offset} (line {line}): not UTF-8, so not JSON", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Position of the first bad byte.
        offset: u64,
        /// Its line, from 1.
        line: u64,
    },
    /// The document ends too soon.
    #[error(
        "{}: byte {offset} (line {line}): the file ends in the middle of {within}: it was cut off (killed job, full disk?); run the trial again",
        path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// The length of the document.
        offset: u64,
        /// Its last line, from 1.
        line: u64,
        /// What is incomplete.
        within: &'static str,
    },
    /// Not JSON, or not of the schema.
    #[error("{}: byte {offset} (line {line}): {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// Its line, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
}
