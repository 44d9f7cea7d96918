//! The prediction tables of one Vidur run, with Vidur's own rounding.

use super::{BatchShape, CostError, CostModel, Input, StageTime};

/// Which Vidur: they aggregate prefills differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VidurVersion {
    /// `main`, 2024-11: the KV of each prefill is rounded up to 64, the root of the squared chunks to a token.
    Main,
    /// `canary`, 2025-06: the sum of the KV is rounded up to 64, the rounded root up to 32.
    Canary,
}

impl VidurVersion {
    /// By the `simulator` of a `case.json`: `vidur main 7d47513 (2024-11)`, `vidur canary (official PR 56, 2025-06)`.
    pub fn of_case(simulator: &str) -> Self {
        if simulator.contains("canary") {
            Self::Canary
        } else {
            Self::Main
        }
    }
}

/// The files of a folder `tables/<name>`.
pub struct CaseFiles<'a> {
    /// `table.json`.
    pub table: Input<'a>,
    /// `per_token_ops.csv`.
    pub per_token_ops: Input<'a>,
    /// `kv_cache_save.csv`.
    pub kv_cache_save: Input<'a>,
    /// `attn_prefill.csv`.
    pub attn_prefill: Input<'a>,
    /// `attn_decode.csv`.
    pub attn_decode: Input<'a>,
}

/// The tables of a case, one load each.
#[derive(Debug)]
pub struct CaseTables {}

impl CaseTables {
    /// Reads a folder's files, unpacked.
    ///
    /// # Errors
    /// A file is not what it should be; named with its line.
    pub fn read(_files: CaseFiles<'_>, _version: VidurVersion) -> Result<Self, CostError> {
        Ok(Self {})
    }
}

impl CostModel for CaseTables {
    fn stage(&self, _shape: &BatchShape, _last: bool) -> StageTime {
        StageTime::default()
    }

    fn steady(&self, _shape: &BatchShape) -> u32 {
        1
    }
}
