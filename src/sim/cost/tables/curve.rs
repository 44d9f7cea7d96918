//! Measured points, and lines through them.

use std::collections::BTreeMap;

/// Points of a profile by their place; several of one place count with their mean.
#[derive(Clone, Debug, Default)]
pub(super) struct Points(BTreeMap<u64, (f64, u32)>);

impl Points {
    pub(super) fn add(&mut self, at: u64, ms: f64) {
        let (sum, count) = self.0.entry(at).or_default();
        *sum += ms;
        *count += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn has(&self, at: u64) -> bool {
        self.0.contains_key(&at)
    }

    pub(super) fn line(&self) -> PiecewiseLine {
        PiecewiseLine(
            self.0
                .iter()
                .map(|(at, (sum, n))| (*at as f64, sum / f64::from(*n)))
                .collect(),
        )
    }

    /// What a random forest grown to the last point would say: each tree knows a random part of the points, and answers
    /// with the nearest that it knows. A point that was measured `n` times is in a bootstrap sample with probability
    /// `1 - e^-n`.
    pub(super) fn forest(&self, x: f64) -> f64 {
        let at = x as u64;
        let below = self.0.range(..at).rev().take(NEIGHBOURS);
        let above = self.0.range(at..).take(NEIGHBOURS);
        let ((below, no_below), (above, no_above)) = (nearest_known(below), nearest_known(above));
        let mut sum = 0.0;
        for (x0, y0, w0) in &below {
            sum += w0 * no_above * y0;
            for (x1, y1, w1) in &above {
                sum += w0 * w1 * if x <= f64::midpoint(*x0, *x1) { y0 } else { y1 };
            }
        }
        sum += above.iter().map(|(_, y1, w1)| w1 * no_below * y1).sum::<f64>();
        sum / (1.0 - no_below * no_above).max(f64::MIN_POSITIVE)
    }
}

/// Points on one side that matter to a forest: the chance that a tree knows none of so many is below a percent.
const NEIGHBOURS: usize = 6;

/// Place, value, and the probability that it is the nearest known; and that none is known.
fn nearest_known<'a>(points: impl Iterator<Item = (&'a u64, &'a (f64, u32))>) -> (Vec<(f64, f64, f64)>, f64) {
    let mut unknown = 1.0;
    let known = points
        .map(|(at, (sum, n))| {
            let missing = (-f64::from(*n)).exp();
            let weight = unknown * (1.0 - missing);
            unknown *= missing;
            (*at as f64, sum / f64::from(*n), weight)
        })
        .collect();
    (known, unknown)
}

/// A piecewise linear line. It holds at least one point where it is asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct PiecewiseLine(pub(super) Vec<(f64, f64)>);

impl PiecewiseLine {
    pub(super) fn last(&self) -> f64 {
        self.0.last().map_or(0.0, |p| p.0)
    }

    /// The value between the points; that of the first before it, where a launch is all there is. The caller sees to
    /// what lies beyond the last, whose value is given.
    pub(super) fn at(&self, x: f64) -> f64 {
        let after = self.0.partition_point(|p| p.0 < x);
        match (
            after.checked_sub(1).and_then(|i| self.0.get(i)),
            self.0.get(after),
        ) {
            (Some((x0, y0)), Some((x1, y1))) => y0 + (x - x0) / (x1 - x0) * (y1 - y0),
            (None, Some((_, y))) | (Some((_, y)), None) => *y,
            (None, None) => 0.0,
        }
    }

    /// The value of the nearest point, the lower one of two.
    pub(super) fn nearest(&self, x: f64) -> f64 {
        let after = self.0.partition_point(|p| p.0 < x);
        match (
            after.checked_sub(1).and_then(|i| self.0.get(i)),
            self.0.get(after),
        ) {
            (Some((x0, y0)), Some((x1, y1))) => *if x <= f64::midpoint(*x0, *x1) { y0 } else { y1 },
            (None, Some((_, y))) | (Some((_, y)), None) => *y,
            (None, None) => 0.0,
        }
    }

    /// The nearest line that never falls.
    pub(super) fn rising(mut self) -> Self {
        let mut values: Vec<f64> = self.0.iter().map(|p| p.1).collect();
        rise(&mut values);
        self.0.iter_mut().zip(values).for_each(|(p, y)| p.1 = y);
        self
    }
}

/// Replaces values by the nearest ones, in the mean square, that never fall: neighbours in the wrong order get their
/// mean. Values that are nowhere above others stay so.
pub(super) fn rise(values: &mut [f64]) {
    let mut blocks: Vec<(f64, usize)> = Vec::with_capacity(values.len());
    for value in values.iter() {
        let mut block = (*value, 1);
        while let Some(before) = blocks.pop_if(|b| b.0 > block.0) {
            let n = before.1 + block.1;
            block = (
                (before.0 * before.1 as f64 + block.0 * block.1 as f64) / n as f64,
                n,
            );
        }
        blocks.push(block);
    }
    let mut at = 0;
    for (value, n) in blocks {
        values[at..at + n].fill(value);
        at += n;
    }
}
