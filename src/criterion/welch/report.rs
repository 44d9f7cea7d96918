//! The older rule on files: gate, test, and the numbers that it printed and threw away.

use serde::Serialize;

use super::super::{Ruling, success_rate};
use super::responded_per_minute_median;
use crate::stats::bootstrap::difference_of_means;
use crate::stats::describe::Moments;
use crate::stats::welch::{cohens_d, tost, welch};
use crate::trial::{Halves, Response};

/// Level of the two-sided test. With the sign rule it is in effect one-sided at 0.05.
const ALPHA: f64 = 0.1;
/// Margin of the equivalence test, in milliseconds.
const TOST_MARGIN_MS: f64 = 0.02;
/// Share of the rate that was asked for which must be responded to.
const GATE: f64 = 0.95;
/// Resamples of the bootstrap, and their seed.
pub(super) const RESAMPLES: usize = 10_000;
const SEED: u64 = 42;

/// What the older rule looks at.
#[derive(Clone, Copy, Debug)]
pub struct LegacyInput<'a> {
    /// The two halves.
    pub halves: &'a Halves,
    /// Whole second, since 1970, of each response, failed ones included; empty when unknown, and then there is no gate.
    pub responded: &'a [i64],
    /// The rate that was asked for, requests per minute (`REQ_MIN`); without it there is no gate.
    pub req_min: Option<f64>,
    /// Success rate of the whole run, 0 to 100.
    pub success_rate_percent: Option<f64>,
    /// Least success rate, 0 to 100.
    pub success_threshold: f64,
}

/// What the older rule finds. Numbers that do not exist are `null`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LegacyReport {
    /// Of the whole pipeline: gate, then test.
    pub ruling: Ruling,
    /// Of the test alone.
    pub test_ruling: Ruling,
    /// Median of the responses in a calendar minute.
    pub gate_median_per_minute: Option<f64>,
    /// Whether that is at least 95 % of what was asked for; a gate that cannot be computed stops nothing.
    pub gate_passed: Option<bool>,
    /// Welch's t.
    pub welch_t: Option<f64>,
    /// Its degrees of freedom.
    pub welch_df: Option<f64>,
    /// Its two-sided p-value.
    pub welch_p: Option<f64>,
    /// Cohen's d, pooled.
    pub cohens_d: Option<f64>,
    /// p-value of the equivalence test with a margin of 0.02 ms.
    pub tost_p: Option<f64>,
    /// Mean of the bootstrapped differences of means, first minus second half.
    pub boot_diff_ms: Option<f64>,
    /// Their 2.5 and 97.5 % quantiles.
    pub boot_ci_ms: Option<[f64; 2]>,
    /// Success rate of the whole run.
    pub success_rate_percent: Option<f64>,
    /// Values in the first half.
    pub n_first: usize,
    /// Values in the second half.
    pub n_second: usize,
    /// Mean response time of the first half.
    pub mean_first_ms: Option<f64>,
    /// Mean response time of the second half.
    pub mean_second_ms: Option<f64>,
    /// Why, the deciding reason first.
    pub reasons: Vec<String>,
}

/// Judges by the older rule. Every statistic is computed also where the gate or the success rate decides.
///
/// The order is: no half may be empty; the success rate must reach the threshold; then the test says sustainable when
/// `p >= 0.1` (a NaN is not) or when the bootstrapped difference is positive, that is the first half slower. Where a half holds no usable number
/// nothing is compared, and that counts as no difference.
pub fn evaluate(input: &LegacyInput<'_>) -> LegacyReport {
    evaluate_with(input, RESAMPLES)
}

/// [`evaluate`] with so many resamples; with none, the difference of the means stands for the mean of its resamples.
pub(super) fn evaluate_with(input: &LegacyInput<'_>, resamples: usize) -> LegacyReport {
    let usable = |half: &[Response]| -> Vec<f64> {
        half.iter()
            .map(|r| r.duration_ms)
            .filter(|v| !v.is_nan())
            .collect()
    };
    let (first, second) = (usable(&input.halves.first), usable(&input.halves.second));
    let (m1, m2) = (Moments::of(&first), Moments::of(&second));
    let both = !first.is_empty() && !second.is_empty();
    let number = |value: f64| (both && value.is_finite()).then_some(value);
    let test = welch(&m1, &m2);
    let boot = difference_of_means(&first, &second, resamples, SEED);

    let mut reasons = Vec::new();
    let test_passed = if input.halves.first.is_empty() || input.halves.second.is_empty() {
        reasons.push(
            "a half is empty: the run is shorter than two filter buffers, or nothing was responded to"
                .to_owned(),
        );
        false
    } else if let Some(why) = success_rate::failure(input.success_rate_percent, input.success_threshold) {
        reasons.push(why);
        false
    } else if !both {
        reasons.push("a half has no usable response time, so nothing was compared".to_owned());
        true
    } else {
        let (passed, why) = compare(test.p, boot.map_or(m1.mean - m2.mean, |b| b.mean));
        reasons.push(why);
        passed
    };

    let median = responded_per_minute_median(input.responded);
    let gate_passed = median.zip(input.req_min).map(|(m, asked)| m >= GATE * asked);
    if let (Some(false), Some(m), Some(asked)) = (gate_passed, median, input.req_min) {
        let why = format!("the median of {m} responses a minute is below {GATE} of the {asked} asked for");
        reasons.insert(0, why);
    }
    let rule = |passed: bool| {
        if passed {
            Ruling::Sustainable
        } else {
            Ruling::Unsustainable
        }
    };
    LegacyReport {
        ruling: rule(test_passed && gate_passed != Some(false)),
        test_ruling: rule(test_passed),
        gate_median_per_minute: median,
        gate_passed,
        welch_t: number(test.t),
        welch_df: number(test.df),
        welch_p: number(test.p),
        cohens_d: number(cohens_d(&m1, &m2)),
        tost_p: number(tost(&m1, &m2, TOST_MARGIN_MS)),
        boot_diff_ms: boot.map(|b| b.mean),
        boot_ci_ms: boot.map(|b| [b.low, b.high]),
        success_rate_percent: input.success_rate_percent,
        n_first: first.len(),
        n_second: second.len(),
        mean_first_ms: (!first.is_empty()).then_some(m1.mean),
        mean_second_ms: (!second.is_empty()).then_some(m2.mean),
        reasons,
    }
}

fn compare(p: f64, difference_ms: f64) -> (bool, String) {
    if p >= ALPHA {
        (
            true,
            format!("no statistical difference between the halves (p = {p:.3})"),
        )
    } else if difference_ms > 0.0 {
        let text =
            format!("the halves differ (p = {p:.3e}), but the first is the slower by {difference_ms:.3} ms");
        (true, text)
    } else if p.is_nan() {
        (
            false,
            "the halves have no variance, and the first is not the slower".to_owned(),
        )
    } else {
        let slower = -difference_ms;
        (
            false,
            format!("the second half is slower by {slower:.3} ms (p = {p:.3e})"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half(values: &[f64]) -> Vec<Response> {
        let response = |&duration_ms| Response {
            received_ns: 0,
            duration_ms,
            success: true,
        };
        values.iter().map(response).collect()
    }

    fn judged(first: &[f64], second: &[f64], success: f64) -> LegacyReport {
        evaluate(&LegacyInput {
            halves: &Halves {
                first: half(first),
                second: half(second),
            },
            responded: &[],
            req_min: Some(60.0),
            success_rate_percent: Some(success),
            success_threshold: 95.0,
        })
    }

    #[test]
    fn the_order_of_the_rule_is_kept() {
        let (low, high) = ([1.0, 2.0, 3.0, 4.0], [11.0, 12.0, 13.0, 14.0]);
        for (first, second, success, passed) in [
            (&low[..], &high[..], 100.0, false),
            (&high[..], &low[..], 100.0, true),
            (&high[..], &low[..], 94.0, false),
            (&low[..], &low[..], 95.0, true),
            (&[5.0, 5.0], &[5.0, 5.0], 100.0, false),
            (&[6.0, 6.0], &[5.0, 5.0], 100.0, true),
            (&[5.0, 5.0], &[6.0, 6.0], 100.0, false),
            (&[f64::NAN], &low[..], 100.0, true),
            (&[], &low[..], 100.0, false),
        ] {
            let report = judged(first, second, success);
            let expected = if passed {
                Ruling::Sustainable
            } else {
                Ruling::Unsustainable
            };
            assert_eq!(report.ruling, expected, "{first:?} {second:?} {success}");
            assert_eq!(report.gate_passed, None);
        }
        assert!(judged(&low, &high, 50.0).welch_p.is_some());
    }

    #[test]
    fn the_gate_overrules_the_test() {
        let report = evaluate(&LegacyInput {
            halves: &Halves {
                first: half(&[1.0, 2.0, 3.0]),
                second: half(&[1.0, 2.0, 3.0]),
            },
            responded: &[0, 1, 2, 60, 61],
            req_min: Some(3.0),
            success_rate_percent: None,
            success_threshold: 95.0,
        });
        assert_eq!(report.gate_median_per_minute, Some(2.5));
        assert_eq!(report.gate_passed, Some(false));
        assert_eq!(
            (report.ruling, report.test_ruling),
            (Ruling::Unsustainable, Ruling::Sustainable)
        );
    }
}
