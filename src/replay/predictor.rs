//! Predicted prefill times. A random forest cannot be found again to the last digit, it depends on the version of a
//! library: what is compared is its arithmetic and its shape, and how this program's curve does on the same lengths.

use serde::Deserialize;
use serde_json::Value;

use super::{Case, Malformed};
use crate::slo::prefill::{Point, PrefillCurve};

const NEAR: f64 = 1e-9;

/// What the file gives: lengths with their measured times, and `[length, predicted, true, error]`.
#[derive(Deserialize)]
struct Given {
    profiled: Vec<(f64, f64)>,
    predictions: Vec<(f64, f64, f64, f64)>,
}

pub(super) fn replay(file: &Value) -> Result<Vec<Case>, Malformed> {
    let given: Given = super::given("the file", file)?;
    let points: Vec<Point> = given
        .profiled
        .iter()
        .map(|&(tokens, seconds)| Point { tokens, seconds })
        .collect();
    let curve = PrefillCurve::through(&points).map_err(|error| Malformed(format!("profiled: {error}")))?;
    Ok(vec![
        Case::new("recorded errors", errors(&given)),
        Case::new("recorded shape: steps, flat outside", shape(&given)),
        Case::new("curve at the profiled lengths", at_points(&curve, &points)),
        Case::new("curve between and beyond", elsewhere(&curve, &given)),
    ])
}

/// The last column is what was predicted minus what is true, and what is true at a profiled length was measured there.
fn errors(given: &Given) -> Option<String> {
    let mut rows = given.predictions.iter().enumerate();
    rows.find_map(|(index, &(tokens, predicted, actual, error))| {
        let ours = predicted - actual;
        if (ours - error).abs() > NEAR {
            return Some(format!("predictions[{index}][3]: {ours}, expected {error}"));
        }
        let (at, &(_, measured)) = given
            .profiled
            .iter()
            .enumerate()
            .find(|(_, (length, _))| (length - tokens).abs() < 0.5)?;
        ((measured - actual).abs() > NEAR)
            .then(|| format!("predictions[{index}][2]: {measured} (profiled[{at}]), expected {actual}"))
    })
}

/// A forest on the length and its square can step only in the middle of two profiled lengths, or of their squares.
fn shape(given: &Given) -> Option<String> {
    let mut steps = Vec::new();
    for (index, (a, _)) in given.profiled.iter().enumerate() {
        for (b, _) in &given.profiled[index + 1..] {
            steps.extend([f64::midpoint(*a, *b), f64::midpoint(a * a, b * b).sqrt()]);
        }
    }
    let times = || given.profiled.iter().map(|p| p.1);
    let (lowest, highest) = (
        times().fold(f64::INFINITY, f64::min),
        times().fold(f64::NEG_INFINITY, f64::max),
    );
    let mut rows: Vec<(usize, f64, f64)> = given
        .predictions
        .iter()
        .enumerate()
        .map(|(index, p)| (index, p.0, p.1))
        .collect();
    rows.sort_by(|a, b| a.1.total_cmp(&b.1));
    for &(index, _, predicted) in &rows {
        if predicted < lowest - NEAR || predicted > highest + NEAR {
            return Some(format!(
                "predictions[{index}][1]: between {lowest} and {highest}, as every mean of profiled times, expected {predicted}"
            ));
        }
    }
    let mut pairs = rows.windows(2);
    pairs
        .find_map(|pair| {
            let ((_, from, before), (index, to, after)) = (pair[0], pair[1]);
            let may_step = steps.iter().any(|step| from <= *step && *step < to);
            (!may_step && (before - after).abs() > NEAR).then(|| {
                format!(
                    "predictions[{index}][1]: {before}, as at {from} tokens (no step lies between), expected {after}"
                )
            })
        })
}

/// Ours meets the measurements, where these do not fall.
fn at_points(curve: &PrefillCurve, points: &[Point]) -> Option<String> {
    points
        .iter()
        .enumerate()
        .zip(curve.points())
        .find_map(|((index, point), on_curve)| {
            let ours = curve.predict(point.tokens);
            let meets = (ours.seconds - on_curve.seconds).abs() <= NEAR;
            let rising = points[..index].iter().all(|p| p.seconds <= point.seconds)
                && points[index..].iter().all(|p| p.seconds >= point.seconds);
            let exact = (ours.seconds - point.seconds).abs() <= NEAR;
            (!meets || ours.extrapolated || (rising && !exact)).then(|| {
                format!(
                    "profiled[{index}][1]: {}, expected {}",
                    ours.seconds, point.seconds
                )
            })
        })
}

/// Ours never falls, says where it goes beyond what was measured, and is nowhere further off than the recorded predictor is
/// at its worst within the profiled lengths (outside: anywhere).
fn elsewhere(curve: &PrefillCurve, given: &Given) -> Option<String> {
    let lengths = || given.profiled.iter().map(|p| p.0);
    let (first, last) = (
        lengths().fold(f64::INFINITY, f64::min),
        lengths().fold(f64::NEG_INFINITY, f64::max),
    );
    let inside = |tokens: f64| (first..=last).contains(&tokens);
    let worst = |within: bool| {
        given
            .predictions
            .iter()
            .filter(|p| inside(p.0) == within)
            .map(|p| p.3.abs())
            .fold(0.0, f64::max)
    };
    let mut rows: Vec<_> = given.predictions.iter().enumerate().collect();
    rows.sort_by(|a, b| a.1.0.total_cmp(&b.1.0));
    let mut before = 0.0;
    for (index, &(tokens, _, actual, _)) in rows {
        let ours = curve.predict(tokens);
        if ours.extrapolated == inside(tokens) {
            let word = if ours.extrapolated { "" } else { "not " };
            return Some(format!(
                "predictions[{index}]: {word}extrapolated at {tokens} tokens, expected the contrary"
            ));
        }
        if ours.seconds < before {
            return Some(format!(
                "predictions[{index}]: {}, expected {before} or more",
                ours.seconds
            ));
        }
        before = ours.seconds;
        let worst = worst(inside(tokens));
        if (ours.seconds - actual).abs() > worst + NEAR {
            return Some(format!(
                "predictions[{index}][2]: {}, expected {actual} to within {worst}, the worst recorded error",
                ours.seconds
            ));
        }
    }
    None
}
