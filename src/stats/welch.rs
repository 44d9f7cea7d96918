//! Two samples of independent values: Welch's test, effect size, equivalence.
//!
//! Successive response times are not independent, which is why none of this decides by default.

use super::describe::Moments;
use super::student_t::{two_sided, upper_tail};

/// Welch's unequal-variances t-test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Welch {
    /// `(mean1 - mean2) / sqrt(v1/n1 + v2/n2)`; NaN or infinite without variance.
    pub t: f64,
    /// Welch and Satterthwaite's degrees of freedom; 1 where they are not defined, as in `SciPy`.
    pub df: f64,
    /// Two-sided p-value; NaN where `t` is.
    pub p: f64,
}

/// Welch's t-test of equal means (Biometrika 34, 1947), as `scipy.stats.ttest_ind(equal_var=False)` gives it.
pub fn welch(first: &Moments, second: &Moments) -> Welch {
    let (t, df) = shifted(first, second, 0.0);
    let df = if df.is_nan() { 1.0 } else { df };
    Welch {
        t,
        df,
        p: two_sided(t, df),
    }
}

/// The t statistic of `mean1 - mean2 - shift` and its degrees of freedom.
fn shifted(first: &Moments, second: &Moments, shift: f64) -> (f64, f64) {
    let (v1, v2) = (first.variance_of_mean(), second.variance_of_mean());
    let t = (first.mean - second.mean - shift) / (v1 + v2).sqrt();
    let df = (v1 + v2).powi(2) / (v1 * v1 / (first.n as f64 - 1.0) + v2 * v2 / (second.n as f64 - 1.0));
    (t, df)
}

/// Cohen's d with the pooled standard deviation; NaN or infinite without variance.
pub fn cohens_d(first: &Moments, second: &Moments) -> f64 {
    let (w1, w2) = (first.n as f64 - 1.0, second.n as f64 - 1.0);
    let pooled = (w1 * first.variance + w2 * second.variance) / (w1 + w2);
    (first.mean - second.mean) / pooled.sqrt()
}

/// The p-value of two one-sided tests (Schuirmann 1987) that the means differ by less than `margin`: the larger of the
/// two, as statsmodels' `ttost_ind(usevar="unequal")`. NaN without variance.
pub fn tost(first: &Moments, second: &Moments, margin: f64) -> f64 {
    let (above, df) = shifted(first, second, -margin);
    let (below, _) = shifted(first, second, margin);
    let (p_above, p_below) = (upper_tail(above, df), upper_tail(-below, df));
    if p_above.is_nan() || p_below.is_nan() {
        f64::NAN
    } else {
        p_above.max(p_below)
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these results are exact")]
mod tests {
    use super::*;

    #[test]
    fn without_variance_nothing_is_told() {
        let constant = Moments::of(&[5.0; 10]);
        let test = welch(&constant, &Moments::of(&[5.0; 12]));
        assert!(test.t.is_nan() && test.p.is_nan());
        assert_eq!(test.df, 1.0);
        assert!(cohens_d(&constant, &constant).is_nan());
        assert!(tost(&constant, &constant, 0.02).is_nan());
        // Different constants differ for certain.
        assert_eq!(welch(&constant, &Moments::of(&[6.0; 12])).p, 0.0);
        assert!(welch(&Moments::of(&[1.0]), &constant).p.is_nan());
    }

    #[test]
    fn a_textbook_case_holds() {
        // By hand: v1/n1 = 1/2, v2/n2 = 7/3.
        let first = Moments::of(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        let second = Moments::of(&[2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
        let test = welch(&first, &second);
        let squared = 0.5 + 7.0 / 3.0;
        assert!((test.t + 4.0 / f64::sqrt(squared)).abs() < 1e-12, "{test:?}");
        assert!(
            (test.df - squared * squared / (0.25 / 4.0 + 49.0 / 9.0 / 5.0)).abs() < 1e-12,
            "{test:?}"
        );
        assert!(tost(&first, &second, 100.0) < 1e-6);
    }
}
