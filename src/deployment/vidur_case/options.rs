//! Vidur's options of a case, by the names of both versions, with their defaults.

use std::path::Path;

use serde_json::Value;

use super::{CaseFile, Resolved};
use crate::deployment::DeploymentError;
use crate::sim::Time;
use crate::sim::batching::{Batching, QueueOrder};
use crate::sim::cluster::{EngineConfig, Rules};
use crate::sim::cost::case::VidurVersion;
use crate::sim::router::RouterConfig;

/// The default of both versions for the longest request.
const MAX_TOKENS: u32 = 4_096;

/// The options of a case.
pub(super) struct Options<'a> {
    path: &'a Path,
    values: &'a serde_json::Map<String, Value>,
    resolved: &'a Resolved,
    version: VidurVersion,
}

impl<'a> Options<'a> {
    pub(super) fn new(path: &'a Path, case: &'a CaseFile, version: VidurVersion) -> Self {
        Self {
            path,
            values: &case.options,
            resolved: &case.resolved,
            version,
        }
    }

    /// An error of `case.json`.
    pub(super) fn wrong(&self, problem: &str) -> DeploymentError {
        DeploymentError::File {
            path: self.path.to_owned(),
            line: None,
            problem: problem.to_owned(),
        }
    }

    pub(super) fn replicas(&self) -> Result<u32, DeploymentError> {
        self.number("cluster_config_num_replicas", 1)
    }

    pub(super) fn time_limit(&self) -> Result<Time, DeploymentError> {
        // Vidur stops at the first event past the limit.
        let seconds: f64 = self.number("time_limit", 0.0)?;
        Ok(if seconds > 0.0 {
            Time::from_seconds(seconds) + Time::from_ps(1)
        } else {
            Time::MAX
        })
    }

    /// The trace that requests were taken from as they are, which may hold block hashes.
    pub(super) fn trace_file(&self) -> Option<&str> {
        self.text("trace_request_generator_config_trace_file")
    }

    /// The router, where it decides without drawing; `None` where the recorded choice must be followed.
    pub(super) fn router(&self, replicas: u32) -> Result<Option<RouterConfig>, DeploymentError> {
        if replicas == 1 {
            return Ok(Some(RouterConfig::RoundRobin));
        }
        let name = self.text("global_scheduler_config_type").unwrap_or("round_robin");
        match (name.to_lowercase().as_str(), self.version) {
            ("round_robin", _) => Ok(Some(RouterConfig::RoundRobin)),
            ("lor", VidurVersion::Main) => Ok(Some(RouterConfig::LorWaiting)),
            (known, _) if KNOWN_ROUTERS.contains(&known) => Ok(None),
            (other, _) => Err(self.wrong(&format!(
                "global_scheduler_config_type: `{other}` is no router of Vidur; known are {}",
                KNOWN_ROUTERS.join(", ")
            ))),
        }
    }

    /// A replica. `longest` is the longest request of the case, which Vidur has accepted.
    pub(super) fn engine(&self, longest: u32) -> Result<EngineConfig, DeploymentError> {
        let scheduler = self
            .text("replica_scheduler_config_type")
            .unwrap_or("sarathi")
            .to_lowercase();
        let own = |key: &str| format!("{scheduler}_scheduler_config_{key}");
        let chunk_size = || self.number(&own("chunk_size"), 512);
        let max_tokens_in_batch = || self.number(&own("max_tokens_in_batch"), 4_096);
        let batching = match scheduler.as_str() {
            "vllm" => Batching::Vllm {
                max_tokens_in_batch: max_tokens_in_batch()?,
            },
            "vllm_v1" => Batching::VllmV1 {
                chunk_size: chunk_size()?,
            },
            "sarathi" => Batching::Sarathi {
                chunk_size: chunk_size()?,
            },
            "orca" => Batching::Orca {},
            "faster_transformer" => Batching::FasterTransformer {},
            "lightllm" => Batching::Lightllm {
                max_tokens_in_batch: max_tokens_in_batch()?,
                max_waiting_iterations: self.number(&own("max_waiting_iters"), 10)?,
            },
            other => {
                return Err(self.wrong(&format!(
                    "replica_scheduler_config_type: `{other}` is not modelled; known are vllm, vllm_v1, sarathi, orca, \
                     faster_transformer, lightllm"
                )));
            }
        };
        let whole_requests = matches!(batching, Batching::Orca {} | Batching::FasterTransformer {});
        // The older version keeps the cache's options with the scheduler, the newer by themselves.
        let cache = |key: &str| match self.version {
            VidurVersion::Main => own(key),
            VidurVersion::Canary => format!("cache_config_{key}"),
        };
        let block_tokens = match self.resolved.block_size {
            Some(block) => block,
            None => self.number(&cache("block_size"), 16)?,
        };
        let Some(blocks) = self.resolved.num_blocks.or(self.optional(&cache("num_blocks"))?) else {
            return Err(self.wrong("resolved.num_blocks: the number of KV blocks is missing"));
        };
        let cap: u32 = match self.resolved.batch_size_cap {
            Some(cap) => cap,
            None => self.number(&own("batch_size_cap"), 128)?,
        };
        let room = self.max_tokens()? / block_tokens.max(1) * block_tokens;
        let planned = self.resolved.max_batch_size_memory_planner;
        let watermark = match self.resolved.watermark_blocks {
            // Half a block more, so that rounding down gives the number again.
            Some(kept) => (f64::from(kept) + 0.5) / f64::from(blocks.max(1)),
            None => self.number(&cache("watermark_blocks_fraction"), 0.01)?,
        };
        let queue = match self.text("request_queue_config_type") {
            Some(name) if name.eq_ignore_ascii_case("edf") => QueueOrder::Edf,
            _ => QueueOrder::Fcfs,
        };
        Ok(EngineConfig {
            batching,
            queue,
            batch_size_cap: match planned {
                Some(planned) if whole_requests => cap.min(planned as u32),
                _ => cap,
            },
            pipeline_stages: self.number("replica_config_num_pipeline_stages", 1)?,
            blocks,
            block_tokens,
            watermark,
            preallocate_tokens: self.number("cache_config_num_preallocate_tokens", 64)?,
            prefix_caching: self.flag("cache_config_enable_prefix_caching"),
            rules: Rules::Vidur,
            max_model_len: if whole_requests { room } else { longest },
        })
    }

    /// Seconds that a prefill may take for each prompt token, and at least in all: the deadlines of the `edf` queue.
    pub(super) fn deadlines(&self) -> Result<(f64, f64), DeploymentError> {
        Ok((
            self.number("slo_config_prefill_e2e_time_normalized", 0.0)?,
            self.number("slo_config_prefill_e2e_time_min", 0.0)?,
        ))
    }

    /// The longest request that the workload may have.
    fn max_tokens(&self) -> Result<u32, DeploymentError> {
        let generator = self.text("request_generator_config_type").unwrap_or("synthetic");
        if generator.to_lowercase().starts_with("trace") {
            return self.number("trace_request_generator_config_max_tokens", MAX_TOKENS);
        }
        let lengths = self
            .text("length_generator_config_type")
            .unwrap_or("fixed")
            .to_lowercase();
        self.number(
            &format!("{lengths}_request_length_generator_config_max_tokens"),
            MAX_TOKENS,
        )
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key).and_then(Value::as_str)
    }

    fn flag(&self, key: &str) -> bool {
        match self.values.get(key) {
            Some(Value::Bool(on)) => *on,
            // A flag without a value is on.
            Some(Value::Null) => true,
            Some(Value::String(text)) => text.is_empty() || text.eq_ignore_ascii_case("true"),
            _ => false,
        }
    }

    fn number<T: std::str::FromStr>(&self, key: &str, default: T) -> Result<T, DeploymentError> {
        Ok(self.optional(key)?.unwrap_or(default))
    }

    fn optional<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, DeploymentError> {
        let text = match self.values.get(key) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("none") => return Ok(None),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        text.parse()
            .map(Some)
            .map_err(|_| self.wrong(&format!("{key}: `{text}` is not such a number")))
    }
}

/// Routers that draw, or that need what the recorded requests do not tell; and those that do neither.
const KNOWN_ROUTERS: [&str; 11] = [
    "random",
    "round_robin",
    "lor",
    "lop",
    "lop_binary",
    "lop_batch_end",
    "lop_uncached",
    "sticky_round_robin",
    "sticky_lor",
    "ranked_sticky_lop_uncached",
    "tolerant_sticky_lop_uncached",
];
