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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::catalog::Catalog;

    #[test]
    fn a_prompt_s_operations_over_the_peak() {
        let catalog = Catalog::built_in().unwrap();
        let (model, gpu) = (
            catalog.model("llama-3.1-8b").unwrap(),
            catalog.gpu("h100").unwrap(),
        );
        // 2,048 tokens: 2 x 6.98e9 a token, and 4 x 32 layers x 4,096 a pair.
        let pairs = 2048_u32 * 2049 / 2;
        let expected = 2.0 * 6.979_321_856e9 * 2048.0 + 4.0 * 32.0 * 4096.0 * f64::from(pairs);
        assert!((flops(model, 2048, pairs.into()) / expected - 1.0).abs() < 1e-12);
        // The measured 43.5 ms are two thirds of the peak.
        let share = mfu(model, gpu, 1, 2048, pairs.into(), 0.0435);
        assert!((share - 0.69).abs() < 0.01, "{share}");
        assert_eq!(mfu(model, gpu, 2, 2048, pairs.into(), 0.0435), share / 2.0);
        assert_eq!(mfu(model, gpu, 1, 0, 0, 0.0), 0.0);
    }
}
