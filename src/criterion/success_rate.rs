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
}
