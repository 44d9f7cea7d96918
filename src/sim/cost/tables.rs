//! Profiles in Vidur's CSV formats, interpolated into dense tables.

use super::case::VidurVersion;
use super::{BatchShape, CostError, CostModel, Input, StageTime};
use crate::sim::catalog::{Gpu, ModelShape};

/// What of a batch the time is computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// True tokens, the mean KV length in steps of 32, prefills by their pairs; head, sampling and CPU are added.
    Exact,
    /// Vidur's rounding and Vidur's terms: no head, no CPU overhead, communication launches by its constants.
    Vidur(VidurVersion),
}

/// What the tables are for.
#[derive(Clone, Copy, Debug)]
pub struct ProfileSpec<'a> {
    /// The model.
    pub model: &'a ModelShape,
    /// The GPU, for what the profile does not hold.
    pub gpu: &'a Gpu,
    /// Tensor parallelism.
    pub tp: u32,
    /// Pipeline stages.
    pub pp: u32,
    /// Tokens of a KV block.
    pub block_tokens: u32,
    /// Whether pipeline stages lie on different nodes.
    pub multi_node: bool,
    /// What of a batch the time is computed from.
    pub rounding: Rounding,
}

/// The profile's files, unpacked. Communication is needed only where there is any; without a file it is taken from the
/// GPU's link, and said so.
pub struct ProfileFiles<'a> {
    /// `mlp.csv`.
    pub mlp: Input<'a>,
    /// `attention.csv`, or `attention_derived.csv` of the same columns.
    pub attention: Input<'a>,
    /// `all_reduce.csv`.
    pub all_reduce: Option<Input<'a>>,
    /// `send_recv.csv`.
    pub send_recv: Option<Input<'a>>,
}

/// Dense tables of one model, GPU and layout.
#[derive(Debug)]
pub struct ProfileTables {
    notes: Vec<String>,
}

impl ProfileTables {
    /// Reads a profile.
    ///
    /// # Errors
    /// A column is missing, a time is negative or not a number, or there is no row for this model and tensor
    /// parallelism; with file and line.
    pub fn read(_spec: &ProfileSpec<'_>, _files: ProfileFiles<'_>) -> Result<Self, CostError> {
        Ok(Self { notes: Vec::new() })
    }

    /// What was filled in or left out while reading.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

impl CostModel for ProfileTables {
    fn stage(&self, _shape: &BatchShape, _last: bool) -> StageTime {
        StageTime::default()
    }

    fn steady(&self, _shape: &BatchShape) -> u32 {
        1
    }
}
