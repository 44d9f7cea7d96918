//! The clipped Poisson generator: its exact moments, the recorded sample, and ours.

use serde::Deserialize;
use serde_json::Value;

use super::compare::{Comparison, Nearness};
use super::{Case, Malformed};
use crate::workload::Gaps;

/// Draws of ours.
const DRAWS: u32 = 200_000;
/// Standard errors within which a sample has to lie.
const ERRORS: f64 = 5.0;

#[derive(Deserialize)]
struct Given {
    nominal_qps: f64,
    #[serde(default)]
    samples: f64,
}

pub(super) fn replay(file: &Value) -> Result<Vec<Case>, Malformed> {
    let given: Given = super::given("the file", file)?;
    let (mean, cv) = moments();
    let mut exact = Comparison::at("");
    let mut sample = Comparison::at("");
    for (name, ours) in [
        ("analytic_mean_gap_factor", mean),
        ("analytic_rate_inflation", 1.0 / mean),
        ("analytic_cv", cv),
        ("max_gap_s", 3.0 / given.nominal_qps),
    ] {
        exact.number(name, file.get(name), ours, Nearness::Arithmetic);
    }
    let measured = |name: &str| file.get(name).and_then(Value::as_f64);
    let error = ERRORS / given.samples.max(1.0).sqrt();
    if let Some(gap) = measured("measured_mean_gap_s") {
        near(
            &mut sample,
            "measured_mean_gap_s",
            gap * given.nominal_qps,
            mean,
            cv * mean * error,
        );
        sample.number(
            "measured_rate",
            file.get("measured_rate"),
            1.0 / gap,
            Nearness::Arithmetic,
        );
    }
    if let Some(measured) = measured("measured_cv") {
        // The spread of a coefficient of variation is below one over the root of the count for gaps that end at three.
        near(&mut sample, "measured_cv", measured, cv, error);
    }
    Ok(vec![
        Case::new(
            "exact moments",
            exact.first().map(|text| text.trim_start_matches('.').to_owned()),
        ),
        Case::new(
            "recorded sample",
            sample.first().map(|text| text.trim_start_matches('.').to_owned()),
        ),
        Case::new("clipped-poisson of this program", ours(mean, cv)?),
    ])
}

/// Mean and coefficient of variation of `min(X, 3)` for an exponential `X` with mean 1: the mean is `1 - exp(-3)`, the mean
/// square `2 (1 - 4 exp(-3))`.
fn moments() -> (f64, f64) {
    let tail = (-3.0_f64).exp();
    let mean = 1.0 - tail;
    let square = 2.0 * (1.0 - 4.0 * tail);
    (mean, (square - mean * mean).sqrt() / mean)
}

fn near(comparison: &mut Comparison, name: &str, recorded: f64, ours: f64, error: f64) {
    if (recorded - ours).abs() > error {
        comparison.say(name, &format!("{ours} +- {error:.1e}, expected {recorded}"));
    }
}

fn ours(mean: f64, cv: f64) -> Result<Option<String>, Malformed> {
    let mut gaps = Gaps::ClippedPoisson
        .stream(1)
        .map_err(|error| Malformed(error.to_string()))?;
    let (mut sum, mut squares, mut longest) = (0.0, 0.0, 0.0_f64);
    for _ in 0..DRAWS {
        let gap = gaps.draw();
        sum += gap;
        squares += gap * gap;
        longest = longest.max(gap);
    }
    let count = f64::from(DRAWS);
    let drawn = sum / count;
    let drawn_cv = (squares / count - drawn * drawn).sqrt() / drawn;
    let error = ERRORS / count.sqrt();
    let mut comparison = Comparison::at("draws");
    near(&mut comparison, "mean", mean, drawn, cv * mean * error);
    near(&mut comparison, "cv", cv, drawn_cv, error);
    if longest > 3.0 {
        comparison.say("longest", &format!("{longest}, expected 3"));
    }
    Ok(comparison.first())
}
