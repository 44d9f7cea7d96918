//! One way to rent and run it.

use serde::{Serialize, Serializer};

use super::request::{ConfigSpace, Layout, name_of};
use crate::sim::batching::Batching;

/// GPUs, how a model lies on them, how often, and how requests are batched.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    /// The GPU, by its name in the catalog.
    pub gpu_type: String,
    /// GPUs of a replica: tensor times pipeline parallel.
    pub num_gpus_per_replica: u32,
    /// GPUs that share each layer.
    pub tensor_parallel: u32,
    /// Pipeline stages.
    pub pipeline_parallel: u32,
    /// Replicas.
    pub num_replicas: u32,
    /// GPUs, all together.
    pub total_gpus: u32,
    /// Which requests an iteration holds.
    #[serde(serialize_with = "by_name")]
    pub scheduler: Batching,
    /// Most requests at once in a replica.
    pub max_batch_size: u32,
}

fn by_name<S: Serializer>(batching: &Batching, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(name_of(*batching))
}

impl Config {
    /// In a line: `A100-80 SXM x8: 2 replicas of TP 4, PP 1, sarathi chunk 512, batch 128`.
    pub fn name(&self) -> String {
        let s = if self.num_replicas == 1 { "" } else { "s" };
        format!(
            "{} x{}: {} replica{s} of TP {}, PP {}, {}, batch {}",
            self.gpu_type,
            self.total_gpus,
            self.num_replicas,
            self.tensor_parallel,
            self.pipeline_parallel,
            in_words(self.scheduler),
            self.max_batch_size
        )
    }

    /// The same with so many replicas.
    #[must_use]
    pub fn with_replicas(&self, replicas: u32) -> Self {
        Self {
            num_replicas: replicas,
            total_gpus: self.num_gpus_per_replica * replicas,
            ..self.clone()
        }
    }

    /// Whether both differ in nothing but the number of replicas.
    pub fn is_like(&self, other: &Self) -> bool {
        self.with_replicas(1) == other.with_replicas(1)
    }
}

/// A policy with its number.
fn in_words(batching: Batching) -> String {
    let name = name_of(batching);
    match batching {
        Batching::VllmV1 { chunk_size } | Batching::Sarathi { chunk_size } => {
            format!("{name} chunk {chunk_size}")
        }
        Batching::Vllm { max_tokens_in_batch }
        | Batching::Lightllm {
            max_tokens_in_batch, ..
        } => format!("{name} {max_tokens_in_batch} tokens"),
        Batching::Orca {} | Batching::FasterTransformer {} => name.to_owned(),
    }
}

/// What is not considered, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Dropped {
    /// In a line, what it is.
    pub config: String,
    /// Why.
    pub reason: String,
}

/// All of a space, GPU by GPU, and the sizes that make no replica.
pub fn configs(space: &ConfigSpace, gpus: &[String]) -> (Vec<Config>, Vec<Dropped>) {
    let (layouts, misfits) = space.layouts();
    let mut all = Vec::new();
    for gpu_type in gpus {
        for layout in &layouts {
            for scheduler in &space.schedulers {
                for max_batch_size in &space.max_batch_sizes {
                    for replicas in &space.num_replicas {
                        all.push(config(gpu_type, *layout, *replicas, *scheduler, *max_batch_size));
                    }
                }
            }
        }
    }
    let dropped = misfits.into_iter().map(|misfit| Dropped {
        config: format!(
            "any GPU, {} of a replica, TP {}, PP {}",
            misfit.layout.num_gpus, misfit.layout.tensor_parallel, misfit.layout.pipeline_parallel
        ),
        reason: misfit.reason,
    });
    (all, dropped.collect())
}

fn config(gpu_type: &str, layout: Layout, replicas: u32, scheduler: Batching, batch: u32) -> Config {
    Config {
        gpu_type: gpu_type.to_owned(),
        num_gpus_per_replica: layout.num_gpus,
        tensor_parallel: layout.tensor_parallel,
        pipeline_parallel: layout.pipeline_parallel,
        num_replicas: replicas,
        total_gpus: layout.num_gpus * replicas,
        scheduler,
        max_batch_size: batch,
    }
}
