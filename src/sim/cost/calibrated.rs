//! The roofline with factors that were fitted to measurements, and the batches that these saw.

use serde::{Deserialize, Serialize};

use super::roofline::Roofline;
use super::{BatchShape, CostError, CostModel, StageTime};
use crate::sim::Time;
use crate::sim::catalog::{Efficiency, Gpu, ModelShape};

/// So far beyond what was seen a prediction still counts as one of the same kind.
const BEYOND: f64 = 1.25;

/// The largest that measurements saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// Sequences of a batch on one replica.
    pub batch: u32,
    /// Tokens of a sequence, prompt and response.
    pub context: u32,
    /// Tokens of a prompt.
    pub prompt: u32,
}

impl Domain {
    /// Whether a batch lies more than a quarter beyond it. Lengths count as means over the batch.
    pub fn is_left(&self, shape: &BatchShape) -> bool {
        let beyond = |value: f64, seen: u32| value > BEYOND * f64::from(seen);
        let each = |sum: u64, count: u32| sum as f64 / f64::from(count.max(1));
        let prompts = shape.prefill_kv + u64::from(shape.tokens - shape.decodes);
        beyond(f64::from(shape.sequences), self.batch)
            || beyond(each(shape.decode_kv, shape.decodes), self.context)
            || beyond(each(prompts, shape.prefills), self.prompt)
    }
}

/// A calibrated roofline.
#[derive(Clone, Debug)]
pub struct Calibrated {
    roofline: Roofline,
    scale: f64,
    domain: Option<Domain>,
}

impl Calibrated {
    /// With the factors of a calibration, all times multiplied by `scale`; batches beyond `domain` are extrapolations.
    ///
    /// # Errors
    /// The layout is impossible.
    pub fn new(
        model: &ModelShape,
        gpu: &Gpu,
        layout: (u32, u32),
        efficiency: Efficiency,
        scale: f64,
        domain: Option<Domain>,
    ) -> Result<Self, CostError> {
        let gpu = Gpu {
            efficiency,
            ..gpu.clone()
        };
        Ok(Self {
            roofline: Roofline::new(model, &gpu, layout.0, layout.1)?,
            scale,
            domain,
        })
    }

    /// All stages one after the other, in ms.
    pub fn whole_ms(&self, shape: &BatchShape) -> f64 {
        self.scale * self.roofline.whole_ms(shape)
    }
}

impl CostModel for Calibrated {
    fn stage(&self, shape: &BatchShape, last: bool) -> StageTime {
        let us = 1e3 * self.scale;
        StageTime {
            total: Time::from_us(us * self.roofline.stage_ms(shape, last)),
            overhead: Time::from_us(us * self.roofline.overhead_ms(shape, last)),
            extrapolated: self.domain.is_some_and(|domain| domain.is_left(shape)),
        }
    }

    fn steady(&self, shape: &BatchShape) -> u32 {
        self.roofline.steady(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_beyond_what_was_seen_are_told() {
        let domain = Domain {
            batch: 8,
            context: 1000,
            prompt: 400,
        };
        let batch = |count: u32, kv: u32| {
            let mut shape = BatchShape::default();
            (0..count).for_each(|_| shape.add_decode(kv));
            shape
        };
        assert!(!domain.is_left(&batch(10, 1250)));
        assert!(domain.is_left(&batch(11, 100)));
        assert!(domain.is_left(&batch(2, 1251)));
        let mut prompt = BatchShape::default();
        prompt.add_prefill(300, 200, true);
        assert!(!domain.is_left(&prompt));
        prompt.add_prefill(400, 200, true);
        assert!(domain.is_left(&prompt));
    }
}
