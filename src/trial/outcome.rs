//! How a request ended.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which time limit a request exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeoutKind {
    /// Time to the first token.
    Ttft,
    /// Time between two tokens.
    Tpot,
    /// The whole request.
    Request,
}

/// How a request ended. Only [`Outcome::Ok`] is a success: tokens, a finish reason, no error frame, and the output
/// length that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Outcome {
    /// Good in every respect.
    Ok,
    /// An HTTP status other than 200.
    Http(u16),
    /// The connection was refused.
    Refused,
    /// Any other failure to connect (name resolution, TLS, unreachable, too many open files).
    Connect,
    /// A time limit passed.
    Timeout(TimeoutKind),
    /// The stream ended or was reset before it was complete.
    BrokenStream,
    /// Status 200, then an error frame in the stream, with its code where it has one.
    ErrorFrame(Option<u16>),
    /// Complete, but fewer or more tokens than asked for.
    WrongLength,
    /// Complete, but no token came.
    NoTokens,
    /// The answer was not what the API promises (HTML, malformed JSON, no finish reason).
    BadResponse,
    /// Still running when the trial's drain ended: its latency is at least what had passed.
    Unfinished,
    /// Never sent: the trial was stopped, or the client hit its safety cap.
    NotSent,
    /// A failure that an external load generator reported in its own words.
    Failed,
}

impl Outcome {
    /// Whether the request succeeded.
    pub fn is_ok(self) -> bool {
        self == Self::Ok
    }

    /// Whether the service has finished with the request, well or badly.
    pub fn is_finished(self) -> bool {
        !matches!(self, Self::Unfinished | Self::NotSent)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => f.write_str("ok"),
            Self::Http(status) => write!(f, "http-{status}"),
            Self::Refused => f.write_str("refused"),
            Self::Connect => f.write_str("connect"),
            Self::Timeout(TimeoutKind::Ttft) => f.write_str("timeout-ttft"),
            Self::Timeout(TimeoutKind::Tpot) => f.write_str("timeout-tpot"),
            Self::Timeout(TimeoutKind::Request) => f.write_str("timeout-request"),
            Self::BrokenStream => f.write_str("broken-stream"),
            Self::ErrorFrame(None) => f.write_str("error-frame"),
            Self::ErrorFrame(Some(code)) => write!(f, "error-frame-{code}"),
            Self::WrongLength => f.write_str("wrong-length"),
            Self::NoTokens => f.write_str("no-tokens"),
            Self::BadResponse => f.write_str("bad-response"),
            Self::Unfinished => f.write_str("unfinished"),
            Self::NotSent => f.write_str("not-sent"),
            Self::Failed => f.write_str("failed"),
        }
    }
}

/// The error of parsing an [`Outcome`].
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a request outcome")]
pub struct OutcomeError(String);

impl FromStr for Outcome {
    type Err = OutcomeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fixed = [
            Self::Ok,
            Self::Refused,
            Self::Connect,
            Self::Timeout(TimeoutKind::Ttft),
            Self::Timeout(TimeoutKind::Tpot),
            Self::Timeout(TimeoutKind::Request),
            Self::BrokenStream,
            Self::ErrorFrame(None),
            Self::WrongLength,
            Self::NoTokens,
            Self::BadResponse,
            Self::Unfinished,
            Self::NotSent,
            Self::Failed,
        ];
        if let Some(outcome) = fixed.into_iter().find(|o| o.to_string() == text) {
            return Ok(outcome);
        }
        let number = |prefix: &str| text.strip_prefix(prefix).and_then(|n| n.parse().ok());
        number("http-")
            .map(Self::Http)
            .or_else(|| number("error-frame-").map(|code| Self::ErrorFrame(Some(code))))
            .ok_or_else(|| OutcomeError(text.to_owned()))
    }
}

impl From<Outcome> for String {
    fn from(outcome: Outcome) -> Self {
        outcome.to_string()
    }
}

impl TryFrom<String> for Outcome {
    type Error = OutcomeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in [
            "ok",
            "http-503",
            "error-frame",
            "error-frame-503",
            "timeout-ttft",
            "unfinished",
        ] {
            assert_eq!(name.parse::<Outcome>().unwrap().to_string(), name);
        }
        assert!("http-x".parse::<Outcome>().is_err());
    }
}
