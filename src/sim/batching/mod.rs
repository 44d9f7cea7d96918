//! Which requests an iteration holds.
//!
//! A policy is a function: it sees the [`State`] of a replica, moves requests between its queue and a [`Batch`], and
//! knows neither time nor cost.

mod faster_transformer;
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
    Orca,
    /// `FasterTransformer`: a batch is formed once and runs until its last request ends.
    FasterTransformer,
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
        match self.config.batching {
            Batching::Vllm { max_tokens_in_batch } => vllm::plan(self, max_tokens_in_batch, batch),
            Batching::VllmV1 { chunk_size } => vllm_v1::plan(self, chunk_size, batch),
            Batching::Sarathi { chunk_size } => sarathi::plan(self, chunk_size, batch),
            Batching::Orca => orca::plan(self, batch),
            Batching::FasterTransformer => faster_transformer::plan(self, batch),
            Batching::Lightllm {
                max_tokens_in_batch,
                max_waiting_iterations,
            } => lightllm::plan(self, max_tokens_in_batch, max_waiting_iterations, batch),
        }
    }

    /// How many iterations a batch of decodes stays as it is, apart from what ends it in any case: an arrival, a
    /// completion, a lack of blocks. While it runs the queue cannot move, for what holds its head up, the cap, the budget
    /// or the room, does not ease.
    pub(super) fn unchanged(&self) -> u32 {
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

    /// Grows a decoding request by the blocks that `steps` iterations after the first take. Says for how many iterations
    /// in all these blocks are held within the `steps`. Only called where there is room.
    pub(super) fn grow_by(&mut self, slot: u32, steps: u32) -> u64 {
        let block = self.config.block_tokens;
        let vllm_v1 = matches!(self.config.batching, Batching::VllmV1 { .. });
        let set_aside = matches!(self.config.batching, Batching::Orca | Batching::FasterTransformer);
        let before = self.live[slot as usize].processed;
        let mut held = 0;
        if set_aside {
            return held;
        }
        // The iteration `i` after the first computes token `before + i + 1`; `vllm_v1` wants room for it, the others for
        // the tokens before it.
        let ahead = u32::from(vllm_v1);
        loop {
            let room = self.live[slot as usize].holding.blocks * block;
            // The first iteration after the planned one that lacks a block.
            let lacking = (room + 1).saturating_sub(before + ahead).max(1);
            if lacking > steps {
                break;
            }
            let blocks = self.live[slot as usize].holding.blocks;
            if vllm_v1 {
                vllm_v1::extend(self, slot, before + lacking + ahead);
            } else {
                self.kv.take(&mut self.live[slot as usize].holding, 1);
            }
            let taken = self.live[slot as usize].holding.blocks - blocks;
            held += u64::from(taken) * u64::from(steps - lacking + 1);
        }
        if vllm_v1 {
            self.publish(slot, before + steps + ahead);
        }
        held
    }

    /// Blocks that `steps` iterations after the planned one take for a decoding request, at most.
    pub(super) fn growth(&self, slot: u32, steps: u32) -> u32 {
        let live = &self.live[slot as usize];
        match self.config.batching {
            Batching::Orca | Batching::FasterTransformer => 0,
            Batching::VllmV1 { .. } => {
                let needed = self
                    .blocks_for(live.processed + 1 + steps)
                    .saturating_sub(live.holding.blocks);
                let spare = self.blocks_for(self.config.preallocate_tokens);
                needed.div_ceil(spare + 1) * (spare + 1)
            }
            _ => self
                .blocks_for(live.processed + steps)
                .saturating_sub(live.holding.blocks),
        }
    }
}
