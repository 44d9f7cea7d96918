//! The two series whose slope is the drift.

use crate::trial::Backlog;

/// How far the service is behind at each point, in seconds: `t - a(F(t))`, where `a(k)` is when the `k`-th request was
/// intended and `F(t)` how many have finished.
///
/// It grows by `1 - served / offered` a second, whatever happens between. While the service keeps up, chance clumps of arrivals come
/// out again one service time later and cancel, so it is quiet where the number of open requests is not.
pub(super) fn lag(backlog: &Backlog) -> Vec<f64> {
    let mut at = 0;
    backlog
        .finished
        .iter()
        .enumerate()
        .map(|(point, &finished)| {
            // No more can have finished than was intended, so this ends at `point` at the latest.
            while at < point && backlog.intended[at] < finished {
                at += 1;
            }
            // The point at which the last finished request was intended; straight between two points.
            let intended_at = if at == 0 || finished == 0 {
                0.0
            } else {
                let below = f64::from(backlog.intended[at - 1]);
                let gap = f64::from(backlog.intended[at]) - below;
                (at - 1) as f64 + ((f64::from(finished) - below) / gap.max(1.0)).clamp(0.0, 1.0)
            };
            (point as f64 - intended_at) * backlog.step_s
        })
        .collect()
}

/// How far the service is behind a steady client, in seconds: `t - F(t) / rate`, with the realised rate of the whole trial.
///
/// The count of a trial is fixed, so the rate has no error; a saturated service finishes at its own
/// pace, so the series is quiet where the lag still carries the noise of the arrivals.
pub(super) fn deficit(backlog: &Backlog, counts: &[u32]) -> Vec<f64> {
    let points = backlog.len().saturating_sub(1) as f64;
    let total = f64::from(backlog.intended.last().copied().unwrap_or(0));
    let per_point = total / points;
    counts
        .iter()
        .enumerate()
        .map(|(point, &count)| (point as f64 - f64::from(count) / per_point) * backlog.step_s)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_grow_by_the_share_that_is_not_served() {
        // 10 requests a second offered, 8 served.
        let backlog = Backlog::from_counts(
            1.0,
            (0..=100).map(|t| 10 * t).collect(),
            (0..=100).map(|t| 8 * t).collect(),
            Vec::new(),
        );
        for series in [lag(&backlog), deficit(&backlog, &backlog.finished)] {
            assert!((series[100] - series[50] - 0.2 * 50.0).abs() < 1e-9);
        }
    }

    #[test]
    fn the_lag_is_never_negative_where_little_arrives() {
        let backlog = Backlog::from_counts(
            1.0,
            (0..=100).map(|t| t / 20).collect(),
            (0..=100_u32).map(|t| t.saturating_sub(2) / 20).collect(),
            Vec::new(),
        );
        assert!(lag(&backlog)[22..].iter().all(|l| (0.0..=22.0).contains(l)));
        assert!((lag(&backlog)[22] - 2.0).abs() < 1e-9);
    }

    #[test]
    fn the_lag_of_a_service_that_keeps_up_is_its_service_time() {
        let intended: Vec<u32> = (0..=100).map(|t: u32| t * t).collect();
        let finished = (0..=100_u32).map(|t| t.saturating_sub(3).pow(2)).collect();
        let backlog = Backlog::from_counts(0.5, intended, finished, Vec::new());
        assert!(lag(&backlog)[10..].iter().all(|l| (l - 1.5).abs() < 1e-9));
    }
}
