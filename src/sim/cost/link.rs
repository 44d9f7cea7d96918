//! Communication by the datasheet of the link, where no profile says more.

use crate::sim::catalog::Gpu;

/// A collective's fixed cost, in ms: about what NCCL's small all-reduces take within a node in Vidur's profiles.
const REDUCE_MS: f64 = 0.02;
/// The same of a message to the next stage.
const SEND_MS: f64 = 0.01;

/// A time that is a constant and a share of the tokens, in ms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) constant: f64,
    pub(super) per_token: f64,
}

impl Line {
    const NONE: Self = Self {
        constant: 0.0,
        per_token: 0.0,
    };

    pub(super) fn at(self, tokens: u32) -> f64 {
        self.constant + self.per_token * f64::from(tokens)
    }

    /// One all-reduce over `tp` GPUs: each byte crosses a link `2 (tp - 1) / tp` times.
    pub(super) fn all_reduce(gpu: &Gpu, tp: u32, token_bytes: f64) -> Self {
        if tp < 2 {
            return Self::NONE;
        }
        let crossings = 2.0 * f64::from(tp - 1) / f64::from(tp);
        Self {
            constant: REDUCE_MS,
            per_token: crossings * Self::per_byte(gpu, tp) * token_bytes,
        }
    }

    /// Sending the residual stream on to the next of `pp` stages.
    pub(super) fn send(gpu: &Gpu, tp: u32, pp: u32, token_bytes: f64) -> Self {
        if pp < 2 {
            return Self::NONE;
        }
        Self {
            constant: SEND_MS,
            per_token: Self::per_byte(gpu, tp * pp) * token_bytes,
        }
    }

    /// Milliseconds a byte, one way, between `gpus` GPUs.
    fn per_byte(gpu: &Gpu, gpus: u32) -> f64 {
        let gb_s = if gpus > gpu.per_node {
            gpu.inter_node_gb_s
        } else {
            gpu.link.gb_s / 2.0
        };
        1e3 * gpu.efficiency.communication / (gb_s * 1e9)
    }
}
