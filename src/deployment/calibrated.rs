//! `calibrated.json`: factors of the roofline that were fitted to a server, how they were found, and how far they are to be
//! trusted.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{CostOrigin, Deployment, DeploymentError, files};
use crate::sim::catalog::{Efficiency, Gpu, ModelShape};
use crate::sim::cost::calibrated::{Calibrated, Domain};

/// Version of the file.
pub const SCHEMA: u32 = 1;

/// The content of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of the program that wrote it.
    pub mst_version: String,
    /// The model, by its name in the catalog.
    pub model: String,
    /// The GPU, by its name in the catalog.
    pub gpu: String,
    /// GPUs that share each layer.
    pub tensor_parallel: u32,
    /// Pipeline stages.
    pub pipeline_parallel: u32,
    /// The engine and its version, as the user named it.
    pub engine: String,
    /// From which kind of data.
    pub level: Level,
    /// How far it is to be trusted.
    pub label: Label,
    /// What predictions are made with.
    pub kept: Kept,
    /// The factors that predictions are made with.
    pub efficiency: Efficiency,
    /// Multiplies all times beside them; 1 unless `one_ratio` is kept.
    pub scale: f64,
    /// The one factor on all uncalibrated times that suits the measurements best.
    pub one_ratio: f64,
    /// What was fitted.
    pub factors: Vec<Factor>,
    /// Covariance of the natural logarithms of `factors`, in their order.
    pub covariance: Vec<Vec<f64>>,
    /// How wrong predictions are, by metric.
    pub errors: Vec<MetricErrors>,
    /// Operating points, each left out once and predicted from the others; fewer than two: there is no hold-out.
    pub operating_points: usize,
    /// What the measurements saw.
    pub domain: Domain,
    /// Spread of the natural logarithm of a capacity that is predicted with it.
    pub s_disc: f64,
    /// The files that it was made from.
    pub sources: Vec<SourceFile>,
    /// What to know about it.
    pub notes: Vec<String>,
}

/// From which kind of data a calibration was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Level {
    /// The engine's log of iterations: what each held, and how long it took.
    A,
    /// Iterations put together from the times at which the client saw tokens.
    B,
    /// Quantiles of each trial.
    C,
}

/// How far a calibration is to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// It predicted operating points that it had not seen.
    Calibrated,
    /// It did not, or could not be asked to.
    Fitted,
}

impl Label {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Calibrated => "calibrated",
            Self::Fitted => "fitted",
        }
    }
}

/// What predictions are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// All fitted factors.
    Factors,
    /// One factor on all times: the others predicted no better where they were held out.
    OneRatio,
}

/// A fitted factor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Factor {
    /// Its name in the `efficiency` of a GPU.
    pub name: String,
    /// `us` for constants; else it multiplies the datasheet's time.
    pub unit: String,
    /// The fitted value.
    pub value: f64,
    /// Standard deviation of its natural logarithm.
    pub sd: f64,
    /// Its value before.
    pub prior: f64,
    /// Standard deviation of the natural logarithm before.
    pub prior_sd: f64,
    /// Whether the measurements say too little of it: it keeps its value.
    pub frozen: bool,
}

/// How wrong the predictions of a metric are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricErrors {
    /// The metric, for example `ttft_p95`.
    pub metric: String,
    /// With the GPU's factors of the catalog.
    pub uncalibrated: Option<ErrorSummary>,
    /// With one factor on all times, the point left out.
    pub one_ratio: Option<ErrorSummary>,
    /// With the fitted factors, on what they were fitted to.
    pub train: Option<ErrorSummary>,
    /// With the factors fitted to all other operating points.
    pub hold_out: Option<ErrorSummary>,
    /// How far off a prediction is to be expected.
    pub interval: Option<Interval>,
}

/// Errors of some predictions of one metric.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorSummary {
    /// Predictions.
    pub count: usize,
    /// Mean of |predicted - measured| / measured.
    pub mape: f64,
    /// exp(mean of ln(predicted / measured)) - 1: above 0 where predictions are too large.
    pub bias: f64,
    /// 95 % quantile of |ln(predicted / measured)|.
    pub p95_ln: f64,
}

/// A prediction times `exp(-ln_factor)` to `exp(ln_factor)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// What it is.
    pub kind: IntervalKind,
    /// Half its width, in natural logarithms.
    pub ln_factor: f64,
}

/// What an interval is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntervalKind {
    /// Holds 90 % by split conformal prediction.
    Conformal90,
    /// The largest error that was observed: fewer than nine held-out trials cannot promise 90 %.
    RangeOfObservedErrors,
}

/// A file that a calibration was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    /// Where it lay.
    pub path: PathBuf,
    /// BLAKE3 digest of its content.
    pub blake3: String,
}

impl Calibration {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or is not such a file.
    pub fn read(path: &Path) -> Result<Self, DeploymentError> {
        let text = files::text(path)?;
        let wrong = |line: Option<u64>, problem: String| DeploymentError::File {
            path: path.to_owned(),
            line,
            problem,
        };
        let read: Self = serde_json::from_str(&text).map_err(|e| {
            let problem = format!("{e}; `mst calibrate` writes such files");
            wrong(Some(e.line() as u64), problem)
        })?;
        if read.schema != SCHEMA {
            let problem = format!(
                "it has schema {}, this program reads {SCHEMA}; calibrate again",
                read.schema
            );
            return Err(wrong(None, problem));
        }
        let e = &read.efficiency;
        let factors = [e.weights, e.gemm, e.kv, e.attention, e.communication, read.scale];
        let constants = [e.layer_us, e.sequence_us, e.step_us];
        let sound = factors.iter().all(|f| *f > 0.0 && f.is_finite())
            && constants.iter().all(|c| *c >= 0.0 && c.is_finite());
        if !sound {
            let problem = "a factor is not above 0; calibrate again".to_owned();
            return Err(wrong(None, problem));
        }
        Ok(read)
    }

    /// The cost model of a deployment, and what to know of it: factors are carried over to another model, GPU or layout,
    /// and then it is only scaled.
    ///
    /// # Errors
    /// The layout is impossible.
    pub fn cost(
        &self,
        path: &Path,
        deployment: &Deployment,
        model: &ModelShape,
        gpu: &Gpu,
    ) -> Result<(Calibrated, CostOrigin), DeploymentError> {
        let layout = (deployment.tensor_parallel, deployment.pipeline_parallel);
        let mut notes = self.notes.clone();
        let mut label = self.label.name();
        for (what, measured, wanted) in [
            ("model", self.model.clone(), model.name.clone()),
            ("GPU", self.gpu.clone(), gpu.name.clone()),
            (
                "tensor_parallel",
                self.tensor_parallel.to_string(),
                layout.0.to_string(),
            ),
            (
                "pipeline_parallel",
                self.pipeline_parallel.to_string(),
                layout.1.to_string(),
            ),
        ] {
            if measured != wanted {
                label = "scaled";
                notes.push(format!(
                    "the calibration is of {what} {measured}; its factors are carried over to {wanted}"
                ));
            }
        }
        if deployment.batch_size_cap > self.domain.batch + self.domain.batch / 4 {
            notes.push(format!(
                "it saw batches of up to {}; batch_size_cap is {}: larger batches are extrapolations",
                self.domain.batch, deployment.batch_size_cap
            ));
        }
        let cost = Calibrated::new(model, gpu, layout, self.efficiency, self.scale, Some(self.domain))?;
        let origin = CostOrigin {
            label,
            files: vec![path.to_owned()],
            notes,
        };
        Ok((cost, origin))
    }
}
