//! The only quantile of the program: Hyndman and Fan's type 7, linear between order statistics (`NumPy`'s default).

/// The `p`-quantile of ascending values, `0 <= p <= 1`: the order statistic at `(n - 1) p`, linear in between
/// (Hyndman and Fan, The American Statistician 50, 1996), and to the last bit as `NumPy` rounds it: from the nearer end.
/// `None` when there are no values or `p` is outside.
pub fn quantile(sorted: &[f64], p: f64) -> Option<f64> {
    interpolated(sorted, p, between)
}

/// So far from one order statistic to the next, from the nearer end. Equal ones (infinite ones too) need no interpolation.
pub fn between(low: f64, high: f64, weight: f64) -> f64 {
    #[expect(clippy::float_cmp, reason = "exact equality is what is asked")]
    let same = low == high;
    if same {
        low
    } else if weight < 0.5 || high.is_infinite() {
        low + (high - low) * weight
    } else {
        high - (high - low) * (1.0 - weight)
    }
}

/// The `p`-quantile, with `between` as another rounding than [`between()`].
pub fn interpolated(sorted: &[f64], p: f64, between: impl Fn(f64, f64, f64) -> f64) -> Option<f64> {
    if sorted.is_empty() || !(0.0..=1.0).contains(&p) {
        return None;
    }
    let at = (sorted.len() - 1) as f64 * p;
    let below = at.floor();
    Some(between(
        sorted[below as usize],
        sorted[at.ceil() as usize],
        at - below,
    ))
}

/// The `p`-quantile of values in any order; NaNs are left out.
pub fn quantile_of(values: &[f64], p: f64) -> Option<f64> {
    quantile(&ascending(values), p)
}

/// Values in ascending order; NaNs are left out.
pub fn ascending(values: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The median of values in any order; NaNs are left out.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile_of(values, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_type_seven() {
        // numpy.percentile([1, 2, 4, 8], q)
        let values = [8.0, 1.0, 4.0, 2.0];
        for (p, expected) in [(0.0, 1.0), (0.25, 1.75), (0.5, 3.0), (0.9, 6.8), (1.0, 8.0)] {
            assert!((quantile_of(&values, p).unwrap() - expected).abs() < 1e-12);
        }
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[1.0], 1.5), None);
        assert_eq!(quantile(&[3.0], 0.99), Some(3.0));
        assert_eq!(
            quantile(&[1.0, f64::INFINITY, f64::INFINITY], 0.75),
            Some(f64::INFINITY)
        );
        assert_eq!(median(&[2.0, f64::NAN, 1.0]), Some(1.5));
        // numpy.quantile([0.58, 0.9], 0.9): from below it would be the next number.
        assert_eq!(quantile(&[0.58, 0.9], 0.9), Some(0.868));
    }

    proptest::proptest! {
        #[test]
        fn it_is_monotone_and_inside(mut values in proptest::collection::vec(-1e6f64..1e6, 1..50), a in 0.0f64..1.0, b in 0.0f64..1.0) {
            values.sort_by(f64::total_cmp);
            let (low, high) = (quantile(&values, a.min(b)).unwrap(), quantile(&values, a.max(b)).unwrap());
            proptest::prop_assert!(low <= high);
            proptest::prop_assert!(values[0] <= low && high <= values[values.len() - 1]);
        }
    }
}
