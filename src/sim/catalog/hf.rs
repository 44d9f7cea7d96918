//! A model's shape from its Hugging Face `config.json`.

use serde::Deserialize;

use super::{CatalogError, ModelShape};

/// The keys that matter; those of GPT-NeoX, Falcon and Phi beside those of Llama.
#[derive(Debug, Deserialize)]
struct Config {
    #[serde(default)]
    model_type: String,
    #[serde(alias = "n_layer", alias = "num_layers")]
    num_hidden_layers: Option<u32>,
    #[serde(alias = "n_head")]
    num_attention_heads: Option<u32>,
    #[serde(alias = "num_kv_heads", alias = "n_head_kv")]
    num_key_value_heads: Option<u32>,
    head_dim: Option<u32>,
    #[serde(alias = "n_embd")]
    hidden_size: Option<u32>,
    #[serde(alias = "n_inner", alias = "ffn_hidden_size")]
    intermediate_size: Option<u32>,
    vocab_size: Option<u32>,
    #[serde(alias = "n_positions", alias = "max_sequence_length")]
    max_position_embeddings: Option<u32>,
    tie_word_embeddings: Option<bool>,
    #[serde(alias = "num_local_experts", alias = "n_routed_experts")]
    num_experts: Option<u32>,
    kv_lora_rank: Option<u32>,
}

/// Model types whose feed-forward part has no gate.
const UNGATED: [&str; 7] = ["gpt2", "gpt_neox", "opt", "falcon", "phi", "bloom", "starcoder2"];
/// Model types whose attention and feed-forward parts share one norm.
const ONE_NORM: [&str; 2] = ["phi", "cohere"];

pub(super) fn read(name: &str, json: &str) -> Result<ModelShape, CatalogError> {
    let wrong = |what: String| CatalogError::Model {
        name: name.to_owned(),
        what,
    };
    let config: Config = serde_json::from_str(json).map_err(|e| wrong(format!("config.json: {e}")))?;
    if config.num_experts.is_some_and(|n| n > 1) {
        return Err(wrong(
            "config.json: a mixture of experts is not modelled; use a dense model".to_owned(),
        ));
    }
    if config.kv_lora_rank.is_some() {
        return Err(wrong(
            "config.json: latent attention (kv_lora_rank) is not modelled".to_owned(),
        ));
    }
    let need = |value: Option<u32>, key: &str| {
        value.ok_or_else(|| {
            wrong(format!(
                "config.json: `{key}` is missing; is it the model's own file?"
            ))
        })
    };
    let q_heads = need(config.num_attention_heads, "num_attention_heads")?;
    let embedding_dim = need(config.hidden_size, "hidden_size")?;
    let shape = ModelShape {
        name: name.to_owned(),
        aliases: Vec::new(),
        layers: need(config.num_hidden_layers, "num_hidden_layers")?,
        q_heads,
        kv_heads: config.num_key_value_heads.unwrap_or(q_heads),
        head_dim: config.head_dim.unwrap_or_else(|| embedding_dim / q_heads.max(1)),
        embedding_dim,
        ff_dim: config.intermediate_size.unwrap_or(4 * embedding_dim),
        gated_mlp: !UNGATED.contains(&config.model_type.as_str()),
        vocab: need(config.vocab_size, "vocab_size")?,
        tied_embeddings: config.tie_word_embeddings.unwrap_or(false),
        post_attention_norm: !ONE_NORM.contains(&config.model_type.as_str()),
        max_context: need(config.max_position_embeddings, "max_position_embeddings")?,
        tensor_parallel: true,
        weight_bytes: 2,
        kv_bytes: 2,
    };
    shape.check()?;
    Ok(shape)
}
