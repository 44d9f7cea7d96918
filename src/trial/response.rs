//! Finished requests as the users' older files hold them, and their two halves.
//!
//! The older rule works on completion times in whole seconds and on response times that went through a 64-bit float at
//! today's epoch, which rounds to 256 ns. Both are kept, so that its numbers come out the same.

use super::RequestRecord;

/// A finished request: one row of `output.csv`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Response {
    /// When its last byte arrived, nanoseconds since 1970 (UTC). Files give whole seconds.
    pub received_ns: i64,
    /// From sending to the last byte, in milliseconds.
    pub duration_ms: f64,
    /// Whether it succeeded.
    pub success: bool,
}

impl Response {
    /// The response that a record stands for; `None` while the request is unfinished or was never sent.
    pub fn from_record(record: &RequestRecord, epoch_ns: i64) -> Option<Self> {
        let received_ns = epoch_ns + record.done_ns?;
        let sent_ns = epoch_ns + record.sent_ns?;
        // As floats, in this order: the rounding is part of the older format.
        let duration_ms = (received_ns as f64 - sent_ns as f64) / 1e6;
        Some(Self {
            received_ns,
            duration_ms,
            success: record.outcome.is_ok(),
        })
    }

    /// The whole second of arrival, since 1970.
    pub fn received_s(&self) -> i64 {
        self.received_ns.div_euclid(1_000_000_000)
    }
}

/// The two halves of a trial after a buffer was cut at both ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Halves {
    /// Responses before the midpoint.
    pub first: Vec<Response>,
    /// Responses from the midpoint on.
    pub second: Vec<Response>,
}

impl Halves {
    /// Splits by whole seconds of arrival: `buffer_s` is cut from the first and the last completion, and the rest is
    /// halved at its middle, which may be half a second.
    pub fn split(responses: &[Response], buffer_s: i64) -> Self {
        let seconds = responses.iter().map(Response::received_s);
        let (Some(start), Some(end)) = (seconds.clone().min(), seconds.max()) else {
            return Self::default();
        };
        let (low, high) = (start + buffer_s, end - buffer_s);
        // Twice the middle, so that it stays an integer.
        let middle_twice = low + high;
        let kept = responses
            .iter()
            .filter(|r| (low..=high).contains(&r.received_s()));
        let (first, second) = kept.partition(|r| 2 * r.received_s() < middle_twice);
        Self { first, second }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_lose_only_the_buffers() {
        let at = |s: i64| Response {
            received_ns: s * 1_000_000_000 + 5,
            duration_ms: 1.0,
            success: true,
        };
        let all: Vec<Response> = (100..=121).map(at).collect();
        let halves = Halves::split(&all, 5);
        assert_eq!(halves.first.first().map(Response::received_s), Some(105));
        assert_eq!(halves.first.last().map(Response::received_s), Some(110));
        assert_eq!(halves.second.first().map(Response::received_s), Some(111));
        assert_eq!(halves.second.last().map(Response::received_s), Some(116));
        assert_eq!(Halves::split(&all, 50), Halves::default());
        assert_eq!(Halves::split(&[], 0), Halves::default());
    }
}
