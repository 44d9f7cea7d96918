//! Moments of a sample.

/// Size, mean and variance of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moments {
    /// Number of values.
    pub n: usize,
    /// Arithmetic mean; NaN without values.
    pub mean: f64,
    /// Sample variance (divisor `n - 1`); NaN with fewer than two values.
    pub variance: f64,
}

impl Moments {
    /// The moments of `values`, in two passes with pairwise sums: exact to a few units in the last place, and exactly
    /// zero variance where all values are equal.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len();
        if n == 0 {
            return Self {
                n,
                mean: f64::NAN,
                variance: f64::NAN,
            };
        }
        let mut mean = sum_by(values, &|v| v) / n as f64;
        if values.iter().all(|v| v.total_cmp(&values[0]).is_eq()) {
            mean = values[0];
        }
        let squares = sum_by(values, &|v| (v - mean) * (v - mean));
        let variance = if n < 2 { f64::NAN } else { squares / (n - 1) as f64 };
        Self { n, mean, variance }
    }

    /// Variance of the mean, if the values are independent.
    pub fn variance_of_mean(&self) -> f64 {
        self.variance / self.n as f64
    }
}

/// The arithmetic mean; `None` without values.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| Moments::of(values).mean)
}

/// Pairwise summation (Higham, SIAM J. Sci. Comput. 14, 1993): the error grows with the logarithm of the count.
fn sum_by(values: &[f64], term: &impl Fn(f64) -> f64) -> f64 {
    if values.len() <= 64 {
        return values.iter().map(|&v| term(v)).sum();
    }
    let (left, right) = values.split_at(values.len() / 2);
    sum_by(left, term) + sum_by(right, term)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these results are exact")]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_textbook() {
        let moments = Moments::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!(moments.mean, 5.0);
        assert!((moments.variance - 32.0 / 7.0).abs() < 1e-12);
        assert!(Moments::of(&[1.0]).variance.is_nan());
        assert!(Moments::of(&[]).mean.is_nan());
        assert_eq!(mean(&[]), None);
    }

    #[test]
    fn equal_values_have_no_variance() {
        assert_eq!(Moments::of(&[0.1; 1001]).variance, 0.0);
        // A large offset does not swallow the spread.
        let values: Vec<f64> = (0..1000).map(|i| 1e9 + f64::from(i % 2)).collect();
        assert!((Moments::of(&values).variance - 0.25 * 1000.0 / 999.0).abs() < 1e-9);
    }
}
