//! What can be wrong with what a plan is asked.

use std::path::{Path, PathBuf};

use serde_saphyr::Spanned;

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {problem}", path.display(), line.map_or(String::new(), |line| format!(":{line}")))]
pub struct RequestError {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1, where it is known.
    pub line: Option<u64>,
    /// What is wrong, and what to write.
    pub problem: String,
}

impl RequestError {
    pub(crate) fn new(path: &Path, line: Option<u64>, problem: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            problem: problem.into(),
        }
    }

    /// Of the text of a YAML file.
    pub(crate) fn yaml(path: &Path, text: &str, error: &serde_saphyr::Error) -> Self {
        let line = error.location().map(|at| at.line()).filter(|line| *line > 0);
        let mut problem = crate::yaml::problem(error.without_snippet());
        let stands = line.and_then(|line| text.lines().nth(line as usize - 1));
        let stands = stands.map(str::trim);
        if let Some(stands) = stands.filter(|_| problem.starts_with("invalid ")) {
            // What is expected in words says itself what to write.
            let number = if problem.contains("expected a ") || problem.contains("expected two ") {
                ""
            } else {
                "; write a number"
            };
            problem = format!("`{stands}`: {problem}{number}");
        } else if let Some(stands) = stands.filter(|_| problem == "expected mapping start") {
            problem = format!("`{stands}`: keys with their values are expected here; write {{key: value}}");
        } else if let Some(stands) = stands.filter(|_| problem == "expected sequence start") {
            problem = format!("`{stands}`: a list is expected here; write [a, b]");
        } else if problem.starts_with("duplicate field") {
            problem.push_str("; write it once, by one of its names");
        }
        Self::new(path, line, problem)
    }

    /// Of a JSON file.
    pub(crate) fn json(path: &Path, error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let end = text.find(" at line ").unwrap_or(text.len());
        let line = (error.line() > 0).then_some(error.line() as u64);
        Self::new(path, line, &text[..end])
    }
}

/// What is wrong within a file, with its line.
pub(super) type Wrong = (Option<u64>, String);

/// The line where a value begins.
pub(super) fn line<T>(value: &Spanned<T>) -> Option<u64> {
    Some(value.referenced.line()).filter(|line| *line > 0)
}

/// The text of a file.
pub(crate) fn text(path: &Path) -> Result<String, RequestError> {
    fs_err::read_to_string(path).map_err(|error| {
        let why = format!("the file cannot be read: {}", error.kind());
        RequestError::new(path, None, format!("{why}; check its name and its rights"))
    })
}
