//! Why a table cannot be read.

use std::path::{Path, PathBuf};

/// Why a CSV file of a results folder cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file cannot be opened or read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Not a table: wrong encoding, a row with too many or too few cells, no header.
    #[error("{}:{line}: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// A column that every generation of this file has.
    #[error("{}:1: there is no column `{column}`; the columns are: {found}", path.display())]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The column, in its newest name.
        column: &'static str,
        /// What there is.
        found: String,
    },
    /// A cell that is not what its column holds.
    #[error("{}:{line}: `{value}` in column {column} is not {expected}", path.display())]
    Cell {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The column.
        column: String,
        /// What is there.
        value: String,
        /// What should be.
        expected: &'static str,
    },
}

impl TableError {
    /// The error of opening or reading `path`.
    pub(super) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    /// The error of the CSV reader.
    pub(super) fn csv(path: &Path, error: csv::Error) -> Self {
        let line = error.position().map_or(1, csv::Position::line);
        let why = match error.kind() {
            csv::ErrorKind::Utf8 { .. } => "not UTF-8".to_owned(),
            csv::ErrorKind::UnequalLengths {
                expected_len, len, ..
            } => format!("{len} cells where the header has {expected_len}; was the file cut off?"),
            _ => error.to_string(),
        };
        match error.into_kind() {
            csv::ErrorKind::Io(source) => Self::io(path, source),
            _ => Self::Malformed {
                path: path.to_owned(),
                line,
                why,
            },
        }
    }
}
