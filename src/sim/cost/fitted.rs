//! `fitted_profile.json`: whole iterations measured at some points.
//!
//! The measurements are kept as ratios to the roofline of the same batch. At a measured point the time is the measured
//! one; between points the ratio is interpolated, so that the roofline gives the form; beyond them the ratio of the edge
//! holds, and the result says that it is an extrapolation.

mod grid;
mod read;

use super::dense::{mean_kv, until_down};
use super::roofline::{KV_STEP, Roofline, stepped_kv};
use super::{BatchShape, CostError, CostModel, Input, StageTime};
use crate::sim::Time;
use grid::RatioGrid;
use read::Point;

/// Measured iterations; between and beyond them the roofline gives the form and the measurements the height.
#[derive(Clone, Debug)]
pub struct FittedProfile {
    roofline: Roofline,
    /// By batch size and prompt length.
    prefill: RatioGrid,
    /// By batch size and KV length.
    decode: RatioGrid,
    points: Vec<Point>,
}

impl FittedProfile {
    /// Reads a profile that was measured with the model, GPU and layout of `roofline`.
    ///
    /// # Errors
    /// Not such a file, a time that is not above zero, or no points of a kind; with the entry's place.
    pub fn read(file: Input<'_>, roofline: Roofline) -> Result<Self, CostError> {
        let name = file.name;
        let points = read::points(file)?;
        let grid = |wanted: bool, missing: &str| {
            let of_kind = points
                .iter()
                .filter(|p| p.is_prefill() == wanted && p.tokens_each() == 1);
            let ratios = of_kind.map(|p| (p.batch, p.place(), p.ms / roofline.whole_ms(&p.shape())));
            RatioGrid::new(ratios).ok_or_else(|| CostError::file(name, missing))
        };
        let prefill = grid(true, "has no prefill entry; measure some")?;
        let decode = grid(false, "has no decode entry of new_tokens 1; measure some")?;
        Ok(Self {
            roofline,
            prefill,
            decode,
            points,
        })
    }

    /// The same ratios for another GPU or layout, whose roofline this is: what was measured, times what the datasheets make
    /// of the difference.
    #[must_use]
    pub fn moved_to(&self, roofline: Roofline) -> Self {
        Self {
            roofline,
            ..self.clone()
        }
    }

    /// What makes the profile doubtful for a batch of up to `batch` sequences: decode that costs what prefill costs,
    /// decode that does not depend on its new tokens, a grid that ends far below what is asked.
    pub fn warnings(&self, batch: u32) -> Vec<String> {
        let mut found = Vec::new();
        let decodes = || self.points.iter().filter(|p| !p.is_prefill());
        for decode in decodes().filter(|p| p.tokens_each() == 1 && p.length * p.batch > 500) {
            let same = |p: &&Point| p.is_prefill() && p.batch == decode.batch && p.length == decode.length;
            if let Some(prefill) = self.points.iter().find(same)
                && (decode.ms / prefill.ms - 1.0).abs() < 0.1
            {
                let (kv, b) = (decode.length, decode.batch);
                found.push(format!(
                    "decode with kv_cache {kv}, batch_size {b} takes {} ms, prefill of as many {} ms: is the cache used?",
                    decode.ms, prefill.ms
                ));
            }
        }
        for one in decodes().filter(|p| p.tokens_each() == 1) {
            let more =
                decodes().find(|p| (p.batch, p.length) == (one.batch, one.length) && p.tokens_each() >= 8);
            if let Some(more) = more.filter(|more| more.ms / one.ms < 1.05) {
                let (kv, b, n) = (one.length, one.batch, more.tokens_each());
                found.push(format!(
                    "decode with kv_cache {kv}, batch_size {b} takes {} ms for 1 new token and {} ms for {n}",
                    one.ms, more.ms
                ));
            }
        }
        let known = self.decode.batches();
        if batch >= 2 * known {
            found.push(format!(
                "decode is measured up to batch_size {known}; {batch} is {:.0} times beyond, from the roofline",
                f64::from(batch) / f64::from(known)
            ));
        }
        found
    }

    /// The decodes of a batch alone and its prefills alone, each with its ratio to the roofline and whether that lies
    /// beyond the measurements. A part that is missing counts for nothing.
    fn parts(&self, shape: &BatchShape) -> [(BatchShape, f64, bool); 2] {
        let mut parts = [(BatchShape::default(), 0.0, false); 2];
        if shape.decodes > 0 {
            let (ratio, beyond) = self.decode.at(shape.decodes, stepped_kv(shape));
            let part = BatchShape {
                sequences: shape.decodes,
                tokens: shape.decodes,
                decodes: shape.decodes,
                decode_kv: shape.decode_kv,
                outputs: shape.decodes,
                ..BatchShape::default()
            };
            parts[0] = (part, ratio, beyond);
        }
        if shape.prefills > 0 {
            let part = BatchShape {
                sequences: shape.prefills,
                tokens: shape.tokens - shape.decodes,
                decodes: 0,
                decode_kv: 0,
                outputs: shape.outputs - shape.decodes,
                ..*shape
            };
            let (ratio, beyond) = self
                .prefill
                .at(shape.prefills, f64::from(part.tokens) / f64::from(part.prefills));
            parts[1] = (part, ratio, beyond);
        }
        parts
    }
}

impl CostModel for FittedProfile {
    /// The roofline of the whole batch, at the mean ratio of its parts, and no less than either part alone.
    fn stage(&self, shape: &BatchShape, last: bool) -> StageTime {
        let (mut measured, mut by_roofline, mut floor) = (0.0, 0.0, 0.0_f64);
        let mut extrapolated = false;
        for (part, ratio, beyond) in self.parts(shape).iter().filter(|part| part.1 > 0.0) {
            let ms = self.roofline.stage_ms(part, last);
            measured += ratio * ms;
            by_roofline += ms;
            floor = floor.max(ratio * ms);
            extrapolated |= beyond;
        }
        let ratio = if by_roofline > 0.0 {
            measured / by_roofline
        } else {
            1.0
        };
        let total = (ratio * self.roofline.stage_ms(shape, last)).max(floor);
        StageTime {
            total: Time::from_us(1e3 * total),
            overhead: Time::from_us(1e3 * ratio * self.roofline.overhead_ms(shape, last)),
            extrapolated,
        }
    }

    fn steady(&self, shape: &BatchShape) -> u32 {
        until_down(mean_kv(shape), KV_STEP)
    }
}

#[cfg(test)]
mod tests;
