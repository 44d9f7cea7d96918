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

/// Where the two halves begin and end, in whole seconds of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfBounds {
    low: i64,
    high: i64,
    /// Twice the middle, so that it stays an integer.
    middle_twice: i64,
}

impl HalfBounds {
    /// Whether the response is in the second half; `None` when it is cut off.
    pub fn half(&self, response: &Response) -> Option<bool> {
        let second = response.received_s();
        (self.low..=self.high)
            .contains(&second)
            .then_some(2 * second >= self.middle_twice)
    }
}

impl Halves {
    /// `buffer_s` is cut from the first and the last completion, and the rest is halved at its middle, which may be half
    /// a second. `None` without responses.
    pub fn bounds(responses: &[Response], buffer_s: i64) -> Option<HalfBounds> {
        let seconds = responses.iter().map(Response::received_s);
        let (start, end) = (seconds.clone().min()?, seconds.max()?);
        let (low, high) = (start + buffer_s, end - buffer_s);
        Some(HalfBounds {
            low,
            high,
            middle_twice: low + high,
        })
    }

    /// Splits by whole seconds of arrival, see [`Self::bounds`].
    pub fn split(responses: &[Response], buffer_s: i64) -> Self {
        let Some(bounds) = Self::bounds(responses, buffer_s) else {
            return Self::default();
        };
        let of = |second: bool| {
            let kept = responses.iter().filter(|r| bounds.half(r) == Some(second));
            kept.copied().collect()
        };
        Self {
            first: of(false),
            second: of(true),
        }
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
