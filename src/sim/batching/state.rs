//! What a batch policy sees and changes: the requests of a replica, its queue and its KV cache.

use std::sync::Arc;

use super::group::Group;
use super::{Batching, QueueOrder};
use crate::sim::cluster::{EngineConfig, Rules};
use crate::sim::cost::BatchShape;
use crate::sim::kv_cache::{Holding, KvCache};
use crate::sim::queue::WaitQueue;
use crate::sim::{PrefixTable, Request, Time};

/// What every iteration reads and changes of a request. Small: batches go through it again and again.
#[derive(Clone, Copy, Debug)]
pub(in crate::sim) struct Live {
    /// Tokens that its prefill computes: the prompt; after a preemption what had been generated, too.
    pub prefill: u32,
    /// Prompt and response.
    pub total: u32,
    /// Tokens computed.
    pub processed: u32,
    /// Tokens that its KV blocks hold.
    pub room: u32,
    /// Its latest token.
    pub last_token: Time,
    /// Longest gap between two of its tokens.
    pub max_tbt: Time,
    /// Time of the iterations that it took part in.
    pub execution: Time,
}

impl Live {
    /// Whether its prefill has ended: that yields a token beyond it.
    #[inline]
    pub(in crate::sim) fn prefilled(&self) -> bool {
        self.processed > self.prefill
    }
}

/// The rest of a request.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Ticket {
    /// As it was asked.
    pub request: Request,
    /// What it holds in the KV cache.
    pub holding: Holding,
    /// Prompt tokens that its replica's prefix cache did not hold when it was routed.
    pub uncached: u32,
    /// Prompt tokens that it found in the prefix cache on its last admission.
    pub cached: u32,
    /// Start of its first iteration.
    pub first_scheduled: Option<Time>,
    /// Its first token.
    pub first_token: Option<Time>,
    /// Preemptions.
    pub restarts: u32,
}

/// A member of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) struct Member {
    /// Its place in [`State::live`].
    pub slot: u32,
    /// Tokens that the iteration computes of it.
    pub tokens: u32,
}

/// The requests of one iteration.
#[derive(Clone, Debug, Default)]
pub(in crate::sim) struct Batch {
    /// Decodes of the group, all of which take part.
    pub grouped: u32,
    /// Who else takes part.
    pub members: Vec<Member>,
    /// What they come to.
    pub shape: BatchShape,
    /// `faster_transformer`: all that began together, those that have ended among them.
    pub cohort: Vec<u32>,
}

impl Batch {
    /// Requests in it.
    pub(in crate::sim) fn len(&self) -> usize {
        self.members.len() + self.grouped as usize
    }
}

/// The requests of a replica.
#[derive(Clone, Debug)]
pub(in crate::sim) struct State {
    /// What the replica is like.
    pub config: EngineConfig,
    /// Blocks that admission leaves free.
    pub watermark: u32,
    /// The time of the plan that is being made.
    pub now: Time,
    /// All requests, by slot.
    pub live: Vec<Live>,
    /// The same.
    pub tickets: Vec<Ticket>,
    vacant: Vec<u32>,
    /// Waiting requests.
    pub queue: WaitQueue,
    /// Admitted requests that no batch holds at the moment (`vllm_v1`: all admitted), in the order of the policy.
    pub running: Vec<u32>,
    /// How many of them the latest batch left out; they come first.
    pub left_out: usize,
    /// Decodes that go on together, and are not among `running`.
    pub group: Group,
    /// Whether `running` may not be in the order of arrival.
    pub disordered: bool,
    /// `faster_transformer`: batches under way.
    pub fixed: std::collections::VecDeque<Vec<u32>>,
    /// Admitted requests.
    pub admitted: u32,
    /// `lightllm`: decode iterations since the queue was looked at.
    pub since_look: u32,
    /// The KV cache.
    pub kv: KvCache,
    /// Preemptions so far.
    pub restarts: u64,
    /// Whether the latest plan preempted a request.
    pub preempted: bool,
    /// Prompt tokens found in the prefix cache so far.
    pub hits: u64,
    prefixes: Arc<PrefixTable>,
    /// Room for a policy's lists, kept between iterations.
    pub scratch: [Vec<u32>; 2],
}

impl State {
    pub(in crate::sim) fn new(config: &EngineConfig, prefixes: &Arc<PrefixTable>, stepwise: bool) -> Self {
        let caching = config.prefix_caching
            && prefixes.tokens_per_hash > 0
            && matches!(config.batching, Batching::VllmV1 { .. });
        let pages = caching.then(|| (prefixes.tokens_per_hash / config.block_tokens, prefixes.distinct));
        let ranked = config.queue == QueueOrder::Edf || matches!(config.batching, Batching::VllmV1 { .. });
        Self {
            config: *config,
            watermark: (config.watermark * f64::from(config.blocks)) as u32,
            now: Time::ZERO,
            live: Vec::new(),
            tickets: Vec::new(),
            vacant: Vec::new(),
            queue: if ranked {
                WaitQueue::Ranked(std::collections::BinaryHeap::new())
            } else {
                WaitQueue::Line(std::collections::VecDeque::new())
            },
            running: Vec::new(),
            left_out: 0,
            group: Group::new(config, stepwise),
            disordered: false,
            fixed: std::collections::VecDeque::new(),
            admitted: 0,
            since_look: 0,
            kv: KvCache::new(config.blocks, pages),
            restarts: 0,
            preempted: false,
            hits: 0,
            prefixes: Arc::clone(prefixes),
            scratch: Default::default(),
        }
    }

    /// The key that ranks a waiting request.
    fn rank(&self, request: &Request) -> Time {
        match self.config.queue {
            QueueOrder::Fcfs => request.arrival,
            QueueOrder::Edf => request.deadline,
        }
    }

    /// Lets a request wait.
    pub(in crate::sim) fn join(&mut self, request: Request, uncached: u32) {
        let live = Live {
            prefill: request.input_tokens,
            total: request.input_tokens + request.output_tokens,
            processed: 0,
            room: 0,
            last_token: Time::ZERO,
            max_tbt: Time::ZERO,
            execution: Time::ZERO,
        };
        let ticket = Ticket {
            request,
            holding: Holding::default(),
            uncached,
            cached: 0,
            first_scheduled: None,
            first_token: None,
            restarts: 0,
        };
        let slot = if let Some(slot) = self.vacant.pop() {
            self.live[slot as usize] = live;
            self.tickets[slot as usize] = ticket;
            slot
        } else {
            self.live.push(live);
            self.tickets.push(ticket);
            self.live.len() as u32 - 1
        };
        self.queue.join(self.rank(&request), request.id, slot);
    }

    /// Blocks for so many tokens.
    #[inline]
    pub(in crate::sim) fn blocks_for(&self, tokens: u32) -> u32 {
        tokens.div_ceil(self.config.block_tokens)
    }

    /// Requests of one batch; a pipeline shares the admitted ones among its stages.
    pub(in crate::sim) fn micro_batch(&self) -> usize {
        (self.config.batch_size_cap / self.config.pipeline_stages) as usize
    }

    /// Gives a request blocks.
    #[inline]
    pub(in crate::sim) fn give(&mut self, slot: u32, blocks: u32) {
        self.kv.take(&mut self.tickets[slot as usize].holding, blocks);
        self.live[slot as usize].room += blocks * self.config.block_tokens;
    }

    /// Takes the head of the queue, and gives it `blocks`.
    pub(in crate::sim) fn admit(&mut self, blocks: u32) -> u32 {
        let slot = self
            .queue
            .pop()
            .expect("the policy looked at the head of the queue");
        self.give(slot, blocks);
        self.tickets[slot as usize]
            .first_scheduled
            .get_or_insert(self.now);
        self.admitted += 1;
        slot
    }

    /// Publishes the pages that a request's first `reaches` tokens fill.
    pub(in crate::sim) fn publish(&mut self, slot: u32, reaches: u32) {
        if self.kv.keeps_prefixes() {
            let Self {
                kv,
                tickets,
                prefixes,
                ..
            } = self;
            let ticket = &mut tickets[slot as usize];
            kv.publish(
                &mut ticket.holding,
                full_pages(prefixes, &ticket.request, reaches),
            );
        }
    }

    /// Whether a request still has pages to publish.
    pub(in crate::sim) fn publishes(&self, slot: u32) -> bool {
        let ticket = &self.tickets[slot as usize];
        ticket.holding.pages() < ticket.request.prefix.len
    }

    /// Tries to admit the head of the queue with what the prefix cache holds of it, and room for as many of the other
    /// tokens as `budget` allows. Says which request and how many tokens.
    pub(in crate::sim) fn admit_with_prefix(&mut self, budget: u32, spare: u32) -> Option<Member> {
        let slot = self.queue.front()?;
        let Self {
            kv,
            live,
            tickets,
            prefixes,
            ..
        } = self;
        let live = &mut live[slot as usize];
        let ticket = &mut tickets[slot as usize];
        let mut pages = full_pages(prefixes, &ticket.request, live.prefill);
        pages = &pages[..kv.cached_pages(pages) as usize];
        // Something must be computed for a token to come out.
        if pages.len() as u32 * prefixes.tokens_per_hash == live.prefill {
            pages = &pages[..pages.len().saturating_sub(1)];
        }
        let cached = pages.len() as u32 * prefixes.tokens_per_hash;
        let tokens = (live.prefill - cached).min(budget);
        let block = self.config.block_tokens;
        let blocks = (cached + tokens).div_ceil(block) - cached.div_ceil(block);
        if !kv.admit(&mut ticket.holding, pages, blocks, spare) {
            return None;
        }
        live.room = ticket.holding.blocks * block;
        live.processed = cached;
        ticket.cached = cached;
        ticket.first_scheduled.get_or_insert(self.now);
        self.queue.pop();
        self.admitted += 1;
        self.hits += u64::from(cached);
        Some(Member { slot, tokens })
    }

    /// Tokens of a request that has not come yet which the prefix cache holds.
    pub(in crate::sim) fn cached_tokens(&self, request: &Request) -> u32 {
        self.kv.cached_pages(self.prefixes.of(request.prefix)) * self.prefixes.tokens_per_hash
    }

    /// Takes everything from an admitted request and lets it wait, to be computed anew.
    pub(in crate::sim) fn preempt(&mut self, slot: u32) {
        let live = &mut self.live[slot as usize];
        live.prefill = match self.config.rules {
            Rules::Engine => live.prefill.max(live.processed),
            Rules::Vidur => live.processed,
        };
        live.processed = 0;
        live.room = 0;
        let ticket = &mut self.tickets[slot as usize];
        ticket.restarts += 1;
        self.kv.release(&mut ticket.holding);
        let request = ticket.request;
        self.queue.rejoin(self.rank(&request), request.id, slot);
        self.admitted -= 1;
        self.restarts += 1;
    }

    /// Adds a request to a batch.
    #[inline]
    pub(in crate::sim) fn enlist(&self, batch: &mut Batch, slot: u32, tokens: u32) {
        let live = &self.live[slot as usize];
        if live.prefilled() {
            batch.shape.add_decode(live.processed);
        } else {
            let ends = live.processed + tokens == live.prefill;
            batch.shape.add_prefill(live.processed, tokens, ends);
        }
        batch.members.push(Member { slot, tokens });
    }

    /// Forgets an admitted request that has ended.
    pub(in crate::sim) fn leave(&mut self, slot: u32) {
        self.forget(slot);
        self.admitted -= 1;
    }

    /// Forgets an admitted request, but not that it holds room.
    pub(in crate::sim) fn leave_room_behind(&mut self, slot: u32) {
        self.vacant.push(slot);
        self.admitted -= 1;
    }

    /// Forgets a request that has ended or is refused.
    pub(in crate::sim) fn forget(&mut self, slot: u32) {
        self.kv.release(&mut self.tickets[slot as usize].holding);
        self.vacant.push(slot);
    }

    /// Sorts the running requests by arrival; those that came together stay as they are.
    pub(in crate::sim) fn sort_running(&mut self) {
        if std::mem::take(&mut self.disordered) {
            let tickets = &self.tickets;
            self.running
                .sort_by_key(|&slot| tickets[slot as usize].request.arrival);
        }
    }

    /// Gives every decode of the front of `running` its block, one after the other, until `room` are in the batch. Where
    /// no block is left the last of `running` gives way, at last the request itself. Prefills that are met on the way are
    /// put into `prefills`.
    pub(in crate::sim) fn schedule_decodes(
        &mut self,
        batch: &mut Batch,
        room: usize,
        prefills: &mut Vec<u32>,
    ) {
        let mut running = std::mem::take(&mut self.running);
        let (mut next, mut end) = (0, running.len());
        'requests: while next < end && batch.len() < room {
            let slot = running[next];
            next += 1;
            let live = self.live[slot as usize];
            if !live.prefilled() {
                prefills.push(slot);
                continue;
            }
            while self.kv.free() == 0 {
                if next == end {
                    self.preempt(slot);
                    break 'requests;
                }
                end -= 1;
                self.preempt(running[end]);
            }
            if live.processed > live.room {
                self.give(slot, 1);
            }
            batch.shape.add_decode(live.processed);
            batch.members.push(Member { slot, tokens: 1 });
        }
        running.truncate(end);
        running.drain(..next);
        self.running = running;
    }
}

/// The hashes of a request's first `tokens` tokens, as far as they fill pages and are known.
fn full_pages<'a>(prefixes: &'a PrefixTable, request: &Request, tokens: u32) -> &'a [u32] {
    let hashes = prefixes.of(request.prefix);
    let full = tokens.checked_div(prefixes.tokens_per_hash).unwrap_or(0) as usize;
    &hashes[..full.min(hashes.len())]
}
