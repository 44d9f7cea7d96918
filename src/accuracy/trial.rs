//! A trial in virtual time.

use super::Server;
use super::trial_plan::Plan;
use crate::criterion::{Flow, Progress};
use crate::trial::{Backlog, ClientHealth, Measurement, Outcome, RequestRecord};
use crate::units::Rate;
use crate::workload::Arrival;

/// What a trial sends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// How much.
    pub rate: Rate,
    /// For how long, in seconds.
    pub duration_s: f64,
    /// When.
    pub arrival: Arrival,
    /// Seeds arrivals, lengths, prefixes, noise and what goes wrong.
    pub seed: u64,
}

/// The first look at a trial, in seconds since its start.
const FIRST_LOOK_S: f64 = 5.0;
/// Each later look comes this much later than the one before.
const NEXT_LOOK: f64 = 1.18;
/// Shares of a trial that are simulated before the whole of it, so that one that is soon decided is soon done. Each
/// begins anew: what is earlier does not depend on what comes later, and a run cannot be kept.
const PARTS: [f64; 2] = [1.0 / 15.0, 0.25];
/// A shorter trial is simulated as a whole.
const WHOLE_S: f64 = 120.0;
/// Any time of day does: the older criteria look at whole seconds of it.
const EPOCH_NS: i64 = 1_700_000_000_000_000_000;

impl Server {
    /// A trial in virtual time. `watch` looks at it at growing intervals, from 5 seconds on and each time 18 % later, and
    /// may end it; then no request is sent from that time on, and those that are on their way are waited for.
    pub fn trial(&self, load: &Load, watch: &mut dyn FnMut(&Progress) -> Flow) -> Measurement {
        let drain = self.spec.drain_s;
        let mut plan = self.plan(load, drain);
        let mut look = FIRST_LOOK_S;
        let parts = PARTS.map(|share| share * load.duration_s);
        let parts = parts.into_iter().filter(|end| *end >= WHOLE_S);
        let ends: Vec<f64> = parts.chain([load.duration_s]).collect();
        for end in ends {
            self.run(&mut plan, load.seed, end, end + drain);
            while look < end {
                if watch(&progress(
                    &plan.records,
                    look,
                    load.duration_s,
                    self.mean_tokens[1],
                )) == Flow::Stop
                {
                    return self.measurement(plan, load, look);
                }
                look *= NEXT_LOOK;
            }
        }
        self.measurement(plan, load, load.duration_s)
    }

    /// What is known in the end when no request was sent from `offered_s` on.
    fn measurement(&self, plan: Plan, load: &Load, offered_s: f64) -> Measurement {
        let mut records = plan.records;
        records.truncate(before(&records, offered_s));
        let observed_ns = ((offered_s + self.spec.drain_s) * 1e9) as i64;
        let mut last_ns = (offered_s * 1e9) as i64;
        for record in &mut records {
            if let Some(done) = record.done_ns.filter(|done| *done <= observed_ns) {
                last_ns = last_ns.max(done);
            } else {
                last_ns = observed_ns;
                unfinish(record, observed_ns);
            }
        }
        let client = self.client(&records);
        Measurement {
            asked: load.rate,
            duration_s: load.duration_s,
            offered_s,
            observed_s: last_ns as f64 / 1e9,
            epoch_ns: EPOCH_NS,
            records,
            client,
            planned_output: Some(self.mean_tokens[1]),
            stopped_early: offered_s < load.duration_s,
            tokens: None,
        }
    }
}

impl Server {
    /// What the client tells about itself.
    fn client(&self, records: &[RequestRecord]) -> ClientHealth {
        if self.spec.jitter_ms == 0.0 {
            return ClientHealth::default();
        }
        let mut late: Vec<f64> = records.iter().filter_map(RequestRecord::lateness_ms).collect();
        late.sort_by(f64::total_cmp);
        let at =
            |share: f64| late.get(((late.len() as f64 * share) as usize).min(late.len().saturating_sub(1)));
        ClientHealth {
            lateness_p50_ms: at(0.5).copied(),
            lateness_p99_ms: at(0.99).copied(),
            lateness_max_ms: late.last().copied(),
            ..ClientHealth::default()
        }
    }
}

/// How many records were intended before `seconds`.
fn before(records: &[RequestRecord], seconds: f64) -> usize {
    let ns = (seconds * 1e9) as i64;
    records.partition_point(|r| r.intended_ns < ns)
}

/// Takes back what a client would not know at `ns`.
fn unfinish(record: &mut RequestRecord, ns: i64) {
    record.output_tokens = match (record.first_token_ns.filter(|first| *first <= ns), record.done_ns) {
        (Some(first), Some(done)) if done > first => {
            let share = (ns - first) as f64 / (done - first) as f64;
            (f64::from(record.output_tokens) * share) as u32
        }
        _ => 0,
    };
    record.first_token_ns = record.first_token_ns.filter(|first| *first <= ns);
    record.done_ns = None;
    record.outcome = Outcome::Unfinished;
}

/// The trial as a client knows it at `at`. Of requests that are still on their way the end is given all the same: from it
/// and the first token follows how many tokens had come.
fn progress(records: &[RequestRecord], at: f64, duration_s: f64, planned_output: f64) -> Progress {
    let sent = &records[..before(records, at)];
    let now = (at * 1e9) as i64;
    let recent = &sent[before(sent, 0.8 * at)..];
    let mut ttft: Vec<f64> = recent
        .iter()
        .filter(|r| r.first_token_ns.is_some_and(|first| first <= now))
        .filter_map(RequestRecord::ttft_ms)
        .collect();
    let middle = ttft.len() / 2;
    let ttft_p50_ms = (!ttft.is_empty()).then(|| *ttft.select_nth_unstable_by(middle, f64::total_cmp).1);
    Progress {
        elapsed_s: at,
        duration_s,
        backlog: Backlog::at(sent, at, Some(planned_output)),
        ttft_p50_ms,
    }
}

#[cfg(test)]
pub(super) mod tests;
