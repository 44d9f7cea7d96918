//! A configuration with more of something: what it would be worth.

use serde::Serialize;

use crate::deployment::{BuiltCluster, Deployment};

/// How much more.
pub const MORE: f64 = 1.1;

/// What there is more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Vary {
    /// Bytes a second from the GPU's memory.
    MemoryBandwidth,
    /// Operations a second.
    Compute,
    /// Bytes for keys and values.
    KvCache,
    /// Requests of a batch.
    BatchSize,
}

impl Vary {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::MemoryBandwidth,
        Self::Compute,
        Self::KvCache,
        Self::BatchSize,
    ];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::MemoryBandwidth => "memory bandwidth",
            Self::Compute => "compute",
            Self::KvCache => "KV cache",
            Self::BatchSize => "max_batch_size",
        }
    }

    pub(super) fn deployment(self, deployment: &mut Deployment) {
        if self == Self::BatchSize {
            let more = (f64::from(deployment.batch_size_cap) * MORE).ceil();
            deployment.batch_size_cap = more as u32;
        }
    }

    /// Changes the GPU or the memory, before iteration times are made of them.
    pub(super) fn cluster(self, cluster: &mut BuiltCluster) {
        match self {
            Self::MemoryBandwidth => cluster.gpu.bandwidth_gb_s *= MORE,
            Self::Compute => {
                cluster.gpu.bf16_tflops *= MORE;
                cluster.gpu.fp8_tflops = cluster.gpu.fp8_tflops.map(|rate| rate * MORE);
            }
            Self::KvCache => {
                let blocks = &mut cluster.config.engine.blocks;
                *blocks = (f64::from(*blocks) * MORE).ceil() as u32;
            }
            Self::BatchSize => {}
        }
    }
}
