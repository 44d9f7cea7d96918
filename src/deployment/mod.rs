//! A cluster as a user describes it, and what it becomes: models and GPUs by name, profiles from folders, one cost model
//! for many runs. The only room of the simulator that reads files.
//!
//! [`Deployment`] is the description, [`Library`] what is known here; [`Deployment::cluster`] joins the two.

pub mod calibrated;
pub mod described;
mod error;
mod files;
mod library;
mod profiles;
pub mod run;
pub mod scenario;
pub mod vidur_case;
mod workload;
pub mod yaml;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::sim::batching::{Batching, QueueOrder};
use crate::sim::catalog::{Gpu, ModelShape};
use crate::sim::cluster::{ClusterConfig, EngineConfig, Rules, Totals};
use crate::sim::cost::BatchShape;
use crate::sim::cost::case::VidurVersion;
use crate::sim::cost::memory::{MemoryFit, MemoryRule};
use crate::sim::cost::mfu;
use crate::sim::cost::tables::Rounding;
use crate::sim::router::RouterConfig;

pub use error::DeploymentError;
pub use files::{open, trace};
pub use library::{Library, Places};
pub(crate) use workload::located;
pub use workload::{OpenWorkload, Replayed, Workload};

/// A cluster of equal replicas. A key that is left out has the default named here; `model` and `device` have none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// The model, by its name in the catalog or its Hugging Face identifier.
    pub model: String,
    /// The GPU, by its name in the catalog: `a100`, `h100`, ...; upper and lower case are the same.
    pub device: String,
    /// The kind of node, which says how its GPUs are joined: `a100_pairwise_nvlink`, `h100_dgx`, ... Default: the GPU's
    /// own in the catalog. It matters with more than one GPU a replica.
    #[serde(default)]
    pub network_device: Option<String>,
    /// GPUs that share each layer. Default 1.
    #[serde(default = "one")]
    pub tensor_parallel: u32,
    /// Pipeline stages. Default 1.
    #[serde(default = "one")]
    pub pipeline_parallel: u32,
    /// Replicas. Default 1.
    #[serde(default = "one")]
    pub replicas: u32,
    /// Which replica a request goes to. Default `round_robin`.
    #[serde(default)]
    pub router: RouterConfig,
    /// Which requests an iteration holds. Default `vllm_v1` with a chunk of 512 tokens.
    #[serde(default = "default_batching")]
    pub batching: Batching,
    /// Order of the waiting requests. Default `fcfs`.
    #[serde(default)]
    pub queue: QueueOrder,
    /// Most requests that a replica runs at once. Default 128.
    #[serde(default = "default_batch_size_cap")]
    pub batch_size_cap: u32,
    /// Tokens of a KV block. Default 16.
    #[serde(default = "default_block_tokens")]
    pub block_tokens: u32,
    /// KV blocks of a replica. Default: what the weights leave free of the GPU's memory.
    #[serde(default)]
    pub num_blocks: Option<u32>,
    /// Share of the GPU's memory that neither weights nor KV cache may use. Default 0.1.
    #[serde(default = "default_memory_margin")]
    pub memory_margin: f64,
    /// Share of the KV blocks that admission leaves free, `vllm` and `sarathi` only. Default 0.01.
    #[serde(default = "default_watermark")]
    pub watermark: f64,
    /// Tokens that `vllm_v1` allocates beyond those needed. Default 64.
    #[serde(default = "default_preallocate_tokens")]
    pub preallocate_tokens: u32,
    /// Whether prefixes that requests share are computed once, `vllm_v1` only. Default no.
    #[serde(default)]
    pub prefix_caching: bool,
    /// Longest request, prompt and response; longer ones are refused. Default 131072.
    #[serde(default = "default_max_model_len")]
    pub max_model_len: u32,
    /// Where iteration times come from. Default `auto`.
    #[serde(default)]
    pub cost: CostSource,
    /// Coefficient of variation of an iteration's duration. Default 0: none.
    #[serde(default)]
    pub noise: f64,
    /// Whose rules hold where simulators and engines differ. Default `engine`.
    #[serde(default)]
    pub semantics: Semantics,
}

/// Where the times of iterations come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostSource {
    /// Profiles where the library has all files that are needed, else the roofline. The result says which, and why.
    #[default]
    Auto,
    /// From the GPU's peak rates and the model's shape; needs no file.
    Roofline,
    /// Profiles in Vidur's layout; an error where one is missing.
    Profiles,
    /// A `fitted_profile.json`.
    Fitted(PathBuf),
    /// A `calibrated.json` of `mst calibrate`.
    Calibrated(PathBuf),
    /// A folder of prediction tables, as `mst simulate --vidur-case` reads them.
    Tables(PathBuf),
}

impl CostSource {
    /// Looks for its file or folder beside the file that names it, and then as it is.
    pub fn locate(&mut self, base: &Path) {
        match self {
            Self::Fitted(path) | Self::Calibrated(path) => *path = workload::located(base, path),
            Self::Tables(path) => {
                let joined = base.join(&path);
                if joined.exists() {
                    *path = joined;
                }
            }
            Self::Auto | Self::Roofline | Self::Profiles => {}
        }
    }
}

/// Whose rules hold where simulators and engines differ: what fits into memory, how profiles are read, what a preempted
/// request computes anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Semantics {
    /// As a real engine: head, sampling, CPU time and what an engine reserves of the memory count.
    #[default]
    Engine,
    /// As Vidur of 2024-11.
    VidurMain,
    /// As Vidur with the config explorer, 2025-06.
    VidurCanary,
}

impl Semantics {
    /// The version of Vidur whose tables are meant.
    pub(crate) fn vidur_version(self) -> VidurVersion {
        match self {
            Self::VidurMain => VidurVersion::Main,
            Self::Engine | Self::VidurCanary => VidurVersion::Canary,
        }
    }

    fn rounding(self) -> Rounding {
        match self {
            Self::Engine => Rounding::Exact,
            Self::VidurMain | Self::VidurCanary => Rounding::Vidur(self.vidur_version()),
        }
    }

    fn rules(self) -> Rules {
        match self {
            Self::Engine => Rules::Engine,
            Self::VidurMain | Self::VidurCanary => Rules::Vidur,
        }
    }
}

/// A cluster that can be simulated, and how it came about.
#[derive(Clone, Debug)]
pub struct BuiltCluster {
    /// What to simulate.
    pub config: ClusterConfig,
    /// Where its iteration times come from.
    pub origin: CostOrigin,
    /// The memory of a GPU.
    pub memory: MemoryFit,
    /// The model.
    pub model: ModelShape,
    /// The GPU.
    pub gpu: Gpu,
    /// GPUs of the whole cluster.
    pub gpus: u32,
}

impl BuiltCluster {
    /// What its cost model says of a fixed choice of batches: another text where a table or a catalog was changed.
    pub fn fingerprint(&self) -> String {
        let (cost, cap) = (self.config.cost.as_ref(), self.config.engine.batch_size_cap);
        let mut hasher = blake3::Hasher::new();
        for exponent in 0..64u32 {
            let size = 2f64.powf(f64::from(exponent) / 4.0).round() as u32;
            let mut prefill = BatchShape::default();
            prefill.add_prefill(size * 3 / 2, size, true);
            let mut decode = BatchShape::default();
            for _ in 0..size.min(cap) {
                decode.add_decode(size);
            }
            for shape in [prefill, decode] {
                for last in [false, true] {
                    hasher.update(&cost.stage(&shape, last).total.as_ps().to_le_bytes());
                }
            }
        }
        hasher.finalize().to_hex()[..16].to_owned()
    }

    /// Model FLOPs utilisation of a run.
    pub fn mfu(&self, totals: &Totals) -> f64 {
        let seconds = totals.end.as_seconds();
        mfu::mfu(
            &self.model,
            &self.gpu,
            self.gpus,
            totals.tokens,
            totals.pairs,
            seconds,
        )
    }
}

/// Where iteration times come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CostOrigin {
    /// `profile`, `roofline`, `fitted`, `calibrated`, `scaled` or `tables`.
    pub label: &'static str,
    /// The files behind it.
    pub files: Vec<PathBuf>,
    /// Why this source, and what to know about it.
    pub notes: Vec<String>,
}

impl Deployment {
    /// A model on a GPU, and the defaults.
    pub fn new(model: &str, device: &str) -> Self {
        Self {
            model: model.to_owned(),
            device: device.to_owned(),
            network_device: None,
            tensor_parallel: one(),
            pipeline_parallel: one(),
            replicas: one(),
            router: RouterConfig::default(),
            batching: default_batching(),
            queue: QueueOrder::default(),
            batch_size_cap: default_batch_size_cap(),
            block_tokens: default_block_tokens(),
            num_blocks: None,
            memory_margin: default_memory_margin(),
            watermark: default_watermark(),
            preallocate_tokens: default_preallocate_tokens(),
            prefix_caching: false,
            max_model_len: default_max_model_len(),
            cost: CostSource::default(),
            noise: 0.0,
            semantics: Semantics::default(),
        }
    }

    /// The cluster that this describes, with the models, GPUs and profiles of a library.
    ///
    /// # Errors
    /// When a name is not known, a number makes no sense, the model does not fit the GPU (the arithmetic is in the
    /// message), or a profile cannot be used.
    pub fn cluster(&self, library: &Library, seed: u64) -> Result<BuiltCluster, DeploymentError> {
        self.check()?;
        let memory = library.memory(self)?;
        let (cost, mut origin) = library.cost(self)?;
        if let Some(blocks) = self.num_blocks.filter(|blocks| *blocks > memory.blocks) {
            origin.notes.push(format!(
                "num_blocks is {blocks}, more than the {} that fit into the memory",
                memory.blocks
            ));
        }
        let engine = self.engine(&memory);
        engine.check()?;
        Ok(BuiltCluster {
            config: ClusterConfig {
                replicas: self.replicas,
                router: self.router,
                engine,
                replay: None,
                cost,
                seed,
                noise: self.noise,
                stepwise: false,
            },
            origin,
            memory,
            model: library.model(self)?.clone(),
            gpu: library.gpu(self)?.clone(),
            gpus: self.gpus(),
        })
    }

    /// GPUs of the whole cluster.
    pub fn gpus(&self) -> u32 {
        self.replicas * self.tensor_parallel * self.pipeline_parallel
    }

    fn engine(&self, memory: &MemoryFit) -> EngineConfig {
        EngineConfig {
            batching: self.batching,
            queue: self.queue,
            batch_size_cap: self.batch_size_cap,
            pipeline_stages: self.pipeline_parallel,
            blocks: self.num_blocks.unwrap_or(memory.blocks),
            block_tokens: self.block_tokens,
            watermark: self.watermark,
            preallocate_tokens: self.preallocate_tokens,
            prefix_caching: self.prefix_caching,
            rules: self.semantics.rules(),
            max_model_len: self.max_model_len,
        }
    }

    /// How the memory is counted.
    fn memory_rule(&self) -> MemoryRule {
        let margin = self.memory_margin;
        match self.semantics {
            Semantics::Engine => MemoryRule::Engine {
                utilization: 1.0 - margin,
                max_batched_tokens: match self.batching {
                    Batching::VllmV1 { chunk_size } | Batching::Sarathi { chunk_size } => {
                        chunk_size.max(self.batch_size_cap)
                    }
                    Batching::Vllm { max_tokens_in_batch }
                    | Batching::Lightllm {
                        max_tokens_in_batch, ..
                    } => max_tokens_in_batch,
                    // Whole prompts: the longest, as far as engines of this kind went.
                    Batching::Orca {} | Batching::FasterTransformer {} => self.max_model_len.min(8_192),
                },
            },
            Semantics::VidurMain => MemoryRule::VidurMain {
                max_tokens: self.max_model_len,
                margin,
            },
            Semantics::VidurCanary => MemoryRule::VidurCanary { margin },
        }
    }

    /// What the types do not show.
    fn check(&self) -> Result<(), DeploymentError> {
        for (key, count) in [
            ("tensor_parallel", self.tensor_parallel),
            ("pipeline_parallel", self.pipeline_parallel),
            ("replicas", self.replicas),
            ("batch_size_cap", self.batch_size_cap),
            ("block_tokens", self.block_tokens),
            ("max_model_len", self.max_model_len),
            ("num_blocks", self.num_blocks.unwrap_or(1)),
        ] {
            if count == 0 {
                return Err(DeploymentError::value(key, "write a number of at least 1"));
            }
        }
        for (key, share) in [
            ("memory_margin", self.memory_margin),
            ("watermark", self.watermark),
        ] {
            if !(0.0..1.0).contains(&share) {
                let problem = format!("{share} is not a share; write a number from 0 to below 1");
                return Err(DeploymentError::value(key, problem));
            }
        }
        if !(self.noise >= 0.0 && self.noise.is_finite()) {
            let problem = format!(
                "{} is not a coefficient of variation; write 0 or more",
                self.noise
            );
            return Err(DeploymentError::value("noise", problem));
        }
        Ok(())
    }
}

fn one() -> u32 {
    1
}

fn default_batching() -> Batching {
    Batching::VllmV1 { chunk_size: 512 }
}

fn default_batch_size_cap() -> u32 {
    128
}

fn default_block_tokens() -> u32 {
    16
}

fn default_memory_margin() -> f64 {
    0.1
}

fn default_watermark() -> f64 {
    0.01
}

fn default_preallocate_tokens() -> u32 {
    64
}

fn default_max_model_len() -> u32 {
    131_072
}
