//! The requests of a trial, and what becomes of them.

use rand::RngExt;

use super::gate::{Bucket, Gate};
use super::weather::Warp;
use super::{Load, Server};
use crate::sim::cluster::{ClusterConfig, simulate};
use crate::sim::{Observer, PrefixSpan, Record, Request, Source, Time};
use crate::trial::{Outcome, RequestRecord};
use crate::workload::{Uniforms, seeds};

/// What the rate limiter answers.
const TOO_MANY: Outcome = Outcome::Http(429);
/// What the bounded queue answers.
const UNAVAILABLE: Outcome = Outcome::Http(503);

/// The requests of a trial and what became of them.
pub(super) struct Plan {
    /// In the order in which they reach the router, in work time, those of the neighbour among them. The number of one of
    /// ours is its place in `records`; the neighbour's are beyond.
    requests: Vec<Request>,
    /// In the order in which they were intended, in time.
    pub(super) records: Vec<RequestRecord>,
    warp: Option<Warp>,
}

impl Server {
    /// All requests of a trial, none of them sent yet. Answers are waited for until `drain_s` after the last.
    pub(super) fn plan(&self, load: &Load, drain_s: f64) -> Plan {
        let times = load.arrival.schedule(load.rate, load.duration_s, load.seed);
        let uniforms = |name| {
            let stream = seeds::stream(load.seed, name);
            if load.arrival.is_balanced() {
                Uniforms::balanced(times.len(), stream)
            } else {
                Uniforms::independent(times.len(), stream)
            }
        };
        let spec = &*self.spec;
        let horizon = load.duration_s + drain_s;
        let warp = Warp::new(spec.stalls, spec.slow_start, spec.slow_down, load.seed, horizon);
        let work = |ns: u64| match &warp {
            None => Time::from_ns(ns),
            Some(warp) => Time::from_seconds(warp.work(ns as f64 / 1e9)),
        };
        let mut jitter = (spec.jitter_ms > 0.0).then(|| seeds::stream(load.seed, "jitter"));
        let mut late_ns = || {
            let draw = jitter.as_mut().map(|rng| -(1.0 - rng.random::<f64>()).ln());
            draw.map_or(0, |draw| (draw * spec.jitter_ms * 1e6) as u64)
        };
        let mut inputs = uniforms("input lengths").map(|u| self.lengths[0].quantile(u));
        let mut outputs = uniforms("output lengths").map(|u| self.lengths[1].quantile(u));
        let mut prefixes = uniforms("prefixes").map(|u| self.prefix(u));
        let mut requests = Vec::with_capacity(times.len());
        let mut records = Vec::with_capacity(times.len());
        for (index, &intended_ns) in times.iter().enumerate() {
            let (prefix, shared) = prefixes.next().unwrap_or_default();
            let sent_ns = intended_ns + late_ns();
            let request = Request {
                id: index as u64,
                arrival: work(sent_ns),
                input_tokens: inputs.next().unwrap_or(1) + shared,
                output_tokens: outputs.next().unwrap_or(1),
                session: None,
                deadline: Time::MAX,
                prefix,
            };
            requests.push(request);
            records.push(RequestRecord {
                intended_ns: intended_ns as i64,
                sent_ns: Some(sent_ns as i64),
                first_token_ns: None,
                done_ns: None,
                class: 0,
                input_tokens: request.input_tokens,
                output_tokens: 0,
                outcome: Outcome::Unfinished,
            });
        }
        if spec.jitter_ms > 0.0 {
            requests.sort_by_key(|r| records[r.id as usize].sent_ns);
        }
        if let Some(limit) = spec.rate_limit {
            let mut bucket = Bucket::new(limit);
            requests.retain(|request| {
                let record = &mut records[request.id as usize];
                let sent_ns = record.sent_ns.unwrap_or(record.intended_ns);
                let enters = bucket.lets_in(sent_ns as f64 / 1e9);
                if !enters {
                    record.outcome = TOO_MANY;
                    record.done_ns = Some(sent_ns);
                }
                enters
            });
        }
        self.add_neighbour(&mut requests, records.len() as u64, load.seed, horizon, work);
        Plan {
            requests,
            records,
            warp,
        }
    }

    /// Merges the neighbour's requests.
    fn add_neighbour(
        &self,
        requests: &mut Vec<Request>,
        first: u64,
        seed: u64,
        horizon_s: f64,
        work: impl Fn(u64) -> Time,
    ) {
        let (Some(neighbour), Some(lengths)) = (&self.spec.neighbour, &self.neighbour) else {
            return;
        };
        let mut rng = seeds::stream(seed, "neighbour lengths");
        let theirs = neighbour.arrivals(seed, horizon_s).into_iter().enumerate();
        requests.extend(theirs.map(|(index, at)| Request {
            id: first + index as u64,
            arrival: work((at * 1e9) as u64),
            input_tokens: lengths[0].quantile(rng.random()),
            output_tokens: lengths[1].quantile(rng.random()),
            session: None,
            deadline: Time::MAX,
            prefix: PrefixSpan::default(),
        }));
        // Stable, and both parts are in order.
        requests.sort_by_key(|r| r.arrival);
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

    /// Sends from idle what is planned before `end_s`, and waits for the answers until `limit_s`.
    pub(super) fn run(&self, plan: &mut Plan, seed: u64, end_s: f64, limit_s: f64) {
        let config = ClusterConfig {
            seed: seeds::derive(seed, &["cluster"]),
            ..self.cluster.clone()
        };
        let Plan {
            requests,
            records,
            warp,
        } = plan;
        let until = (end_s * 1e9) as i64;
        let mut ours = 0;
        for record in records.iter_mut() {
            if record.outcome != TOO_MANY {
                record.first_token_ns = None;
                record.done_ns = None;
                record.output_tokens = 0;
                record.outcome = Outcome::Unfinished;
                ours += usize::from(record.sent_ns.is_some_and(|sent| sent < until));
            }
        }
        let limit = warp.as_ref().map_or(limit_s, |warp| warp.work(limit_s));
        let limit = Time::from_seconds(limit);
        let mut source = Planned {
            requests: requests.iter(),
            theirs: records.len() as u64,
            ours,
        };
        let mut fill = Fill { records, warp };
        match self.spec.queue_limit {
            None => {
                simulate(&config, &mut source, &self.prefixes, limit, &mut fill);
            }
            Some(most) => {
                let mut gate = Gate::new(source, most);
                simulate(&config, &mut gate, &self.prefixes, limit, &mut fill);
                for id in gate.refused {
                    if let Some(record) = records.get_mut(id as usize) {
                        record.outcome = UNAVAILABLE;
                        record.done_ns = record.sent_ns;
                    }
                }
            }
        }
    }
}

/// Requests as planned: all of the neighbour's, and so many of ours.
struct Planned<'a> {
    requests: std::slice::Iter<'a, Request>,
    /// The neighbour's have numbers from here on.
    theirs: u64,
    /// How many of ours are still sent.
    ours: usize,
}

impl Planned<'_> {
    fn skip(&mut self) -> Option<&Request> {
        while self.ours == 0 && self.requests.as_slice().first()?.id < self.theirs {
            self.requests.next();
        }
        self.requests.as_slice().first()
    }
}

impl Source for Planned<'_> {
    fn peek(&mut self) -> Option<Time> {
        self.skip().map(|r| r.arrival)
    }

    fn next(&mut self) -> Option<Request> {
        let request = *self.skip()?;
        self.requests.next();
        self.ours -= usize::from(request.id < self.theirs);
        Some(request)
    }
}

/// Writes what became of requests where they were planned.
struct Fill<'a> {
    records: &'a mut [RequestRecord],
    warp: &'a Option<Warp>,
}

impl Fill<'_> {
    fn ns(&self, at: Time) -> i64 {
        match self.warp {
            None => at.as_ns() as i64,
            Some(warp) => (warp.time(at.as_seconds()) * 1e9).ceil() as i64,
        }
    }
}

impl Observer for Fill<'_> {
    fn request(&mut self, record: &Record) {
        let (first, done) = (self.ns(record.first_token), self.ns(record.completed));
        if let Some(row) = self.records.get_mut(record.id as usize) {
            row.first_token_ns = Some(first);
            row.done_ns = Some(done);
            row.output_tokens = record.output_tokens;
            row.outcome = Outcome::Ok;
        }
    }
}
