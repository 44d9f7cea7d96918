//! Arrivals without an end: gaps between requests, drawn at unit rate.
//!
//! A gap is divided by the rate only when it is used, so that two rates with one seed are the same arrivals, stretched.
//! [`Arrival`](super::Arrival) plans a fixed number of requests in a fixed time instead.

use rand_distr::{Distribution, Exp1, Gamma};
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use super::seeds;

/// A process of arrivals.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "process", try_from = "Flat")]
pub enum Gaps {
    /// Equal gaps.
    Constant,
    /// Exponential gaps.
    #[default]
    Poisson,
    /// Vidur's Poisson process: exponential gaps, but none longer than three over the rate. Its real rate is therefore
    /// [`CLIPPED_RATE`](Self::CLIPPED_RATE) times the nominal one, and long pauses are missing.
    ClippedPoisson,
    /// Gamma-distributed gaps.
    Gamma {
        /// Their standard deviation divided by their mean: 1 is Poisson, above 1 is bursty.
        cv: f64,
    },
    /// All at once, at the start.
    Static,
    /// Gaps as listed, over and over; scaled to a mean of one over the rate.
    Recorded {
        /// The gaps, in any unit.
        gaps: Vec<f64>,
    },
}

/// What is wrong with [`Gaps`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GapsError {
    /// No such process.
    #[error(
        "`{0}` is not an arrival process; write `poisson`, `constant`, `gamma`, `clipped_poisson`, `static` or `recorded`"
    )]
    Unknown(String),
    /// A parameter that the process needs.
    #[error("`{process}` arrivals need `{parameter}`; add it")]
    Missing {
        /// The process.
        process: &'static str,
        /// What is missing.
        parameter: &'static str,
    },
    /// A parameter that the process has no use for.
    #[error("`{process}` arrivals take no `{parameter}`; remove it")]
    Needless {
        /// The process.
        process: String,
        /// What is too much.
        parameter: &'static str,
    },
    /// A parameter out of its range.
    #[error("`{field}` of the arrivals is {value}, but must be {range}")]
    Range {
        /// The parameter.
        field: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        range: &'static str,
    },
}

/// How a process is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Flat {
    process: String,
    #[serde(default)]
    cv: Option<f64>,
    #[serde(default)]
    gaps: Option<Vec<f64>>,
}

impl TryFrom<Flat> for Gaps {
    type Error = GapsError;

    fn try_from(mut flat: Flat) -> Result<Self, Self::Error> {
        let missing = |process, parameter| GapsError::Missing { process, parameter };
        let process = match flat.process.as_str() {
            "constant" => Self::Constant,
            "poisson" => Self::Poisson,
            "clipped_poisson" => Self::ClippedPoisson,
            "static" => Self::Static,
            "gamma" => Self::Gamma {
                cv: flat.cv.take().ok_or_else(|| missing("gamma", "cv"))?,
            },
            "recorded" => Self::Recorded {
                gaps: flat.gaps.take().ok_or_else(|| missing("recorded", "gaps"))?,
            },
            _ => return Err(GapsError::Unknown(flat.process)),
        };
        let left = [("cv", flat.cv.is_some()), ("gaps", flat.gaps.is_some())];
        if let Some((parameter, _)) = left.into_iter().find(|(_, given)| *given) {
            let process = flat.process;
            return Err(GapsError::Needless { process, parameter });
        }
        process.check()?;
        Ok(process)
    }
}

impl Gaps {
    /// Real rate of [`ClippedPoisson`](Self::ClippedPoisson) over its nominal rate: `1 / (1 - exp(-3))`.
    pub const CLIPPED_RATE: f64 = 1.052_395_696_491_256_2;
    /// Longest gap of [`ClippedPoisson`](Self::ClippedPoisson), as a multiple of one over the rate.
    pub(super) const CLIPPED_AT: f64 = 3.0;

    /// Real rate over nominal rate; infinite for [`Static`](Self::Static).
    pub const fn rate_factor(&self) -> f64 {
        match self {
            Self::ClippedPoisson => Self::CLIPPED_RATE,
            Self::Static => f64::INFINITY,
            _ => 1.0,
        }
    }

    /// The gaps of a seed, at unit rate, from its stream `arrivals`.
    ///
    /// # Errors
    /// If a field is out of its range.
    pub fn stream(&self, seed: u64) -> Result<GapStream, GapsError> {
        self.check()?;
        let law = match self {
            Self::Constant => Law::Constant,
            Self::Poisson => Law::Exponential,
            Self::ClippedPoisson => Law::Clipped,
            Self::Static => Law::Zero,
            &Self::Gamma { cv } => {
                let range = |_| GapsError::Range {
                    field: "cv",
                    value: cv.to_string(),
                    range: CV_RANGE,
                };
                Law::Gamma(Gamma::new(1.0 / (cv * cv), cv * cv).map_err(range)?)
            }
            Self::Recorded { gaps } => {
                let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
                Law::Listed {
                    gaps: gaps.iter().map(|g| g / mean).collect(),
                    next: 0,
                }
            }
        };
        Ok(GapStream {
            law,
            rng: seeds::stream(seed, "arrivals"),
        })
    }

    fn check(&self) -> Result<(), GapsError> {
        let range = |field, value: String, range| Err(GapsError::Range { field, value, range });
        match self {
            Self::Gamma { cv } if !(0.01..=20.0).contains(cv) => range("cv", cv.to_string(), CV_RANGE),
            Self::Recorded { gaps } => {
                let sum = gaps.iter().sum::<f64>();
                if let Some(bad) = gaps.iter().find(|g| !(g.is_finite() && **g >= 0.0)) {
                    range("gaps", bad.to_string(), "a list of numbers of at least zero")
                } else if !(sum.is_finite() && sum > 0.0) {
                    range(
                        "gaps",
                        format!("a list with the sum {sum}"),
                        "gaps with a sum above zero",
                    )
                } else {
                    Ok(())
                }
            }
            _ => Ok(()),
        }
    }
}

const CV_RANGE: &str = "from 0.01 to 20";

/// Gaps between arrivals at unit rate, without an end. The first is the time until the first request.
#[derive(Clone, Debug)]
pub struct GapStream {
    law: Law,
    rng: Pcg64,
}

#[derive(Clone, Debug)]
enum Law {
    Constant,
    Exponential,
    Clipped,
    Gamma(Gamma<f64>),
    Zero,
    Listed { gaps: Vec<f64>, next: usize },
}

impl GapStream {
    /// The next gap.
    pub fn draw(&mut self) -> f64 {
        match &mut self.law {
            Law::Constant => 1.0,
            Law::Exponential => Exp1.sample(&mut self.rng),
            Law::Clipped => {
                let gap: f64 = Exp1.sample(&mut self.rng);
                gap.min(Gaps::CLIPPED_AT)
            }
            Law::Gamma(gaps) => gaps.sample(&mut self.rng),
            Law::Zero => 0.0,
            Law::Listed { gaps, next } => {
                let gap = gaps[*next];
                *next = (*next + 1) % gaps.len();
                gap
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(gaps: &Gaps, seed: u64, count: usize) -> Vec<f64> {
        let mut stream = gaps.stream(seed).unwrap();
        (0..count).map(|_| stream.draw()).collect()
    }

    fn moments(draws: &[f64]) -> (f64, f64) {
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        (mean, variance)
    }

    #[test]
    fn poisson_gaps_are_exponential() {
        let mut gaps = draws(&Gaps::Poisson, 5, 200_000);
        let (mean, variance) = moments(&gaps);
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        assert!((variance - 1.0).abs() < 0.02, "{variance}");
        gaps.sort_by(f64::total_cmp);
        let count = gaps.len() as f64;
        let distance = gaps
            .iter()
            .enumerate()
            .map(|(i, g)| {
                let law = 1.0 - (-g).exp();
                (law - i as f64 / count)
                    .abs()
                    .max((law - (i + 1) as f64 / count).abs())
            })
            .fold(0.0, f64::max);
        // Kolmogorov and Smirnov: beyond this once in a thousand seeds.
        assert!(distance < 1.95 / count.sqrt(), "{distance}");
    }

    #[test]
    fn poisson_gaps_do_not_remember() {
        let gaps = draws(&Gaps::Poisson, 6, 100_000);
        let (mean, variance) = moments(&gaps);
        let lagged = gaps
            .windows(2)
            .map(|w| (w[0] - mean) * (w[1] - mean))
            .sum::<f64>();
        let correlation = lagged / gaps.len() as f64 / variance;
        assert!(correlation.abs() < 0.012, "{correlation}");
    }

    #[test]
    fn clipped_gaps_are_short_and_too_frequent() {
        let gaps = draws(&Gaps::ClippedPoisson, 5, 200_000);
        assert!(gaps.iter().all(|g| *g <= 3.0));
        let (mean, _) = moments(&gaps);
        assert!((1.0 / mean - Gaps::CLIPPED_RATE).abs() < 0.01, "{mean}");
        assert!((Gaps::CLIPPED_RATE * (1.0 - (-3.0_f64).exp()) - 1.0).abs() < 1e-15);
        let exact = draws(&Gaps::Poisson, 5, 200_000);
        assert!(gaps.iter().zip(exact).all(|(c, e)| *c == e.min(3.0)));
    }

    #[test]
    fn gamma_gaps_vary_as_named() {
        for cv in [0.3, 1.0, 2.5] {
            let (mean, variance) = moments(&draws(&Gaps::Gamma { cv }, 9, 400_000));
            assert!((mean - 1.0).abs() < 0.015, "{cv}: {mean}");
            assert!((variance.sqrt() - cv).abs() < 0.03 * cv, "{cv}: {variance}");
        }
    }

    #[test]
    fn the_others_are_as_given() {
        assert_eq!(draws(&Gaps::Constant, 1, 3), [1.0; 3]);
        assert_eq!(draws(&Gaps::Static, 1, 3), [0.0; 3]);
        let recorded = Gaps::Recorded {
            gaps: vec![10.0, 30.0],
        };
        assert_eq!(draws(&recorded, 1, 3), [0.5, 1.5, 0.5]);
    }

    #[test]
    fn written_and_read() {
        for gaps in [
            Gaps::Constant,
            Gaps::Poisson,
            Gaps::ClippedPoisson,
            Gaps::Gamma { cv: 2.0 },
            Gaps::Static,
            Gaps::Recorded { gaps: vec![1.0] },
        ] {
            let json = serde_json::to_string(&gaps).unwrap();
            assert_eq!(serde_json::from_str::<Gaps>(&json).unwrap(), gaps, "{json}");
        }
        for (yaml, words) in [
            ("process: gamma", "need `cv`"),
            ("process: gamma\ncv: 0", "`cv` of the arrivals is 0"),
            ("process: poisson\ncv: 1", "take no `cv`"),
            ("process: weekly", "`weekly` is not an arrival process"),
            ("process: recorded\ngaps: []", "sum above zero"),
            ("process: recorded\ngaps: [1, -1]", "is -1"),
            ("process: recorded\ngaps: [.nan]", "is NaN"),
            ("process: poisson\nqps: 1", "qps"),
        ] {
            let error = serde_saphyr::from_str::<Gaps>(yaml).unwrap_err().to_string();
            assert!(error.contains(words), "{yaml}: {error}");
        }
    }
}
