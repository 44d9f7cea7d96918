//! `fitted_profile.json`: whole iterations measured at some points.

use super::roofline::Roofline;
use super::{BatchShape, CostError, CostModel, Input, StageTime};

/// Measured iterations; between and beyond them the roofline gives the form and the measurements the height.
#[derive(Debug)]
pub struct FittedProfile {
    warnings: Vec<String>,
}

impl FittedProfile {
    /// Reads a profile that was measured with the model, GPU and layout of `roofline`.
    ///
    /// # Errors
    /// Not such a file, a time that is not positive, or no points at all; with the entry's place.
    pub fn read(_file: Input<'_>, _roofline: Roofline) -> Result<Self, CostError> {
        Ok(Self { warnings: Vec::new() })
    }

    /// What makes the profile doubtful, for a batch of up to `batch` sequences: decode that costs what prefill costs,
    /// decode that does not depend on its new tokens, a grid that ends far below what is asked.
    pub fn warnings(&self, _batch: u32) -> Vec<String> {
        self.warnings.clone()
    }
}

impl CostModel for FittedProfile {
    fn stage(&self, _shape: &BatchShape, _last: bool) -> StageTime {
        StageTime::default()
    }

    fn steady(&self, _shape: &BatchShape) -> u32 {
        1
    }
}
