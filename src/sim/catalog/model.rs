//! The shape of a dense transformer, and what follows from it.

use serde::{Deserialize, Serialize};

use super::CatalogError;

/// A dense transformer: all that memory and time depend on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a key of its own in the file"
)]
pub struct ModelShape {
    /// Hugging Face identifier.
    pub name: String,
    /// Other names.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Transformer layers.
    pub layers: u32,
    /// Query heads.
    pub q_heads: u32,
    /// Key and value heads; fewer than query heads is grouped-query attention.
    pub kv_heads: u32,
    /// Elements of a head.
    pub head_dim: u32,
    /// Width of the residual stream.
    pub embedding_dim: u32,
    /// Inner width of the feed-forward part.
    pub ff_dim: u32,
    /// Whether the feed-forward part has a gate: three matrices in place of two.
    #[serde(default = "yes")]
    pub gated_mlp: bool,
    /// Entries of the vocabulary.
    pub vocab: u32,
    /// Whether embedding and head are one matrix.
    #[serde(default)]
    pub tied_embeddings: bool,
    /// Whether a second norm stands between attention and the feed-forward part.
    #[serde(default = "yes")]
    pub post_attention_norm: bool,
    /// Longest sequence.
    pub max_context: u32,
    /// Whether its layers can be split over GPUs.
    #[serde(default = "yes")]
    pub tensor_parallel: bool,
    /// Bytes of a weight: 2 for BF16, 1 for FP8.
    #[serde(default = "two")]
    pub weight_bytes: u32,
    /// Bytes of an element of the KV cache.
    #[serde(default = "two")]
    pub kv_bytes: u32,
}

const fn yes() -> bool {
    true
}

const fn two() -> u32 {
    2
}

/// What follows the last `/`.
pub(super) fn last_part(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

impl ModelShape {
    /// Reads a Hugging Face `config.json`.
    ///
    /// # Errors
    /// Not JSON, a key is missing, or the architecture is none that is modelled (mixture of experts, latent attention).
    pub fn from_hf_config(name: &str, json: &str) -> Result<Self, CatalogError> {
        super::hf::read(name, json)
    }

    /// Parameters of one layer, norms left out.
    pub fn layer_parameters(&self) -> u64 {
        let (d, hd) = (u64::from(self.embedding_dim), u64::from(self.head_dim));
        let attention = d * hd * (2 * u64::from(self.q_heads) + 2 * u64::from(self.kv_heads));
        attention + self.mlp_matrices() * d * u64::from(self.ff_dim)
    }

    /// Parameters of all layers.
    pub fn transformer_parameters(&self) -> u64 {
        u64::from(self.layers) * self.layer_parameters()
    }

    /// Parameters of the embedding; those of the head are as many.
    pub fn embedding_parameters(&self) -> u64 {
        u64::from(self.vocab) * u64::from(self.embedding_dim)
    }

    /// All parameters, embedding and head with them.
    pub fn parameters(&self) -> u64 {
        let tables = if self.tied_embeddings { 1 } else { 2 };
        self.transformer_parameters() + tables * self.embedding_parameters()
    }

    /// Bytes of the layers' weights on one GPU of a stage. Key and value heads that do not divide are held twice.
    pub fn layer_weight_bytes(&self, tp: u32, pp: u32) -> u64 {
        let (d, hd, tp) = (
            u64::from(self.embedding_dim),
            u64::from(self.head_dim),
            u64::from(tp),
        );
        let (q, kv) = (
            u64::from(self.q_heads) / tp,
            u64::from(self.kv_heads).div_ceil(tp),
        );
        let layer = d * hd * (2 * q + 2 * kv) + self.mlp_matrices() * d * u64::from(self.ff_dim) / tp;
        u64::from(self.weight_bytes) * layer * u64::from(self.layers / pp)
    }

    /// Bytes of the embedding and the head on the GPU that holds most of them: with one stage it holds both, with
    /// several the first has the one and the last the other.
    pub fn head_weight_bytes(&self, tp: u32, pp: u32) -> u64 {
        let tables = if self.tied_embeddings || pp > 1 { 1 } else { 2 };
        u64::from(self.weight_bytes) * tables * self.embedding_parameters().div_ceil(u64::from(tp))
    }

    /// Bytes of one token's keys and values, on all GPUs together.
    pub fn kv_bytes_per_token(&self) -> u64 {
        self.kv_layer_bytes(1) * u64::from(self.layers)
    }

    /// Bytes of one token's keys and values in one layer, on one of `tp` GPUs.
    pub fn kv_layer_bytes(&self, tp: u32) -> u64 {
        let heads = u64::from(self.kv_heads.div_ceil(tp));
        2 * heads * u64::from(self.head_dim) * u64::from(self.kv_bytes)
    }

    /// Whether the other's layers are equal to its own, so that each operator takes as long.
    pub fn same_layers(&self, other: &Self) -> bool {
        let key = |m: &Self| {
            (
                m.q_heads,
                m.kv_heads,
                m.head_dim,
                m.embedding_dim,
                m.ff_dim,
                m.gated_mlp,
                m.post_attention_norm,
            )
        };
        key(self) == key(other)
    }

    /// Whether this layout is possible at all.
    ///
    /// # Errors
    /// Why it is not.
    pub fn check_layout(&self, tp: u32, pp: u32) -> Result<(), String> {
        let Self {
            q_heads,
            kv_heads,
            layers,
            ..
        } = *self;
        if tp == 0 || pp == 0 {
            return Err("tensor and pipeline parallelism are at least 1".to_owned());
        }
        if tp > 1 && !self.tensor_parallel {
            return Err(format!(
                "{} cannot be split by tensor parallelism: use 1, not {tp}",
                self.name
            ));
        }
        if tp > q_heads {
            return Err(format!(
                "{} has {q_heads} query heads, fewer than tensor parallelism {tp}",
                self.name
            ));
        }
        for (what, number) in [
            ("query heads", q_heads),
            ("embedding width", self.embedding_dim),
            ("feed-forward width", self.ff_dim),
        ] {
            if number % tp != 0 {
                return Err(format!(
                    "tensor parallelism {tp} does not divide the {number} {what} of {}",
                    self.name
                ));
            }
        }
        if !kv_heads.is_multiple_of(tp) && !tp.is_multiple_of(kv_heads) {
            return Err(format!(
                "tensor parallelism {tp} and the {kv_heads} KV heads of {} do not divide",
                self.name
            ));
        }
        if layers % pp != 0 {
            return Err(format!(
                "{pp} pipeline stages do not divide the {layers} layers of {}",
                self.name
            ));
        }
        Ok(())
    }

    pub(super) fn is_called(&self, name: &str) -> bool {
        let wanted = last_part(name);
        std::iter::once(&self.name)
            .chain(&self.aliases)
            .any(|k| last_part(k).eq_ignore_ascii_case(wanted))
    }

    pub(super) fn check(&self) -> Result<(), CatalogError> {
        let wrong = |what: String| {
            Err(CatalogError::Model {
                name: self.name.clone(),
                what,
            })
        };
        for (key, value) in [
            ("layers", self.layers),
            ("q_heads", self.q_heads),
            ("kv_heads", self.kv_heads),
            ("head_dim", self.head_dim),
            ("embedding_dim", self.embedding_dim),
            ("ff_dim", self.ff_dim),
            ("vocab", self.vocab),
            ("max_context", self.max_context),
            ("weight_bytes", self.weight_bytes),
            ("kv_bytes", self.kv_bytes),
        ] {
            if value == 0 {
                return wrong(format!("{key} is 0; give the number of its configuration"));
            }
        }
        if !self.q_heads.is_multiple_of(self.kv_heads) {
            return wrong(format!(
                "{} query heads cannot share {} KV heads",
                self.q_heads, self.kv_heads
            ));
        }
        Ok(())
    }

    fn mlp_matrices(&self) -> u64 {
        if self.gated_mlp { 3 } else { 2 }
    }
}
