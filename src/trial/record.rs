//! One request: as stored in full ([`RawRow`]) and as judged ([`RequestRecord`]).

use serde::{Deserialize, Serialize};

use super::Outcome;

/// One request as the criteria see it. Times are nanoseconds since the start of the trial, on a monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RequestRecord {
    /// When it should have been sent.
    pub intended_ns: i64,
    /// When it was sent (before the write), where it was.
    pub sent_ns: Option<i64>,
    /// Arrival of the first token.
    pub first_token_ns: Option<i64>,
    /// Arrival of the last byte, or the moment of failure; `None` while unfinished.
    pub done_ns: Option<i64>,
    /// Index of the workload class.
    pub class: u16,
    /// Prompt tokens: as the server counted them, else as asked for.
    pub input_tokens: u32,
    /// Response tokens that arrived.
    pub output_tokens: u32,
    /// How it ended.
    pub outcome: Outcome,
}

impl RequestRecord {
    /// Milliseconds from the intended send time to the first token.
    pub fn ttft_ms(&self) -> Option<f64> {
        Some((self.first_token_ns? - self.intended_ns) as f64 / 1e6)
    }

    /// Milliseconds from the intended send time to the end.
    pub fn e2e_ms(&self) -> Option<f64> {
        Some((self.done_ns? - self.intended_ns) as f64 / 1e6)
    }

    /// Milliseconds by which the client was late.
    pub fn lateness_ms(&self) -> Option<f64> {
        Some((self.sent_ns? - self.intended_ns) as f64 / 1e6)
    }
}

/// One line of `requests.jsonl.zst`: a request with every token time. Times of day are nanoseconds since the start of
/// the trial; short keys and microsecond gaps keep a token at about two bytes after compression.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RawRow {
    /// Index in the schedule.
    pub i: u32,
    /// Index of the workload class.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub class: u16,
    /// Intended send time.
    pub intended_ns: u64,
    /// Just before the request was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_ns: Option<u64>,
    /// Just after the request was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_ns: Option<u64>,
    /// Time to open a connection, where one had to be opened, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_us: Option<u32>,
    /// First token, in microseconds after `sent_ns`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_us: Option<u64>,
    /// Gaps between successive tokens in microseconds; tokens that came in one read have gap 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps_us: Vec<u32>,
    /// The end: last byte, or failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_ns: Option<u64>,
    /// Prompt tokens asked for.
    pub input_asked: u32,
    /// Prompt tokens as the server counted them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_used: Option<u32>,
    /// Response tokens asked for.
    pub output_asked: u32,
    /// Response tokens as the server counted them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_used: Option<u32>,
    /// Prompt tokens that the server found in its prefix cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<u32>,
    /// Largest delay from the kernel's receive stamp to our read, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_us: Option<u32>,
    /// The server's finish reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<String>,
    /// The error in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How it ended, see [`Outcome`].
    pub outcome: String,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_zero(value: &u16) -> bool {
    *value == 0
}

impl RawRow {
    /// Tokens that arrived: the server's count where it gave one, else the tokens seen in the stream.
    pub fn output_tokens(&self) -> u32 {
        self.output_used
            .unwrap_or_else(|| self.first_us.map_or(0, |_| 1 + self.gaps_us.len() as u32))
    }

    /// Arrival of the first token since the start of the trial.
    pub fn first_token_ns(&self) -> Option<u64> {
        Some(self.sent_ns? + self.first_us? * 1_000)
    }

    /// The part that criteria need. An outcome that this version does not know counts as a failure.
    pub fn record(&self) -> RequestRecord {
        RequestRecord {
            intended_ns: self.intended_ns as i64,
            sent_ns: self.sent_ns.map(|t| t as i64),
            first_token_ns: self.first_token_ns().map(|t| t as i64),
            done_ns: self.done_ns.map(|t| t as i64),
            class: self.class,
            input_tokens: self.input_used.unwrap_or(self.input_asked),
            output_tokens: self.output_tokens(),
            outcome: self.outcome.parse().unwrap_or(Outcome::Failed),
        }
    }
}
