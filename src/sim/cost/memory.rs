//! What fits into a GPU's memory: weights, KV cache, and what the engine needs beside them.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::sim::catalog::{Gpu, ModelShape};

const GIB: f64 = (1_u64 << 30) as f64;

/// How memory is counted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "rule", deny_unknown_fields)]
pub enum MemoryRule {
    /// Vidur 2024-11: whole slots of the longest request; embedding and head left out.
    VidurMain {
        /// Longest request that the workload can have, in tokens: Vidur asks its length generator, not the model.
        max_tokens: u32,
        /// Share of the memory that is left free.
        margin: f64,
    },
    /// Vidur 2025-06: tokens, rounded down to blocks; embedding and head left out.
    VidurCanary {
        /// Share of the memory that is left free.
        margin: f64,
    },
    /// As an engine finds it: all weights, and room for activations, CUDA graphs and communication buffers.
    Engine {
        /// Share of the memory that the engine may use: vLLM's `gpu_memory_utilization`.
        utilization: f64,
        /// Most tokens of an iteration, on which the peak of the activations depends.
        max_batched_tokens: u32,
    },
}

/// A term of the sum, in bytes on one GPU.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemoryTerm {
    /// What it is, with its source.
    pub name: &'static str,
    /// Bytes.
    pub bytes: f64,
}

/// What is left for the KV cache.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemoryFit {
    /// KV blocks of a replica.
    pub blocks: u32,
    /// Tokens of a block.
    pub block_tokens: u32,
    /// Requests of the longest kind, by the rule that counts in these.
    pub slots: Option<u32>,
    /// Bytes of the weights on one GPU.
    pub weight_bytes: f64,
    /// Bytes of a token's keys and values on one GPU.
    pub kv_bytes_per_token: f64,
    /// Bytes left for the KV cache on one GPU.
    pub kv_bytes: f64,
    /// All terms, those above with them.
    pub terms: Vec<MemoryTerm>,
}

/// The model does not fit, or the layout is impossible.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct DoesNotFit(pub String);

/// How many KV blocks fit beside the weights, on a GPU of a replica of `tp` x `pp` GPUs.
///
/// # Errors
/// Nothing is left for the KV cache, or the layout is impossible; the message holds the arithmetic.
pub fn fit(
    model: &ModelShape,
    gpu: &Gpu,
    tp: u32,
    pp: u32,
    block_tokens: u32,
    rule: MemoryRule,
) -> Result<MemoryFit, DoesNotFit> {
    model.check_layout(tp, pp).map_err(DoesNotFit)?;
    if block_tokens == 0 {
        return Err(DoesNotFit("a KV block holds at least one token".to_owned()));
    }
    let sum = Sum::of(model, gpu, tp, pp, rule)?;
    let left = sum.left();
    let token = (model.kv_layer_bytes(tp) * u64::from(model.layers / pp)) as f64;
    let block = u64::from(block_tokens);
    let (blocks, slots) = match rule {
        MemoryRule::VidurMain { max_tokens, .. } => {
            let request =
                (model.kv_layer_bytes(tp) * u64::from(model.layers) * u64::from(max_tokens.max(1))) as f64;
            let slots = (left / request).floor().max(0.0);
            (
                u64::from(max_tokens / block_tokens) as f64 * slots * f64::from(pp),
                Some(slots as u32),
            )
        }
        MemoryRule::VidurCanary { .. } | MemoryRule::Engine { .. } => {
            (((left / token).floor().max(0.0) / block as f64).floor(), None)
        }
    };
    if blocks < 1.0 {
        return Err(DoesNotFit(sum.message(model, gpu, tp, pp, token)));
    }
    Ok(MemoryFit {
        blocks: blocks.min(f64::from(u32::MAX)) as u32,
        block_tokens,
        slots,
        weight_bytes: sum.weights,
        kv_bytes_per_token: token,
        kv_bytes: left,
        terms: sum.terms(),
    })
}

struct Sum {
    memory: f64,
    usable: f64,
    weights: f64,
    reserve: Vec<MemoryTerm>,
}

impl Sum {
    fn of(model: &ModelShape, gpu: &Gpu, tp: u32, pp: u32, rule: MemoryRule) -> Result<Self, DoesNotFit> {
        let layers = model.layer_weight_bytes(tp, pp) as f64;
        let (share, memory) = match rule {
            MemoryRule::VidurMain { margin, .. } | MemoryRule::VidurCanary { margin } => (
                1.0 - margin,
                gpu.vidur.map_or(gpu.memory_gib, |v| v.memory_gb) * GIB,
            ),
            MemoryRule::Engine { utilization, .. } => (utilization, gpu.memory_bytes()),
        };
        if !(share > 0.0 && share <= 1.0) {
            return Err(DoesNotFit(format!(
                "a share of {share} of the memory is usable; it must be within 0 and 1"
            )));
        }
        let (weights, reserve) = match rule {
            MemoryRule::Engine {
                max_batched_tokens, ..
            } => (
                layers + model.head_weight_bytes(tp, pp) as f64,
                reserve(model, tp, max_batched_tokens),
            ),
            _ => (layers, Vec::new()),
        };
        Ok(Self {
            memory,
            usable: memory * share,
            weights,
            reserve,
        })
    }

    fn reserved(&self) -> f64 {
        self.reserve.iter().map(|term| term.bytes).sum()
    }

    fn left(&self) -> f64 {
        self.usable - self.weights - self.reserved()
    }

    fn terms(&self) -> Vec<MemoryTerm> {
        let first = [
            MemoryTerm {
                name: "memory of the GPU",
                bytes: self.memory,
            },
            MemoryTerm {
                name: "usable share",
                bytes: self.usable,
            },
            MemoryTerm {
                name: "weights",
                bytes: self.weights,
            },
        ];
        first.into_iter().chain(self.reserve.iter().cloned()).collect()
    }

    fn message(&self, model: &ModelShape, gpu: &Gpu, tp: u32, pp: u32, token: f64) -> String {
        let gb = |bytes: f64| format!("{:.1} GB", bytes / 1e9);
        let gpus = tp * pp;
        let mut text = format!(
            "{} does not fit on {gpus} x {}: {} of weights / {gpus} = {} on a GPU, {} of {} usable",
            model.name,
            gpu.name,
            gb(self.weights * f64::from(gpus)),
            gb(self.weights),
            gb(self.usable),
            gb(self.memory),
        );
        if !self.reserve.is_empty() {
            let _ = write!(
                text,
                ", {} reserved for activations, graphs and communication",
                gb(self.reserved())
            );
        }
        let _ = write!(
            text,
            "; {} left for the KV cache of {:.0} kB a token. ",
            gb(self.left()),
            token / 1e3
        );
        text.push_str("Use more tensor or pipeline parallelism, a larger GPU, or a smaller model");
        text
    }
}

/// Room that an engine keeps beside weights and KV cache. The activations of a layer at its widest: the residual
/// stream twice, queries, keys and values, and the inner feed-forward width (twice with a gate), two bytes each; the
/// logits of a full batch in 4 bytes are the sampler's. Graphs 0.3 to 1 GiB and NCCL 0.35 GiB: what vLLM's log shows.
fn reserve(model: &ModelShape, tp: u32, max_batched_tokens: u32) -> Vec<MemoryTerm> {
    let (tokens, tp_f) = (f64::from(max_batched_tokens), f64::from(tp));
    let heads = f64::from(model.q_heads + 2 * model.kv_heads) * f64::from(model.head_dim) / tp_f;
    let inner = f64::from(model.ff_dim) * if model.gated_mlp { 2.0 } else { 1.0 } / tp_f;
    let layer = 2.0 * tokens * (2.0 * f64::from(model.embedding_dim) + heads + inner);
    let logits = 4.0 * tokens.min(256.0) * f64::from(model.vocab);
    let mut terms = vec![
        MemoryTerm {
            name: "activations at the token budget",
            bytes: layer,
        },
        MemoryTerm {
            name: "logits of 256 sequences",
            bytes: logits,
        },
        MemoryTerm {
            name: "CUDA context and workspace",
            bytes: 0.5 * GIB,
        },
        MemoryTerm {
            name: "CUDA graphs",
            bytes: 0.5 * GIB,
        },
    ];
    if tp > 1 {
        terms.push(MemoryTerm {
            name: "communication buffers",
            bytes: 0.35 * GIB,
        });
    }
    terms
}

#[cfg(test)]
mod tests;
