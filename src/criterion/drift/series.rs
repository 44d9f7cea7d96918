//! The series whose slope is the drift.

use crate::trial::Backlog;

/// How far the service is behind at each point, in seconds: `t - a(P(t))`, where `a(x)` is when so much work had been
/// offered and `P(t)` how much has been served.
///
/// It grows by `1 - served / offered` a second, whatever happens between. While the service keeps up, chance clumps of
/// arrivals come out again and cancel, so it is quiet where the number of open requests is not.
pub(super) fn lag(backlog: &Backlog) -> Vec<f64> {
    behind(&backlog.work, &backlog.progress, backlog.step_s)
}

/// How long ago `offered` reached what `served` has reached, at each point, in seconds.
pub(super) fn behind(offered: &[f64], served: &[f64], step_s: f64) -> Vec<f64> {
    let mut at = 0;
    served
        .iter()
        .enumerate()
        .map(|(point, &served)| {
            // No more can have been served than was offered, so this ends at `point` at the latest.
            while at < point && offered[at] < served {
                at += 1;
            }
            // The point at which this much was offered; straight between two points.
            let offered_at = if at == 0 || served <= 0.0 {
                0.0
            } else {
                let below = offered[at - 1];
                let gap = (offered[at] - below).max(f64::MIN_POSITIVE);
                (at - 1) as f64 + ((served - below) / gap).clamp(0.0, 1.0)
            };
            (point as f64 - offered_at) * step_s
        })
        .collect()
}

/// How far the service is behind a steady client, in seconds: `t - P(t) / rate`, with the realised rate of the whole trial.
///
/// The count of a trial is fixed, so the rate has no error; a saturated service goes at its own
/// pace, so the series is quiet where the lag still carries the noise of the arrivals.
pub(super) fn deficit(backlog: &Backlog, served: &[f64]) -> Vec<f64> {
    let per_point = per_point(backlog);
    served
        .iter()
        .enumerate()
        .map(|(point, &served)| (point as f64 - served / per_point) * backlog.step_s)
        .collect()
}

/// Requests offered from one point to the next, on the mean of the trial.
pub(super) fn per_point(backlog: &Backlog) -> f64 {
    let points = backlog.len().saturating_sub(1) as f64;
    f64::from(backlog.intended.last().copied().unwrap_or(0)) / points
}

/// The progress of good requests alone: each that failed counts as one in `progress`.
pub(super) fn good(backlog: &Backlog) -> Vec<f64> {
    let failed = backlog.finished.iter().zip(&backlog.good);
    backlog
        .progress
        .iter()
        .zip(failed)
        .map(|(p, (&finished, &good))| p - (f64::from(finished) - f64::from(good)))
        .collect()
}

/// `served` with the noise of admissions taken out, by the control variate that is started requests minus progress.
///
/// A saturated server spends its time on prompts and on tokens: `t = p S + e P` for `S` started requests and progress
/// `P`, which grow at the same pace in the long run. So `P + phi (S - P)` with `phi = p / (p + e)` grows evenly where `P` alone waits for
/// every wave of prompts. `phi` is the regression of the steps of `P` on those of `S - P`, within `[0, 1]`.
pub(super) fn steadied(backlog: &Backlog, served: &[f64], from: usize, block: usize) -> Vec<f64> {
    let started = |k: usize| f64::from(backlog.started[k]);
    let last = backlog.len() - 1;
    let ends: Vec<usize> = (from..=last).step_by(block.max(1)).collect();
    let steps = |of: &dyn Fn(usize) -> f64| -> Vec<f64> {
        let steps: Vec<f64> = ends.windows(2).map(|w| of(w[1]) - of(w[0])).collect();
        let mean = steps.iter().sum::<f64>() / steps.len().max(1) as f64;
        steps.iter().map(|s| s - mean).collect()
    };
    let own = steps(&|k| backlog.progress[k]);
    let under_way = steps(&|k| started(k) - backlog.progress[k]);
    let cross: f64 = own.iter().zip(&under_way).map(|(a, b)| a * b).sum();
    let square: f64 = under_way.iter().map(|b| b * b).sum();
    let phi = if square > 0.0 {
        (-cross / square).clamp(0.0, 1.0)
    } else {
        0.0
    };
    served
        .iter()
        .enumerate()
        .map(|(k, p)| p + phi * (started(k) - backlog.progress[k]))
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
        for series in [lag(&backlog), deficit(&backlog, &backlog.progress)] {
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

    #[test]
    fn waves_of_prompts_are_taken_out() {
        // Every 10 s four prompts take 2 s, in which no token comes; then tokens of four requests come in 8 s.
        let mut backlog = Backlog::from_counts(1.0, (0..=200).collect(), vec![0; 201], vec![0; 201]);
        for t in 0..=200_u32 {
            let (wave, at) = (t / 10, t % 10);
            backlog.started[t as usize] = 4 * wave + (2 * at).min(4);
            backlog.progress[t as usize] = 4.0 * f64::from(wave) + 0.5 * (f64::from(at) - 2.0).max(0.0);
        }
        let even = steadied(&backlog, &backlog.progress, 10, 1);
        let rough = |s: &[f64]| {
            s.windows(2)
                .map(|w| (w[1] - w[0] - 0.4).abs())
                .fold(0.0, f64::max)
        };
        assert!(rough(&backlog.progress) > 0.39);
        assert!(rough(&even[10..]) < 1e-9, "{}", rough(&even[10..]));
    }
}
