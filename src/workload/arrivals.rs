//! Arrival processes with a fixed number of requests.
//!
//! A trial sends exactly `round(rate * duration)` requests: the count noise of a Poisson process (one over the
//! square root of the count) would otherwise move the offered load by more than a search wants to resolve.
//! Given the count, Poisson arrivals are uniform order statistics; gamma gaps are rescaled to the duration.

use std::fmt;
use std::str::FromStr;

use rand::RngExt;
use rand_distr::{Distribution, Exp1, Gamma};
use serde::{Deserialize, Serialize};

use super::Gaps;
use super::seeds;
use super::strata::BLOCK;
use crate::units::Rate;

/// The arrival process of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Arrival {
    /// Poisson arrivals, given their count.
    Poisson,
    /// Equal gaps.
    Constant,
    /// Gamma-distributed gaps with this coefficient of variation (1 is Poisson, above 1 is bursty).
    Gamma {
        /// Standard deviation of the gaps divided by their mean.
        cv: f64,
    },
    /// The sum of almost regular streams that fmperf sends: one stream a worker, gaps of +-30 %, a fixed bias of
    /// +-20 % a worker, and a burst of one request a worker at the start.
    Fmperf,
    /// What etalon, sarathi-serve and veeksha call Poisson: exponential gaps, but none longer than three over the rate. Long
    /// pauses are missing, and the rate that is really offered is [`Gaps::CLIPPED_RATE`] (1.0524) times the one asked for;
    /// the coefficient of variation is 0.880. For comparison with published results.
    ClippedPoisson,
    /// Blocks of [`BLOCK`] requests, each with its exact share of the duration; within a block Poisson arrivals, given their
    /// count. The lengths of each block are balanced too, see [`super::plan`]: any block offers the work that a block
    /// should.
    Stratified,
}

/// Requests per minute that one fmperf worker is given (`WORKER_RPM_CAPACITY`).
const FMPERF_WORKER_RPM: f64 = 15.0;
/// Most fmperf workers (`MAX_WORKERS`).
const FMPERF_MAX_WORKERS: f64 = 64.0;

impl Arrival {
    /// Whether lengths and classes are balanced as its times are.
    pub fn is_balanced(self) -> bool {
        self == Self::Stratified
    }

    /// How many requests a trial has: `round(rate * duration)`, with [`ClippedPoisson`](Self::ClippedPoisson) more.
    pub fn count(self, rate: Rate, duration_s: f64) -> usize {
        let factor = match self {
            Self::ClippedPoisson => Gaps::CLIPPED_RATE,
            _ => 1.0,
        };
        Rate::per_minute(rate.as_per_minute() * factor).count_in(duration_s)
    }

    /// Intended send times in nanoseconds since the start, ascending; as many as [`count`](Self::count) says.
    pub fn schedule(self, rate: Rate, duration_s: f64, seed: u64) -> Vec<u64> {
        let count = self.count(rate, duration_s);
        let mut rng = seeds::stream(seed, "arrivals");
        let unit: Vec<f64> = match self {
            Self::Constant => (0..count).map(|i| i as f64 / count as f64).collect(),
            Self::Poisson => {
                let mut fractions: Vec<f64> = (0..count).map(|_| rng.random::<f64>()).collect();
                fractions.sort_by(f64::total_cmp);
                fractions
            }
            Self::Gamma { cv } => {
                let shape = 1.0 / (cv * cv);
                let gaps = Gamma::new(shape, 1.0).expect("a validated coefficient of variation is positive");
                stretched(count, || gaps.sample(&mut rng))
            }
            Self::ClippedPoisson => stretched(count, || {
                let gap: f64 = Exp1.sample(&mut rng);
                gap.min(Gaps::CLIPPED_AT)
            }),
            Self::Fmperf => fmperf(rate, duration_s, count, &mut rng),
            Self::Stratified => {
                let mut fractions: Vec<f64> = (0..count)
                    .map(|i| {
                        let first = i - i % BLOCK;
                        let size = (count - first).min(BLOCK);
                        (first as f64 + size as f64 * rng.random::<f64>()) / count as f64
                    })
                    .collect();
                fractions
                    .chunks_mut(BLOCK)
                    .for_each(|block| block.sort_by(f64::total_cmp));
                fractions
            }
        };
        unit.into_iter().map(|u| (u * duration_s * 1e9) as u64).collect()
    }
}

/// Times after gaps of any unit, as fractions of the duration. One gap more, after the last request, closes the window.
fn stretched(count: usize, mut gap: impl FnMut() -> f64) -> Vec<f64> {
    let mut at = 0.0;
    let times: Vec<f64> = (0..count)
        .map(|_| {
            at += gap();
            at
        })
        .collect();
    let total = at + gap();
    times.into_iter().map(|t| t / total).collect()
}

/// Superposed near-regular streams as fractions of the duration, thinned or filled to `count`.
fn fmperf(rate: Rate, duration_s: f64, count: usize, rng: &mut impl rand::Rng) -> Vec<f64> {
    let workers = (rate.as_per_minute() / FMPERF_WORKER_RPM)
        .ceil()
        .clamp(1.0, FMPERF_MAX_WORKERS) as usize;
    let mut times = Vec::with_capacity(count + workers);
    for _ in 0..workers {
        let bias: f64 = rng.random_range(0.8..1.2);
        let gap = 1.0 / (rate.as_per_second() / workers as f64 * bias);
        let mut at = 0.0;
        while at < duration_s {
            times.push(at / duration_s);
            at += gap * rng.random_range(0.7..1.3);
        }
    }
    times.sort_by(f64::total_cmp);
    while times.len() > count {
        let surplus = rng.random_range(0..times.len());
        times.remove(surplus);
    }
    while times.len() < count {
        times.push(rng.random());
    }
    times.sort_by(f64::total_cmp);
    times
}

impl fmt::Display for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Poisson => f.write_str("poisson"),
            Self::Constant => f.write_str("constant"),
            Self::Gamma { cv } => write!(f, "gamma:{cv}"),
            Self::Fmperf => f.write_str("fmperf"),
            Self::ClippedPoisson => f.write_str("clipped-poisson"),
            Self::Stratified => f.write_str("stratified"),
        }
    }
}

/// The error of parsing an [`Arrival`].
#[derive(Debug, thiserror::Error, PartialEq)]
#[error(
    "`{0}` is not an arrival process; write `poisson`, `stratified`, `constant`, `gamma:CV` (for example `gamma:2`), `fmperf` or `clipped-poisson`"
)]
pub struct ArrivalError(String);

impl FromStr for Arrival {
    type Err = ArrivalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ArrivalError(text.to_owned());
        let name = text.trim().to_ascii_lowercase();
        match name.as_str() {
            "poisson" => Ok(Self::Poisson),
            "constant" => Ok(Self::Constant),
            "fmperf" => Ok(Self::Fmperf),
            "clipped-poisson" => Ok(Self::ClippedPoisson),
            "stratified" => Ok(Self::Stratified),
            _ => {
                let cv: f64 = name
                    .strip_prefix("gamma:")
                    .ok_or_else(error)?
                    .trim()
                    .parse()
                    .map_err(|_| error())?;
                if (0.01..=20.0).contains(&cv) {
                    Ok(Self::Gamma { cv })
                } else {
                    Err(error())
                }
            }
        }
    }
}

impl From<Arrival> for String {
    fn from(arrival: Arrival) -> Self {
        arrival.to_string()
    }
}

impl TryFrom<String> for Arrival {
    type Error = ArrivalError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Arrival; 6] = [
        Arrival::Poisson,
        Arrival::Stratified,
        Arrival::Constant,
        Arrival::Gamma { cv: 2.0 },
        Arrival::Fmperf,
        Arrival::ClippedPoisson,
    ];

    #[test]
    fn every_process_sends_the_fixed_count_in_order() {
        for arrival in ALL {
            for (rate, duration) in [(600.0, 10.0), (3.0, 1.0), (60_000.0, 2.0)] {
                let rate = Rate::per_minute(rate);
                let times = arrival.schedule(rate, duration, 7);
                assert_eq!(times.len(), arrival.count(rate, duration), "{arrival}");
                assert!(times.is_sorted(), "{arrival}");
                assert!(
                    times.iter().all(|&t| (t as f64) < duration * 1e9 + 1.0),
                    "{arrival}"
                );
                assert_eq!(times, arrival.schedule(rate, duration, 7));
            }
        }
    }

    #[test]
    fn gaps_vary_as_named() {
        for (arrival, expected) in [
            (Arrival::Poisson, 1.0),
            (Arrival::Stratified, 1.0),
            (Arrival::Constant, 0.0),
            (Arrival::Gamma { cv: 2.0 }, 2.0),
            (Arrival::ClippedPoisson, 0.88),
        ] {
            let times = arrival.schedule(Rate::per_second(100.0), 400.0, 3);
            let gaps: Vec<f64> = times.windows(2).map(|w| (w[1] - w[0]) as f64).collect();
            let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
            let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
            let cv = variance.sqrt() / mean;
            assert!((cv - expected).abs() < 0.05, "{arrival}: {cv}");
        }
    }

    #[test]
    fn clipped_arrivals_are_more_than_asked_for() {
        let rate = Rate::per_second(100.0);
        assert_eq!(Arrival::Poisson.count(rate, 100.0), 10_000);
        assert_eq!(Arrival::ClippedPoisson.count(rate, 100.0), 10_524);
        let times = Arrival::ClippedPoisson.schedule(rate, 400.0, 3);
        // The clip lies at three mean gaps of the rate that was asked for; stretching moves it by less than 1 %.
        let longest = times.windows(2).map(|w| w[1] - w[0]).max().unwrap() as f64;
        assert!((longest / 3e7 - 1.0).abs() < 0.01, "{longest}");
    }

    /// The gaps of gamma arrivals as they were before they shared code.
    #[test]
    fn gamma_arrivals_stay_what_they_were() {
        let times = Arrival::Gamma { cv: 2.0 }.schedule(Rate::per_second(10.0), 1.0, 7);
        let mut rng = seeds::stream(7, "arrivals");
        let gaps = Gamma::new(0.25, 1.0).unwrap();
        let gaps: Vec<f64> = (0..11).map(|_| gaps.sample(&mut rng)).collect();
        let total: f64 = gaps.iter().sum();
        let mut at = 0.0;
        for (time, gap) in times.iter().zip(&gaps) {
            at += gap;
            assert!((*time as f64 - 1e9 * at / total).abs() < 2.0);
        }
    }

    /// However long the trial, a block comes within its own share of it, so that the load never wanders off.
    #[test]
    fn stratified_blocks_keep_to_their_share_of_the_time() {
        for count in [1usize, 99, 100, 101, 250, 12_345] {
            let rate = Rate::per_second(count as f64 / 60.0);
            let times = Arrival::Stratified.schedule(rate, 60.0, 5);
            assert_eq!(times.len(), count);
            for (index, block) in times.chunks(BLOCK).enumerate() {
                let at = |place: usize| 60e9 * place as f64 / count as f64;
                let (from, to) = (at(index * BLOCK), at(index * BLOCK + block.len()));
                assert!(block.iter().all(|&t| (from - 1.0..=to).contains(&(t as f64))));
            }
        }
    }

    #[test]
    fn names_round_trip() {
        for arrival in ALL {
            assert_eq!(arrival.to_string().parse(), Ok(arrival));
        }
        assert!("gamma".parse::<Arrival>().is_err());
        assert!("gamma:0".parse::<Arrival>().is_err());
    }
}
