//! From fits and errors to the calibration that is written.

use super::Server;
use super::errors::{self, Columns};
use super::factors::{Factors, Name, Space};
use super::fit::Fitted;
use crate::deployment::calibrated::{Calibration, Factor, Kept, Label, Level, SCHEMA, SourceFile};
use crate::sim::cost::calibrated::Domain;

/// A factor of which the measurements leave more of its spread than this keeps its value.
const UNKNOWN: f64 = 0.9;

/// A fit in a space.
pub(super) struct Fit {
    pub(super) space: Space,
    pub(super) fitted: Fitted,
}

impl Fit {
    pub(super) fn factors(&self) -> Factors {
        self.space.at(&self.fitted.point)
    }

    /// Fits, freezes what the measurements say too little of, and fits the others again.
    pub(super) fn with_frozen(space: &Space, fit: impl Fn(&Space) -> Fitted) -> Self {
        let first = fit(space);
        let frozen: Vec<Name> = space
            .free
            .iter()
            .enumerate()
            .filter(|(i, p)| first.covariance[*i][*i].sqrt() > UNKNOWN * p.sd)
            .map(|(_, p)| p.name)
            .collect();
        if frozen.is_empty() {
            return Self {
                space: space.clone(),
                fitted: first,
            };
        }
        let less = space.without(&frozen);
        let fitted = fit(&less);
        Self { space: less, fitted }
    }
}

/// All that a calibration is made from.
pub(super) struct Evidence<'a> {
    pub(super) level: Level,
    pub(super) best: Fit,
    pub(super) ratio: Fit,
    pub(super) metrics: &'a [&'static str],
    pub(super) columns: Columns,
    pub(super) operating_points: usize,
    pub(super) domain: Domain,
    pub(super) sources: Vec<SourceFile>,
    pub(super) notes: Vec<String>,
}

impl Evidence<'_> {
    /// Judges, and puts it together.
    pub(super) fn calibration(self, server: &Server) -> Calibration {
        let mut notes = self.notes;
        let held_out = self.operating_points > 1;
        let kept =
            if held_out && errors::size(&self.columns.hold_out) >= errors::size(&self.columns.one_ratio) {
                notes.push(
                "held out, the fitted factors predict no better than one factor on all times: that is kept"
                    .to_owned(),
            );
                Kept::OneRatio
            } else {
                Kept::Factors
            };
        if !held_out {
            notes.push(
                "there is one operating point only: nothing could be held out; measure more rates".to_owned(),
            );
        }
        let none = Vec::new();
        let judged = match kept {
            _ if !held_out => &none,
            Kept::Factors => &self.columns.hold_out,
            Kept::OneRatio => &self.columns.one_ratio,
        };
        let unseen = unseen(self.metrics, &self.columns.train);
        let label = match unseen {
            Some(_) => Label::Fitted,
            None => errors::label(self.metrics, judged),
        };
        if let Some(what) = unseen {
            notes.push(format!(
                "the log has no iteration with {what}: what these take is what the catalog says, nothing was calibrated of it"
            ));
        }
        if held_out && label == Label::Fitted && unseen.is_none() {
            notes.push(
                "held-out errors are above what `calibrated` promises: is the server deployed as described?"
                    .to_owned(),
            );
        }
        let space = server.space();
        let (factors, covariance) = described(&space, &self.best);
        let frozen: Vec<&str> = factors
            .iter()
            .filter(|f| f.frozen)
            .map(|f| f.name.as_str())
            .collect();
        if !frozen.is_empty() {
            notes.push(format!(
                "the measurements say too little of {}: left at what the catalog says",
                frozen.join(", ")
            ));
        }
        let applied = match kept {
            Kept::Factors => self.best.factors(),
            Kept::OneRatio => self.ratio.factors(),
        };
        Calibration {
            schema: SCHEMA,
            mst_version: env!("CARGO_PKG_VERSION").to_owned(),
            model: server.built.model.name.clone(),
            gpu: server.built.gpu.name.clone(),
            tensor_parallel: server.deployment.tensor_parallel,
            pipeline_parallel: server.deployment.pipeline_parallel,
            engine: server.engine.clone(),
            level: self.level,
            label,
            kept,
            efficiency: applied.efficiency,
            scale: applied.scale,
            one_ratio: self.ratio.factors().scale,
            factors,
            covariance,
            errors: self.columns.table(self.metrics, kept == Kept::OneRatio),
            operating_points: self.operating_points,
            domain: self.domain,
            s_disc: match unseen {
                // As where nothing was held out: of half of the work nothing was.
                Some(_) => errors::discrepancy(self.metrics, judged).max(errors::UNKNOWN_SPREAD),
                None => errors::discrepancy(self.metrics, judged),
            },
            sources: self.sources,
            notes,
        }
    }
}

/// The kind of work that a log of iterations never has.
fn unseen(metrics: &[&str], errors: &errors::Errors) -> Option<&'static str> {
    let is_there = |kind: &str| {
        let alone = metrics.iter().position(|name| *name == kind);
        let mixed = metrics.iter().position(|name| *name == "step_mixed");
        let known = |row: &Vec<f64>, place: Option<usize>| place.is_some_and(|m| row[m].is_finite());
        alone.is_none() || errors.iter().any(|row| known(row, alone) || known(row, mixed))
    };
    if !is_there("step_prefill") {
        Some("a prompt")
    } else if !is_there("step_decode") {
        Some("a token of a response")
    } else {
        None
    }
}

/// All factors of a space with their covariance, those that were frozen as they were before.
fn described(space: &Space, best: &Fit) -> (Vec<Factor>, Vec<Vec<f64>>) {
    let place = |name: Name| best.space.free.iter().position(|p| p.name == name);
    let places: Vec<Option<usize>> = space.free.iter().map(|p| place(p.name)).collect();
    let covariance: Vec<Vec<f64>> = places
        .iter()
        .enumerate()
        .map(|(i, a)| {
            let entry = |(j, b): (usize, &Option<usize>)| match (a, b) {
                (Some(a), Some(b)) => best.fitted.covariance[*a][*b],
                _ if i == j => space.free[i].sd.powi(2),
                _ => 0.0,
            };
            places.iter().enumerate().map(entry).collect()
        })
        .collect();
    let factors = space
        .free
        .iter()
        .zip(&places)
        .enumerate()
        .map(|(i, (p, at))| Factor {
            name: p.name.text().to_owned(),
            unit: p.name.unit().to_owned(),
            value: at.map_or(p.mean, |at| best.fitted.point[at]).exp(),
            sd: covariance[i][i].sqrt(),
            prior: p.mean.exp(),
            prior_sd: p.sd,
            frozen: at.is_none(),
        });
    (factors.collect(), covariance)
}
