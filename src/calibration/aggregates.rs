//! Level C: a fit to the quantiles of trials, the simulator run on the very requests that were sent.

use super::aggregate::{FITTED, Metrics};
use super::factors::Space;
use super::fit::{Fitted, Observation, gauss_newton};
use super::{CalibrationError, Server, Trial, Trials, held_out};
use crate::deployment::calibrated::{Calibration, Level};

/// Relative error that the simulator has beside a trial's own scatter, as a part of what weighs observations.
const MODEL_SD: f64 = 0.03;

/// Calibrates from the quantiles of trials.
///
/// # Errors
/// When no trial can be used.
pub fn from_aggregates(server: &Server, trials: &Trials) -> Result<Calibration, CalibrationError> {
    let all: Vec<&Trial> = trials.trials.iter().collect();
    let fit = |space: &Space, of: &[&Trial]| to_quantiles(server, space, of);
    held_out::calibrated(server, &all, Level::C, &fit, trials.left_out.clone())
}

/// Fits the parameters of a space to the quantiles of some trials.
pub(super) fn to_quantiles(server: &Server, space: &Space, trials: &[&Trial]) -> Fitted {
    let wanted: Vec<(usize, usize)> = trials
        .iter()
        .enumerate()
        .flat_map(|(t, trial)| {
            (0..FITTED)
                .filter(|m| trial.observed[*m].is_finite())
                .map(move |m| (t, m))
        })
        .collect();
    let observed: Vec<Observation> = wanted
        .iter()
        .map(|(t, m)| {
            let sd = trials[*t].sd[*m];
            let square = if sd.is_finite() { sd * sd } else { 0.0 };
            Observation {
                ln: trials[*t].observed[*m],
                sd: (square + MODEL_SD * MODEL_SD).sqrt(),
            }
        })
        .collect();
    let model = |point: &[f64]| {
        let factors = space.at(point);
        let all: Vec<Metrics> = trials
            .iter()
            .map(|trial| server.predict(&factors, trial))
            .collect();
        wanted.iter().map(|(t, m)| all[*t][*m]).collect()
    };
    gauss_newton(&space.free, &space.start(), &observed, f64::INFINITY, &model)
}
