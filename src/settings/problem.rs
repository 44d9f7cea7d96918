//! What is wrong with settings, all of it at once.

use std::fmt;
use std::path::PathBuf;

use super::Profile;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line.
    Flag,
    /// The process environment.
    Environment,
    /// A line of the `.env` file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// Nobody set it.
    Default(Profile),
}

impl Origin {
    /// How high the source stands: a value of a higher one holds.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Default(_) => 0,
            Self::File { .. } => 1,
            Self::Environment => 2,
            Self::Flag => 3,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment => f.write_str("environment"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Default(profile) => write!(f, "default ({profile})"),
        }
    }
}

/// One wrong setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {subject}{problem}")]
pub struct SettingsError {
    /// Where: `.env:12`, `environment`, `flag`.
    place: String,
    /// `KEY=value: `, or nothing where there is no key.
    subject: String,
    /// What is wrong, and what to do.
    problem: String,
    /// Line of the file, or past all lines: the order in which errors are shown.
    line: usize,
}

impl SettingsError {
    /// A wrong value. The caller has masked secrets.
    pub(super) fn new(origin: &Origin, key: &str, shown: &str, problem: &str) -> Self {
        let hint = match origin {
            Origin::Environment => {
                " (it comes from the environment; unset it there if it is not meant for mst)"
            }
            _ => "",
        };
        Self {
            place: origin.to_string(),
            subject: format!("{key}={}: ", printable(shown)),
            problem: format!("{problem}{hint}"),
            line: match origin {
                Origin::File { line, .. } => *line,
                _ => usize::MAX,
            },
        }
    }

    /// A line or file that cannot be read, or a name that means nothing.
    pub(super) fn unreadable(place: String, line: usize, key: &str, problem: &str) -> Self {
        let subject = if key.is_empty() {
            String::new()
        } else {
            format!("{}: ", printable(key))
        };
        Self {
            place,
            subject,
            problem: problem.to_owned(),
            line,
        }
    }
}

/// Everything that is wrong, and what is suspicious beside it: a misspelt key is often why another is missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SettingsErrors(pub Vec<SettingsError>, pub Vec<String>);

impl SettingsErrors {
    /// All errors in the order of the file, then those of the environment and of flags.
    pub(super) fn sorted(mut errors: Vec<SettingsError>, warnings: Vec<String>) -> Self {
        errors.sort_by_key(|e| e.line);
        Self(errors, warnings)
    }
}

/// A file that is no `.env` at all would otherwise fill the screen.
const MOST_SHOWN: usize = 60;

impl fmt::Display for SettingsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [only] if self.1.is_empty() => return write!(f, "{only}"),
            [_] => write!(f, "a setting is wrong:")?,
            all => write!(f, "{} settings are wrong:", all.len())?,
        }
        for error in self.0.iter().take(MOST_SHOWN) {
            write!(f, "\n  {error}")?;
        }
        if self.0.len() > MOST_SHOWN {
            write!(f, "\n  and {} more", self.0.len() - MOST_SHOWN)?;
        }
        for warning in self.1.iter().take(MOST_SHOWN) {
            write!(f, "\n  warning: {warning}")?;
        }
        Ok(())
    }
}

/// Text without control characters, cut to a length that fits a message.
pub(super) fn printable(text: &str) -> String {
    const LONGEST: usize = 100;
    let mut shown = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == LONGEST {
            shown.push('…');
            break;
        }
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}
