//! The cluster once more, as plainly as can be: one iteration at a time, every KV block an object, every list a `Vec`.
//! Slow, and written to be compared with, not to be used. It knows no noise and no closed loop.

mod policies;

use std::collections::VecDeque;

use mst::sim::batching::{Batching, QueueOrder};
use mst::sim::cluster::{ClusterConfig, EngineConfig, Rules};
use mst::sim::cost::BatchShape;
use mst::sim::{PrefixTable, Record, Request, Time};

/// A KV block.
#[derive(Clone, Copy, Default)]
struct Block {
    hash: Option<u32>,
    holders: u32,
    /// When it got its hash: of two with the same the elder is hit.
    born: u64,
}

struct Job {
    request: Request,
    prefill: u32,
    processed: u32,
    prefilled: bool,
    admitted: bool,
    blocks: Vec<usize>,
    published: usize,
    cached: u32,
    scheduled: Option<Time>,
    tokens: Vec<Time>,
    execution: Time,
    restarts: u32,
}

impl Job {
    fn total(&self) -> u32 {
        self.request.input_tokens + self.request.output_tokens
    }

    fn done(&self) -> bool {
        self.processed == self.total()
    }
}

struct Flight {
    members: Vec<(usize, u32)>,
    cohort: Vec<usize>,
    shape: BatchShape,
    stage: u32,
    start: Option<Time>,
    time: Time,
    execution: Time,
}

pub(super) struct Replica<'a> {
    number: u32,
    config: EngineConfig,
    cluster: &'a ClusterConfig,
    prefixes: &'a PrefixTable,
    jobs: Vec<Job>,
    waiting: Vec<usize>,
    running: Vec<usize>,
    cohorts: VecDeque<Vec<usize>>,
    flights: Vec<Flight>,
    blocks: Vec<Block>,
    free: VecDeque<usize>,
    clock: u64,
    since_look: u32,
    wake: bool,
    pub(super) records: Vec<Record>,
    pub(super) restarts: u64,
    pub(super) refused: u64,
    pub(super) iterations: u64,
}

impl<'a> Replica<'a> {
    pub(super) fn new(number: u32, cluster: &'a ClusterConfig, prefixes: &'a PrefixTable) -> Self {
        let blocks = cluster.engine.blocks as usize;
        Self {
            number,
            config: cluster.engine,
            cluster,
            prefixes,
            jobs: Vec::new(),
            waiting: Vec::new(),
            running: Vec::new(),
            cohorts: VecDeque::new(),
            flights: Vec::new(),
            blocks: vec![Block::default(); blocks],
            free: (0..blocks).collect(),
            clock: 0,
            since_look: 0,
            wake: false,
            records: Vec::new(),
            restarts: 0,
            refused: 0,
            iterations: 0,
        }
    }

    fn job(&mut self, index: usize) -> &mut Job {
        &mut self.jobs[index]
    }

    fn ranked(&self) -> bool {
        self.config.queue == QueueOrder::Edf || matches!(self.config.batching, Batching::VllmV1 { .. })
    }

    fn need(&self, tokens: u32) -> usize {
        tokens.div_ceil(self.config.block_tokens) as usize
    }

    /// Requests that wait, for the router.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn caching(&self) -> bool {
        self.config.prefix_caching && self.prefixes.tokens_per_hash > 0
    }

    fn lookup(&self, hashes: &[u32]) -> Vec<usize> {
        let mut found = Vec::new();
        for hash in hashes {
            let eldest = (0..self.blocks.len())
                .filter(|&b| self.blocks[b].hash == Some(*hash))
                .min_by_key(|&b| self.blocks[b].born);
            match eldest {
                Some(block) => found.push(block),
                None => break,
            }
        }
        found
    }

    pub(super) fn offer(&mut self, request: Request) {
        self.jobs.push(Job {
            request,
            prefill: request.input_tokens,
            processed: 0,
            prefilled: false,
            admitted: false,
            blocks: Vec::new(),
            published: 0,
            cached: 0,
            scheduled: None,
            tokens: Vec::new(),
            execution: Time::ZERO,
            restarts: 0,
        });
        self.waiting.push(self.jobs.len() - 1);
        self.sort_waiting();
        self.wake = true;
    }

    fn sort_waiting(&mut self) {
        if self.ranked() {
            let jobs = &self.jobs;
            let edf = self.config.queue == QueueOrder::Edf;
            self.waiting.sort_by_key(|&i| {
                let request = &jobs[i].request;
                (if edf { request.deadline } else { request.arrival }, request.id)
            });
        }
    }

    /// When something happens next, given that it is `now`.
    pub(super) fn next_at(&self, now: Time) -> Option<Time> {
        if self.wake {
            return Some(now);
        }
        self.flights
            .iter()
            .filter_map(|f| f.start.map(|s| s + f.time))
            .min()
    }

    pub(super) fn step(&mut self, now: Time) {
        while let Some(index) = self
            .flights
            .iter()
            .position(|f| f.start.is_some_and(|s| s + f.time == now))
        {
            self.iterations += 1;
            let flight = &mut self.flights[index];
            flight.execution += flight.time;
            flight.start = None;
            flight.stage += 1;
            if flight.stage == self.config.pipeline_stages {
                let flight = self.flights.remove(index);
                self.finish(flight, now);
                self.schedule(now);
            }
            self.start_stages(now);
        }
        if std::mem::take(&mut self.wake) {
            self.schedule(now);
        }
    }

    fn start_stages(&mut self, now: Time) {
        for stage in 0..self.config.pipeline_stages {
            if self.flights.iter().any(|f| f.stage == stage && f.start.is_some()) {
                continue;
            }
            if let Some(flight) = self.flights.iter_mut().find(|f| f.stage == stage) {
                flight.start = Some(now);
                let last = stage + 1 == self.config.pipeline_stages;
                flight.time = self
                    .cluster
                    .cost
                    .stage(&flight.shape, last)
                    .total
                    .max(Time::from_ps(1));
            }
        }
    }

    fn schedule(&mut self, now: Time) {
        while self.flights.len() < self.config.pipeline_stages as usize {
            let (members, cohort) = self.plan();
            if members.is_empty() {
                let idle = self.flights.is_empty() && self.jobs.iter().all(|j| !j.admitted);
                if idle && !self.waiting.is_empty() {
                    let index = self.waiting.remove(0);
                    self.job(index).restarts = u32::MAX;
                    self.refused += 1;
                    continue;
                }
                break;
            }
            let mut shape = BatchShape::default();
            for &(index, tokens) in &members {
                let job = self.job(index);
                job.scheduled.get_or_insert(now);
                if job.prefilled {
                    shape.add_decode(job.processed);
                } else {
                    shape.add_prefill(job.processed, tokens, job.processed + tokens == job.prefill);
                }
            }
            self.flights.push(Flight {
                members,
                cohort,
                shape,
                stage: 0,
                start: None,
                time: Time::ZERO,
                execution: Time::ZERO,
            });
            self.start_stages(now);
        }
    }

    fn finish(&mut self, flight: Flight, now: Time) {
        let v1 = matches!(self.config.batching, Batching::VllmV1 { .. });
        let fixed = matches!(self.config.batching, Batching::FasterTransformer {});
        for &(index, tokens) in &flight.members {
            let job = self.job(index);
            job.execution += flight.execution;
            job.processed += tokens;
            if !job.prefilled && job.processed == job.prefill {
                job.prefilled = true;
                job.processed += 1;
            }
            if job.prefilled {
                job.tokens.push(now);
            }
            if job.done() {
                let job = &self.jobs[index];
                let gaps = job.tokens.windows(2).map(|w| w[1] - w[0]);
                self.records.push(Record {
                    id: job.request.id,
                    replica: self.number,
                    arrival: job.request.arrival,
                    first_scheduled: job.scheduled.unwrap(),
                    first_token: job.tokens[0],
                    completed: now,
                    input_tokens: job.request.input_tokens,
                    output_tokens: job.request.output_tokens,
                    cached_tokens: job.cached,
                    execution: job.execution,
                    max_tbt: gaps.max().unwrap_or_default(),
                    restarts: job.restarts,
                    session: job.request.session,
                });
                if v1 {
                    self.running.retain(|&i| i != index);
                }
                if !fixed {
                    self.release(index);
                }
            } else if !v1 && !fixed {
                self.running.push(index);
            }
        }
        if fixed {
            if flight.cohort.iter().all(|&i| self.jobs[i].done()) {
                for index in flight.cohort {
                    let last = flight.members.iter().any(|m| m.0 == index);
                    if last || self.config.rules == Rules::Engine {
                        self.release(index);
                    } else {
                        self.job(index).admitted = false;
                    }
                }
            } else {
                self.cohorts.push_back(flight.cohort);
            }
        }
    }

    // Memory.

    fn take(&mut self, index: usize, count: usize) {
        for _ in 0..count {
            let block = self.free.pop_front().expect("never over-committed");
            self.blocks[block] = Block {
                hash: None,
                holders: 1,
                born: 0,
            };
            self.job(index).blocks.push(block);
        }
    }

    fn release(&mut self, index: usize) {
        let blocks = std::mem::take(&mut self.job(index).blocks);
        self.job(index).admitted = false;
        self.job(index).published = 0;
        for block in blocks.into_iter().rev() {
            self.blocks[block].holders -= 1;
            if self.blocks[block].holders == 0 {
                self.free.push_back(block);
            }
        }
    }

    fn preempt(&mut self, index: usize) {
        self.release(index);
        self.restarts += 1;
        let rule = self.config.rules;
        let ranked = self.ranked();
        let job = self.job(index);
        job.prefill = match rule {
            Rules::Vidur => job.processed,
            Rules::Engine => job.prefill.max(job.processed),
        };
        job.processed = 0;
        job.prefilled = false;
        job.restarts += 1;
        if ranked {
            self.waiting.push(index);
            self.sort_waiting();
        } else {
            self.waiting.insert(0, index);
        }
    }

    fn admit(&mut self, count: usize) -> usize {
        let index = self.waiting.remove(0);
        self.take(index, count);
        self.job(index).admitted = true;
        index
    }

    fn publish(&mut self, index: usize, reaches: u32) {
        if !self.caching() {
            return;
        }
        let hashes = self.prefixes.of(self.jobs[index].request.prefix).to_vec();
        let full = (reaches / self.config.block_tokens) as usize;
        while self.jobs[index].published < full.min(hashes.len()) {
            let at = self.jobs[index].published;
            let block = self.jobs[index].blocks[at];
            self.clock += 1;
            self.blocks[block].hash = Some(hashes[at]);
            self.blocks[block].born = self.clock;
            self.job(index).published += 1;
        }
    }
}
