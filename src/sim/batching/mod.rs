//! Which requests an iteration holds.

use serde::{Deserialize, Serialize};

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
    /// FasterTransformer: a batch is formed once and runs until its last request ends.
    FasterTransformer,
    /// LightLLM: admits by the peak of the tokens to come, and prefills alone, every few iterations.
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
