//! What can be wrong with a profile.

/// A profile or a table that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CostError {
    /// A line that cannot be read.
    #[error("{file}:{line}: {what}")]
    Line {
        /// The file.
        file: String,
        /// Its line, counted from one, the header with it.
        line: u64,
        /// What is wrong and what to do.
        what: String,
    },
    /// A file that lacks something, or is none of its kind.
    #[error("{file}: {what}")]
    File {
        /// The file.
        file: String,
        /// What is wrong and what to do.
        what: String,
    },
    /// A layout that the model does not allow.
    #[error("{0}")]
    Layout(String),
}

impl CostError {
    pub(super) fn line(file: &str, line: u64, what: impl Into<String>) -> Self {
        Self::Line {
            file: file.to_owned(),
            line,
            what: what.into(),
        }
    }

    pub(super) fn file(file: &str, what: impl Into<String>) -> Self {
        Self::File {
            file: file.to_owned(),
            what: what.into(),
        }
    }
}
