//! Requests as such a program reports them, and the measurement that they make.

use std::path::Path;

use super::Asked;
use super::malformed;
use crate::loadgen::{LoadGenError, TrialJob, delivered};
use crate::trial::{Measurement, Outcome, RequestRecord, TokenTimes};

/// One request. Times are nanoseconds on one clock of any origin.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::loadgen) struct Request {
    /// When it should have been sent; the send time, where that is not told.
    pub(in crate::loadgen) intended_ns: i64,
    pub(in crate::loadgen) sent_ns: i64,
    pub(in crate::loadgen) first_token_ns: Option<i64>,
    /// The end, also of a failed request; `None` for one that was still running.
    pub(in crate::loadgen) done_ns: Option<i64>,
    /// Prompt tokens, as the server counted them.
    pub(in crate::loadgen) input_tokens: Option<u32>,
    /// Response tokens, as the server counted them, else the program.
    pub(in crate::loadgen) output_tokens: u32,
    /// What went wrong, where something did.
    pub(in crate::loadgen) failure: Option<Outcome>,
    /// Gaps between its tokens, microseconds.
    pub(in crate::loadgen) gaps_us: Vec<u32>,
}

impl Request {
    fn outcome(&self, asked_output: u32) -> Outcome {
        match self.failure {
            Some(failure) => failure,
            None if self.done_ns.is_none() => Outcome::Unfinished,
            None if self.output_tokens == 0 => Outcome::NoTokens,
            None if self.output_tokens != asked_output => Outcome::WrongLength,
            None => Outcome::Ok,
        }
    }
}

/// All requests of a trial that were sent.
pub(in crate::loadgen) struct Requests {
    /// In order of intended time.
    requests: Vec<Request>,
    /// Whether intended times are the program's schedule, and not the send times.
    scheduled: bool,
}

impl Requests {
    /// Puts them in order.
    pub(in crate::loadgen) fn new(mut requests: Vec<Request>, scheduled: bool) -> Self {
        requests.sort_by_key(|r| r.intended_ns);
        Self { requests, scheduled }
    }

    /// When each token came.
    pub(in crate::loadgen) fn token_times(&self) -> TokenTimes {
        let mut times = TokenTimes::with_capacity(self.requests.len());
        for request in &self.requests {
            times.push(&request.gaps_us);
        }
        times
    }

    /// The measurement. `epoch_ns` tells the wall-clock time of the first intended send time, given that time on the
    /// program's clock and the last moment on it.
    ///
    /// # Errors
    /// When `path` held no request at all.
    pub(in crate::loadgen) fn measurement(
        &self,
        job: &TrialJob,
        asked: &Asked,
        path: &Path,
        epoch_ns: impl FnOnce(i64, i64) -> Result<i64, LoadGenError>,
    ) -> Result<Measurement, LoadGenError> {
        let Some(first) = self.requests.iter().map(|r| r.intended_ns).min() else {
            return Err(malformed(path, "it holds no request"));
        };
        let records: Vec<RequestRecord> = self
            .requests
            .iter()
            .map(|request| RequestRecord {
                intended_ns: request.intended_ns - first,
                sent_ns: Some(request.sent_ns - first),
                first_token_ns: request.first_token_ns.map(|t| t - first),
                done_ns: request.done_ns.map(|t| t - first),
                class: 0,
                input_tokens: request.input_tokens.unwrap_or(asked.input),
                output_tokens: request.output_tokens,
                outcome: request.outcome(asked.output),
            })
            .collect();
        let last = |r: &RequestRecord| r.done_ns.or(r.first_token_ns).or(r.sent_ns);
        let end_ns = records.iter().filter_map(last).max().unwrap_or(0);
        let (offered_s, client) = delivered::own_schedule(&records, asked, self.scheduled);
        Ok(Measurement {
            asked: job.spec.rate,
            duration_s: job.spec.duration_s,
            offered_s,
            observed_s: (end_ns as f64 / 1e9).max(offered_s),
            epoch_ns: epoch_ns(first, first + end_ns)?,
            records,
            client,
            planned_output: None,
            stopped_early: false,
            tokens: None,
        })
    }
}

/// Gaps between tokens from the gaps between chunks, microseconds. A chunk with several tokens makes fewer gaps than there
/// are tokens; which chunk that was is not told, so the gaps of zero stand at the end, where no token is taken for earlier
/// than it came. Gaps beyond the tokens belong to chunks without any, at the end.
pub(in crate::loadgen) fn gaps_us(chunk_gaps_s: impl Iterator<Item = f64>, tokens: u32) -> Vec<u32> {
    let mut gaps: Vec<u32> = chunk_gaps_s
        .map(|gap| (gap.max(0.0) * 1e6).round() as u32)
        .collect();
    if tokens > 0 {
        gaps.resize(tokens as usize - 1, 0);
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coalesced_tokens_have_no_gap() {
        let gaps = [0.01, 0.000_000_4, 0.02];
        assert_eq!(gaps_us(gaps.into_iter(), 4), [10_000, 0, 20_000]);
        assert_eq!(gaps_us(gaps.into_iter(), 6), [10_000, 0, 20_000, 0, 0]);
        assert_eq!(gaps_us(gaps.into_iter(), 2), [10_000]);
        assert_eq!(gaps_us(gaps.into_iter(), 0).len(), 3);
        assert!(gaps_us([].into_iter(), 1).is_empty());
    }
}
