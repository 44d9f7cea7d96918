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

/// The arithmetic mean, rounded once, as Python's `statistics.mean` has it; `None` without values. The sum is kept in two
/// numbers (Knuth's `TwoSum`), and so is the quotient (Dekker, Numerische Mathematik 18, 1971).
pub fn mean_rounded_once(values: &[f64]) -> Option<f64> {
    let two_sum = |a: f64, b: f64| {
        let sum = a + b;
        let of_b = sum - a;
        (sum, (a - (sum - of_b)) + (b - of_b))
    };
    let (mut sum, mut rest) = (0.0, 0.0);
    for value in values {
        let (high, low) = two_sum(sum, *value);
        (sum, rest) = two_sum(high, rest + low);
    }
    let n = values.len() as f64;
    let quotient = sum / n;
    if values.is_empty() || !quotient.is_finite() {
        return (!values.is_empty()).then_some(quotient);
    }
    Some(quotient + ((-quotient).mul_add(n, sum) + rest) / n)
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
    fn a_mean_rounded_once_is_that_of_python() {
        // statistics.mean of each; sum() / len() gives the neighbour of it in the first three.
        for (values, expected) in [
            (vec![0.05; 3], 0.05),
            (vec![0.03; 9], 0.03),
            (vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 0.35),
            (vec![1e16, 1.0, -1e16], 1.0 / 3.0),
        ] {
            assert_eq!(mean_rounded_once(&values), Some(expected), "{values:?}");
        }
        assert_eq!(mean_rounded_once(&[]), None);
    }

    #[test]
    fn equal_values_have_no_variance() {
        assert_eq!(Moments::of(&[0.1; 1001]).variance, 0.0);
        // A large offset does not swallow the spread.
        let values: Vec<f64> = (0..1000).map(|i| 1e9 + f64::from(i % 2)).collect();
        assert!((Moments::of(&values).variance - 0.25 * 1000.0 / 999.0).abs() < 1e-9);
    }
}
