//! One replica: forms batches, runs them through its pipeline, and ends requests.
//!
//! Nothing happens between two boundaries, the ends of iterations and the arrivals at an idle replica. A replica is
//! advanced from boundary to boundary, alone, until something reaches it from outside. Where a batch of decodes can only
//! go on as it is, many iterations of equal length are taken as one; an arrival cuts them short.

mod complete;

use std::collections::VecDeque;
use std::sync::Arc;

use rand_distr::{Distribution, LogNormal};
use rand_pcg::Pcg64;

use super::batching::state::{Batch, State};
use super::cluster::{ClusterConfig, Totals};
use super::cost::{CostModel, StageTime};
use super::router::Load;
use super::{Iteration, Observer, PrefixTable, Request, Time};
use crate::workload::seeds;

/// A batch on its way through the pipeline.
#[derive(Debug, Default)]
struct Flight {
    number: u64,
    batch: Batch,
    /// The stage that it is in, or waits for.
    stage: u32,
    /// Whether the stage works on it.
    running: bool,
    /// Start in that stage.
    start: Time,
    /// Duration of an iteration in that stage.
    time: StageTime,
    /// Equal iterations, one after the other.
    count: u32,
    /// Time of one iteration in all stages so far.
    execution: Time,
    /// KV blocks in use when it was formed.
    kv_used: u32,
    /// Requests that waited then.
    waiting: u32,
}

impl Flight {
    fn end(&self) -> Time {
        self.start + self.time.total * self.count
    }
}

/// The replica.
#[derive(Debug)]
pub(super) struct Replica {
    number: u32,
    state: State,
    load: Load,
    cost: Arc<dyn CostModel>,
    stages: u32,
    stepwise: bool,
    noise: Option<(LogNormal<f64>, Pcg64)>,
    /// Oldest first, which is also the order in which they pass every stage.
    flights: VecDeque<Box<Flight>>,
    /// When a request arrived that no batch was formed for yet.
    wake: Option<Time>,
    batches: u64,
    /// Room of flights that are done, and of those who ended with them.
    #[allow(clippy::vec_box, reason = "they go from list to list without being copied")]
    spare: Vec<Box<Flight>>,
    ended: Vec<u32>,
    totals: Totals,
    /// KV blocks in use, times picoseconds, up to `accounted`.
    kv_area: u128,
    accounted: Time,
    kv_peak: u32,
}

impl Replica {
    pub(super) fn new(number: u32, config: &ClusterConfig, prefixes: &Arc<PrefixTable>) -> Self {
        let noise = (config.noise > 0.0).then(|| {
            // A lognormal of mean 1 and coefficient of variation c has sigma^2 = ln(1 + c^2) and mu = -sigma^2 / 2.
            let variance = config.noise.powi(2).ln_1p();
            let factor = LogNormal::new(-variance / 2.0, variance.sqrt()).expect("a checked noise is finite");
            (factor, seeds::stream(config.seed, &format!("noise-{number}")))
        });
        Self {
            number,
            state: State::new(&config.engine, prefixes, config.stepwise || config.noise > 0.0),
            load: Load::default(),
            cost: Arc::clone(&config.cost),
            stages: config.engine.pipeline_stages,
            stepwise: config.stepwise || config.noise > 0.0,
            noise,
            flights: VecDeque::new(),
            wake: None,
            batches: 0,
            spare: Vec::new(),
            ended: Vec::new(),
            totals: Totals::default(),
            kv_area: 0,
            accounted: Time::ZERO,
            kv_peak: 0,
        }
    }

    /// What a router may know of it.
    pub(super) fn load(&self) -> Load {
        self.load
    }

    /// Tokens of a request that its prefix cache holds.
    pub(super) fn cached_tokens(&self, request: &Request) -> u32 {
        self.state.cached_tokens(request)
    }

    /// Its next boundary; the end of time when it is idle.
    pub(super) fn next_at(&self) -> Time {
        let ends = self.flights.iter().filter(|f| f.running).map(|f| f.end());
        ends.chain(self.wake).min().unwrap_or(Time::MAX)
    }

    /// Takes a request at `at`, the time up to which it was advanced.
    pub(super) fn offer(&mut self, at: Time, request: Request, uncached: u32) {
        self.load.outstanding += 1;
        self.load.pending_prefills += 1;
        self.load.pending_prefill_tokens += u64::from(request.input_tokens);
        self.load.uncomputed_prefill_tokens += i64::from(request.input_tokens);
        self.load.pending_uncached_tokens += u64::from(uncached);
        self.state.join(request, uncached);
        self.load.waiting = self.state.queue.len() as u32;
        if self.flights.len() < self.stages as usize {
            self.wake.get_or_insert(at);
        } else if self.stages == 1 {
            self.cut(at, 0);
        }
    }

    /// Advances it as if every iteration had been taken by itself: what it holds is then what it would hold at `until`.
    pub(super) fn settle<O: Observer>(&mut self, until: Time, observer: &mut O) {
        // The flight that is under way at `until` must be known before it is cut: one that an earlier one leaves to be
        // planned, and not this one.
        self.advance(until, observer);
        if self.stages == 1 {
            self.cut(until, 1);
        }
        self.advance(until, observer);
    }

    /// Cuts equal iterations short: to those that begin before `at`, without the last `but` of them.
    fn cut(&mut self, at: Time, but: u32) {
        if let Some(flight) = self.flights.front_mut()
            && flight.count > 1
            && at > flight.start
        {
            let begun = (at - flight.start).as_ps().div_ceil(flight.time.total.as_ps());
            let kept = begun.saturating_sub(u64::from(but)).max(1);
            flight.count = flight.count.min(kept.try_into().unwrap_or(u32::MAX));
        } else if let Some(flight) = self.flights.front_mut()
            && but == 0
        {
            flight.count = 1;
        }
    }

    /// Passes all boundaries before `until`.
    pub(super) fn advance<O: Observer>(&mut self, until: Time, observer: &mut O) {
        loop {
            let at = self.next_at();
            if at >= until {
                return;
            }
            self.step(at, observer);
        }
    }

    /// Passes the boundary at `at`.
    pub(super) fn step<O: Observer>(&mut self, at: Time, observer: &mut O) {
        let ending = self.flights.iter().position(|f| f.running && f.end() == at);
        if let Some(index) = ending {
            self.end_stage(index, at, observer);
        } else {
            self.wake = None;
            self.schedule(at);
        }
    }

    /// A stage ends with a batch, which goes to the next, or out.
    fn end_stage<O: Observer>(&mut self, index: usize, at: Time, observer: &mut O) {
        let flight = &mut self.flights[index];
        let stage = flight.stage;
        let busy = flight.time.total * flight.count;
        self.totals.iterations += u64::from(flight.count);
        self.totals.busy += busy;
        self.totals.end = self.totals.end.max(at);
        if flight.time.extrapolated {
            self.totals.extrapolated += busy;
        }
        if O::ITERATIONS {
            observer.iteration(&Iteration {
                replica: self.number,
                stage,
                batch: flight.number,
                start: flight.start,
                time: flight.time.total,
                count: flight.count,
                shape: flight.batch.shape,
                kv_used: flight.kv_used,
                waiting: flight.waiting,
            });
        }
        flight.execution += flight.time.total;
        if stage + 1 < self.stages {
            flight.stage += 1;
            flight.running = false;
            self.start_stage(stage, at);
            self.start_stage(stage + 1, at);
        } else {
            let flight = self.flights.remove(index).expect("the flight was found");
            self.start_stage(stage, at);
            self.account(at);
            self.complete(flight, at, observer);
            self.schedule(at);
        }
    }

    /// Forms batches while the pipeline takes one.
    fn schedule(&mut self, at: Time) {
        self.account(at);
        self.state.now = at;
        while self.flights.len() < self.stages as usize {
            let mut flight = self.spare.pop().unwrap_or_default();
            self.state.plan(&mut flight.batch);
            if flight.batch.len() == 0 {
                self.spare.push(flight);
                if self.stuck() {
                    self.refuse_head();
                    continue;
                }
                break;
            }
            self.kv_peak = self.kv_peak.max(self.state.kv.used());
            flight.number = self.batches;
            flight.stage = 0;
            flight.running = false;
            flight.execution = Time::ZERO;
            flight.kv_used = self.state.kv.used();
            flight.waiting = self.state.queue.len() as u32;
            self.flights.push_back(flight);
            self.batches += 1;
            self.start_stage(0, at);
        }
        self.load.waiting = self.state.queue.len() as u32;
    }

    /// Whether requests wait for something that will never come.
    fn stuck(&self) -> bool {
        self.flights.is_empty() && self.state.admitted == 0 && !self.state.queue.is_empty()
    }

    /// Drops a request that does not fit even alone.
    fn refuse_head(&mut self) {
        let slot = self.state.queue.pop().expect("a stuck replica has a queue");
        if self.state.tickets[slot as usize].first_token.is_none() {
            self.prefill_ended(slot, None);
        }
        self.state.forget(slot);
        self.totals.refused += 1;
        self.load.outstanding -= 1;
    }

    /// Lets a stage begin with the oldest batch that waits for it, unless it is at work.
    fn start_stage(&mut self, stage: u32, at: Time) {
        if self.flights.iter().any(|f| f.stage == stage && f.running) {
            return;
        }
        let Some(index) = self.flights.iter().position(|f| f.stage == stage) else {
            return;
        };
        let last = stage + 1 == self.stages;
        let mut time = self.cost.stage(&self.flights[index].batch.shape, last);
        if let Some((factor, stream)) = &mut self.noise {
            let factor = factor.sample(stream);
            time.total = Time::from_seconds(time.total.as_seconds() * factor);
        }
        // Time must go on.
        time.total = time.total.max(Time::from_ps(1));
        let count = self.equal_iterations(&self.flights[index].batch);
        let flight = &mut self.flights[index];
        flight.running = true;
        flight.start = at;
        flight.time = time;
        flight.count = count;
    }

    /// How many iterations a batch runs just as it is.
    fn equal_iterations(&self, batch: &Batch) -> u32 {
        if self.stepwise || self.stages > 1 || batch.shape.prefills > 0 {
            return 1;
        }
        let mut count = self.cost.steady(&batch.shape).min(self.state.unchanged());
        if batch.grouped > 0 {
            return self.state.group_iterations(count);
        }
        for member in &batch.members {
            let live = &self.state.live[member.slot as usize];
            count = count.min(live.total - live.processed);
        }
        while count > 1 && !self.state.has_room(batch, count - 1) {
            count /= 2;
        }
        count.max(1)
    }

    /// Adds up the KV blocks in use since the last change.
    fn account(&mut self, at: Time) {
        let span = at - self.accounted;
        self.kv_area += u128::from(self.state.kv.used()) * u128::from(span.as_ps());
        self.accounted = at;
    }

    /// What it did.
    pub(super) fn totals(&self) -> Totals {
        Totals {
            restarts: self.state.restarts,
            cached_tokens: self.state.hits,
            ..self.totals.clone()
        }
    }

    /// KV blocks in use times picoseconds up to `end`, and the most in use.
    pub(super) fn memory(&mut self, end: Time) -> (u128, u32) {
        self.account(end);
        (self.kv_area, self.kv_peak)
    }
}
