//! The drift of a backlog with its interval.

use serde::Serialize;

use super::saturation::Saturation;
use super::series::{deficit, good, lag};
use crate::stats::batch_means::block_means;
use crate::stats::trend::{Trend, line_through, random_walk_trend, trend};
use crate::stats::warmup::warmup_length;
use crate::trial::{Backlog, Estimate};

/// Blocks that a trend is fitted to.
const BLOCKS: usize = 30;
/// So many estimates are looked at and the sharpest one is used, so each has its part of the 5 %.
const SOURCES: f64 = 3.0;
/// Width of an interval with which a saturated stretch decides alone.
const SHARP: f64 = 0.02;
/// Half width below which no interval goes.
const UNRESOLVED: f64 = 0.000_5;
/// Parts of the window whose least lags are compared.
const PARTS: usize = 4;
/// How much more than the least lag is nearly that, and the service times that a series must last for it to tell.
const NEARLY: f64 = 0.05;
const MANY: f64 = 40.0;
/// Largest share of the series that MSER may leave out, beyond the first service time.
const MOST_WARMUP: f64 = 0.25;

/// Where an estimate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// How old the load is that the service is serving: sharp while it keeps up.
    Lag,
    /// How old it is at least, in each part of the trial: sharp while bursts drain, whatever they are.
    Floor,
    /// How much it served: sharp while it is saturated.
    Progress,
}

/// The share of the offered load that is not served, as the slope of a series.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DriftEstimate {
    /// The share with its 95 % interval.
    pub share: Estimate,
    /// The sharpest series, which `share` is taken from.
    pub source: Source,
    /// By the lag.
    pub by_lag: Estimate,
    /// By the smallest lags.
    pub by_floor: Estimate,
    /// By the progress; of the saturated stretch, where there is one that tells.
    pub by_progress: Estimate,
    /// By the progress of good requests alone: one minus this, times the offered rate, is the goodput.
    pub by_good: Estimate,
    /// The last stretch in which requests always waited.
    pub saturation: Option<Saturation>,
    /// Seconds left out at the start.
    pub warmup_s: f64,
    /// Seconds that were judged.
    pub window_s: f64,
    /// Smallest lag in the window, seconds: about one service time.
    pub service_s: f64,
    /// Whether the lag is down again at the end, whatever happened before: then all that had come was served as promptly as at
    /// first.
    pub recovered: bool,
    /// Requests that finished in the window.
    pub finished: u32,
    /// Autocorrelation of the block means about their line; 1 for a random walk.
    pub autocorrelation: f64,
}

impl DriftEstimate {
    /// The drift over what the backlog's series spans; `None` when nothing finished in the first half of it and no
    /// queue tells, or when it is too short for a trend.
    pub fn of(backlog: &Backlog) -> Option<Self> {
        Self::at_level(backlog, 0.05)
    }

    /// The same with intervals that miss with probability `alpha`.
    pub fn at_level(backlog: &Backlog, alpha: f64) -> Option<Self> {
        let alpha = alpha / SOURCES;
        let points = backlog.len();
        let behind = lag(backlog);
        let Some(first) = backlog.finished.iter().position(|&f| f > 0) else {
            return Self::saturated(backlog, alpha);
        };
        // Until the first request has finished and another service time has passed, nothing is steady.
        let earliest = first + (behind[first] / backlog.step_s) as usize;
        if earliest > points / 2 {
            return Self::saturated(backlog, alpha);
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
        // Two requests more or less at the ends are not resolved, nor what is left of the start.
        let resolved = 2.0 / f64::from(finished.max(1)) + UNRESOLVED;
        let estimate = |line: Trend| {
            let half = line.half_width(alpha).hypot(resolved);
            Estimate {
                value: line.slope,
                low: line.slope - half,
                high: line.slope + half,
            }
        };
        let slope = |series: &[f64], fit: fn(&[f64], f64) -> Option<Trend>| -> Option<(Estimate, f64)> {
            let blocks = block_means(&series[start..], BLOCKS)?;
            let size = (points - start) / BLOCKS;
            let mut line = fit(&blocks, size as f64 * backlog.step_s)?;
            // A service forgets no faster than it serves: no more independent stretches than service times.
            line.df = line.df.min((window_s / service_s - 2.0).max(1.0));
            Some((estimate(line), line.autocorrelation))
        };
        let (by_lag, autocorrelation) = slope(&behind, trend)?;
        let by_floor = estimate(floor(&behind[start..], backlog.step_s)?);
        let saturation = Saturation::of(backlog, alpha);
        let telling = saturation.filter(|s| s.tells(start as f64 * backlog.step_s, window_s));
        let (by_progress, by_good) = if let Some(s) = telling {
            (s.share, s.by_good)
        } else {
            (
                slope(&deficit(backlog, &backlog.progress), random_walk_trend)?.0,
                slope(&deficit(backlog, &good(backlog)), random_walk_trend)?.0,
            )
        };
        // What a saturated service does now is what counts, and where it is sharp it is not to be outvoted by earlier, better times.
        let width = |e: &Estimate| e.high - e.low;
        let decisive = telling.is_some() && (width(&by_progress) < SHARP || by_progress.low > 0.0);
        let (share, source) = if decisive {
            vec![(by_progress, Source::Progress)]
        } else {
            vec![
                (by_lag, Source::Lag),
                (by_floor, Source::Floor),
                (by_progress, Source::Progress),
            ]
        }
        .into_iter()
        .min_by(|a, b| width(&a.0).total_cmp(&width(&b.0)))?;
        Some(Self {
            share,
            source,
            by_lag,
            by_floor,
            by_progress,
            by_good,
            saturation,
            warmup_s: start as f64 * backlog.step_s,
            window_s,
            service_s,
            recovered: recovered(&behind[earliest..], backlog.step_s),
            finished,
            autocorrelation,
        })
    }
}

impl DriftEstimate {
    /// From the saturated stretch alone, in a trial that is not much longer than a request is in service.
    fn saturated(backlog: &Backlog, alpha: f64) -> Option<Self> {
        let last = backlog.len().checked_sub(1)?;
        if backlog.progress[last] <= 0.0 {
            return None;
        }
        let found = Saturation::of(backlog, alpha).filter(|s| s.tells(s.since_s, s.length_s))?;
        let start = (found.steady_s / backlog.step_s) as usize;
        Some(Self {
            share: found.share,
            source: Source::Progress,
            by_lag: found.share,
            by_floor: found.share,
            by_progress: found.share,
            by_good: found.by_good,
            saturation: Some(found),
            warmup_s: found.steady_s,
            window_s: found.length_s,
            service_s: found.residence_s,
            recovered: false,
            finished: backlog.finished[last] - backlog.finished[start.min(last)],
            autocorrelation: 1.0,
        })
    }
}

/// The line through the smallest values of each part of a series, at the times at which they were taken.
///
/// Whatever holds a service up for a while (a burst, a stall, a neighbour), the load that came meanwhile drains where it
/// can be sustained, and the lag comes down to where it was; where it cannot, the least lag grows with the rest. So
/// the least lags know nothing of how the service was held up, as long as each part is longer than that.
fn floor(lag: &[f64], step_s: f64) -> Option<Trend> {
    let size = lag.len() / PARTS;
    let lowest = |part: usize| {
        let from = part * size;
        let (at, value) = lag[from..from + size]
            .iter()
            .enumerate()
            .min_by(|a, b| a.1.total_cmp(b.1))?;
        Some(((from + at) as f64 * step_s, *value))
    };
    let least: Vec<(f64, f64)> = (0..PARTS).filter_map(lowest).collect();
    line_through(&least)
}

/// Whether the least lag of the last part is that of all, nearly, in a series of many service times.
fn recovered(lag: &[f64], step_s: f64) -> bool {
    let least = |lag: &[f64]| lag.iter().copied().fold(f64::INFINITY, f64::min);
    let (all, in_the_end) = (least(lag), least(&lag[lag.len() - lag.len() / PARTS..]));
    let long = lag.len() as f64 * step_s >= MANY * all.max(step_s);
    long && in_the_end <= (1.0 + NEARLY) * all + step_s
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
    fn a_service_that_caught_up_is_told_from_one_that_fell_behind() {
        // Two seconds behind; a hump of twenty that has drained; one that has not; and a steady one percent too many.
        let hump = |at: usize| move |t: usize| 2.0 + (20.0 - (t as f64 - at as f64).abs() / 5.0).max(0.0);
        let series = |of: &dyn Fn(usize) -> f64| -> Vec<f64> { (0..600).map(of).collect() };
        assert!(recovered(&series(&|_| 2.0), 1.0));
        assert!(recovered(&series(&hump(200)), 1.0));
        assert!(!recovered(&series(&hump(520)), 1.0));
        assert!(!recovered(&series(&|t| 2.0 + 0.01 * t as f64), 1.0));
        // A trial of few service times tells nothing.
        assert!(!recovered(&series(&|_| 20.0), 1.0));
    }

    #[test]
    fn nothing_finished_is_no_estimate() {
        assert_eq!(DriftEstimate::of(&Backlog::default()), None);
        let backlog = Backlog::from_counts(1.0, (0..=600).collect(), vec![0; 601], vec![0; 601]);
        assert_eq!(DriftEstimate::of(&backlog), None);
    }
}
