//! The words of Python's HTTP clients (httpx, aiohttp) for what went wrong.

use crate::trial::{Outcome, TimeoutKind};

/// Words in an error, first match counts, and what they stand for.
const WORDS: [(&str, Outcome); 19] = [
    ("Connection refused", Outcome::Refused),
    ("Connect call failed", Outcome::Refused),
    ("ConnectError", Outcome::Connect),
    ("ConnectTimeout", Outcome::Connect),
    ("ConnectionTimeoutError", Outcome::Connect),
    ("ClientConnectorError", Outcome::Connect),
    ("ClientConnectorDNSError", Outcome::Connect),
    ("Cannot connect to host", Outcome::Connect),
    ("ServerTimeoutError", Outcome::Timeout(TimeoutKind::Request)),
    ("TimeoutError", Outcome::Timeout(TimeoutKind::Request)),
    ("ReadTimeout", Outcome::Timeout(TimeoutKind::Request)),
    ("ClientPayloadError", Outcome::BrokenStream),
    ("RemoteProtocolError", Outcome::BrokenStream),
    ("ServerDisconnectedError", Outcome::BrokenStream),
    ("ClientOSError", Outcome::BrokenStream),
    ("ReadError", Outcome::BrokenStream),
    ("Connection reset", Outcome::BrokenStream),
    ("JSONDecodeError", Outcome::BadResponse),
    ("InvalidInferenceResult", Outcome::BadResponse),
];

/// The nearest outcome to an error in a program's words. `status` is the HTTP status, where it tells one; else it is
/// looked for as `HTTP Error 503` and `error '503 Service Unavailable'`.
pub(in crate::loadgen) fn outcome_of(status: Option<u16>, words: &str) -> Outcome {
    let named = |before: &str| {
        let rest = &words[words.find(before)? + before.len()..];
        rest.get(..3)?.parse().ok()
    };
    let status = status
        .or_else(|| named("HTTP Error "))
        .or_else(|| named("error '"))
        .filter(|s: &u16| (100..600).contains(s));
    if let Some(status) = status {
        return Outcome::Http(status);
    }
    WORDS
        .iter()
        .find(|(text, _)| words.contains(text))
        .map_or(Outcome::Failed, |(_, outcome)| *outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_outcomes() {
        for (status, words, expected) in [
            (None, "HTTP Error 503: {\"error\": …}", "http-503"),
            (
                None,
                "HTTPStatusError(\"Client error '429 Too Many Requests' for url 'http://h/v1'\")",
                "http-429",
            ),
            (Some(500), "Internal Server Error", "http-500"),
            (None, "ConnectError('All connection attempts failed')", "connect"),
            (
                None,
                "ClientConnectorError: Cannot connect to host 127.0.0.1:9 ssl:default [Connect call failed ('127.0.0.1', 9)]",
                "refused",
            ),
            (None, "TimeoutError: ", "timeout-request"),
            (
                None,
                "ClientPayloadError: Response payload is not completed: <TransferEncodingError: 400, message='Not enough data'>",
                "broken-stream",
            ),
            (None, "ReadError('')", "broken-stream"),
            (None, "something else", "failed"),
            (None, "HTTP Error é9", "failed"),
        ] {
            assert_eq!(outcome_of(status, words).to_string(), expected, "{words}");
        }
    }
}
