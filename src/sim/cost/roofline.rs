//! Datasheet rates and the model's shape: a cost model that needs no data.
//!
//! An iteration on one of `pp` stages of `tp` GPUs takes
//!
//! ```text
//! step + sequence S + layer L/pp + [(w T_weights)^4 + (g T_gemm)^4]^(1/4) + k T_kv + a T_attention + T_communication
//! T_weights = weights touched / (tp BW)          T_gemm      = 2 (N_layers tokens + N_head outputs) / (tp F)
//! T_kv      = KV read / BW                       T_attention = 4 L H hd pairs / (pp tp F)
//! ```
//!
//! with the factors of [`Efficiency`](crate::sim::catalog::Efficiency). `step` and `sequence` are the CPU's; the head
//! and the sampling belong to the last stage. The mean KV length of the decodes counts in steps of `KV_STEP` tokens,
//! at the middle of each, so that many iterations in a row take equally long.

use super::dense::{mean_kv, until_down};
use super::link::Line;
use super::{BatchShape, CostError, CostModel, StageTime};
use crate::sim::Time;
use crate::sim::catalog::{Gpu, ModelShape};

/// Steps in which the mean KV length of decodes counts.
pub(super) const KV_STEP: u64 = 32;

/// The middle of the step in which the mean KV length of the decodes lies.
pub(super) fn stepped_kv(shape: &BatchShape) -> f64 {
    (mean_kv(shape) / KV_STEP * KV_STEP + KV_STEP / 2) as f64
}

/// Time of an iteration from what must be moved and computed.
#[derive(Clone, Debug)]
pub struct Roofline {
    /// Milliseconds: streaming the weights of the layers, of the head; computing a token in the layers, in the head.
    weights: f64,
    head_weights: f64,
    token: f64,
    head_token: f64,
    /// Reading a token of KV, a pair of query and key.
    kv: f64,
    pair: f64,
    /// Launches of the layers, on the GPU's time; CPU time of an iteration and of a sequence.
    launch: f64,
    step: f64,
    sequence: f64,
    /// All-reduces of all layers; sending on.
    reduce: Line,
    send: Line,
    stages: f64,
}

impl Roofline {
    /// For one model, GPU and layout.
    ///
    /// # Errors
    /// The layout is impossible.
    pub fn new(model: &ModelShape, gpu: &Gpu, tp: u32, pp: u32) -> Result<Self, CostError> {
        model.check_layout(tp, pp).map_err(CostError::Layout)?;
        let e = &gpu.efficiency;
        let (byte, flop) = (1e3 / gpu.bandwidth(), 1e3 / gpu.flops(model.weight_bytes));
        let attention_flop = 1e3 / gpu.flops(2);
        let layers = f64::from(model.layers / pp);
        let layer_bytes = model.layer_weight_bytes(tp, pp) as f64;
        let head = model.embedding_parameters() as f64 / f64::from(tp);
        let heads = f64::from(model.q_heads) * f64::from(model.head_dim) / f64::from(tp);
        let token_bytes = 2.0 * f64::from(model.embedding_dim);
        let reduce = Line::all_reduce(gpu, tp, token_bytes);
        Ok(Self {
            weights: e.weights * layer_bytes * byte,
            head_weights: e.weights * head * f64::from(model.weight_bytes) * byte,
            token: e.gemm * 2.0 * layer_bytes / f64::from(model.weight_bytes) * flop,
            head_token: e.gemm * 2.0 * head * flop,
            kv: e.kv * model.kv_layer_bytes(tp) as f64 * layers * byte,
            pair: e.attention * 4.0 * layers * heads * attention_flop,
            launch: 1e-3 * e.layer_us * layers,
            step: 1e-3 * e.step_us,
            sequence: 1e-3 * e.sequence_us,
            reduce: Line {
                constant: 2.0 * layers * reduce.constant,
                per_token: 2.0 * layers * reduce.per_token,
            },
            send: Line::send(gpu, tp, pp, token_bytes),
            stages: f64::from(pp),
        })
    }

    /// Head and sampling of that many sequences, in ms, where the rest is known from elsewhere.
    pub(super) fn head_ms(&self, outputs: u32) -> f64 {
        smooth_max(self.head_weights, self.head_token * f64::from(outputs))
    }

    /// CPU time of an iteration, in ms; the last stage's.
    pub(super) fn overhead_ms(&self, shape: &BatchShape, last: bool) -> f64 {
        if last {
            self.step + self.sequence * f64::from(shape.sequences)
        } else {
            0.0
        }
    }

    /// A stage, in ms.
    pub(super) fn stage_ms(&self, shape: &BatchShape, last: bool) -> f64 {
        self.model_ms(shape, last) + self.overhead_ms(shape, last)
    }

    /// All stages one after the other, in ms.
    pub(super) fn whole_ms(&self, shape: &BatchShape) -> f64 {
        let first = if self.stages > 1.0 {
            self.stage_ms(shape, false)
        } else {
            0.0
        };
        (self.stages - 1.0) * first + self.stage_ms(shape, true)
    }

    /// A stage but the CPU's part, in ms.
    fn model_ms(&self, shape: &BatchShape, last: bool) -> f64 {
        let (head_weights, head_token, send) = if last {
            (self.head_weights, self.head_token * f64::from(shape.outputs), 0.0)
        } else {
            (0.0, 0.0, self.send.at(shape.tokens))
        };
        let gemm = self.token * f64::from(shape.tokens) + head_token;
        let kv = f64::from(shape.decodes) * stepped_kv(shape) + shape.prefill_kv as f64;
        self.launch
            + smooth_max(self.weights + head_weights, gemm)
            + self.kv * kv
            + self.pair * shape.prefill_pairs as f64
            + self.reduce.at(shape.tokens)
            + send
    }
}

/// The fourth root of the sum of fourth powers: the larger one, and somewhat more where both are equal.
fn smooth_max(a: f64, b: f64) -> f64 {
    let square = |x: f64| x * x;
    (square(square(a)) + square(square(b))).sqrt().sqrt()
}

impl CostModel for Roofline {
    fn stage(&self, shape: &BatchShape, last: bool) -> StageTime {
        StageTime {
            total: Time::from_us(1e3 * self.stage_ms(shape, last)),
            overhead: Time::from_us(1e3 * self.overhead_ms(shape, last)),
            extrapolated: false,
        }
    }

    fn steady(&self, shape: &BatchShape) -> u32 {
        until_down(mean_kv(shape), KV_STEP)
    }
}

#[cfg(test)]
mod tests;
