//! What may be rented, and how it may be laid out.

use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use super::error::{Wrong, line};
use super::listed::Listed;
use super::scheduler::{self, SchedulerEntry};
use crate::explore::Numbers;
use crate::sim::batching::Batching;
use crate::sim::catalog::Catalog;

/// GPUs of a replica and replicas, where nothing is said.
const COUNTS: [u32; 4] = [1, 2, 4, 8];
/// Batch sizes, where nothing is said.
const BATCHES: [u32; 4] = [32, 64, 128, 256];

/// What may be rented. Every combination is a configuration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConfigSpace {
    /// GPUs as the request calls them. Empty: the one of the profile.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gpu_types: Vec<String>,
    /// GPUs of a replica. Default 1, 2, 4, 8; where only parallel sizes are given, their products.
    pub num_gpus: Vec<u32>,
    /// GPUs that share each layer. `None`: whatever makes use of all GPUs of a replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensor_parallel: Option<Vec<u32>>,
    /// Pipeline stages. `None`: whatever makes use of all GPUs of a replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline_parallel: Option<Vec<u32>>,
    /// Replicas. Default 1, 2, 4, 8.
    pub num_replicas: Vec<u32>,
    /// Which requests an iteration holds. Default `vllm`, `orca`, `sarathi`.
    pub schedulers: Vec<Batching>,
    /// Most requests that a replica runs at once. Default 32, 64, 128, 256.
    pub max_batch_sizes: Vec<u32>,
}

/// How a model lies on the GPUs of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Layout {
    /// GPUs of a replica: the product of the other two.
    pub num_gpus: u32,
    /// GPUs that share each layer.
    pub tensor_parallel: u32,
    /// Pipeline stages.
    pub pipeline_parallel: u32,
}

/// A combination of sizes that makes no replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DroppedLayout {
    /// The sizes.
    pub layout: Layout,
    /// Why.
    pub reason: String,
}

impl Default for ConfigSpace {
    fn default() -> Self {
        Self {
            gpu_types: Vec::new(),
            num_gpus: COUNTS.to_vec(),
            tensor_parallel: None,
            pipeline_parallel: None,
            num_replicas: COUNTS.to_vec(),
            schedulers: scheduler::defaults(),
            max_batch_sizes: BATCHES.to_vec(),
        }
    }
}

impl ConfigSpace {
    /// The layouts that make use of all GPUs of a replica, in order of their size, and the combinations that do not, each
    /// with its reason: GPUs that are paid for and idle, or GPUs that are not there.
    pub fn layouts(&self) -> (Vec<Layout>, Vec<DroppedLayout>) {
        let (mut kept, mut dropped) = (Vec::new(), Vec::new());
        let sizes = |given: Option<&Vec<u32>>, gpus: u32| {
            given
                .cloned()
                .unwrap_or_else(|| (1..=gpus).filter(|n| gpus.is_multiple_of(*n)).collect())
        };
        for &num_gpus in &self.num_gpus {
            let before = (kept.len(), dropped.len());
            for tensor_parallel in sizes(self.tensor_parallel.as_ref(), num_gpus) {
                for pipeline_parallel in sizes(self.pipeline_parallel.as_ref(), num_gpus) {
                    let layout = Layout {
                        num_gpus,
                        tensor_parallel,
                        pipeline_parallel,
                    };
                    let used = u64::from(tensor_parallel) * u64::from(pipeline_parallel);
                    if used == u64::from(num_gpus) {
                        kept.push(layout);
                    } else {
                        let reason = misfit(used, num_gpus);
                        dropped.push(DroppedLayout { layout, reason });
                    }
                }
            }
            // Of sizes that nobody asked for only those that fit are meant, unless none does.
            let asked = self.tensor_parallel.is_some() && self.pipeline_parallel.is_some();
            if !asked && kept.len() > before.0 {
                dropped.truncate(before.1);
            }
        }
        kept.sort_unstable();
        kept.dedup();
        (kept, dropped)
    }

    /// How many configurations there are, with the number of GPU types.
    pub fn size(&self, gpu_types: usize) -> usize {
        let layouts = self.layouts().0.len();
        let per_layout = self.num_replicas.len() * self.schedulers.len() * self.max_batch_sizes.len();
        gpu_types * layouts * per_layout
    }
}

fn misfit(used: u64, num_gpus: u32) -> String {
    if used < u64::from(num_gpus) {
        format!("{} of {num_gpus} GPUs would be idle", u64::from(num_gpus) - used)
    } else {
        format!("it takes {used} GPUs, a replica has {num_gpus}")
    }
}

/// As a file has it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SpaceEntry {
    gpu_types: Option<Spanned<Listed<String>>>,
    num_gpus: Option<Numbers<u32>>,
    #[serde(alias = "tp_sizes")]
    tensor_parallel: Option<Numbers<u32>>,
    #[serde(alias = "pp_sizes")]
    pipeline_parallel: Option<Numbers<u32>>,
    num_replicas: Option<Numbers<u32>>,
    schedulers: Option<Spanned<Listed<SchedulerEntry>>>,
    max_batch_sizes: Option<Numbers<u32>>,
}

/// What one or several files say; the last counts.
#[derive(Clone, Debug, Default)]
pub(super) struct SpaceParts {
    /// Names with the file's place.
    pub(super) gpu_types: Option<Vec<(String, Option<u64>)>>,
    num_gpus: Option<Vec<u32>>,
    tensor_parallel: Option<Vec<u32>>,
    pipeline_parallel: Option<Vec<u32>>,
    num_replicas: Option<Vec<u32>>,
    schedulers: Option<Vec<Batching>>,
    max_batch_sizes: Option<Vec<u32>>,
}

impl SpaceParts {
    /// Takes what a file says, in place of what was said before.
    pub(super) fn add(&mut self, entry: SpaceEntry) -> Result<(), Wrong> {
        if let Some(names) = entry.gpu_types {
            nonempty("gpu_types", &names)?;
            let whole = line(&names);
            let names = names.value.0.into_iter();
            self.gpu_types = Some(names.map(|(name, at)| (name, at.or(whole))).collect());
        }
        if let Some(schedulers) = entry.schedulers {
            nonempty("schedulers", &schedulers)?;
            let mut all = Vec::new();
            let whole = line(&schedulers);
            for (one, at) in &schedulers.value.0 {
                all.extend(one.policies().map_err(|why| (at.or(whole), why))?);
            }
            self.schedulers = Some(distinct(all));
        }
        for (mine, given) in [
            (&mut self.num_gpus, entry.num_gpus),
            (&mut self.tensor_parallel, entry.tensor_parallel),
            (&mut self.pipeline_parallel, entry.pipeline_parallel),
            (&mut self.num_replicas, entry.num_replicas),
            (&mut self.max_batch_sizes, entry.max_batch_sizes),
        ] {
            *mine = given.map(|numbers| distinct(numbers.0)).or_else(|| mine.take());
        }
        Ok(())
    }

    /// The space; a GPU that is named by an alias is noted.
    pub(super) fn finish(self, catalog: &Catalog, notes: &mut Vec<String>) -> Result<ConfigSpace, Wrong> {
        let mut gpu_types: Vec<String> = Vec::new();
        let mut taken: Vec<&str> = Vec::new();
        for (name, line) in self.gpu_types.iter().flatten() {
            let gpu = catalog.gpu(name);
            let gpu = gpu.map_err(|error| (*line, format!("config_space.gpu_types: {error}")))?;
            if taken.contains(&gpu.name.as_str()) {
                continue;
            }
            if !gpu.name.eq_ignore_ascii_case(name) {
                notes.push(format!("{name} is taken to be {}", gpu.name));
            }
            taken.push(&gpu.name);
            gpu_types.push(name.clone());
        }
        let default = ConfigSpace::default();
        let products = || {
            let one = vec![1];
            let tp = self.tensor_parallel.as_ref().unwrap_or(&one);
            let pp = self.pipeline_parallel.as_ref().unwrap_or(&one);
            let mut all: Vec<u32> = tp
                .iter()
                .flat_map(|t| pp.iter().map(|p| t.saturating_mul(*p)))
                .collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        let sized = self.tensor_parallel.is_some() || self.pipeline_parallel.is_some();
        let num_gpus = match self.num_gpus {
            Some(given) => given,
            None if sized => products(),
            None => default.num_gpus,
        };
        let space = ConfigSpace {
            gpu_types,
            num_gpus,
            tensor_parallel: self.tensor_parallel,
            pipeline_parallel: self.pipeline_parallel,
            num_replicas: self.num_replicas.unwrap_or(default.num_replicas),
            schedulers: self.schedulers.unwrap_or(default.schedulers),
            max_batch_sizes: self.max_batch_sizes.unwrap_or(default.max_batch_sizes),
        };
        if space.layouts().0.is_empty() {
            let problem = "config_space: no tensor_parallel times pipeline_parallel is one of num_gpus; \
                           write sizes whose product is, or leave one of the keys out";
            return Err((None, problem.to_owned()));
        }
        Ok(space)
    }
}

/// Each value once, where it comes first.
fn distinct<T: PartialEq>(all: Vec<T>) -> Vec<T> {
    let mut kept = Vec::with_capacity(all.len());
    for one in all {
        if !kept.contains(&one) {
            kept.push(one);
        }
    }
    kept
}

fn nonempty<T>(key: &str, list: &Spanned<Listed<T>>) -> Result<(), Wrong> {
    if list.value.0.is_empty() {
        let problem = format!("config_space.{key}: the list is empty; write at least one, or leave it out");
        return Err((line(list), problem));
    }
    Ok(())
}
