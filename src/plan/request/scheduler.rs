//! Schedulers by the names that requests give them.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::explore::Numbers;
use crate::sim::batching::Batching;

/// Names that are known.
const KNOWN: &str = "vllm, vllm_v1, sarathi, orca, faster_transformer, lightllm";
/// Tokens of an iteration, where nothing is said.
const CHUNK: u32 = 512;
/// Most tokens of a batch of whole prompts, where nothing is said: as Vidur has it.
const WHOLE_PROMPTS: u32 = 4_096;

/// A name, or a name with its numbers.
#[derive(Clone, Debug)]
pub(super) enum SchedulerEntry {
    Named(String),
    Full(FullEntry),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FullEntry {
    scheduler: String,
    chunk_size: Option<Numbers<u32>>,
    max_tokens_in_batch: Option<Numbers<u32>>,
    max_waiting_iterations: Option<u32>,
}

struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = SchedulerEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a scheduler, one of {KNOWN}, or {{scheduler: sarathi, chunk_size: 512}}"
        )
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(SchedulerEntry::Named(name.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        FullEntry::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(SchedulerEntry::Full)
    }
}

impl<'de> Deserialize<'de> for SchedulerEntry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reading)
    }
}

impl SchedulerEntry {
    /// The policies that it stands for: one for each chunk size.
    pub(super) fn policies(&self) -> Result<Vec<Batching>, String> {
        let (name, full) = match self {
            Self::Named(name) => (name, None),
            Self::Full(full) => (&full.scheduler, Some(full)),
        };
        let key = name.to_lowercase().replace('-', "_");
        let chunks = full.and_then(|f| f.chunk_size.as_ref());
        let whole = full.and_then(|f| f.max_tokens_in_batch.as_ref());
        let wait = full.and_then(|f| f.max_waiting_iterations);
        let listed = |given: Option<&Numbers<u32>>, default| given.map_or(vec![default], |all| all.0.clone());
        let needless = |key: &str, given: bool| {
            if given {
                return Err(format!("schedulers, {name}: it has no {key}; remove it"));
            }
            Ok(())
        };
        let (takes_chunks, takes_whole, takes_wait) = match key.as_str() {
            "vllm_v1" | "sarathi" => (true, false, false),
            "vllm" => (false, true, false),
            "lightllm" => (false, true, true),
            "orca" | "faster_transformer" | "fastertransformer" => (false, false, false),
            _ => return Err(format!("schedulers: `{name}` is not known; known are {KNOWN}")),
        };
        needless("chunk_size", chunks.is_some() && !takes_chunks)?;
        needless("max_tokens_in_batch", whole.is_some() && !takes_whole)?;
        needless("max_waiting_iterations", wait.is_some() && !takes_wait)?;
        let chunks = listed(chunks, CHUNK).into_iter();
        let whole = listed(whole, WHOLE_PROMPTS).into_iter();
        Ok(match key.as_str() {
            "vllm_v1" => chunks.map(|chunk_size| Batching::VllmV1 { chunk_size }).collect(),
            "sarathi" => chunks
                .map(|chunk_size| Batching::Sarathi { chunk_size })
                .collect(),
            "vllm" => whole
                .map(|max_tokens_in_batch| Batching::Vllm { max_tokens_in_batch })
                .collect(),
            "lightllm" => whole
                .map(|max_tokens_in_batch| Batching::Lightllm {
                    max_tokens_in_batch,
                    max_waiting_iterations: wait.unwrap_or(10),
                })
                .collect(),
            "orca" => vec![Batching::Orca {}],
            _ => vec![Batching::FasterTransformer {}],
        })
    }
}

/// The name of a policy, as requests and reports have it.
pub fn name_of(policy: Batching) -> &'static str {
    match policy {
        Batching::Vllm { .. } => "vllm",
        Batching::VllmV1 { .. } => "vllm_v1",
        Batching::Sarathi { .. } => "sarathi",
        Batching::Orca {} => "orca",
        Batching::FasterTransformer {} => "faster_transformer",
        Batching::Lightllm { .. } => "lightllm",
    }
}

/// `vllm`, `orca` and `sarathi`.
pub(super) fn defaults() -> Vec<Batching> {
    vec![
        Batching::Vllm {
            max_tokens_in_batch: WHOLE_PROMPTS,
        },
        Batching::Orca {},
        Batching::Sarathi { chunk_size: CHUNK },
    ]
}
