//! Level A: a fit to the engine's own log of iterations, what each held and how long it took.

use super::errors::{Columns, Errors};
use super::factors::{Factors, Space};
use super::fit::{Fitted, Observation, gauss_newton};
use super::outcome::{Evidence, Fit};
use super::{CalibrationError, Server};
use crate::deployment::calibrated::{Calibration, Level, SourceFile};
use crate::sim::cost::BatchShape;
use crate::sim::cost::calibrated::Domain;

/// Relative residual from which on an iteration counts in proportion: it held something that the log does not tell.
const HUBER: f64 = 0.1;
/// Relative error of a logged time. The scatter that is found takes its place.
const STEP_SD: f64 = 0.03;
/// Fewer iterations tell nothing.
pub(super) const LEAST_STEPS: usize = 20;
/// The metrics: of all iterations, of those of each kind.
pub const STEP_METRICS: [&str; 4] = ["step", "step_decode", "step_prefill", "step_mixed"];

/// An iteration.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// What it held.
    pub shape: BatchShape,
    /// How long it took on all pipeline stages, in ms.
    pub ms: f64,
    /// How large it was.
    pub domain: Domain,
}

impl Step {
    /// Place of its kind in the metrics.
    fn kind(&self) -> usize {
        match (self.shape.prefills, self.shape.decodes) {
            (0, _) => 1,
            (_, 0) => 2,
            _ => 3,
        }
    }

    /// Iterations of one kind and a size within a factor of two are left out together.
    fn point(&self) -> (usize, u32) {
        let size = if self.shape.prefills > 0 {
            self.shape.tokens
        } else {
            self.shape.sequences
        };
        (self.kind(), size.ilog2())
    }
}

/// The iterations of a file.
#[derive(Clone, Debug)]
pub struct Steps {
    /// In its order.
    pub steps: Vec<Step>,
    /// The file.
    pub source: SourceFile,
}

/// Calibrates from iterations.
///
/// # Errors
/// When there are too few.
pub fn from_steps(server: &Server, logs: &[Steps]) -> Result<Calibration, CalibrationError> {
    let all: Vec<Step> = logs.iter().flat_map(|log| log.steps.iter().copied()).collect();
    if all.len() < LEAST_STEPS {
        return Err(CalibrationError::FewSteps {
            found: all.len(),
            wanted: LEAST_STEPS,
        });
    }
    let space = server.space();
    let best = Fit::with_frozen(&space, |space| fitted(server, space, &all, HUBER));
    let ratio = |of: &[Step]| {
        let space = server.one_ratio();
        let fitted = fitted(server, &space, of, HUBER);
        Fit { space, fitted }
    };
    let one_ratio = ratio(&all);
    let mut columns = Columns {
        uncalibrated: step_errors(server, &space.at(&space.start()), &all),
        train: step_errors(server, &best.factors(), &all),
        ..Columns::default()
    };
    let mut points: Vec<(usize, u32)> = all.iter().map(Step::point).collect();
    points.sort_unstable();
    points.dedup();
    if points.len() > 1 {
        for point in &points {
            let (left_out, rest): (Vec<Step>, Vec<Step>) = all.iter().partition(|s| s.point() == *point);
            let fitted = Fit::with_frozen(&space, |space| fitted(server, space, &rest, HUBER));
            columns
                .hold_out
                .extend(step_errors(server, &fitted.factors(), &left_out));
            columns
                .one_ratio
                .extend(step_errors(server, &ratio(&rest).factors(), &left_out));
        }
    } else {
        columns.one_ratio = step_errors(server, &one_ratio.factors(), &all);
    }
    let most = |of: fn(&Domain) -> u32| all.iter().map(|s| of(&s.domain)).max().unwrap_or(0);
    let evidence = Evidence {
        level: Level::A,
        best,
        ratio: one_ratio,
        metrics: &STEP_METRICS,
        columns,
        operating_points: points.len(),
        domain: Domain {
            batch: most(|d| d.batch),
            context: most(|d| d.context),
            prompt: most(|d| d.prompt),
        },
        sources: logs.iter().map(|log| log.source.clone()).collect(),
        notes: Vec::new(),
    };
    Ok(evidence.calibration(server))
}

fn predict(server: &Server, factors: &Factors, steps: &[Step]) -> Vec<f64> {
    match server.cost(factors) {
        Some(cost) => steps.iter().map(|s| cost.whole_ms(&s.shape).ln()).collect(),
        None => vec![f64::NAN; steps.len()],
    }
}

fn step_errors(server: &Server, factors: &Factors, steps: &[Step]) -> Errors {
    let predicted = predict(server, factors, steps);
    let row = |(step, ln): (&Step, f64)| {
        let mut row = vec![f64::NAN; STEP_METRICS.len()];
        row[0] = ln - step.ms.ln();
        row[step.kind()] = row[0];
        row
    };
    steps.iter().zip(predicted).map(row).collect()
}

/// Fits the parameters of a space to some iterations.
pub(super) fn fitted(server: &Server, space: &Space, steps: &[Step], huber: f64) -> Fitted {
    let observed: Vec<Observation> = steps
        .iter()
        .map(|s| Observation {
            ln: s.ms.ln(),
            sd: STEP_SD,
        })
        .collect();
    let model = |point: &[f64]| predict(server, &space.at(point), steps);
    gauss_newton(&space.free, &space.start(), &observed, huber, &model)
}
