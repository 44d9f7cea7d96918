//! `summary.json`: a trial in one object; also what `mst trial --format json` prints.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::health::{Service, Signals};
use super::quantiles::{Histogram, Spread};
use crate::store::TokenCounts;
use crate::trial::{ClientHealth, Outcome, RawRow};

/// Name of the file in the trial's folder. Written last: a folder that has it holds a whole trial.
pub(super) const FILE_NAME: &str = "summary.json";
/// Version of the format.
pub(super) const SCHEMA: u32 = 1;

/// A finished trial. Latencies are those of requests that were answered to the end; in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The version of this format.
    pub schema: u32,
    /// Version of the program.
    pub mst_version: String,
    /// The endpoint.
    pub url: String,
    /// Path of the API.
    pub api: String,
    /// The model.
    pub model: String,
    /// Seed of arrivals, lengths and prompts.
    pub seed: u64,
    /// Wall-clock time of the start, nanoseconds since 1970 (UTC).
    pub epoch_ns: i64,
    /// Requests that were planned.
    pub planned: u64,
    /// Requests that were sent.
    pub sent: u64,
    /// Requests that were answered well.
    pub completed: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Requests that were still open when observation ended.
    pub unfinished: u64,
    /// Requests by outcome.
    pub outcomes: BTreeMap<String, u64>,
    /// An error message of each outcome that has one.
    pub errors: BTreeMap<String, String>,
    /// The rate that was asked for.
    pub asked_per_second: f64,
    /// The rate that was offered: requests over the seconds in which they were.
    pub offered_per_second: f64,
    /// How long requests were offered, seconds.
    pub offered_s: f64,
    /// When observation ended, seconds since the start.
    pub observed_s: f64,
    /// Whether it was stopped before its duration was over.
    pub stopped_early: bool,
    /// The signal that ended it, if one did.
    pub interrupted_by: Option<i32>,
    /// From the intended send time to the first token.
    pub ttft_ms: Spread,
    /// From the write to the first token.
    pub ttft_from_send_ms: Spread,
    /// Between two successive tokens.
    pub tbt_ms: Spread,
    /// From the intended send time to the last byte.
    pub e2e_ms: Spread,
    /// From the intended send time to the write, the opening of a connection not counted.
    pub lateness_ms: Spread,
    /// Connections that had to be opened during the trial.
    pub connects: u64,
    /// Prompt lengths.
    pub input_tokens: TokenCounts,
    /// Response lengths.
    pub output_tokens: TokenCounts,
    /// Prompt tokens that the server found in its prefix cache.
    pub cached_tokens: u64,
    /// CPU seconds of the whole program.
    pub cpu_seconds: f64,
    /// Seconds from the start of the program to the first request's time.
    pub startup_s: f64,
    /// Threads that sent.
    pub shards: usize,
    /// What the client tells about itself.
    pub client: ClientHealth,
    /// What a reader of these figures should know.
    pub notes: Vec<String>,
}

impl Summary {
    /// The summary of the trial in `dir`.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn load(dir: &Path) -> std::io::Result<Self> {
        Ok(serde_json::from_slice(&fs_err::read(dir.join(FILE_NAME))?)?)
    }

    /// Leaves it in `dir`: whole or not at all.
    pub(super) fn store(&self, dir: &Path) -> std::io::Result<()> {
        let staged = dir.join("summary.json.part");
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        fs_err::write(&staged, text)?;
        fs_err::rename(staged, dir.join(FILE_NAME))
    }
}

/// Adds rows up while they come in; memory does not grow with their number.
#[derive(Default)]
pub(super) struct Tallies {
    outcomes: BTreeMap<String, u64>,
    errors: BTreeMap<String, String>,
    ttft: Histogram,
    ttft_from_send: Histogram,
    tbt: Histogram,
    e2e: Histogram,
    /// What the client tells.
    pub(super) signals: Signals,
    input: Lengths,
    output: Lengths,
    connects: u64,
    cached: u64,
    /// Good answers without a token count from the server.
    uncounted: u64,
    sent: u64,
}

#[derive(Default)]
struct Lengths {
    asked: f64,
    achieved: f64,
    exact: u64,
    compared: u64,
}

impl Lengths {
    fn add(&mut self, asked: u32, achieved: Option<u32>) {
        if let Some(achieved) = achieved {
            self.asked += f64::from(asked);
            self.achieved += f64::from(achieved);
            self.exact += u64::from(asked == achieved);
            self.compared += 1;
        }
    }

    fn counts(&self, planned_mean: f64) -> TokenCounts {
        let mean = |sum: f64| sum / self.compared as f64;
        TokenCounts {
            asked_mean: if self.compared > 0 {
                mean(self.asked)
            } else {
                planned_mean
            },
            achieved_mean: (self.compared > 0).then(|| mean(self.achieved)),
            exact: self.exact,
            compared: self.compared,
        }
    }
}

/// What the rows do not tell.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Frame {
    /// Seconds in which requests were offered.
    pub(super) offered_s: f64,
    /// Mean lengths as planned.
    pub(super) planned_tokens: (f64, f64),
}

impl Tallies {
    /// Adds a row of a trial that is offered for `duration_s`; returns its outcome.
    pub(super) fn add(&mut self, row: &RawRow, duration_s: f64) -> Outcome {
        let outcome = row.outcome.parse().unwrap_or(Outcome::Failed);
        *self.outcomes.entry(row.outcome.clone()).or_default() += 1;
        if let Some(error) = &row.error
            && !self.errors.contains_key(&row.outcome)
        {
            self.errors.insert(row.outcome.clone(), error.clone());
        }
        if outcome == Outcome::NotSent {
            self.signals.not_sent += 1;
            return outcome;
        }
        self.sent += 1;
        self.connects += u64::from(row.connect_us.is_some());
        self.cached += u64::from(row.cached.unwrap_or(0));
        let intended = row.intended_ns as f64;
        if let Some(sent) = row.sent_ns {
            let late = sent as f64 - intended - f64::from(row.connect_us.unwrap_or(0)) * 1e3;
            self.signals.lateness.add(late);
            if intended >= duration_s * 0.9e9 {
                self.signals.late_lateness.add(late);
            }
        }
        if let Some(lag) = row.lag_us {
            self.signals.lag.add(f64::from(lag) * 1e3);
        }
        // A wrong length is an answer all the same: its times are the service's.
        if !matches!(outcome, Outcome::Ok | Outcome::WrongLength) {
            return outcome;
        }
        self.uncounted += u64::from(row.output_used.is_none());
        self.input.add(row.input_asked, row.input_used);
        self.output.add(row.output_asked, Some(row.output_tokens()));
        if let Some(first) = row.first_token_ns() {
            self.ttft.add(first as f64 - intended);
            self.ttft_from_send.add(row.first_us.unwrap_or(0) as f64 * 1e3);
        }
        if let Some(done) = row.done_ns {
            self.e2e.add(done as f64 - intended);
        }
        for gap in &row.gaps_us {
            self.tbt.add(f64::from(*gap) * 1e3);
        }
        outcome
    }

    /// Fills in what was added up; `summary` brings what only the trial itself knows.
    pub(super) fn complete(self, mut summary: Summary, frame: Frame) -> Summary {
        let count = |wanted: fn(Outcome) -> bool| -> u64 {
            let hit = |name: &str| name.parse().is_ok_and(wanted);
            self.outcomes
                .iter()
                .filter(|(name, _)| hit(name))
                .map(|(_, n)| n)
                .sum()
        };
        summary.sent = self.sent;
        summary.completed = count(Outcome::is_ok);
        summary.unfinished = count(|o| o == Outcome::Unfinished);
        summary.failed = summary.sent - summary.completed - summary.unfinished;
        summary.offered_s = frame.offered_s;
        summary.offered_per_second = self.sent as f64 / frame.offered_s.max(f64::MIN_POSITIVE);
        summary.ttft_ms = self.ttft.spread_ms();
        summary.ttft_from_send_ms = self.ttft_from_send.spread_ms();
        summary.tbt_ms = self.tbt.spread_ms();
        summary.e2e_ms = self.e2e.spread_ms();
        summary.lateness_ms = self.signals.lateness.spread_ms();
        summary.connects = self.connects;
        summary.cached_tokens = self.cached;
        summary.input_tokens = self.input.counts(frame.planned_tokens.0);
        summary.output_tokens = self.output.counts(frame.planned_tokens.1);
        let median = |h: &Histogram| h.quantile(0.5).unwrap_or(0.0);
        let service = Service {
            ttft_ns: median(&self.ttft),
            e2e_ns: median(&self.e2e),
            offered_ns: frame.offered_s * 1e9,
        };
        let ms = |ns: f64| ns / 1e6;
        summary.client = ClientHealth {
            lateness_p50_ms: self.signals.lateness.quantile(0.5).map(ms),
            lateness_p99_ms: self.signals.lateness.quantile(0.99).map(ms),
            lateness_max_ms: self.signals.lateness.max().map(ms),
            receive_lag_p99_ms: self.signals.lag.quantile(0.99).map(ms),
            cpu_share: summary.client.cpu_share,
            kernel_timestamps: self.signals.lag.len() > 0,
            void: self.signals.void(service),
        };
        if self.uncounted > 0 {
            summary.notes.push(format!(
                "{} answers came without `usage`: their tokens were counted by the events of the stream",
                self.uncounted
            ));
        }
        summary.outcomes = self.outcomes;
        summary.errors = self.errors;
        summary
    }
}
