//! The share of requests that must succeed. Joined into the other criteria.

use std::collections::BTreeMap;

use crate::trial::Measurement;

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
