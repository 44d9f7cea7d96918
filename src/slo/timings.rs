//! What objectives look at: the times of the requests of a trial, in seconds, and what is not known of them.

use super::etalon::Answered;
use crate::trial::{Measurement, Outcome, RequestRecord, TokenTimes};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was answered.
    Answered,
    /// It failed or was refused.
    Failed,
    /// It still ran when the observation ended: its times are at least what had passed.
    Open,
}

/// A time that is known, or of which only a part had passed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timed {
    /// Seconds.
    pub seconds: f64,
    /// Whether that is all of it.
    pub exact: bool,
}

/// Stands for every workload class.
pub const ANY_CLASS: u16 = u16::MAX;

/// One request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// What became of it.
    pub fate: Fate,
    /// To the first token.
    pub ttft: Timed,
    /// To the end.
    pub e2e: Timed,
    /// Mean time of a token after the first; 0 with one token.
    pub tpot: Timed,
    /// To its first iteration, where that is known.
    pub delay: Option<Timed>,
    /// Of its present gap, where it is open: seconds since its last token.
    pub since_last: f64,
    /// Prompt tokens.
    pub input_tokens: u32,
    /// Tokens that came.
    pub output_tokens: u32,
    /// Workload class.
    pub class: u16,
}

/// The requests of a trial, in order of their intended send times.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timings {
    requests: Vec<Timing>,
    /// Gaps between tokens, those of one request behind those of the one before.
    gaps: Vec<f64>,
    ends: Vec<usize>,
    /// Whether the gaps are known.
    has_gaps: bool,
    /// Tokens that a request owes, on average.
    owed: f64,
}

impl Timings {
    /// Those of a measurement. Times count from the intended send time, so that a queue in the client cannot hide.
    pub fn of(measurement: &Measurement) -> Self {
        let tokens = measurement.tokens.as_ref();
        let end_ns = (measurement.observed_s * 1e9) as i64;
        let mut all = Self {
            has_gaps: tokens.is_some(),
            ..Self::default()
        };
        for (i, record) in measurement.records.iter().enumerate() {
            if let Some(tokens) = tokens {
                all.gaps
                    .extend(tokens.gaps_us(i).iter().map(|us| f64::from(*us) / 1e6));
            }
            all.ends.push(all.gaps.len());
            let timing = timing(record, end_ns, all.gaps_of(i), tokens.map(|t| (t, i)));
            all.requests.push(timing);
        }
        let answered = || all.requests.iter().filter(|r| r.fate == Fate::Answered);
        let tokens: f64 = answered().map(|r| f64::from(r.output_tokens)).sum();
        all.owed = measurement
            .planned_output
            .unwrap_or(tokens / answered().count().max(1) as f64);
        all
    }

    /// These, and so many requests more that were answered at once, with all their tokens.
    #[must_use]
    pub fn with_ideal(&self, count: usize) -> Self {
        let mut all = self.clone();
        let at_once = Timed {
            seconds: 0.0,
            exact: true,
        };
        let gaps = (self.owed.ceil() as usize).max(1) - 1;
        for _ in 0..count {
            all.gaps.extend(std::iter::repeat_n(0.0, gaps));
            all.ends.push(all.gaps.len());
            all.requests.push(Timing {
                fate: Fate::Answered,
                ttft: at_once,
                e2e: at_once,
                tpot: at_once,
                delay: self.has_delays().then_some(at_once),
                since_last: 0.0,
                input_tokens: 1,
                output_tokens: gaps as u32 + 1,
                class: ANY_CLASS,
            });
        }
        all
    }

    /// Those of recorded requests that were all answered.
    pub fn answered(requests: &[Answered]) -> Self {
        let exact = |seconds| Timed { seconds, exact: true };
        let mut all = Self {
            has_gaps: true,
            ..Self::default()
        };
        for request in requests {
            all.gaps.extend_from_slice(&request.tbt);
            all.ends.push(all.gaps.len());
            all.requests.push(Timing {
                fate: Fate::Answered,
                ttft: exact(request.ttft),
                e2e: exact(request.ttft + request.tbt.iter().sum::<f64>()),
                tpot: exact(request.tpot()),
                delay: None,
                since_last: 0.0,
                input_tokens: 0,
                output_tokens: request.tbt.len() as u32 + 1,
                class: 0,
            });
        }
        all
    }

    /// The requests.
    pub fn requests(&self) -> &[Timing] {
        &self.requests
    }

    /// The gaps of a request.
    pub fn gaps_of(&self, request: usize) -> &[f64] {
        let begin = request.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.gaps[begin..self.ends[request]]
    }

    /// All gaps.
    pub fn gaps(&self) -> &[f64] {
        &self.gaps
    }

    /// Whether the gaps between tokens are known.
    pub fn has_gaps(&self) -> bool {
        self.has_gaps
    }

    /// Whether the waits for the first iteration are known.
    pub fn has_delays(&self) -> bool {
        self.requests.iter().all(|r| r.delay.is_some()) && !self.requests.is_empty()
    }

    /// Gaps that a request without an end owes beyond those that came; at least one.
    pub fn owed_gaps(&self, request: usize) -> usize {
        let came = self.requests[request].output_tokens;
        ((self.owed - f64::from(came)).ceil()).max(1.0) as usize
    }
}

fn timing(record: &RequestRecord, end_ns: i64, gaps: &[f64], tokens: Option<(&TokenTimes, usize)>) -> Timing {
    let fate = match record.outcome {
        Outcome::Ok => Fate::Answered,
        Outcome::Unfinished | Outcome::NotSent => Fate::Open,
        _ => Fate::Failed,
    };
    let since = |at: Option<i64>| Timed {
        seconds: (at.unwrap_or(end_ns) - record.intended_ns).max(0) as f64 / 1e9,
        exact: at.is_some(),
    };
    let done = record.done_ns.filter(|_| fate != Fate::Open);
    let ttft = since(record.first_token_ns);
    let e2e = since(done);
    let after_first = f64::from(record.output_tokens.max(1) - 1);
    let tpot = if gaps.is_empty() {
        if after_first > 0.0 && record.first_token_ns.is_some() {
            (e2e.seconds - ttft.seconds) / after_first
        } else {
            0.0
        }
    } else {
        gaps.iter().sum::<f64>() / gaps.len() as f64
    };
    let last_s = ttft.seconds + gaps.iter().sum::<f64>();
    Timing {
        fate,
        ttft,
        e2e,
        tpot: Timed {
            seconds: tpot,
            exact: done.is_some(),
        },
        delay: tokens
            .and_then(|(tokens, i)| tokens.delay_us(i))
            .map(|us| Timed {
                seconds: us as f64 / 1e6,
                exact: us != u64::MAX,
            })
            .map(|delay| {
                if delay.exact {
                    delay
                } else {
                    // It never got an iteration.
                    Timed { exact: false, ..e2e }
                }
            }),
        since_last: (e2e.seconds - last_s).max(0.0),
        input_tokens: record.input_tokens,
        output_tokens: record.output_tokens,
        class: record.class,
    }
}
