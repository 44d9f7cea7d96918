//! The stepper: one replica with continuous batching at the level of steps.

use std::collections::VecDeque;

use rand_distr::{Distribution, LogNormal};
use rand_pcg::Pcg64;

use super::{ConfigError, ReplicaConfig, Time};
use crate::workload::seeds;

/// Names a request; chosen by the caller, unique among the requests that are open.
pub type RequestId = u64;

/// What is asked of the replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its name.
    pub id: RequestId,
    /// Prompt length in tokens.
    pub input_tokens: u32,
    /// Response length in tokens; zero is read as one.
    pub output_tokens: u32,
}

impl Request {
    /// Tokens that it holds in the KV cache, reserved from its admission to its end.
    fn resident(&self) -> u64 {
        u64::from(self.input_tokens) + u64::from(self.output_tokens.max(1))
    }
}

/// What became of an offered request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It waits, or starts with the next step.
    Queued,
    /// Refused: the queue is full.
    Rejected,
    /// Refused: its tokens exceed the whole KV cache, so that it could never start.
    NeverFits,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The request left the queue: a step with it began.
    Started,
    /// Its first token.
    FirstToken,
    /// A later token.
    Token,
    /// It ended, right after its last token and at the same time.
    Done,
}

/// Something that happened to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Time,
    /// To which request.
    pub id: RequestId,
    /// What.
    pub kind: EventKind,
}

/// How full the replica is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests in the batch.
    pub running: u32,
    /// Requests in the queue.
    pub waiting: u32,
    /// Tokens reserved in the KV cache.
    pub kv_used: u64,
}

/// A sequence in the batch.
#[derive(Clone, Copy, Debug)]
struct Running {
    request: Request,
    produced: u32,
}

/// One replica. Time only moves forward: a call with an earlier time acts at the latest one seen.
#[derive(Clone, Debug)]
pub struct Replica {
    config: ReplicaConfig,
    ready_at: Time,
    now: Time,
    /// First come, first served; a head that does not fit holds up those behind it.
    waiting: VecDeque<Request>,
    /// In order of admission.
    running: Vec<Running>,
    kv_used: u64,
    /// End of the step in progress.
    step_end: Option<Time>,
    steps: u64,
    jitter: Option<(LogNormal<f64>, Pcg64)>,
}

impl Replica {
    /// An idle replica at time zero, which starts to work after `startup_s`.
    ///
    /// # Errors
    /// When the configuration is not valid.
    pub fn new(config: ReplicaConfig) -> Result<Self, ConfigError> {
        config.validate()?;
        let jitter = (config.jitter > 0.0).then(|| {
            // A lognormal of mean 1 and coefficient of variation c has sigma^2 = ln(1 + c^2) and mu = -sigma^2 / 2.
            let variance = config.jitter.powi(2).ln_1p();
            let factor =
                LogNormal::new(-variance / 2.0, variance.sqrt()).expect("a validated jitter is finite");
            (factor, seeds::stream(config.seed, "jitter"))
        });
        Ok(Self {
            ready_at: Time::from_seconds(config.startup_s),
            now: Time::ZERO,
            waiting: VecDeque::new(),
            running: Vec::with_capacity(config.batch_cap as usize),
            kv_used: 0,
            step_end: None,
            steps: 0,
            jitter,
            config,
        })
    }

    /// What it is like.
    pub fn config(&self) -> &ReplicaConfig {
        &self.config
    }

    /// How full it is.
    pub fn counts(&self) -> Counts {
        Counts {
            running: self.running.len() as u32,
            waiting: self.waiting.len() as u32,
            kv_used: self.kv_used,
        }
    }

    /// Steps begun so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// When it starts to work.
    pub fn ready_at(&self) -> Time {
        self.ready_at
    }

    /// Hands a request over at `now`. It joins the first step that begins at or after `now`, where it fits. Events due
    /// before `now` should have been taken by [`Replica::advance`] first.
    pub fn offer(&mut self, now: Time, request: Request) -> Admission {
        self.now = self.now.max(now);
        let room = self.config.kv_tokens.unwrap_or(u64::MAX);
        if request.resident() > room {
            return Admission::NeverFits;
        }
        if let Some(limit) = self.config.queue_limit
            && self.waiting.len() >= limit as usize
        {
            // Those that the next step admits do not count against the queue.
            let (mut slots, mut kv) = (self.running.len(), self.kv_used);
            let starting = self
                .waiting
                .iter()
                .chain([&request])
                .take_while(|r| {
                    slots += 1;
                    kv += r.resident();
                    slots <= self.config.batch_cap as usize && kv <= room
                })
                .count();
            // The new one is among `starting` only when all before it are.
            if starting <= self.waiting.len() && self.waiting.len() - starting >= limit as usize {
                return Admission::Rejected;
            }
        }
        self.waiting.push_back(request);
        Admission::Queued
    }

    /// The client went away: the request leaves the queue, or frees its slot and its KV room. The step in progress
    /// keeps its length. Returns whether the request was open.
    pub fn cancel(&mut self, id: RequestId) -> bool {
        if let Some(place) = self.running.iter().position(|r| r.request.id == id) {
            let gone = self.running.remove(place);
            self.kv_used -= gone.request.resident();
            return true;
        }
        if let Some(place) = self.waiting.iter().position(|r| r.id == id) {
            self.waiting.remove(place);
            return true;
        }
        false
    }

    /// When [`Replica::advance`] next has something to do: the end of the step in progress, or now where requests wait
    /// and nothing runs. `None` when idle.
    pub fn next_event_at(&self) -> Option<Time> {
        match self.step_end {
            Some(end) => Some(end),
            None if self.waiting.is_empty() => None,
            None => Some(self.now.max(self.ready_at)),
        }
    }

    /// Moves on to `until`, inclusive, and returns what happened, in order.
    pub fn advance(&mut self, until: Time) -> Vec<Event> {
        let mut events = Vec::new();
        self.advance_with(until, |event| events.push(event));
        events
    }

    /// As [`Replica::advance`], without collecting.
    pub fn advance_with(&mut self, until: Time, mut sink: impl FnMut(Event)) {
        while let Some(at) = self.next_event_at().filter(|&at| at <= until) {
            self.now = at;
            if self.step_end.take().is_some() {
                self.finish_step(at, &mut sink);
            }
            self.begin_step(at, &mut sink);
        }
        self.now = self.now.max(until);
    }

    /// A token for every running sequence; those that are complete leave.
    fn finish_step(&mut self, at: Time, sink: &mut impl FnMut(Event)) {
        let kv_used = &mut self.kv_used;
        self.running.retain_mut(|sequence| {
            let id = sequence.request.id;
            let kind = if sequence.produced == 0 {
                EventKind::FirstToken
            } else {
                EventKind::Token
            };
            sink(Event { at, id, kind });
            sequence.produced += 1;
            let done = sequence.produced >= sequence.request.output_tokens;
            if done {
                *kv_used -= sequence.request.resident();
                let kind = EventKind::Done;
                sink(Event { at, id, kind });
            }
            !done
        });
    }

    /// Admits what fits and begins a step, where there is anything to run.
    fn begin_step(&mut self, at: Time, sink: &mut impl FnMut(Event)) {
        let room = self.config.kv_tokens.unwrap_or(u64::MAX);
        let mut prefill_us = 0.0;
        while self.running.len() < self.config.batch_cap as usize
            && let Some(request) = self
                .waiting
                .pop_front_if(|next| self.kv_used + next.resident() <= room)
        {
            self.kv_used += request.resident();
            prefill_us += self.config.prefill_us(f64::from(request.input_tokens));
            let kind = EventKind::Started;
            sink(Event {
                at,
                id: request.id,
                kind,
            });
            self.running.push(Running { request, produced: 0 });
        }
        if self.running.is_empty() {
            return;
        }
        let sequences = self.running.len() as f64;
        let mut us = self.config.step_base_us + self.config.step_per_seq_us * sequences + prefill_us;
        if let Some((factor, stream)) = &mut self.jitter {
            us *= factor.sample(stream);
        }
        self.steps += 1;
        // At least a picosecond, so that time moves on.
        self.step_end = Some(at + Time::from_us(us).max(Time::from_ps(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::Admission::{Queued, Rejected};
    use super::*;

    fn replica(change: impl FnOnce(&mut ReplicaConfig)) -> Replica {
        let mut config = ReplicaConfig {
            batch_cap: 2,
            step_base_us: 1_000.0,
            step_per_seq_us: 100.0,
            prefill_us_per_token: 10.0,
            prefill_base_us: 50.0,
            ..ReplicaConfig::default()
        };
        change(&mut config);
        Replica::new(config).unwrap()
    }

    fn request(id: RequestId, input_tokens: u32, output_tokens: u32) -> Request {
        Request {
            id,
            input_tokens,
            output_tokens,
        }
    }

    #[test]
    fn steps_last_what_the_batch_costs() {
        let mut replica = replica(|_| ());
        assert_eq!(replica.next_event_at(), None);
        let start = Time::from_us(500.0);
        assert_eq!(replica.offer(start, request(1, 10, 2)), Admission::Queued);
        assert_eq!(replica.next_event_at(), Some(start));
        assert_eq!(replica.advance(start).len(), 1, "it starts at once");
        replica.offer(Time::from_us(600.0), request(2, 0, 1));
        // 500 + 1000 + 100 + 50 + 10 * 10, then 1000 + 2 * 100 + 50 for both.
        let first = Time::from_us(1_750.0);
        assert_eq!(replica.next_event_at(), Some(first));
        let second = Time::from_us(3_000.0);
        let event = |at, id, kind| Event { at, id, kind };
        assert_eq!(
            replica.advance(Time::from_seconds(1.0)),
            [
                event(first, 1, EventKind::FirstToken),
                event(first, 2, EventKind::Started),
                event(second, 1, EventKind::Token),
                event(second, 1, EventKind::Done),
                event(second, 2, EventKind::FirstToken),
                event(second, 2, EventKind::Done),
            ]
        );
        assert_eq!(replica.counts(), Counts::default());
    }

    #[test]
    fn the_queue_limit_does_not_count_those_about_to_start() {
        let mut replica = replica(|c| c.queue_limit = Some(1));
        let offered: Vec<Admission> = (0..4)
            .map(|id| replica.offer(Time::ZERO, request(id, 1, 1)))
            .collect();
        assert_eq!(offered, [Queued, Queued, Queued, Rejected]);
        replica.advance(Time::ZERO);
        assert_eq!(replica.offer(Time::ZERO, request(9, 1, 1)), Rejected);
        assert!(replica.cancel(2));
        assert_eq!(replica.offer(Time::ZERO, request(10, 1, 1)), Queued);
    }

    #[test]
    fn kv_room_is_reserved_whole_and_freed() {
        let mut replica = replica(|c| c.kv_tokens = Some(30));
        assert_eq!(replica.offer(Time::ZERO, request(0, 29, 2)), Admission::NeverFits);
        replica.offer(Time::ZERO, request(1, 10, 8));
        replica.offer(Time::ZERO, request(2, 10, 3));
        replica.advance(Time::ZERO);
        assert_eq!(
            replica.counts(),
            Counts {
                running: 1,
                waiting: 1,
                kv_used: 18
            }
        );
        assert!(replica.cancel(1));
        assert!(!replica.cancel(1));
        assert_eq!(replica.counts().kv_used, 0);
        let events = replica.advance(Time::from_seconds(1.0));
        assert!(events.iter().all(|e| e.id == 2));
        assert_eq!(events.last().map(|e| e.kind), Some(EventKind::Done));
    }

    #[test]
    fn nothing_runs_before_startup() {
        let mut replica = replica(|c| c.startup_s = 2.0);
        replica.offer(Time::ZERO, request(1, 1, 1));
        assert_eq!(replica.next_event_at(), Some(Time::from_seconds(2.0)));
        assert!(replica.advance(Time::from_seconds(1.0)).is_empty());
    }
}
