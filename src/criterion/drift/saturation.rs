//! The stretch in which requests always waited: what was served then is what the service can do.

use serde::Serialize;

use super::series::{deficit, good, steadied};
use crate::stats::batch_means::block_means;
use crate::stats::trend::{least_squares, trend};
use crate::trial::{Backlog, Estimate};

/// Fewest waiting requests at the end that count as a queue.
const LEAST_QUEUE: f64 = 8.0;
/// Share of the queue at the end that must have been there all the time.
const ALWAYS: f64 = 0.15;
/// Share of the sequences that ran in the end with which a batch counts as full.
const FULL: f64 = 0.98;
/// Relative change of the pace for a relative change of the sequences that run.
const ELASTICITY: f64 = 0.5;
/// Sequences that run up to which there is no batch.
const ALONE: f64 = 1.5;
/// Times in service that pass until a full batch is steady: the requests that came in while it was filling went faster.
const SKIPPED: f64 = 1.3;
/// Relative error where none of that could be waited for.
const UNSETTLED: f64 = 0.1;
/// Share of the window after which a stretch that began is not most of it.
const MOST_OF_IT: f64 = 0.4;
/// Largest earlier queue, over the one at the end, with which that is out of the ordinary.
const GROWN: f64 = 0.5;
/// Times in service that a stretch must last, unless the queue is this long relative to the batch.
const LASTING: f64 = 3.0;
const LONG_QUEUE: f64 = 0.5;
/// Half width below which no interval goes, relative.
const FLOOR: f64 = 0.001;
/// The same, in requests.
const FEW: f64 = 0.08;
/// Blocks that a trend is fitted to.
const BLOCKS: usize = 30;
/// Fewest and most of them in which a service may have been cold.
const COLD: (usize, usize) = (3, 20);
/// Points that are needed for that.
const FEWEST_POINTS: usize = 2 * BLOCKS;

/// The last stretch of a trial in which the queue never emptied.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Saturation {
    /// When it began, seconds since the start.
    pub since_s: f64,
    /// From when on it is taken for steady.
    pub steady_s: f64,
    /// Its steady part in seconds.
    pub length_s: f64,
    /// How long a request is in service, seconds.
    pub residence_s: f64,
    /// Share of the offered load that was not served.
    pub share: Estimate,
    /// The same by good requests alone.
    pub by_good: Estimate,
    /// By how much more of the offered load was served in its second half than in its first.
    pub change: f64,
    /// Largest queue before, over that at the end.
    pub before: f64,
    /// The queue at the end, over the requests that are in service.
    pub queue: f64,
}

impl Saturation {
    /// `None` without a queue at the end, or where it is too new. The intervals miss with probability `alpha`.
    pub fn of(backlog: &Backlog, alpha: f64) -> Option<Self> {
        let last = backlog.len().checked_sub(1)?;
        let between = |a: &[u32], b: &[u32]| -> Vec<f64> {
            a.iter()
                .zip(b)
                .map(|(&a, &b)| f64::from(a) - f64::from(b))
                .collect()
        };
        let queue = between(&backlog.intended, &backlog.started);
        let at_end = mean(&queue[last.saturating_sub(last / 50)..]);
        if at_end < LEAST_QUEUE {
            return None;
        }
        let since = queue.iter().rposition(|q| *q <= ALWAYS * at_end)? + 1;
        let residence = residence(backlog);
        // A batch that still fills up is not saturated, whatever waits for its turn.
        let running = between(&backlog.started, &backlog.finished);
        let room = last.saturating_sub(since);
        let full = FULL * mean(&running[last - room / 3..]);
        let filled = since + running[since..].iter().position(|r| *r >= full)?;
        let skipped = (SKIPPED * residence as f64) as usize;
        let steady = filled + skipped.min(2 * last.saturating_sub(filled) / 5);
        let steady = warm(backlog, steady);
        let left = last - steady;
        if left < FEWEST_POINTS {
            return None;
        }
        let block = (left + 1) / BLOCKS;
        let spacing = block as f64 * backlog.step_s;
        let middle = steady + left / 2;
        // What the composition of the batch still changes, changes the pace by less.
        let (early, late) = (mean(&running[steady..middle]), mean(&running[middle..]));
        // Where hardly more than one runs at a time there is no batch, and its count is a matter of the moment.
        let grown = if late > ALONE {
            late / early.max(1.0) - 1.0
        } else {
            0.0
        };
        let missing = (1.0 - (steady - filled) as f64 / skipped.max(1) as f64).max(0.0);
        let settling = ELASTICITY * grown.abs() + if skipped > 0 { UNSETTLED * missing } else { 0.0 };
        let served = backlog.progress[last] - backlog.progress[steady];
        let floor = FLOOR + FEW / served.max(1.0);
        let slope = |served: &[f64]| -> Option<(Estimate, f64)> {
            let series = deficit(backlog, &steadied(backlog, served, steady, block));
            let blocks = block_means(&series[steady..], BLOCKS)?;
            let line = trend(&blocks, spacing)?;
            let (first, second) = blocks.split_at(BLOCKS / 2);
            let pace = 1.0 - line.slope;
            let change = (least_squares(first)?.1 - least_squares(second)?.1) / spacing;
            let half = line.half_width(alpha).hypot(floor * pace) + settling * pace;
            // Where the pace changes it may change on: further that way.
            let (up, down) = (change.max(0.0), (-change).max(0.0));
            let estimate = Estimate {
                value: line.slope,
                low: line.slope - half - 2.0 * up - down / 2.0,
                high: line.slope + half + 2.0 * down + up / 2.0,
            };
            Some((estimate, change))
        };
        let (share, change) = slope(&backlog.progress)?;
        let (by_good, _) = slope(&good(backlog))?;
        let before = queue[..since].iter().copied().fold(0.0, f64::max);
        Some(Self {
            since_s: since as f64 * backlog.step_s,
            steady_s: steady as f64 * backlog.step_s,
            length_s: left as f64 * backlog.step_s,
            residence_s: residence as f64 * backlog.step_s,
            share,
            by_good,
            change,
            before: before / at_end,
            queue: at_end / running[last].max(1.0),
        })
    }

    /// Whether it stands for a window of `window_s` seconds from `start_s` on: it is most of it, or the queue is longer than
    /// any that drained before. And it is no passing clump: it lasts for some times in service, or the queue is as long as
    /// a part of the batch.
    pub fn tells(&self, start_s: f64, window_s: f64) -> bool {
        let lasting = self.length_s >= LASTING * self.residence_s || self.queue >= LONG_QUEUE;
        lasting && (self.since_s - start_s < MOST_OF_IT * window_s || self.before < GROWN)
    }
}

/// Where a service that was cold at first is at its pace, from `steady` on: every block of work before is slower than every
/// one after, by more than those differ among each other. A stall or a clump is no cold start: it is faster again before or slower
/// again after.
fn warm(backlog: &Backlog, steady: usize) -> usize {
    let size = (backlog.len() - steady) / BLOCKS;
    if size < FEWEST_POINTS / BLOCKS {
        return steady;
    }
    let served = steadied(backlog, &backlog.progress, steady, size);
    let paces: Vec<f64> = (0..BLOCKS)
        .map(|block| served[steady + (block + 1) * size - 1] - served[steady + block * size])
        .collect();
    let highest = |paces: &[f64]| paces.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let lowest = |paces: &[f64]| paces.iter().copied().fold(f64::INFINITY, f64::min);
    let cold = (COLD.0..=COLD.1).rev().find(|&cold| {
        let (before, after) = paces.split_at(cold);
        // Between the two lies a block in which it turns.
        let after = &after[1..];
        lowest(after) - highest(before) > highest(after) - lowest(after)
    });
    cold.map_or(steady, |cold| steady + (cold + 1) * size)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// How long ago, in points, as many had started as have finished by now.
pub(super) fn residence(backlog: &Backlog) -> usize {
    let last = backlog.len() - 1;
    let begun = backlog.started.partition_point(|s| *s < backlog.finished[last]);
    last - begun.min(last)
}
