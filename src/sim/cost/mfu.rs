//! Operations, and their share of what the datasheet promises.

use crate::sim::catalog::{Gpu, ModelShape};

/// Operations of a run: two a weight and token, and four a pair of query and key, head element and layer. The pairs
/// are those that a causal mask leaves; embedding and head are not counted.
pub fn flops(model: &ModelShape, tokens: u64, pairs: u64) -> f64 {
    let attention = 4.0 * f64::from(model.layers) * f64::from(model.q_heads) * f64::from(model.head_dim);
    2.0 * model.transformer_parameters() as f64 * tokens as f64 + attention * pairs as f64
}

/// Share of the datasheet's peak that `gpus` GPUs reached over `seconds`: model FLOPs utilisation, zero for no time.
pub fn mfu(model: &ModelShape, gpu: &Gpu, gpus: u32, tokens: u64, pairs: u64, seconds: f64) -> f64 {
    let possible = gpu.flops(model.weight_bytes) * f64::from(gpus) * seconds;
    if possible > 0.0 {
        flops(model, tokens, pairs) / possible
    } else {
        0.0
    }
}
