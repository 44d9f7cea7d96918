//! Where the warm-up of a series ends.

/// How many leading values of a series belong to its warm-up: MSER (White, Simulation 69, 1997) about a line.
///
/// MSER leaves out the first `w` values that minimise the squared standard error of what remains, here the residual
/// sum of squares about a least-squares line over `(n - w)^2`: about a constant it would cut a growing backlog down to
/// its flattest part. At most `most` values are left out: the residuals of a random walk always favour a short stretch.
pub fn warmup_length(values: &[f64], most: usize) -> usize {
    let n = values.len();
    // Moments about the end of the series, so that one pass from behind serves every truncation.
    let (mut count, mut sx, mut sxx, mut sy, mut syy, mut sxy) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    let centre = values.last().copied().unwrap_or(0.0);
    let mut best = (f64::INFINITY, 0);
    for (w, value) in values.iter().enumerate().rev() {
        let x = (n - 1 - w) as f64;
        let y = value - centre;
        count += 1.0;
        sx += x;
        sxx += x * x;
        sy += y;
        syy += y * y;
        sxy += x * y;
        if w > most || count < 3.0 {
            continue;
        }
        let (vx, vy, cov) = (
            sxx - sx * sx / count,
            syy - sy * sy / count,
            sxy - sx * sy / count,
        );
        let residual = (vy - cov * cov / vx).max(0.0);
        let score = residual / (count * count);
        // On a tie the longer remainder wins.
        if score <= best.0 {
            best = (score, w);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jitter(i: usize) -> f64 {
        ((i * 7919) % 13) as f64 / 13.0 - 0.5
    }

    #[test]
    fn a_transient_is_cut_and_a_trend_is_not() {
        let filling: Vec<f64> = (0..200).map(|i| (i as f64).min(40.0) + jitter(i)).collect();
        let cut = warmup_length(&filling, 100);
        assert!((36..=48).contains(&cut), "{cut}");
        let growing: Vec<f64> = (0..200).map(|i| 0.5 * i as f64 + jitter(i)).collect();
        assert!(warmup_length(&growing, 100) < 15);
        assert!(warmup_length(&filling, 20) <= 20);
    }

    #[test]
    fn short_series_have_no_warmup() {
        assert_eq!(warmup_length(&[], 5), 0);
        assert_eq!(warmup_length(&[1.0, 2.0], 5), 0);
        assert_eq!(warmup_length(&[1.0; 50], 25), 0);
    }
}
