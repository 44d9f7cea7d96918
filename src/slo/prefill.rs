//! How long a prompt takes on an idle server, as a curve over its length: what deadlines of first tokens are predicted from.
//!
//! The curve never falls, and is linear between the lengths that were measured: the mean of the measurements of a length,
//! neighbours that would fall pooled (pool adjacent violators; Barlow and others 1972). Beyond the measured lengths it goes
//! on as its outermost piece does, and says so.

mod fit;

use serde::{Deserialize, Serialize};

pub use fit::{Fit, FitError, LeftOut, LengthTimes, RepeatSpread, Timed, fit};

/// A length that was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Tokens of the prompt.
    pub tokens: f64,
    /// Time to first token on an idle server, seconds.
    pub seconds: f64,
}

/// The curve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Points")]
pub struct PrefillCurve {
    points: Vec<Point>,
}

/// A curve as a file has it, which need not be one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Points {
    points: Vec<Point>,
}

impl TryFrom<Points> for PrefillCurve {
    type Error = String;

    fn try_from(written: Points) -> Result<Self, String> {
        let curve = Self::through(&written.points)?;
        if curve.points == written.points {
            Ok(curve)
        } else {
            Err("the points of a curve have ascending lengths, and times that never fall".to_owned())
        }
    }
}

/// What the curve says about a length.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Seconds.
    pub seconds: f64,
    /// Whether no length on one of its sides was measured.
    pub extrapolated: bool,
}

/// How far the curve is from measurements, seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurveError {
    /// Root of the mean square.
    pub root_mean_square: f64,
    /// The largest.
    pub largest: f64,
}

impl PrefillCurve {
    /// Through measurements in any order; several of one length count as their mean.
    ///
    /// # Errors
    /// What is wrong with the measurements.
    pub fn through(measured: &[Point]) -> Result<Self, String> {
        let bad = measured.iter().find(|p| {
            !(p.tokens.is_finite() && p.tokens >= 1.0 && p.seconds.is_finite() && p.seconds >= 0.0)
        });
        if let Some(bad) = bad {
            let Point { tokens, seconds } = bad;
            return Err(format!(
                "a prompt of {tokens} tokens in {seconds} s cannot be; lengths begin at 1, times at 0"
            ));
        }
        if measured.is_empty() {
            return Err("no prompt length was measured; measure at least one".to_owned());
        }
        let mut sorted = measured.to_vec();
        sorted.sort_by(|a, b| a.tokens.total_cmp(&b.tokens));
        // Blocks of lengths that share a time: their lengths, the mean, how many measurements.
        let mut blocks: Vec<(Vec<f64>, f64, f64)> = Vec::new();
        for chunk in sorted.chunk_by(|a, b| a.tokens.total_cmp(&b.tokens).is_eq()) {
            let count = chunk.len() as f64;
            let mean = chunk.iter().map(|p| p.seconds).sum::<f64>() / count;
            blocks.push((vec![chunk[0].tokens], mean, count));
            while let [.., (_, before, _), (_, last, _)] = blocks.as_slice()
                && before > last
            {
                let Some((lengths, mean, count)) = blocks.pop() else {
                    break;
                };
                if let Some(into) = blocks.last_mut() {
                    into.1 = (into.1 * into.2 + mean * count) / (into.2 + count);
                    into.2 += count;
                    into.0.extend(lengths);
                }
            }
        }
        let points = blocks.into_iter().flat_map(|(lengths, seconds, _)| {
            lengths.into_iter().map(move |tokens| Point { tokens, seconds })
        });
        Ok(Self {
            points: points.collect(),
        })
    }

    /// The lengths that were measured, ascending, with their times on the curve.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// The time of a prompt.
    pub fn predict(&self, tokens: f64) -> Prediction {
        let above = self.points.partition_point(|p| p.tokens < tokens);
        let extrapolated = above == self.points.len() || (above == 0 && self.points[0].tokens > tokens);
        let last = self.points.len() - 1;
        let (from, to) = if last == 0 {
            (0, 0)
        } else {
            let to = above.clamp(1, last);
            (to - 1, to)
        };
        let (a, b) = (self.points[from], self.points[to]);
        let run = b.tokens - a.tokens;
        let slope = if run > 0.0 {
            (b.seconds - a.seconds) / run
        } else {
            0.0
        };
        // From the nearer end, so that a measured length is met exactly.
        let seconds = if (tokens - a.tokens).abs() < (b.tokens - tokens).abs() {
            a.seconds + slope * (tokens - a.tokens)
        } else {
            b.seconds - slope * (b.tokens - tokens)
        };
        Prediction {
            seconds: seconds.max(0.0),
            extrapolated,
        }
    }

    /// How far the curve is from measurements.
    pub fn error(&self, measured: &[Point]) -> CurveError {
        let errors = measured
            .iter()
            .map(|p| self.predict(p.tokens).seconds - p.seconds);
        let (mut squares, mut largest) = (0.0, 0.0_f64);
        for error in errors {
            squares += error * error;
            largest = largest.max(error.abs());
        }
        CurveError {
            root_mean_square: (squares / measured.len().max(1) as f64).sqrt(),
            largest,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn curve(points: &[(f64, f64)]) -> PrefillCurve {
        let points: Vec<Point> = points
            .iter()
            .map(|&(tokens, seconds)| Point { tokens, seconds })
            .collect();
        PrefillCurve::through(&points).unwrap()
    }

    #[test]
    fn it_is_linear_between_and_says_when_it_is_beyond() {
        let curve = curve(&[(200.0, 0.3), (100.0, 0.2), (400.0, 0.7)]);
        for (tokens, seconds, extrapolated) in [
            (100.0, 0.2, false),
            (150.0, 0.25, false),
            (400.0, 0.7, false),
            (300.0, 0.5, false),
            (50.0, 0.15, true),
            (500.0, 0.9, true),
        ] {
            let prediction = curve.predict(tokens);
            assert!((prediction.seconds - seconds).abs() < 1e-12, "{tokens}");
            assert_eq!(prediction.extrapolated, extrapolated, "{tokens}");
        }
        assert_eq!(super::tests::curve(&[(5.0, 0.1)]).predict(9.0).seconds, 0.1);
    }

    #[test]
    fn falling_neighbours_are_pooled() {
        let curve = curve(&[(1.0, 0.1), (2.0, 0.4), (2.0, 0.4), (3.0, 0.1), (4.0, 0.5)]);
        let seconds: Vec<f64> = curve.points().iter().map(|p| p.seconds).collect();
        assert_eq!(seconds.len(), 4);
        assert!(
            (seconds[1] - 0.3).abs() < 1e-12 && seconds[1] == seconds[2],
            "{seconds:?}"
        );
        assert!(PrefillCurve::through(&[]).is_err());
        let bad = Point {
            tokens: 0.0,
            seconds: 1.0,
        };
        assert!(PrefillCurve::through(&[bad]).is_err());
    }

    #[test]
    fn a_written_curve_is_checked() {
        let curve = curve(&[(100.0, 0.1), (200.0, 0.3)]);
        let text = serde_json::to_string(&curve).unwrap();
        assert_eq!(serde_json::from_str::<PrefillCurve>(&text).unwrap(), curve);
        for bad in [
            r#"{"points": []}"#,
            r#"{"points": [{"tokens": 2, "seconds": 0.1}, {"tokens": 1, "seconds": 0.2}]}"#,
            r#"{"points": [{"tokens": 1, "seconds": 0.3}, {"tokens": 2, "seconds": 0.2}]}"#,
            r#"{"points": [{"tokens": 1, "seconds": -1}]}"#,
        ] {
            assert!(serde_json::from_str::<PrefillCurve>(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn it_never_falls(points in prop::collection::vec((1u32..5000, 0.0f64..2.0), 1..20), a in 1.0f64..8000.0, b in 1.0f64..8000.0) {
            let points: Vec<(f64, f64)> = points.iter().map(|&(n, s)| (f64::from(n), s)).collect();
            let curve = curve(&points);
            let (low, high) = (curve.predict(a.min(b)).seconds, curve.predict(a.max(b)).seconds);
            prop_assert!(low <= high + 1e-9, "{low} {high}");
        }
    }
}
