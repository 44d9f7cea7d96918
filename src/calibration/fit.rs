//! Gauss-Newton on logarithms, with the prior as a ridge.
//!
//! ```text
//! min  sum_m w_m (y_m - f_m(phi))^2 / s^2 + sum_p ((phi_p - mean_p) / sd_p)^2
//! dphi = (J' W J / s^2 + T)^-1 (J' W r / s^2 - T (phi - mean))        T = diag(1 / sd_p^2)
//! ```
//!
//! `J` by central differences, the step halved until the loss falls. `s` is the scatter that the residuals show, against
//! which the prior is weighed: the stated errors of the observations only say how they compare with one another.

use super::factors::Parameter;
use crate::pool;
use crate::stats::cholesky::{self, Matrix};

/// Step of the differences, in standard deviations of the prior. Quantiles of a simulation jump by a little wherever a
/// batch changes; over a smaller step a factor that matters little would seem to matter much.
const STEP: f64 = 0.4;
const ITERATIONS: usize = 25;
const HALVINGS: usize = 6;
/// A step below this ends the fit.
const SETTLED: f64 = 1e-3;
/// Bounds of the squared scatter, in squares of the stated errors. Requests are the same on both sides, so that residuals
/// are far smaller than the errors of a bootstrap; the lower bound is what the intervals of planted servers ask for.
const SCATTER: (f64, f64) = (0.05, 1e4);
/// A residual counts as no larger: a prediction that does not exist would else decide all.
const WORST: f64 = 3.0;

/// Something observed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Observation {
    /// Its natural logarithm.
    pub(super) ln: f64,
    /// Standard deviation of that.
    pub(super) sd: f64,
}

/// What a fit came to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fitted {
    /// Natural logarithms of the parameters.
    pub(super) point: Vec<f64>,
    /// Their covariance.
    pub(super) covariance: Matrix,
    /// Sum of the weighted squares over what is free, under which the covariance holds: `s^2`.
    pub(super) scatter: f64,
}

/// Predictions at a point, as natural logarithms in the order of the observations; not a number where there is none.
pub(super) type Model<'a> = &'a (dyn Fn(&[f64]) -> Vec<f64> + Sync);

/// Fits. `huber` is the residual from which on it counts in proportion instead of as its square.
pub(super) fn gauss_newton(
    prior: &[Parameter],
    start: &[f64],
    observed: &[Observation],
    huber: f64,
    model: Model<'_>,
) -> Fitted {
    let problem = Problem {
        prior,
        observed,
        huber,
        model,
    };
    let mut point = start.to_vec();
    let mut residuals = problem.residuals(&point);
    let mut scatter = 1.0;
    let mut covariance = prior_covariance(prior);
    for _ in 0..ITERATIONS {
        let jacobian = problem.jacobian(&point);
        let weights = problem.weights(&residuals);
        scatter = problem.scatter(&jacobian, &weights, &residuals, scatter);
        let Some((step, inverse)) = problem.step(&point, &jacobian, &weights, &residuals, scatter) else {
            break;
        };
        covariance = inverse;
        let before = problem.loss(&point, &residuals, scatter);
        let mut share = 1.0;
        let mut better = None;
        for _ in 0..HALVINGS {
            let next: Vec<f64> = point.iter().zip(&step).map(|(p, d)| p + share * d).collect();
            let there = problem.residuals(&next);
            if problem.loss(&next, &there, scatter) < before {
                better = Some((next, there));
                break;
            }
            share /= 2.0;
        }
        let Some((next, there)) = better else { break };
        let moved = next
            .iter()
            .zip(&point)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f64::max);
        (point, residuals) = (next, there);
        if moved < SETTLED {
            break;
        }
    }
    Fitted {
        point,
        covariance,
        scatter,
    }
}

fn prior_covariance(prior: &[Parameter]) -> Matrix {
    let n = prior.len();
    let mut all = vec![vec![0.0; n]; n];
    for (i, parameter) in prior.iter().enumerate() {
        all[i][i] = parameter.sd * parameter.sd;
    }
    all
}

struct Problem<'a> {
    prior: &'a [Parameter],
    observed: &'a [Observation],
    huber: f64,
    model: Model<'a>,
}

impl Problem<'_> {
    fn residuals(&self, point: &[f64]) -> Vec<f64> {
        let predicted = (self.model)(point);
        let residual = |(o, p): (&Observation, f64)| {
            let r = o.ln - p;
            if r.is_nan() { WORST } else { r.clamp(-WORST, WORST) }
        };
        self.observed.iter().zip(predicted).map(residual).collect()
    }

    fn jacobian(&self, point: &[f64]) -> Matrix {
        let sides = pool::each(2 * point.len(), |side| {
            let mut there = point.to_vec();
            let step = STEP * self.prior[side / 2].sd;
            there[side / 2] += if side % 2 == 0 { step } else { -step };
            (self.model)(&there)
        });
        let column = |p: usize, m: usize| {
            let slope = (sides[2 * p][m] - sides[2 * p + 1][m]) / (2.0 * STEP * self.prior[p].sd);
            if slope.is_finite() { slope } else { 0.0 }
        };
        (0..self.observed.len())
            .map(|m| (0..point.len()).map(|p| column(p, m)).collect())
            .collect()
    }

    fn weights(&self, residuals: &[f64]) -> Vec<f64> {
        let one = |(o, r): (&Observation, &f64)| {
            let calm = if r.abs() > self.huber {
                self.huber / r.abs()
            } else {
                1.0
            };
            calm / (o.sd * o.sd)
        };
        self.observed.iter().zip(residuals).map(one).collect()
    }

    /// `J' W J`.
    fn information(&self, jacobian: &[Vec<f64>], weights: &[f64]) -> Matrix {
        let n = self.prior.len();
        let mut sum = vec![vec![0.0; n]; n];
        for (row, w) in jacobian.iter().zip(weights) {
            for i in 0..n {
                for j in 0..n {
                    sum[i][j] += w * row[i] * row[j];
                }
            }
        }
        sum
    }

    /// Squares of the residuals over the observations that no parameter took.
    fn scatter(&self, jacobian: &[Vec<f64>], weights: &[f64], residuals: &[f64], before: f64) -> f64 {
        let information = self.information(jacobian, weights);
        let squares: f64 = weights.iter().zip(residuals).map(|(w, r)| w * r * r).sum();
        let taken: f64 = Self::posterior(self.prior, &information, before).map_or(0.0, |covariance| {
            let n = self.prior.len();
            (0..n)
                .flat_map(|i| (0..n).map(move |j| (i, j)))
                .map(|(i, j)| covariance[i][j] * information[j][i] / before)
                .sum()
        });
        let free = (residuals.len() as f64 - taken).max(1.0);
        (squares / free).clamp(SCATTER.0, SCATTER.1)
    }

    fn posterior(prior: &[Parameter], information: &[Vec<f64>], scatter: f64) -> Option<Matrix> {
        let mut all: Matrix = information
            .iter()
            .map(|row| row.iter().map(|x| x / scatter).collect())
            .collect();
        for (i, parameter) in prior.iter().enumerate() {
            all[i][i] += 1.0 / (parameter.sd * parameter.sd);
        }
        Some(cholesky::inverse(&cholesky::factor(&all)?))
    }

    /// The step, and the covariance.
    fn step(
        &self,
        point: &[f64],
        jacobian: &[Vec<f64>],
        weights: &[f64],
        residuals: &[f64],
        scatter: f64,
    ) -> Option<(Vec<f64>, Matrix)> {
        let n = point.len();
        let covariance = Self::posterior(self.prior, &self.information(jacobian, weights), scatter)?;
        let slope: Vec<f64> = (0..n)
            .map(|i| {
                let data: f64 = (0..jacobian.len())
                    .map(|m| weights[m] * jacobian[m][i] * residuals[m])
                    .sum();
                let p = &self.prior[i];
                data / scatter - (point[i] - p.mean) / (p.sd * p.sd)
            })
            .collect();
        let step = (0..n)
            .map(|i| (0..n).map(|j| covariance[i][j] * slope[j]).sum())
            .collect();
        Some((step, covariance))
    }

    fn loss(&self, point: &[f64], residuals: &[f64], scatter: f64) -> f64 {
        let one = |(o, r): (&Observation, &f64)| {
            let r = r.abs();
            let square = if r > self.huber {
                self.huber * (2.0 * r - self.huber)
            } else {
                r * r
            };
            square / (o.sd * o.sd)
        };
        let data: f64 = self.observed.iter().zip(residuals).map(one).sum();
        let ridge: f64 = self
            .prior
            .iter()
            .zip(point)
            .map(|(p, x)| ((x - p.mean) / p.sd).powi(2))
            .sum();
        data / scatter + ridge
    }
}
