//! Which requests an iteration holds.
//!
//! A policy is a function: it sees the `State` of a replica, moves requests between its queue and a `Batch`, and
//! knows neither time nor cost.

mod faster_transformer;
mod group;
mod lightllm;
mod orca;
mod sarathi;
pub(super) mod state;
mod vllm;
mod vllm_v1;

use serde::{Deserialize, Serialize};

use state::{Batch, State};

/// A batch policy, by the name that the config explorer's YAML gives it, and what it needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "scheduler", deny_unknown_fields)]
pub enum Batching {
    /// vLLM before version 1: whole prompts, alone, before any decode.
    Vllm {
        /// Most tokens of a prefill batch, counted as requests times the longest prompt.
        max_tokens_in_batch: u32,
    },
    /// vLLM from version 1: running requests first, then waiting ones, under one token budget.
    VllmV1 {
        /// Token budget of an iteration.
        chunk_size: u32,
    },
    /// Sarathi-Serve: decodes first, the rest of the chunk for prefills.
    Sarathi {
        /// Tokens of an iteration that prefills may fill.
        chunk_size: u32,
    },
    /// Orca: whole prompts among decodes; room for the longest request is set aside for each.
    Orca {},
    /// `FasterTransformer`: a batch is formed once and runs until its last request ends.
    FasterTransformer {},
    /// `LightLLM`: admits by the peak of the tokens to come, and prefills alone, every few iterations.
    Lightllm {
        /// Most tokens of a prefill batch.
        max_tokens_in_batch: u32,
        /// Decode iterations between two looks at the queue.
        max_waiting_iterations: u32,
    },
}

/// In which order a replica's waiting requests are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueOrder {
    /// First come, first served.
    #[default]
    Fcfs,
    /// Earliest deadline first.
    Edf,
}

impl State {
    /// Forms the next batch; it stays empty when nothing can be done.
    pub(super) fn plan(&mut self, batch: &mut Batch) {
        let restarts = self.restarts;
        self.plan_by_policy(batch);
        self.preempted = self.restarts > restarts;
    }

    fn plan_by_policy(&mut self, batch: &mut Batch) {
        match self.config.batching {
            Batching::Vllm { max_tokens_in_batch } => vllm::plan(self, max_tokens_in_batch, batch),
            Batching::VllmV1 { chunk_size } => vllm_v1::plan(self, chunk_size, batch),
            Batching::Sarathi { chunk_size } => sarathi::plan(self, chunk_size, batch),
            Batching::Orca {} => orca::plan(self, batch),
            Batching::FasterTransformer {} => faster_transformer::plan(self, batch),
            Batching::Lightllm {
                max_tokens_in_batch,
                max_waiting_iterations,
            } => lightllm::plan(self, max_tokens_in_batch, max_waiting_iterations, batch),
        }
    }

    /// How many iterations a batch of decodes stays as it is, apart from what ends it in any case: an arrival, a
    /// completion, a lack of blocks. While it runs the queue cannot move, for what holds its head up, the cap, the budget
    /// or the room, does not ease; but after a preemption it was not looked at.
    pub(super) fn unchanged(&self) -> u32 {
        if self.preempted {
            return 1;
        }
        match self.config.batching {
            Batching::Lightllm {
                max_waiting_iterations,
                ..
            } => (max_waiting_iterations + 1)
                .saturating_sub(self.since_look)
                .max(1),
            _ => u32::MAX,
        }
    }

    /// Iterations went by without a plan.
    pub(super) fn skipped(&mut self, iterations: u32) {
        self.since_look += iterations;
    }

    /// Tokens beyond those computed that a decode needs room for: `vllm_v1` wants it for the token to come, the others for
    /// the tokens before it, and those that set room aside want none.
    fn ahead(&self) -> Option<u32> {
        match self.config.batching {
            Batching::VllmV1 { .. } => Some(1),
            Batching::Orca {} | Batching::FasterTransformer {} => None,
            _ => Some(0),
        }
    }

    /// Whether decodes can go through `steps` iterations after the planned one without any change but theirs. So many
    /// blocks must be free, and one be left, for a policy may preempt when there is none; and nobody who waits for room may
    /// find more of its prefix in the cache than before.
    pub(super) fn has_room(&self, batch: &Batch, steps: u32) -> bool {
        let Some(ahead) = self.ahead() else { return true };
        if self.kv.keeps_prefixes()
            && !self.queue.is_empty()
            && batch.members.iter().any(|m| self.publishes(m.slot))
        {
            return false;
        }
        let spare = match self.config.batching {
            Batching::VllmV1 { .. } => self.blocks_for(self.config.preallocate_tokens),
            _ => 0,
        };
        let mut needed = 0;
        for member in &batch.members {
            let live = &self.live[member.slot as usize];
            let lacking = (live.processed + steps + ahead).saturating_sub(live.room);
            if lacking > 0 {
                needed += self.blocks_for(lacking).next_multiple_of(spare + 1);
            }
        }
        needed < self.kv.free()
    }

    /// Gives a decode the blocks that `steps` iterations after the planned one take. Says for how many iterations in all
    /// these blocks are held within the `steps`. Only called where there is room.
    pub(super) fn grow_by(&mut self, slot: u32, steps: u32) -> u64 {
        let Some(ahead) = self.ahead() else { return 0 };
        let reached = self.live[slot as usize].processed + ahead;
        let mut held = 0;
        loop {
            let room = self.live[slot as usize].room;
            if reached + steps <= room {
                break;
            }
            // The first iteration after the planned one that lacks a block.
            let lacking = (room + 1).saturating_sub(reached).max(1);
            if ahead > 0 {
                vllm_v1::extend(self, slot, reached + lacking);
            } else {
                self.give(slot, 1);
            }
            let taken = (self.live[slot as usize].room - room) / self.config.block_tokens;
            held += u64::from(taken) * u64::from(steps - lacking + 1);
        }
        if ahead > 0 {
            self.publish(slot, reached + steps);
        }
        held
    }
}
