//! Datasheet rates and the model's shape: a cost model that needs no data.

use super::{BatchShape, CostError, CostModel, StageTime};
use crate::sim::catalog::{Gpu, ModelShape};

/// Time of an iteration from what must be moved and computed.
#[derive(Clone, Debug)]
pub struct Roofline {}

impl Roofline {
    /// For one model, GPU and layout.
    ///
    /// # Errors
    /// The layout is impossible.
    pub fn new(model: &ModelShape, _gpu: &Gpu, tp: u32, pp: u32) -> Result<Self, CostError> {
        model.check_layout(tp, pp).map_err(CostError::Layout)?;
        Ok(Self {})
    }
}

impl CostModel for Roofline {
    fn stage(&self, _shape: &BatchShape, _last: bool) -> StageTime {
        StageTime::default()
    }

    fn steady(&self, _shape: &BatchShape) -> u32 {
        1
    }
}
