//! Very long runs: at a fixed rate, and saturated.

use super::{Load, Server};
use crate::trial::{Backlog, Outcome, RequestRecord};
use crate::units::Rate;
use crate::workload::{Arrival, seeds};

/// What a long run at a fixed rate showed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LongRun {
    /// Growth of the backlog as a share of the requests that arrived meanwhile.
    pub growth: f64,
    /// Share of the finished requests that succeeded.
    pub success: f64,
}

/// Growth from which on a backlog counts as growing.
const GROWS: f64 = 0.003;
/// Seeds the runs.
const SEED: u64 = 0x7275_7468;

impl LongRun {
    /// Whether the server keeps up.
    pub(super) fn keeps_up(self, success: f64) -> bool {
        self.growth < GROWS && self.success >= success
    }
}

/// Sends about `count` requests at a rate, in requests a second, and looks how the backlog grew from the middle to the end.
/// Rounds have requests of their own.
pub(super) fn at_rate(server: &Server, rate: f64, count: f64, round: u32) -> LongRun {
    let period = server
        .spec
        .neighbour
        .as_ref()
        .map_or(0.0, super::Neighbour::period_s);
    let stalls = server.spec.stalls.map_or(0.0, |s| s.every_s);
    let duration_s = (count / rate).max(50.0 * period.max(stalls));
    let load = Load {
        rate: Rate::per_second(rate),
        duration_s,
        arrival: Arrival::Stratified,
        seed: seeds::derive(SEED, &["rate", &rate.to_string(), &round.to_string()]),
    };
    let mut plan = server.plan(&load, 0.0);
    server.run(&mut plan, load.seed, duration_s, duration_s);
    let records = plan.records;
    let open = Backlog::from_records(&records, duration_s, duration_s, Some(server.mean_tokens[1])).open();
    let mean = |from: f64, to: f64| {
        let at = |share: f64| (share * (open.len() - 1) as f64) as usize;
        let part = &open[at(from)..=at(to)];
        part.iter().sum::<f64>() / part.len() as f64
    };
    let settled = &records[records.len() / 10..];
    let of = |which: fn(Outcome) -> bool| settled.iter().filter(|r| which(r.outcome)).count() as f64;
    LongRun {
        growth: (mean(0.8, 1.0) - mean(0.3, 0.5)) / (0.5 * rate * duration_s),
        success: of(Outcome::is_ok) / of(Outcome::is_finished).max(1.0),
    }
}

/// Intervals of the standard error of a saturated run.
const INTERVALS: usize = 32;

/// What the server serves a second when it always has enough to do, with its relative standard error: `count` requests
/// that come all at once. The server must refuse nothing and run at full speed.
pub(super) fn saturated(server: &Server, count: f64) -> (f64, f64) {
    let load = Load {
        rate: Rate::per_second(count),
        duration_s: 1.0,
        arrival: Arrival::Stratified,
        seed: seeds::derive(SEED, &["saturated"]),
    };
    let mut plan = server.plan(&load, 0.0);
    server.run(&mut plan, load.seed, 1.0, 1e7);
    let mut ends: Vec<i64> = plan.records.iter().filter_map(|r| r.done_ns).collect();
    ends.sort_unstable();
    // Without the beginning, when caches are cold and responses of one age, and the end, when the batch is not full.
    let at = |share: f64| {
        ends.get((share * ends.len() as f64) as usize)
            .copied()
            .unwrap_or(1) as f64
    };
    let (from, to) = (at(0.2), at(0.9));
    let step = (to - from) / INTERVALS as f64;
    let mut tokens = [0.0; INTERVALS];
    for record in &plan.records {
        add_tokens(&mut tokens, record, from, step);
    }
    // In requests of mean length: so the waves in which requests end cancel out.
    let rates = tokens.map(|tokens| tokens / server.mean_tokens[1] / (step / 1e9));
    let mean = rates.iter().sum::<f64>() / INTERVALS as f64;
    let variance = rates.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / (INTERVALS - 1) as f64;
    (mean, (variance / INTERVALS as f64).sqrt() / mean)
}

/// Spreads a request's tokens evenly from the first to the last over the intervals.
fn add_tokens(served: &mut [f64], record: &RequestRecord, from: f64, step: f64) {
    let (Some(first), Some(done)) = (record.first_token_ns, record.done_ns) else {
        return;
    };
    let tokens = f64::from(record.output_tokens);
    let (first, done) = ((first as f64 - from) / step, (done as f64 - from) / step);
    let place = |at: f64| (at.max(0.0) as usize).min(served.len());
    if done - first < 1e-9 {
        if done >= 0.0
            && let Some(slot) = served.get_mut(done as usize)
        {
            *slot += tokens;
        }
        return;
    }
    for index in place(first)..=place(done).min(served.len() - 1) {
        let overlap = (done.min(index as f64 + 1.0) - first.max(index as f64)).max(0.0);
        served[index] += tokens * overlap / (done - first);
    }
}
