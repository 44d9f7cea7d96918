//! The prediction tables of one Vidur run, with Vidur's own rounding.

mod read;

use super::dense::{Curve, DecodeGrid, PrefillGrid, Value, mean_kv, until_up};
use super::{BatchShape, CostError, CostModel, Input, StageTime};
use crate::sim::Time;

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

    /// What stands for all prefills of a batch: tokens of KV, a multiple of 64, and the chunk.
    pub(super) fn aggregate(self, shape: &BatchShape) -> (u64, u64) {
        let root = rounded_root(shape.prefill_squares);
        match self {
            Self::Main => (shape.prefill_kv_64, root),
            Self::Canary => (shape.prefill_kv.next_multiple_of(64), root.next_multiple_of(32)),
        }
    }
}

/// The square root, rounded; it is never just between two numbers.
fn rounded_root(squares: u64) -> u64 {
    let root = squares.isqrt();
    root + u64::from(squares - root * root > root)
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

/// The tables of a case, one load each. Beyond an edge they are continued in proportion to the work.
#[derive(Debug)]
pub struct CaseTables {
    version: VidurVersion,
    layers: f64,
    /// All of a layer but attention, by the tokens; and sending on to the next stage.
    layer: Curve,
    send: Curve,
    decode: DecodeGrid,
    prefill: PrefillGrid,
    decode_factor: f64,
    prefill_factor: f64,
}

impl CaseTables {
    /// Reads a folder's files, unpacked.
    ///
    /// # Errors
    /// A file is not what it should be; named with its line.
    pub fn read(files: CaseFiles<'_>, version: VidurVersion) -> Result<Self, CostError> {
        read::read(files, version)
    }

    fn attention(&self, shape: &BatchShape) -> Value {
        let mut value = Value::ZERO;
        if shape.decodes > 0 {
            let factor = if shape.decodes > 1 {
                self.decode_factor
            } else {
                1.0
            };
            value = self
                .decode
                .at(shape.decodes, mean_kv(shape).div_ceil(64))
                .times(factor);
        }
        if shape.prefills > 0 {
            let factor = if shape.prefills > 1 {
                self.prefill_factor
            } else {
                1.0
            };
            let (kv, chunk) = self.version.aggregate(shape);
            let chunk_step = match self.version {
                VidurVersion::Main => 1,
                VidurVersion::Canary => 32,
            };
            value = value.plus(self.prefill.at(kv / 64, chunk / chunk_step).times(factor));
        }
        value
    }
}

impl CostModel for CaseTables {
    fn stage(&self, shape: &BatchShape, last: bool) -> StageTime {
        let layer = self.layer.at(shape.tokens).plus(self.attention(shape));
        let send = if last {
            Value::ZERO
        } else {
            self.send.at(shape.tokens)
        };
        StageTime {
            total: Time::from_us(1e3 * (layer.ms * self.layers + send.ms)),
            overhead: Time::ZERO,
            extrapolated: layer.beyond || send.beyond,
        }
    }

    fn steady(&self, shape: &BatchShape) -> u32 {
        until_up(mean_kv(shape), 64)
    }
}
