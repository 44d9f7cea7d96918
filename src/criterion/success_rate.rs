//! The share of requests that must succeed. Joined into the other criteria.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Ruling;
use crate::stats::batch_means::batch_means;
use crate::trial::{Backlog, Estimate, Measurement};

/// Batches of the interval.
const BATCHES: usize = 20;
/// Fewest finished requests for which it is told.
const FEWEST: u32 = 50;
/// Fewest for which it decides when a trial is over; below that the share alone does.
const ENOUGH: u32 = 500;

/// The share of requests that succeed, with an interval that respects bursts of errors.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SuccessRate {
    /// Of the requests that ended after the warm-up, in percent.
    pub percent: Estimate,
    /// How many these are.
    pub requests: u32,
}

impl SuccessRate {
    /// From `warmup_s` on, with an interval that misses with probability `alpha`. `None` where too few requests ended.
    ///
    /// Errors come in bursts, so they are no independent draws: the failed requests of each of 20 equally long batches are set
    /// against the mean number of requests of a batch (a ratio of means; Cochran, Sampling Techniques, 1977, section 6.4).
    pub fn of(backlog: &Backlog, warmup_s: f64, alpha: f64) -> Option<Self> {
        let last = backlog.len().checked_sub(1)?;
        let start = ((warmup_s / backlog.step_s) as usize).min(last);
        let ended = backlog.finished[last] - backlog.finished[start];
        let good = backlog.good[last] - backlog.good[start];
        if ended < FEWEST {
            return None;
        }
        let share = f64::from(good) / f64::from(ended);
        let per_point = f64::from(ended) / (last - start) as f64;
        let off: Vec<f64> = (start..last)
            .map(|k| {
                let ended = f64::from(backlog.finished[k + 1] - backlog.finished[k]);
                let good = f64::from(backlog.good[k + 1] - backlog.good[k]);
                (good - share * ended) / per_point
            })
            .collect();
        let half = batch_means(&off, BATCHES)?.half_width(alpha);
        Some(Self {
            percent: Estimate {
                value: 100.0 * share,
                low: (100.0 * (share - half)).max(0.0),
                high: (100.0 * (share + half)).min(100.0),
            },
            requests: ended,
        })
    }

    /// Whether so many succeed as are asked for.
    pub fn rule(&self, threshold_percent: f64) -> Ruling {
        if self.percent.low >= threshold_percent {
            Ruling::Sustainable
        } else if self.percent.high < threshold_percent {
            Ruling::Unsustainable
        } else {
            Ruling::Unsure
        }
    }
}

/// Why a trial fails for its errors: its success rate in percent is below `threshold_percent`. `None` when it is not,
/// or when nothing finished and there is no rate.
pub fn failure(success_rate_percent: Option<f64>, threshold_percent: f64) -> Option<String> {
    let percent = success_rate_percent?;
    (percent < threshold_percent).then(|| {
        format!("{percent:.2} % of the requests succeeded, less than the {threshold_percent} % asked for")
    })
}

/// [`failure`] of a measurement, with what most of the bad requests ended in.
pub(super) fn failure_of(measurement: &Measurement, threshold_percent: f64) -> Option<String> {
    let why = failure(measurement.success_rate_percent(), threshold_percent)?;
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for record in measurement
        .records
        .iter()
        .filter(|r| r.outcome.is_finished() && !r.outcome.is_ok())
    {
        *counts.entry(record.outcome.to_string()).or_default() += 1;
    }
    let most = counts.iter().max_by_key(|(_, count)| **count);
    Some(most.map_or(why.clone(), |(outcome, count)| {
        format!("{why}; most often `{outcome}` ({count} requests)")
    }))
}

/// [`failure_of`] where the interval of the success rate is on one side; else why it decides nothing. `None` when the rate is
/// high enough.
pub(super) fn ruling_of(
    measurement: &Measurement,
    rate: Option<&SuccessRate>,
    threshold_percent: f64,
) -> Option<(Ruling, String)> {
    let rate = rate.filter(|r| r.requests >= ENOUGH);
    match rate.map(|r| r.rule(threshold_percent)) {
        Some(Ruling::Sustainable) => None,
        Some(Ruling::Unsure) => {
            let percent = rate?.percent;
            let why = format!(
                "{:.2} % of the requests succeeded ({:.2} to {:.2} %), which may be more or less than the \
                 {threshold_percent} % asked for",
                percent.value, percent.low, percent.high
            );
            Some((Ruling::Unsure, why))
        }
        Some(Ruling::Unsustainable) | None => {
            let why = failure_of(measurement, threshold_percent)
                .or_else(|| failure(Some(rate?.percent.value), threshold_percent))?;
            Some((Ruling::Unsustainable, why))
        }
    }
}

/// Why a measurement says nothing about the service: its client did not keep its own schedule.
pub(super) fn void(measurement: &Measurement) -> Option<String> {
    let why = measurement.client.void.as_ref()?;
    Some(format!(
        "the trial is void, the client did not keep its schedule: {why}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_itself_is_enough() {
        assert_eq!(failure(Some(95.0), 95.0), None);
        assert_eq!(failure(None, 95.0), None);
        assert!(failure(Some(94.99), 95.0).unwrap().starts_with("94.99 %"));
    }

    /// 20 batches of ten requests each, of which so many fail.
    fn batches(failed: [u32; 20]) -> Backlog {
        let (mut finished, mut good) = (vec![0], vec![0]);
        for bad in failed {
            finished.push(finished[finished.len() - 1] + 10);
            good.push(good[good.len() - 1] + 10 - bad);
        }
        Backlog::from_counts(1.0, finished.clone(), finished, good)
    }

    #[test]
    fn the_interval_is_that_of_batch_means() {
        // Every other batch has one failure in ten: 95 %, the standard deviation of a batch is 0.05 sqrt(20/19), and that of
        // their mean 0.05 / sqrt(19). Student's quantile for 19 degrees of freedom is 2.0930 at 95 % and 2.8609 at 99 %.
        let backlog = batches(std::array::from_fn(|k| (k % 2) as u32));
        for (alpha, quantile) in [(0.05, 2.093_024), (0.01, 2.860_935)] {
            let rate = SuccessRate::of(&backlog, 0.0, alpha).unwrap();
            assert_eq!(rate.requests, 200);
            let half = 100.0 * quantile * 0.05 / 19.0_f64.sqrt();
            let off = |value: f64, expected: f64| (value - expected).abs() < 1e-4;
            assert!(off(rate.percent.value, 95.0), "{rate:?}");
            assert!(off(rate.percent.low, 95.0 - half), "{rate:?}");
            assert!(off(rate.percent.high, 95.0 + half), "{rate:?}");
        }
    }

    #[test]
    fn errors_that_come_in_a_burst_are_less_sure_than_spread_ones() {
        let spread = SuccessRate::of(&batches([1; 20]), 0.0, 0.05).unwrap().percent;
        assert!(spread.high - spread.low < 1e-9 && (spread.value - 90.0).abs() < 1e-9);
        let burst = batches(std::array::from_fn(|k| if k < 2 { 10 } else { 0 }));
        let burst = SuccessRate::of(&burst, 0.0, 0.05).unwrap();
        // The same share: 18 batches of 1 and two of 0 have a standard deviation of 0.3 sqrt(20/19).
        let half = 100.0 * 2.093_024 * 0.3 / 19.0_f64.sqrt();
        assert!((burst.percent.value - 90.0).abs() < 1e-9);
        assert!((burst.percent.low - (90.0 - half)).abs() < 1e-3, "{burst:?}");
        assert_eq!(burst.percent.high, 100.0, "a share is at most 100 %");
        assert_eq!(burst.rule(95.0), Ruling::Unsure);
    }

    #[test]
    fn the_warm_up_is_left_out_and_few_requests_tell_nothing() {
        let bad_start = batches(std::array::from_fn(|k| if k < 5 { 10 } else { 0 }));
        let rate = SuccessRate::of(&bad_start, 5.0, 0.05);
        // Fifteen points are fewer than twenty batches.
        assert_eq!(rate, None);
        let long: Vec<u32> = (0..=600).collect();
        let good: Vec<u32> = long.iter().map(|n| n.saturating_sub(100)).collect();
        let backlog = Backlog::from_counts(1.0, long.clone(), long.clone(), good);
        let rate = SuccessRate::of(&backlog, 100.0, 0.05).unwrap();
        assert_eq!((rate.requests, rate.percent.value), (500, 100.0));
        let all = SuccessRate::of(&backlog, 0.0, 0.05).unwrap();
        assert!((all.percent.value - 100.0 * 500.0 / 600.0).abs() < 1e-9);
        assert_eq!(SuccessRate::of(&backlog, 551.0, 0.05), None, "49 requests");
        assert!(SuccessRate::of(&backlog, 550.0, 0.05).is_some(), "50 requests");
    }

    #[test]
    fn a_rate_is_ruled_by_its_interval() {
        let rate = |low: f64, high: f64| SuccessRate {
            percent: Estimate {
                value: f64::midpoint(low, high),
                low,
                high,
            },
            requests: 1000,
        };
        assert_eq!(rate(95.0, 97.0).rule(95.0), Ruling::Sustainable);
        assert_eq!(rate(94.9, 97.0).rule(95.0), Ruling::Unsure);
        assert_eq!(rate(93.0, 95.0).rule(95.0), Ruling::Unsure);
        assert_eq!(rate(93.0, 94.9).rule(95.0), Ruling::Unsustainable);
    }
}
