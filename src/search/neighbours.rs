//! What token pairs tell about one another: their capacities are one smooth surface over the lengths.

use super::adaptive::Prior;
use super::grid::is_within;
use crate::units::{Rate, TokenPair};

/// The answer of a pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    /// The pair.
    pub pair: TokenPair,
    /// Its capacity.
    pub capacity: Rate,
    /// Lower end of the 95 % interval.
    pub low: Rate,
    /// Upper end of it.
    pub high: Rate,
}

/// Half a 95 % interval in standard deviations.
const HALF: f64 = 1.96;
/// How the time of a request grows with the logarithm of its prompt and of its response, before anything is known.
const SLOPES: [f64; 2] = [0.2, 0.7];
/// Standard deviation of these slopes.
const SLOPE_SD: f64 = 0.3;
/// Standard deviation of the surface about the plane, and the distance in logarithms of lengths over which it bends.
const BEND_SD: f64 = 0.15;
const BEND_SCALE: f64 = 1.2;
/// The level is as good as unknown.
const LEVEL_SD: f64 = 10.0;
/// Least standard deviation of a known capacity and of a prediction.
const LEAST_SD: f64 = 0.01;
/// Prompts below so many tokens cost about the same.
const PROMPT_OFFSET: f64 = 32.0;

/// The point of a pair on the surface.
fn place(pair: &TokenPair) -> [f64; 2] {
    [
        (pair.input.mean() + PROMPT_OFFSET).ln(),
        (pair.output.mean() + 1.0).ln(),
    ]
}

fn covariance(a: [f64; 2], b: [f64; 2], middle: [f64; 2]) -> f64 {
    let squared: f64 = (0..2).map(|i| ((a[i] - b[i]) / BEND_SCALE).powi(2)).sum();
    let plane: f64 = (0..2).map(|i| (a[i] - middle[i]) * (b[i] - middle[i])).sum();
    LEVEL_SD.powi(2) + SLOPE_SD.powi(2) * plane + BEND_SD.powi(2) * (-squared / 2.0).exp()
}

/// What is to be expected of a pair whose neighbours are known; `None` when none is.
///
/// Kriging: the logarithm of the time of a request is a plane over the logarithms of the lengths plus a smooth bend (a Gaussian
/// process; Rasmussen and Williams 2006, section 2.7). The interval is widened until it would have held the known ones, each predicted
/// from the others, and capacity is never taken to rise with either length.
pub fn predict(known: &[Known], pair: TokenPair) -> Option<Prior> {
    if known.is_empty() {
        return None;
    }
    let (mut at, mut sd) = krige(known, &pair)?;
    if known.len() >= 4 {
        let scores = (0..known.len()).filter_map(|i| {
            let others: Vec<Known> = known
                .iter()
                .enumerate()
                .filter(|(j, _)| *j != i)
                .map(|(_, k)| *k)
                .collect();
            let (at, sd) = krige(&others, &known[i].pair)?;
            Some(((known[i].capacity.as_per_minute().ln() - at) / sd).powi(2))
        });
        let mean = scores.sum::<f64>() / known.len() as f64;
        sd *= mean.sqrt().max(1.0);
    }
    // At least what is known of longer requests, at most what is known of shorter ones.
    let floor = known
        .iter()
        .filter(|k| is_within(pair, k.pair))
        .map(|k| k.low.as_per_minute().ln());
    let ceiling = known
        .iter()
        .filter(|k| is_within(k.pair, pair))
        .map(|k| k.high.as_per_minute().ln());
    let (floor, ceiling) = (
        floor.fold(f64::NEG_INFINITY, f64::max),
        ceiling.fold(f64::INFINITY, f64::min),
    );
    let (mut low, mut high) = (at - HALF * sd, at + HALF * sd);
    if floor < ceiling {
        at = at.clamp(floor, ceiling);
        low = low.max(floor).min(at - HALF * LEAST_SD);
        high = high.min(ceiling).max(at + HALF * LEAST_SD);
    }
    let rate = |x: f64| Rate::per_minute(x.exp()).rounded();
    Some(Prior {
        capacity: rate(at),
        low: rate(low),
        high: rate(high),
    })
}

/// Mean and standard deviation of the logarithm of a pair's capacity.
fn krige(known: &[Known], pair: &TokenPair) -> Option<(f64, f64)> {
    let places: Vec<[f64; 2]> = known.iter().map(|k| place(&k.pair)).collect();
    let n = places.len();
    let middle = [0, 1].map(|i| places.iter().map(|p| p[i]).sum::<f64>() / n as f64);
    let mean = |p: [f64; 2]| -(0..2).map(|i| SLOPES[i] * (p[i] - middle[i])).sum::<f64>();
    let level = known.iter().map(|k| k.capacity.as_per_minute().ln()).sum::<f64>() / n as f64;
    let rest: Vec<f64> = known
        .iter()
        .zip(&places)
        .map(|(k, p)| k.capacity.as_per_minute().ln() - level - mean(*p))
        .collect();
    let mut matrix: Vec<Vec<f64>> = places
        .iter()
        .map(|a| places.iter().map(|b| covariance(*a, *b, middle)).collect())
        .collect();
    for (i, k) in known.iter().enumerate() {
        let own = (k.high.as_per_minute() / k.low.as_per_minute()).ln() / (2.0 * HALF);
        matrix[i][i] += own.max(LEAST_SD).powi(2);
    }
    let factor = cholesky(matrix)?;
    let at = place(pair);
    let cross: Vec<f64> = places.iter().map(|p| covariance(*p, at, middle)).collect();
    let (left, right) = (forward(&factor, &cross), forward(&factor, &rest));
    let shift: f64 = left.iter().zip(&right).map(|(a, b)| a * b).sum();
    let variance = covariance(at, at, middle) - left.iter().map(|v| v * v).sum::<f64>();
    Some((level + mean(at) + shift, variance.max(0.0).sqrt().max(LEAST_SD)))
}

/// The lower triangular factor of a positive definite matrix.
fn cholesky(mut matrix: Vec<Vec<f64>>) -> Option<Vec<Vec<f64>>> {
    for j in 0..matrix.len() {
        for i in j..matrix.len() {
            let sum: f64 = (0..j).map(|k| matrix[i][k] * matrix[j][k]).sum();
            let rest = matrix[i][j] - sum;
            if i == j && rest <= 0.0 {
                return None;
            }
            matrix[i][j] = if i == j { rest.sqrt() } else { rest / matrix[j][j] };
        }
    }
    Some(matrix)
}

/// Solves a lower triangular system.
fn forward(factor: &[Vec<f64>], right: &[f64]) -> Vec<f64> {
    let mut solved: Vec<f64> = Vec::with_capacity(right.len());
    for (row, value) in factor.iter().zip(right) {
        let sum: f64 = row.iter().zip(&solved).map(|(a, b)| a * b).sum();
        solved.push((value - sum) / row[solved.len()]);
    }
    solved
}

/// The order in which pairs teach most: the ends of the grid first, then always the one that is farthest from all before it.
pub fn order(pairs: &[TokenPair]) -> Vec<usize> {
    let places: Vec<[f64; 2]> = pairs.iter().map(place).collect();
    let distance =
        |a: usize, b: usize| -> f64 { (0..2).map(|i| (places[a][i] - places[b][i]).powi(2)).sum() };
    let mut left: Vec<usize> = (0..pairs.len()).collect();
    let mut chosen: Vec<usize> = Vec::new();
    // The shortest requests first: their trials tell most in the same time.
    let shortest = |&a: &usize, &b: &usize| {
        let sum = |i: usize| places[i][0] + places[i][1];
        sum(a).total_cmp(&sum(b)).then(a.cmp(&b))
    };
    while let Some(next) = if chosen.is_empty() {
        left.iter().copied().min_by(shortest)
    } else {
        let nearest = |i: usize| {
            chosen
                .iter()
                .map(|&c| distance(i, c))
                .fold(f64::INFINITY, f64::min)
        };
        left.iter()
            .copied()
            .max_by(|&a, &b| nearest(a).total_cmp(&nearest(b)).then(b.cmp(&a)))
    } {
        left.retain(|&i| i != next);
        chosen.push(next);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::TokenRange;

    fn pair(input: u32, output: u32) -> TokenPair {
        TokenPair {
            input: TokenRange::exactly(input),
            output: TokenRange::exactly(output),
        }
    }

    /// A batch of 64: the time of a request is linear in both lengths.
    fn capacity(input: u32, output: u32) -> f64 {
        60.0 / (2e-5 * f64::from(input) + 6e-4 * f64::from(output))
    }

    fn known(input: u32, output: u32) -> Known {
        let c = capacity(input, output);
        Known {
            pair: pair(input, output),
            capacity: Rate::per_minute(c),
            low: Rate::per_minute(0.99 * c),
            high: Rate::per_minute(1.01 * c),
        }
    }

    #[test]
    fn a_grid_is_predicted_from_part_of_it() {
        let lengths = [32_u32, 64, 128, 256, 512, 1024, 2048, 4096];
        let grid: Vec<TokenPair> = lengths
            .iter()
            .flat_map(|&i| lengths.map(|o| pair(i, o)))
            .collect();
        let sequence = order(&grid);
        let mut sorted = sequence.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..64).collect::<Vec<_>>());
        let at = |i: usize| (grid[i].input.max, grid[i].output.max);
        let (mut seen, mut held, mut errors) = (Vec::new(), 0, Vec::new());
        for &index in &sequence {
            let (i, o) = at(index);
            if let Some(prior) = predict(&seen, grid[index]) {
                let truth = capacity(i, o);
                held +=
                    usize::from(prior.low.as_per_minute() <= truth && truth <= prior.high.as_per_minute());
                errors.push((prior.capacity.as_per_minute() / truth - 1.0).abs());
            }
            seen.push(known(i, o));
        }
        assert!(held >= 58, "{held} of 63");
        assert!(errors[16..].iter().all(|e| *e < 0.1), "{errors:?}");
        assert!(errors[40..].iter().all(|e| *e < 0.02), "{errors:?}");
    }

    #[test]
    fn capacity_does_not_rise_with_length() {
        let prior = predict(&[known(128, 128), known(128, 256)], pair(256, 256)).unwrap();
        assert!(prior.high.as_per_minute() <= 1.011 * capacity(128, 256));
        assert_eq!(predict(&[], pair(1, 1)), None);
    }
}
