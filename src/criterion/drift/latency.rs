//! Whether response times grow although the backlog does not.

use serde::Serialize;

use crate::stats::trend::trend;
use crate::trial::{Estimate, Measurement};

/// Blocks that the trend is fitted to.
const BLOCKS: usize = 30;
/// Fewest good requests in a block.
const FEWEST: usize = 5;
/// One in a hundred: the check comes on top of the drift and must not bring its false alarms back.
const ALPHA: f64 = 0.01;

/// Growth of the response time over the judged window, relative to where it started.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LatencyGrowth {
    /// Growth over the window as a share of the level at its start, with a 99 % interval.
    pub growth: Estimate,
    /// Fitted mean response time at the start of the window, milliseconds.
    pub start_ms: f64,
    /// Response time per output token instead of per request, because lengths differ.
    pub per_token: bool,
}

impl LatencyGrowth {
    /// From requests intended after the warm-up; `None` when they are too few.
    ///
    /// Where output lengths differ, a change in their composition would look like a change of the service, so each
    /// response time is divided by its tokens and blocks are summed, not averaged: time per token served.
    pub fn of(measurement: &Measurement, warmup_s: f64) -> Option<Self> {
        let window_s = measurement.offered_s - warmup_s;
        let mut time = [0.0; BLOCKS];
        let mut amount = [0.0; BLOCKS];
        let mut counts = [0_usize; BLOCKS];
        let good = || {
            measurement
                .records
                .iter()
                .filter(|r| r.outcome.is_ok() && r.output_tokens > 0)
        };
        let lengths = good().map(|r| r.output_tokens);
        let per_token = lengths.clone().min() != lengths.max();
        for record in good() {
            let at = record.intended_ns as f64 / 1e9 - warmup_s;
            let block = (at / window_s * BLOCKS as f64).floor();
            if !(0.0..BLOCKS as f64).contains(&block) {
                continue;
            }
            let block = block as usize;
            time[block] += record.e2e_ms()?;
            amount[block] += if per_token {
                f64::from(record.output_tokens)
            } else {
                1.0
            };
            counts[block] += 1;
        }
        if counts.iter().any(|c| *c < FEWEST) {
            return None;
        }
        let level: Vec<f64> = time.iter().zip(&amount).map(|(t, a)| t / a).collect();
        let line = trend(&level, 1.0)?;
        let span = (BLOCKS - 1) as f64;
        let mean = level.iter().sum::<f64>() / BLOCKS as f64;
        // The level at the start, but never below the least that was seen: a steep line would go through zero.
        let least = level.iter().copied().fold(f64::INFINITY, f64::min);
        let start_ms = (mean - line.slope * span / 2.0).max(least);
        let (change, half) = (line.slope * span, line.half_width(ALPHA) * span);
        Some(Self {
            growth: Estimate {
                value: change / start_ms,
                low: (change - half) / start_ms,
                high: (change + half) / start_ms,
            },
            start_ms,
            per_token,
        })
    }
}
