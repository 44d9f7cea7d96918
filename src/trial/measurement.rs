//! What a trial measured.

use super::{Backlog, ClientHealth, RequestRecord, Response, TokenTimes};
use crate::units::Rate;

/// The result of a trial, from any load generator or simulator.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// The rate that was asked for.
    pub asked: Rate,
    /// The duration that was asked for, in seconds.
    pub duration_s: f64,
    /// How long requests were really offered, in seconds: shorter than the duration when the trial was stopped early.
    pub offered_s: f64,
    /// When observation ended, in seconds since the start: the end of the drain.
    pub observed_s: f64,
    /// Wall-clock time of the start, nanoseconds since 1970 (UTC).
    pub epoch_ns: i64,
    /// Requests in order of their intended send time, those that were never sent left out.
    pub records: Vec<RequestRecord>,
    /// What the client tells about itself.
    pub client: ClientHealth,
    /// Mean response length in tokens of what was planned, where it is known: the unit of progress.
    pub planned_output: Option<f64>,
    /// Whether the trial was ended before its duration because it was decided.
    pub stopped_early: bool,
    /// When each token came, where that was asked for and is known.
    pub tokens: Option<TokenTimes>,
}

impl Measurement {
    /// The rate that was really offered: requests over the seconds in which they were offered.
    pub fn offered(&self) -> Rate {
        Rate::per_second(self.records.len() as f64 / self.offered_s.max(f64::MIN_POSITIVE))
    }

    /// Share of the finished requests that succeeded, in percent; `None` when none finished.
    pub fn success_rate_percent(&self) -> Option<f64> {
        let finished = self.records.iter().filter(|r| r.outcome.is_finished()).count();
        let good = self.records.iter().filter(|r| r.outcome.is_ok()).count();
        (finished > 0).then(|| 100.0 * good as f64 / finished as f64)
    }

    /// What was offered and served over time, while requests were offered.
    pub fn backlog(&self) -> Backlog {
        Backlog::from_records(
            &self.records,
            self.offered_s,
            self.observed_s,
            self.planned_output,
        )
    }

    /// The finished requests as the users' older files hold them, in order of arrival of their end.
    pub fn responses(&self) -> Vec<Response> {
        let mut responses: Vec<Response> = self
            .records
            .iter()
            .filter_map(|r| Response::from_record(r, self.epoch_ns))
            .collect();
        responses.sort_by_key(|r| r.received_ns);
        responses
    }
}
