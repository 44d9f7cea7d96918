//! The mean of an autocorrelated series.

use super::describe::Moments;
use super::student_t::two_sided_critical;

/// A mean with its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeanEstimate {
    /// The mean.
    pub mean: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Degrees of freedom of the standard error.
    pub df: f64,
}

impl MeanEstimate {
    /// Half the width of the two-sided interval that misses with probability `alpha`.
    pub fn half_width(&self, alpha: f64) -> f64 {
        two_sided_critical(alpha, self.df) * self.standard_error
    }
}

/// Mean of `values` by `batches` batch means (Law and Carson, Operations Research 27, 1979): honest where a batch is longer than
/// the memory of the series. Leading values that fill no batch are left out. `None` with fewer than two batches.
pub fn batch_means(values: &[f64], batches: usize) -> Option<MeanEstimate> {
    let means = block_means(values, batches)?;
    let moments = Moments::of(&means);
    (means.len() >= 2).then(|| MeanEstimate {
        mean: moments.mean,
        standard_error: moments.variance_of_mean().sqrt(),
        df: means.len() as f64 - 1.0,
    })
}

/// The means of `blocks` equally long stretches that end where the series ends; `None` when it is shorter than that.
pub fn block_means(values: &[f64], blocks: usize) -> Option<Vec<f64>> {
    let size = values.len().checked_div(blocks).filter(|s| *s > 0)?;
    let start = values.len() - size * blocks;
    Some(
        values[start..]
            .chunks(size)
            .map(|chunk| chunk.iter().sum::<f64>() / size as f64)
            .collect(),
    )
}

/// How many independent values tell as much about the mean as this series does, if its noise is a first-order
/// autoregression: `n (1 - phi) / (1 + phi)`. `None` with fewer than three values or without variance.
pub fn effective_sample_size(values: &[f64]) -> Option<f64> {
    let n = values.len();
    let mean = Moments::of(values).mean;
    let power: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    if n < 3 || power <= 0.0 {
        return None;
    }
    let lagged: f64 = values.windows(2).map(|w| (w[0] - mean) * (w[1] - mean)).sum();
    let phi = (lagged / power).clamp(0.0, 1.0 - 1.0 / n as f64);
    Some(n as f64 * (1.0 - phi) / (1.0 + phi))
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    #[test]
    fn batches_see_through_autocorrelation() {
        let mut rng = Pcg64Mcg::seed_from_u64(11);
        let phi = 0.9;
        let mut missed = 0;
        let mut sizes = 0.0;
        for _ in 0..200 {
            let mut noise = 0.0;
            let values: Vec<f64> = (0..4000)
                .map(|_| {
                    noise = phi * noise + rng.random::<f64>() - 0.5;
                    noise
                })
                .collect();
            let estimate = batch_means(&values, 20).unwrap();
            missed += usize::from(estimate.mean.abs() > estimate.half_width(0.05));
            sizes += effective_sample_size(&values).unwrap() / 200.0;
        }
        assert!(missed <= 22, "{missed} of 200 missed");
        assert!((sizes - 4000.0 / 19.0).abs() < 25.0, "{sizes}");
    }

    #[test]
    fn blocks_end_where_the_series_ends() {
        let values = [9.0, 1.0, 3.0, 5.0, 7.0];
        assert_eq!(block_means(&values, 2), Some(vec![2.0, 6.0]));
        assert_eq!(block_means(&values, 6), None);
        assert_eq!(block_means(&values, 0), None);
        assert_eq!(batch_means(&values, 1), None);
        assert_eq!(effective_sample_size(&[1.0; 9]), None);
    }
}
