//! How long an iteration takes, and what fits into memory.
//!
//! - [`case`]: the prediction tables of one Vidur run, with Vidur's own rounding.
//! - [`tables`]: profiles in Vidur's CSV formats, interpolated.
//! - [`fitted`]: whole iterations measured at some points.
//! - [`roofline`]: datasheet rates and the model's shape; needs no data.
//! - [`calibrated`]: the roofline with factors fitted to measurements.
//! - [`memory`]: KV blocks and what does not fit; [`mfu`]: operations against the datasheet's peak.

pub mod calibrated;
pub mod case;
mod dense;
mod error;
pub mod fitted;
mod input;
mod link;
pub mod memory;
pub mod mfu;
pub mod roofline;
pub mod tables;

use super::Time;

pub use error::CostError;
pub use input::Input;

/// What an iteration holds, as far as its duration depends on it: whole numbers, so that they can be kept up to date
/// without drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchShape {
    /// Sequences.
    pub sequences: u32,
    /// Tokens computed: one a decode, and the chunks of the prefills.
    pub tokens: u32,
    /// Sequences that decode.
    pub decodes: u32,
    /// Tokens in the KV cache of the decodes, that which is computed included, all together.
    pub decode_kv: u64,
    /// Sequences that prefill.
    pub prefills: u32,
    /// Tokens already in the KV cache of the prefills, all together.
    pub prefill_kv: u64,
    /// The same, each first rounded up to a multiple of 64.
    pub prefill_kv_64: u64,
    /// Sum of the squares of the chunks.
    pub prefill_squares: u64,
    /// Pairs of query and key that the prefills attend over: a chunk `c` after `k` tokens has `c k + c (c + 1) / 2`.
    pub prefill_pairs: u64,
    /// Sequences that yield a token: decodes, and prefills that end.
    pub outputs: u32,
}

impl BatchShape {
    /// Adds a decode whose sequence holds `kv` tokens.
    #[inline]
    pub fn add_decode(&mut self, kv: u32) {
        self.sequences += 1;
        self.tokens += 1;
        self.decodes += 1;
        self.decode_kv += u64::from(kv);
        self.outputs += 1;
    }

    /// Adds `count` decodes whose sequences hold `kv` tokens, all together.
    #[inline]
    pub fn add_decodes(&mut self, count: u32, kv: u64) {
        self.sequences += count;
        self.tokens += count;
        self.decodes += count;
        self.decode_kv += kv;
        self.outputs += count;
    }

    /// Adds `chunk` tokens of a prefill of which `kv` are computed; `ends` with the chunk or goes on.
    #[inline]
    pub fn add_prefill(&mut self, kv: u32, chunk: u32, ends: bool) {
        let (k, c) = (u64::from(kv), u64::from(chunk));
        self.sequences += 1;
        self.tokens += chunk;
        self.prefills += 1;
        self.prefill_kv += k;
        self.prefill_kv_64 += k.next_multiple_of(64);
        self.prefill_squares += c * c;
        self.prefill_pairs += c * k + c * (c + 1) / 2;
        self.outputs += u32::from(ends);
    }

    /// The shape `steps` decode iterations later. Only for a batch without prefills.
    #[must_use]
    pub fn after(mut self, steps: u32) -> Self {
        self.decode_kv += u64::from(steps) * u64::from(self.decodes);
        self
    }
}

/// The duration of an iteration on one pipeline stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StageTime {
    /// All of it.
    pub total: Time,
    /// The part of the operating system and the scheduler, CPU overhead; the rest is the model's.
    pub overhead: Time,
    /// Whether a table was left on the way: the number is then an extrapolation.
    pub extrapolated: bool,
}

/// Says how long an iteration takes: a pure function of what it holds.
pub trait CostModel: Send + Sync + std::fmt::Debug {
    /// The duration on a pipeline stage. The last stage sends nothing on.
    fn stage(&self, shape: &BatchShape, last: bool) -> StageTime;

    /// For a batch without prefills: how many iterations from this one on, at least one, take just as long as this one
    /// while every sequence grows by a token an iteration. A model whose time changes with every token says one.
    fn steady(&self, shape: &BatchShape) -> u32;
}
