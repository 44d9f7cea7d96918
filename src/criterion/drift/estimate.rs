//! The drift of a backlog with its interval.

use serde::Serialize;

use super::series::{deficit, lag};
use crate::stats::batch_means::block_means;
use crate::stats::trend::{Trend, random_walk_trend, trend};
use crate::stats::warmup::warmup_length;
use crate::trial::{Backlog, Estimate};

/// Blocks that a trend is fitted to.
const BLOCKS: usize = 30;
/// Two estimates are looked at and the sharper one is used, so each has half of the 5 %.
const ALPHA: f64 = 0.025;
/// Largest share of the series that MSER may leave out, beyond the first service time.
const MOST_WARMUP: f64 = 0.25;

/// Which series an estimate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// How old the load is that the service is finishing: sharp while it keeps up.
    Lag,
    /// How many it finished: sharp while it is saturated.
    Completions,
}

/// The share of the offered load that is not served, as the slope of a series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DriftEstimate {
    /// The share with its 95 % interval.
    pub share: Estimate,
    /// The sharper series, which `share` is taken from.
    pub source: Source,
    /// By the lag.
    pub by_lag: Estimate,
    /// By the completions.
    pub by_completions: Estimate,
    /// By the good completions alone: one minus this, times the offered rate, is the goodput.
    pub by_good: Estimate,
    /// Seconds left out at the start.
    pub warmup_s: f64,
    /// Seconds that were judged.
    pub window_s: f64,
    /// Smallest lag in the window, seconds: about one service time.
    pub service_s: f64,
    /// Requests that finished in the window.
    pub finished: u32,
    /// Autocorrelation of the block means about their line; 1 for a random walk.
    pub autocorrelation: f64,
}

impl DriftEstimate {
    /// The drift over what the backlog's series spans; `None` when nothing finished in the first half of it, or when it
    /// is too short for a trend.
    pub fn of(backlog: &Backlog) -> Option<Self> {
        let points = backlog.len();
        let behind = lag(backlog);
        let first = backlog.finished.iter().position(|&f| f > 0)?;
        // Until the first request has finished and another service time has passed, nothing is steady.
        let earliest = first + (behind[first] / backlog.step_s) as usize;
        if earliest > points / 2 {
            return None;
        }
        let most = ((points - earliest) as f64 * MOST_WARMUP) as usize;
        let start = earliest + warmup_length(&behind[earliest..], most);
        let window_s = (points - 1 - start) as f64 * backlog.step_s;
        let finished = backlog.finished[points - 1] - backlog.finished[start];
        let service_s = behind[start..]
            .iter()
            .copied()
            .fold(f64::INFINITY, f64::min)
            .max(backlog.step_s);
        let slope = |series: &[f64], fit: fn(&[f64], f64) -> Option<Trend>| -> Option<(Estimate, f64)> {
            let blocks = block_means(&series[start..], BLOCKS)?;
            let size = (points - start) / BLOCKS;
            let mut line = fit(&blocks, size as f64 * backlog.step_s)?;
            // A service forgets no faster than it serves: no more independent stretches than service times.
            line.df = line.df.min((window_s / service_s - 2.0).max(1.0));
            // Two requests more or less at the ends are not resolved.
            let half = line.half_width(ALPHA).hypot(2.0 / f64::from(finished.max(1)));
            let estimate = Estimate {
                value: line.slope,
                low: line.slope - half,
                high: line.slope + half,
            };
            Some((estimate, line.autocorrelation))
        };
        let (by_lag, lag_memory) = slope(&behind, trend)?;
        let (by_completions, completion_memory) =
            slope(&deficit(backlog, &backlog.finished), random_walk_trend)?;
        let (by_good, _) = slope(&deficit(backlog, &backlog.good), random_walk_trend)?;
        let lag_is_sharper = by_lag.high - by_lag.low < by_completions.high - by_completions.low;
        let (share, source, autocorrelation) = if lag_is_sharper {
            (by_lag, Source::Lag, lag_memory)
        } else {
            (by_completions, Source::Completions, completion_memory)
        };
        Some(Self {
            share,
            source,
            by_lag,
            by_completions,
            by_good,
            warmup_s: start as f64 * backlog.step_s,
            window_s,
            service_s,
            finished,
            autocorrelation,
        })
    }
}

/// Combines estimates of one quantity by inverse variance. Where they differ by more than their intervals allow, the
/// result is widened by the Birge ratio (as the Particle Data Group does). `None` without estimates.
pub fn pool(estimates: &[Estimate]) -> Option<Estimate> {
    let half = |e: &Estimate| ((e.high - e.low) / 2.0).max(f64::MIN_POSITIVE);
    let weight = |e: &Estimate| half(e).powi(-2);
    let total: f64 = estimates.iter().map(weight).sum();
    if estimates.len() < 2 || !total.is_finite() {
        return estimates.first().copied();
    }
    let value = estimates.iter().map(|e| weight(e) * e.value).sum::<f64>() / total;
    // Halves are about two standard errors.
    let excess: f64 = estimates
        .iter()
        .map(|e| 4.0 * weight(e) * (e.value - value).powi(2))
        .sum();
    let birge = (excess / (estimates.len() as f64 - 1.0).max(1.0)).sqrt().max(1.0);
    let combined = birge / total.sqrt();
    Some(Estimate {
        value,
        low: value - combined,
        high: value + combined,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(value: f64, half: f64) -> Estimate {
        Estimate {
            value,
            low: value - half,
            high: value + half,
        }
    }

    #[test]
    fn pooling_sharpens_what_agrees_and_widens_what_does_not() {
        let pooled = pool(&[around(0.01, 0.02), around(0.02, 0.02)]).unwrap();
        assert!((pooled.value - 0.015).abs() < 1e-12);
        assert!((pooled.high - pooled.value - 0.02 / 2f64.sqrt()).abs() < 1e-12);
        let torn = pool(&[around(-0.1, 0.01), around(0.1, 0.01)]).unwrap();
        assert!(torn.high > 0.1);
        assert_eq!(pool(&[]), None);
        assert_eq!(pool(&[around(0.3, 0.1)]), Some(around(0.3, 0.1)));
    }

    #[test]
    fn nothing_finished_is_no_estimate() {
        assert_eq!(DriftEstimate::of(&Backlog::default()), None);
        let backlog = Backlog::from_counts(1.0, (0..=600).collect(), vec![0; 601], vec![0; 601]);
        assert_eq!(DriftEstimate::of(&backlog), None);
    }
}
