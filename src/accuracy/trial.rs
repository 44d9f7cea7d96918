//! A trial in virtual time.

use super::Server;
use crate::criterion::{Flow, Progress};
use crate::sim::cluster::{ClusterConfig, simulate};
use crate::sim::{Observer, PrefixSpan, Record, Request, Source, Time};
use crate::trial::{Backlog, ClientHealth, Measurement, Outcome, RequestRecord};
use crate::units::Rate;
use crate::workload::{Arrival, Uniforms, seeds};

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
        let mut plan = self.plan(load);
        let output = self.lengths[1].mean();
        let mut look = FIRST_LOOK_S;
        let parts = PARTS.map(|share| share * load.duration_s);
        let parts = parts.into_iter().filter(|end| *end >= WHOLE_S);
        let ends: Vec<f64> = parts.chain([load.duration_s]).collect();
        for end in ends {
            self.run(&mut plan, load, end);
            while look < end {
                if watch(&progress(&plan.records, look, load.duration_s, output)) == Flow::Stop {
                    return self.measurement(plan, load, look);
                }
                look *= NEXT_LOOK;
            }
        }
        self.measurement(plan, load, load.duration_s)
    }

    /// All requests of a trial, none of them sent yet.
    fn plan(&self, load: &Load) -> Plan {
        let times = load.arrival.schedule(load.rate, load.duration_s, load.seed);
        let uniforms = |name| {
            let stream = seeds::stream(load.seed, name);
            if load.arrival.is_balanced() {
                Uniforms::balanced(times.len(), stream)
            } else {
                Uniforms::independent(times.len(), stream)
            }
        };
        let inputs = uniforms("input lengths").map(|u| self.lengths[0].quantile(u));
        let outputs = uniforms("output lengths").map(|u| self.lengths[1].quantile(u));
        let spans = uniforms("prefixes").map(|u| self.prefix(u));
        let mut plan = Plan {
            requests: Vec::with_capacity(times.len()),
            records: Vec::with_capacity(times.len()),
        };
        for (index, (((&ns, input), output), (span, shared))) in
            times.iter().zip(inputs).zip(outputs).zip(spans).enumerate()
        {
            plan.requests.push(Request {
                id: index as u64,
                arrival: Time::from_ns(ns),
                input_tokens: input + shared,
                output_tokens: output,
                session: None,
                deadline: Time::MAX,
                prefix: span,
            });
            plan.records.push(RequestRecord {
                intended_ns: ns as i64,
                sent_ns: Some(ns as i64),
                first_token_ns: None,
                done_ns: None,
                class: 0,
                input_tokens: input + shared,
                output_tokens: 0,
                outcome: Outcome::Unfinished,
            });
        }
        plan
    }

    /// The shared prefix that a request begins with, and its tokens.
    fn prefix(&self, u: f64) -> (PrefixSpan, u32) {
        let Some(prefixes) = self.spec.prefixes else {
            return (PrefixSpan::default(), 0);
        };
        let len = prefixes.tokens / self.prefixes.tokens_per_hash;
        let which = ((u * f64::from(prefixes.count)) as u32).min(prefixes.count - 1);
        let start = which * len;
        (PrefixSpan { start, len }, prefixes.tokens)
    }

    /// Sends what is planned before `end`, and waits for the answers.
    fn run(&self, plan: &mut Plan, load: &Load, end: f64) {
        let config = ClusterConfig {
            seed: seeds::derive(load.seed, &["cluster"]),
            ..self.cluster.clone()
        };
        let until = Time::from_seconds(end);
        let sent = plan.requests.partition_point(|r| r.arrival < until);
        let mut source = Planned(plan.requests[..sent].iter());
        let limit = Time::from_seconds(end + self.spec.drain_s);
        let mut fill = Fill(&mut plan.records);
        simulate(&config, &mut source, &self.prefixes, limit, &mut fill);
    }

    /// What is known in the end when no request was sent from `offered_s` on.
    fn measurement(&self, plan: Plan, load: &Load, offered_s: f64) -> Measurement {
        let mut records = plan.records;
        records.truncate(before(&records, offered_s));
        let observed_ns = ((offered_s + self.spec.drain_s) * 1e9) as i64;
        let mut last_ns = (offered_s * 1e9) as i64;
        for record in &mut records {
            match record.done_ns.filter(|done| *done <= observed_ns) {
                Some(done) => last_ns = last_ns.max(done),
                None => {
                    last_ns = observed_ns;
                    unfinish(record, observed_ns);
                }
            }
        }
        Measurement {
            asked: load.rate,
            duration_s: load.duration_s,
            offered_s,
            observed_s: last_ns as f64 / 1e9,
            epoch_ns: EPOCH_NS,
            records,
            client: ClientHealth::default(),
            planned_output: Some(self.lengths[1].mean()),
            stopped_early: offered_s < load.duration_s,
        }
    }
}

/// The requests of a trial and what became of them.
struct Plan {
    /// In the order in which they reach the router.
    requests: Vec<Request>,
    /// In the order in which they were intended; a request's number is its place here.
    records: Vec<RequestRecord>,
}

/// Requests as planned.
struct Planned<'a>(std::slice::Iter<'a, Request>);

impl Source for Planned<'_> {
    fn peek(&mut self) -> Option<Time> {
        self.0.as_slice().first().map(|r| r.arrival)
    }

    fn next(&mut self) -> Option<Request> {
        self.0.next().copied()
    }
}

/// Writes what became of requests where they were planned.
struct Fill<'a>(&'a mut [RequestRecord]);

impl Observer for Fill<'_> {
    fn request(&mut self, record: &Record) {
        if let Some(row) = self.0.get_mut(record.id as usize) {
            row.first_token_ns = Some(record.first_token.as_ns() as i64);
            row.done_ns = Some(record.completed.as_ns() as i64);
            row.output_tokens = record.output_tokens;
            row.outcome = Outcome::Ok;
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
