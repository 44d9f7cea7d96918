//! From measured prompts to the curve, and how far it can be trusted: by its distance from what it was made of, from each
//! length when that is left out, and by how much the repeats of a length differ.

use serde::{Deserialize, Serialize};

use super::{Point, PrefillCurve};
use crate::stats::describe::mean;
use crate::stats::quantile::median;

/// The time of one prompt on an idle server.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timed {
    /// Tokens that were asked for: what the repeats of a length have in common.
    pub asked_tokens: u32,
    /// Tokens of the prompt as the server counted them.
    pub tokens: u32,
    /// Time to first token, seconds.
    pub seconds: f64,
}

/// The repeats of one length.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LengthTimes {
    /// Tokens that were asked for.
    pub asked_tokens: u32,
    /// Mean of the tokens that the server counted.
    pub tokens: f64,
    /// How many.
    pub repeats: usize,
    /// Median time, seconds. The curve goes through it where times do not fall.
    pub median: f64,
    /// Shortest time, seconds.
    pub least: f64,
    /// Longest time, seconds.
    pub most: f64,
}

impl LengthTimes {
    /// Range of the times as a share of their median.
    pub fn spread(&self) -> f64 {
        if self.median > 0.0 {
            (self.most - self.least) / self.median
        } else {
            0.0
        }
    }
}

/// How far predictions are from measurements.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FitError {
    /// Root of the mean square, seconds.
    pub root_mean_square: f64,
    /// The largest, seconds.
    pub largest: f64,
    /// Root of the mean square of the errors as shares of what was measured.
    pub relative_root_mean_square: f64,
    /// The largest of these shares.
    pub relative_largest: f64,
}

/// How far each length is from the curve through the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Lengths between others; `None` with fewer than three lengths.
    pub inside: Option<FitError>,
    /// The shortest and the longest, where the curve is an extrapolation; `None` with fewer than two lengths.
    pub at_the_ends: Option<FitError>,
}

/// How much the repeats of a length differ: their range as a share of their median.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RepeatSpread {
    /// Median over the lengths.
    pub typical: f64,
    /// The largest.
    pub largest: f64,
    /// The length that has it, tokens.
    pub at_tokens: f64,
}

/// A curve and how far it can be trusted.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// Through the median of each length.
    pub curve: PrefillCurve,
    /// The lengths, ascending.
    pub lengths: Vec<LengthTimes>,
    /// Its distance from the measurements that it was made of.
    pub error: FitError,
    /// Cross-validation: its distance from each length when that is left out.
    pub left_out: LeftOut,
    /// Of the repeats; `None` where no length has two.
    pub spread: Option<RepeatSpread>,
}

/// Fits the curve to measurements in any order.
///
/// # Errors
/// What is wrong with them.
pub fn fit(measured: &[Timed]) -> Result<Fit, String> {
    let lengths = lengths(measured);
    let curve = through(&lengths)?;
    let pairs: Vec<(f64, f64)> = measured.iter().map(|m| pair(&curve, &lengths, m)).collect();
    let error = error(&pairs).ok_or("no prompt was measured")?;
    let (mut inside, mut ends) = (Vec::new(), Vec::new());
    for (place, left_out) in lengths.iter().enumerate() {
        let others: Vec<LengthTimes> = lengths
            .iter()
            .filter(|l| l.asked_tokens != left_out.asked_tokens)
            .copied()
            .collect();
        let Ok(curve) = through(&others) else { continue };
        let of_length = measured
            .iter()
            .filter(|m| m.asked_tokens == left_out.asked_tokens);
        let pairs = of_length.map(|m| pair(&curve, &lengths, m));
        if place == 0 || place + 1 == lengths.len() {
            ends.extend(pairs);
        } else {
            inside.extend(pairs);
        }
    }
    Ok(Fit {
        left_out: LeftOut {
            inside: self::error(&inside),
            at_the_ends: self::error(&ends),
        },
        spread: spread(&lengths),
        curve,
        lengths,
        error,
    })
}

/// What is known of each length.
fn lengths(measured: &[Timed]) -> Vec<LengthTimes> {
    let mut sorted = measured.to_vec();
    sorted.sort_by(|a, b| {
        a.asked_tokens
            .cmp(&b.asked_tokens)
            .then(a.seconds.total_cmp(&b.seconds))
    });
    let chunks = sorted.chunk_by(|a, b| a.asked_tokens == b.asked_tokens);
    let of_chunk = |chunk: &[Timed]| {
        let tokens: Vec<f64> = chunk.iter().map(|m| f64::from(m.tokens)).collect();
        let seconds: Vec<f64> = chunk.iter().map(|m| m.seconds).collect();
        Some(LengthTimes {
            asked_tokens: chunk.first()?.asked_tokens,
            tokens: mean(&tokens)?,
            repeats: chunk.len(),
            median: median(&seconds)?,
            least: *seconds.first()?,
            most: *seconds.last()?,
        })
    };
    chunks.filter_map(of_chunk).collect()
}

/// The curve through the median of each length.
fn through(lengths: &[LengthTimes]) -> Result<PrefillCurve, String> {
    let points: Vec<Point> = lengths
        .iter()
        .map(|l| Point {
            tokens: l.tokens,
            seconds: l.median,
        })
        .collect();
    PrefillCurve::through(&points)
}

/// What the curve says of a measurement's length, and what was measured.
fn pair(curve: &PrefillCurve, lengths: &[LengthTimes], measured: &Timed) -> (f64, f64) {
    // The server's counts of a length differ by a token or two: its mean is what stands on the curve.
    let tokens = lengths
        .iter()
        .find(|l| l.asked_tokens == measured.asked_tokens)
        .map_or(f64::from(measured.tokens), |l| l.tokens);
    (curve.predict(tokens).seconds, measured.seconds)
}

/// The error of (predicted, measured) times.
fn error(pairs: &[(f64, f64)]) -> Option<FitError> {
    if pairs.is_empty() {
        return None;
    }
    let root = |errors: &dyn Fn(&(f64, f64)) -> f64| {
        let squares: f64 = pairs.iter().map(|p| errors(p).powi(2)).sum();
        (squares / pairs.len() as f64).sqrt()
    };
    let largest = |errors: &dyn Fn(&(f64, f64)) -> f64| pairs.iter().map(errors).fold(0.0, f64::max);
    let absolute = |(predicted, measured): &(f64, f64)| (predicted - measured).abs();
    // No prompt takes less than a nanosecond.
    let relative = |pair: &(f64, f64)| absolute(pair) / pair.1.max(1e-9);
    Some(FitError {
        root_mean_square: root(&absolute),
        largest: largest(&absolute),
        relative_root_mean_square: root(&relative),
        relative_largest: largest(&relative),
    })
}

fn spread(lengths: &[LengthTimes]) -> Option<RepeatSpread> {
    let repeated: Vec<&LengthTimes> = lengths.iter().filter(|l| l.repeats > 1).collect();
    let widest = repeated.iter().max_by(|a, b| a.spread().total_cmp(&b.spread()))?;
    let spreads: Vec<f64> = repeated.iter().map(|l| l.spread()).collect();
    Some(RepeatSpread {
        typical: median(&spreads)?,
        largest: widest.spread(),
        at_tokens: widest.tokens,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timed(asked_tokens: u32, tokens: u32, seconds: f64) -> Timed {
        Timed {
            asked_tokens,
            tokens,
            seconds,
        }
    }

    #[test]
    fn one_slow_repeat_does_not_move_the_curve() {
        let mut measured = Vec::new();
        for n in [400, 100, 200] {
            let seconds = 0.01 + f64::from(n) * 1e-3;
            measured.extend([timed(n, n, seconds); 4]);
        }
        measured.push(timed(200, 200, 5.0));
        let fit = fit(&measured).unwrap();
        let at = |tokens| fit.curve.predict(tokens).seconds;
        assert!((at(200.0) - 0.21).abs() < 1e-12 && (at(300.0) - 0.31).abs() < 1e-12);
        // It is seen all the same.
        assert!((fit.error.largest - 4.79).abs() < 1e-9);
        let spread = fit.spread.unwrap();
        assert_eq!((spread.typical, spread.at_tokens), (0.0, 200.0));
        assert!(spread.largest > 20.0);
    }

    #[test]
    fn each_length_is_predicted_from_the_others() {
        // A quadratic curve: chords lie above it inside and below it outside.
        let time = |n: u32| 1e-6 * f64::from(n * n);
        let measured: Vec<Timed> = [100, 200, 400].map(|n| timed(n, n, time(n))).to_vec();
        let fit = fit(&measured).unwrap();
        assert_eq!(fit.error.largest, 0.0);
        assert!(fit.spread.is_none());
        // 200 from the chord of 100 and 400: 0.06 in place of 0.04.
        let inside = fit.left_out.inside.unwrap();
        assert!(
            (inside.root_mean_square - 0.02).abs() < 1e-12 && (inside.relative_largest - 0.5).abs() < 1e-9
        );
        // 400 from the line through 100 and 200: 0.10 in place of 0.16; 100 from 200 and 400: -0.02, so 0, in place of 0.01.
        let ends = fit.left_out.at_the_ends.unwrap();
        assert!((ends.largest - 0.06).abs() < 1e-12, "{ends:?}");
        assert!((ends.relative_largest - 1.0).abs() < 1e-9);
    }

    #[test]
    fn counts_that_differ_by_a_token_are_one_length() {
        let measured = [
            timed(128, 127, 0.1),
            timed(128, 129, 0.102),
            timed(256, 255, 0.2),
            timed(256, 259, 0.19),
        ];
        let fit = fit(&measured).unwrap();
        assert_eq!(fit.curve.points().len(), 2);
        assert_eq!((fit.lengths[0].tokens, fit.lengths[1].tokens), (128.0, 257.0));
        assert!(super::fit(&[]).is_err());
        let one = super::fit(&measured[..1]).unwrap();
        assert!(one.left_out.inside.is_none() && one.left_out.at_the_ends.is_none());
    }
}
