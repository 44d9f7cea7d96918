//! A small engine given by numbers.

use serde::{Deserialize, Serialize};

use crate::sim::Time;
use crate::sim::batching::{Batching, QueueOrder};
use crate::sim::cluster::{EngineConfig, Rules};
use crate::sim::cost::{BatchShape, CostModel, StageTime};

/// An engine with continuous batching, whose iterations last a constant, so much a running sequence, and so much a token
/// of a prompt: `step_ms + step_ms_per_sequence * n + prefill_ms_per_token * p`.
///
/// Prompts are computed among the decodes, whole or in chunks. With whole prompts, and room for a full batch, the engine
/// sustains `(B / L) / (t0 + t1 B + t2 I B / L)` requests a second, with `B` sequences in the batch, `L` and `I` the mean
/// lengths of responses and prompts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AffineEngine {
    /// Most sequences in a batch.
    pub batch: u32,
    /// Milliseconds of an iteration without any sequence.
    pub step_ms: f64,
    /// Milliseconds that each sequence adds. Default 0.
    #[serde(default)]
    pub step_ms_per_sequence: f64,
    /// Milliseconds that each prompt token adds. Default 0.
    #[serde(default)]
    pub prefill_ms_per_token: f64,
    /// Most tokens of an iteration, decodes and prompts: longer prompts are computed in chunks. Default: prompts are
    /// computed whole.
    #[serde(default)]
    pub chunk_tokens: Option<u32>,
    /// Room of the KV cache in tokens. A request takes it as it grows; when there is none left the latest is preempted and
    /// computed anew, so that goodput falls beyond capacity. Default: room for all.
    #[serde(default)]
    pub kv_tokens: Option<u32>,
    /// Tokens of a KV block. Default 16.
    #[serde(default = "block")]
    pub block_tokens: u32,
    /// Whether prefixes that requests share are computed once. Default no.
    #[serde(default)]
    pub prefix_caching: bool,
}

const fn block() -> u32 {
    16
}

/// Room for all: as many blocks as this many requests of the longest kind take.
const UNLIMITED: u32 = 1 << 30;

impl AffineEngine {
    /// What does not do, by key, with what to write.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        /// A minute: longer steps are a mistake in the unit.
        const LONGEST_MS: f64 = 6e4;
        for (key, count) in [
            ("batch", self.batch),
            ("block_tokens", self.block_tokens),
            ("chunk_tokens", self.chunk_tokens.unwrap_or(1)),
            ("kv_tokens", self.kv_tokens.unwrap_or(1)),
        ] {
            if !(1..=1 << 24).contains(&count) {
                return Some((
                    key,
                    format!("{count} does not do; write a number from 1 to 16777216"),
                ));
            }
        }
        for (key, value) in [
            ("step_ms", self.step_ms),
            ("step_ms_per_sequence", self.step_ms_per_sequence),
            ("prefill_ms_per_token", self.prefill_ms_per_token),
        ] {
            if !(0.0..=LONGEST_MS).contains(&value) {
                return Some((
                    key,
                    format!("{value} does not do; write milliseconds from 0 to 60000"),
                ));
            }
        }
        (self.step_ms + self.step_ms_per_sequence < 1e-3).then(|| {
            let problem = "an iteration takes no time; write at least 0.001 milliseconds here or in step_ms_per_sequence";
            ("step_ms", problem.to_owned())
        })
    }

    /// As the simulator knows it.
    pub(super) fn engine(&self) -> EngineConfig {
        EngineConfig {
            batching: Batching::VllmV1 {
                chunk_size: self.chunk_tokens.unwrap_or(UNLIMITED),
            },
            queue: QueueOrder::Fcfs,
            batch_size_cap: self.batch,
            pipeline_stages: 1,
            blocks: self.kv_tokens.unwrap_or(UNLIMITED) / self.block_tokens,
            block_tokens: self.block_tokens,
            watermark: 0.0,
            preallocate_tokens: 0,
            prefix_caching: self.prefix_caching,
            rules: Rules::Engine,
            max_model_len: UNLIMITED,
        }
    }
}

impl CostModel for AffineEngine {
    fn stage(&self, shape: &BatchShape, _last: bool) -> StageTime {
        let prompts = f64::from(shape.tokens - shape.decodes);
        let ms = self.step_ms
            + self.step_ms_per_sequence * f64::from(shape.sequences)
            + self.prefill_ms_per_token * prompts;
        StageTime {
            total: Time::from_us(1e3 * ms),
            ..StageTime::default()
        }
    }

    fn steady(&self, _shape: &BatchShape) -> u32 {
        u32::MAX
    }
}
