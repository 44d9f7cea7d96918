//! The slope of an autocorrelated series, with a standard error that is honest from white noise to a random walk.

use super::student_t::two_sided_critical;

/// A straight line through a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Change per unit of time.
    pub slope: f64,
    /// Standard error of the slope.
    pub standard_error: f64,
    /// Degrees of freedom of the standard error.
    pub df: f64,
    /// First-order autocorrelation of the noise that was used, bias corrected; 1 for a random walk.
    pub autocorrelation: f64,
}

impl Trend {
    /// Half the width of the two-sided interval that misses with probability `alpha`.
    pub fn half_width(&self, alpha: f64) -> f64 {
        two_sided_critical(alpha, self.df) * self.standard_error
    }
}

/// Ordinary least squares: intercept and slope over `0, 1, 2, ...`; `None` with fewer than two values.
pub fn least_squares(values: &[f64]) -> Option<(f64, f64)> {
    let n = values.len() as f64;
    if values.len() < 2 {
        return None;
    }
    let middle = (n - 1.0) / 2.0;
    let mean = values.iter().sum::<f64>() / n;
    let (mut cross, mut square) = (0.0, 0.0);
    for (i, value) in values.iter().enumerate() {
        let x = i as f64 - middle;
        cross += x * (value - mean);
        square += x * x;
    }
    let slope = cross / square;
    Some((mean - slope * middle, slope))
}

/// Ordinary least squares through points that are independent about their line; `None` with fewer than three.
pub fn line_through(points: &[(f64, f64)]) -> Option<Trend> {
    let n = points.len() as f64;
    if points.len() < 3 {
        return None;
    }
    let (x, y) = points
        .iter()
        .fold((0.0, 0.0), |(x, y), p| (x + p.0 / n, y + p.1 / n));
    let square: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    let slope = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum::<f64>() / square;
    let rest: f64 = points.iter().map(|p| (p.1 - y - slope * (p.0 - x)).powi(2)).sum();
    Some(Trend {
        slope,
        standard_error: (rest / (n - 2.0) / square).sqrt(),
        df: n - 2.0,
        autocorrelation: 0.0,
    })
}

/// Fewest values that a trend is fitted to.
const FEWEST: usize = 8;

/// The trend of equally spaced values `spacing` apart by feasible generalised least squares under AR(1) noise
/// (Prais and Winsten 1954), after Perron and Yabu, Journal of Econometrics 151 (2009). `None` with fewer than eight.
///
/// The autocorrelation is estimated from the residuals of a least-squares line, corrected for its bias of
/// `-(2 + 4 phi) / n` (Kendall, Biometrika 41, 1954), raised by one standard error (an underestimate makes false
/// alarms, an overestimate only costs width) and set to one, a random walk, within `1 / sqrt(n)` of one. The variance
/// of the innovations is their long-run variance where that is larger.
///
/// No 30 values tell a random walk from a slow return to a level in every case: on a pure random walk a 95 % interval covers 86 %, and
/// a 97.5 % interval 89 % (4,000 simulated series).
pub fn trend(values: &[f64], spacing: f64) -> Option<Trend> {
    let n = values.len();
    if n < FEWEST {
        return None;
    }
    let (intercept, slope) = least_squares(values)?;
    let residuals: Vec<f64> = values
        .iter()
        .enumerate()
        .map(|(i, v)| v - intercept - slope * i as f64)
        .collect();
    let count = n as f64;
    let lagged: f64 = residuals.windows(2).map(|w| w[0] * w[1]).sum();
    let power: f64 = residuals[..n - 1].iter().map(|u| u * u).sum();
    let raw = if power > 0.0 { lagged / power } else { 0.0 };
    let corrected = (raw + (2.0 + 4.0 * raw) / count).clamp(0.0, 1.0);
    let raised = corrected + ((1.0 - corrected * corrected) / count).sqrt();
    Some(if raised > 1.0 - count.sqrt().recip() {
        random_walk(values, spacing)
    } else {
        stationary(values, raised, spacing)
    })
}

/// The trend of a series that is known to be a random walk about a line: its mean step. `None` with fewer than eight
/// values.
pub fn random_walk_trend(values: &[f64], spacing: f64) -> Option<Trend> {
    (values.len() >= FEWEST).then(|| random_walk(values, spacing))
}

fn random_walk(values: &[f64], spacing: f64) -> Trend {
    let steps: Vec<f64> = values.windows(2).map(|w| w[1] - w[0]).collect();
    let count = steps.len() as f64;
    let mean = steps.iter().sum::<f64>() / count;
    let noise: Vec<f64> = steps.iter().map(|s| s - mean).collect();
    let variance = long_run_variance(&noise, 1.0);
    Trend {
        slope: mean / spacing,
        standard_error: (variance / count).sqrt() / spacing,
        df: count - 1.0,
        autocorrelation: 1.0,
    }
}

fn stationary(values: &[f64], phi: f64, spacing: f64) -> Trend {
    // Transformed regressors (constant, time) and response; the first row by Prais and Winsten.
    let first = (1.0 - phi * phi).sqrt();
    let mut rows = vec![(first, 0.0, first * values[0])];
    for (i, w) in values.windows(2).enumerate() {
        let x = (i + 1) as f64 - phi * i as f64;
        rows.push((1.0 - phi, x, w[1] - phi * w[0]));
    }
    let (mut cc, mut cx, mut xx, mut cy, mut xy) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for &(c, x, y) in &rows {
        cc += c * c;
        cx += c * x;
        xx += x * x;
        cy += c * y;
        xy += x * y;
    }
    let determinant = cc * xx - cx * cx;
    let slope = (cc * xy - cx * cy) / determinant;
    let constant = (cy - cx * slope) / cc;
    let noise: Vec<f64> = rows
        .iter()
        .map(|&(c, x, y)| y - c * constant - x * slope)
        .collect();
    let variance = long_run_variance(&noise, 2.0);
    Trend {
        slope: slope / spacing,
        standard_error: (variance * cc / determinant).sqrt() / spacing,
        df: values.len() as f64 - 3.0,
        autocorrelation: phi,
    }
}

/// The larger of the variance and the long-run variance with Bartlett weights (Newey and West 1987), of noise that
/// cost `fitted` degrees of freedom.
fn long_run_variance(noise: &[f64], fitted: f64) -> f64 {
    let n = noise.len();
    let covariance = |lag: usize| -> f64 { noise.iter().zip(&noise[lag..]).map(|(a, b)| a * b).sum() };
    let lags = (n as f64).cbrt().round() as usize;
    let variance = covariance(0);
    let long: f64 = (1..=lags.min(n - 1))
        .map(|lag| 2.0 * (1.0 - lag as f64 / (lags + 1) as f64) * covariance(lag))
        .sum();
    (variance + long).max(variance) / (n as f64 - fitted)
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    /// Share of 400 series of 30 values with noise of autocorrelation `phi` whose 95 % interval misses the true slope.
    fn missed(phi: f64) -> f64 {
        let mut rng = Pcg64Mcg::seed_from_u64(7);
        let mut misses = 0;
        for _ in 0..400 {
            let mut noise = 0.0;
            let values: Vec<f64> = (0..30)
                .map(|i| {
                    let uniform: f64 = (0..12).map(|_| rng.random::<f64>()).sum();
                    noise = phi * noise + uniform - 6.0;
                    noise + 0.5 * f64::from(i)
                })
                .collect();
            let fitted = trend(&values, 2.0).unwrap();
            misses += usize::from((fitted.slope - 0.25).abs() > fitted.half_width(0.05));
        }
        f64::from(u32::try_from(misses).unwrap()) / 400.0
    }

    #[test]
    fn coverage_holds_from_white_noise_to_a_random_walk() {
        // No estimate from 30 values tells a random walk from a slow return for sure: see the documentation.
        for (phi, bound) in [(0.0, 0.06), (0.5, 0.08), (0.8, 0.15), (1.0, 0.22)] {
            let share = missed(phi);
            assert!(share < bound, "phi {phi}: {share} missed");
        }
    }

    #[test]
    fn an_exact_line_is_found() {
        let values: Vec<f64> = (0..10).map(|i| 3.0 + 0.25 * f64::from(i)).collect();
        let fitted = trend(&values, 0.5).unwrap();
        assert!((fitted.slope - 0.5).abs() < 1e-12);
        assert!(fitted.standard_error < 1e-9);
        assert_eq!(least_squares(&[1.0]), None);
        assert_eq!(trend(&values[..7], 1.0), None);
    }

    #[test]
    fn a_line_through_points_is_that_of_ordinary_least_squares() {
        // Anscombe's first quartet (The American Statistician 27, 1973): slope 0.500, standard error 0.1179.
        let x = [10.0, 8.0, 13.0, 9.0, 11.0, 14.0, 6.0, 4.0, 12.0, 7.0, 5.0];
        let y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68];
        let points: Vec<(f64, f64)> = x.into_iter().zip(y).collect();
        let line = line_through(&points).unwrap();
        assert!((line.slope - 0.500_090_9).abs() < 1e-7, "{line:?}");
        assert!((line.standard_error - 0.117_905_5).abs() < 1e-7, "{line:?}");
        assert_eq!((line.df, line.autocorrelation), (9.0, 0.0));
        // Student's quantile for nine degrees of freedom at 95 % is 2.262157.
        assert!((line.half_width(0.05) - 2.262_157 * line.standard_error).abs() < 1e-6);
        // Points apart from one another count by where they are, and their order does not matter.
        let far = [(100.0, 7.0), (0.0, 2.0), (10.0, 2.5)];
        let exact = line_through(&far).unwrap();
        assert!(
            (exact.slope - 0.05).abs() < 1e-12 && exact.standard_error < 1e-9,
            "{exact:?}"
        );
        assert_eq!(line_through(&points[..2]), None);
    }
}
