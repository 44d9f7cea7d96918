//! Where iteration times come from, and with them every number that follows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::config::Config;
use crate::deployment::calibrated::{Calibration, Label};
use crate::deployment::{BuiltCluster, Deployment, DeploymentError};
use crate::sim::cost::fitted::FittedProfile;
use crate::sim::cost::roofline::Roofline;

/// Where a number comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Factors that were fitted to this server, and predicted what was held out.
    Calibrated,
    /// Iterations that were measured on this GPU in this layout, or factors that were fitted to it.
    Fitted,
    /// What was measured on another GPU, in another layout or of another model, times what the roofline makes of the difference.
    Scaled,
    /// Datasheet and shape of the model.
    Datasheet,
}

impl Origin {
    /// As reports name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Calibrated => "calibrated",
            Self::Fitted => "fitted",
            Self::Scaled => "scaled",
            Self::Datasheet => "datasheet",
        }
    }

    /// By what a deployment says of its cost model.
    pub fn of_label(label: &str) -> Self {
        match label {
            "calibrated" => Self::Calibrated,
            "profile" | "fitted" | "tables" => Self::Fitted,
            "scaled" => Self::Scaled,
            _ => Self::Datasheet,
        }
    }

    /// Standard deviation of the logarithm of true over simulated capacity, where no calibration measured it: a judgement.
    pub fn doubt(self) -> f64 {
        match self {
            Self::Calibrated => 0.1,
            Self::Fitted => 0.2,
            Self::Scaled => 0.3,
            Self::Datasheet => 0.4,
        }
    }
}

/// How far a simulation is to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Trust {
    /// Where its iteration times come from.
    pub origin: Origin,
    /// Standard deviation of the logarithm of true over simulated capacity.
    pub doubt: f64,
}

impl Trust {
    fn in_times(origin: Origin) -> Self {
        Self {
            origin,
            doubt: origin.doubt(),
        }
    }
}

/// What is known of iteration times.
#[derive(Clone, Debug)]
pub enum Times {
    /// The GPU's datasheet and the model's shape.
    Datasheet,
    /// Iterations that were measured on one GPU, named as in the catalog.
    Profile {
        /// The iterations.
        profile: Box<FittedProfile>,
        /// The GPU.
        gpu: String,
        /// Their file.
        file: PathBuf,
        /// Whether another model was measured than the one that is planned for.
        is_of_another: bool,
    },
    /// Factors of the roofline that were fitted to a server.
    Calibrated {
        /// The file, for messages.
        path: PathBuf,
        /// Its content.
        calibration: Box<Calibration>,
    },
}

impl Times {
    /// Gives a cluster its iteration times, by its model and GPU as they stand in it.
    ///
    /// # Errors
    /// When the layout is impossible.
    pub(super) fn apply(
        &self,
        built: &mut BuiltCluster,
        config: &Config,
        deployment: &Deployment,
    ) -> Result<Trust, DeploymentError> {
        let (tp, pp) = (config.tensor_parallel, config.pipeline_parallel);
        let roofline = || {
            Roofline::new(&built.model, &built.gpu, tp, pp)
                .map_err(|error| DeploymentError::value("tensor_parallel", error.to_string()))
        };
        match self {
            Self::Datasheet => {
                built.config.cost = Arc::new(roofline()?);
                Ok(Trust::in_times(Origin::Datasheet))
            }
            Self::Profile {
                profile,
                is_of_another,
                ..
            } => {
                built.config.cost = Arc::new(profile.moved_to(roofline()?));
                let is_there = self.is_profile_of(config) && !is_of_another;
                Ok(Trust::in_times(if is_there {
                    Origin::Fitted
                } else {
                    Origin::Scaled
                }))
            }
            Self::Calibrated { path, calibration } => {
                let (cost, origin) = calibration.cost(path, deployment, &built.model, &built.gpu)?;
                built.config.cost = Arc::new(cost);
                // Carried over to another GPU or layout it is worth what any measurement from elsewhere is.
                if origin.label == "scaled" {
                    return Ok(Trust::in_times(Origin::Scaled));
                }
                let origin = match calibration.label {
                    Label::Calibrated => Origin::Calibrated,
                    Label::Fitted => Origin::Fitted,
                };
                Ok(Trust {
                    origin,
                    doubt: calibration.s_disc,
                })
            }
        }
    }

    /// Whether a profile was measured on this GPU in this layout.
    pub(super) fn is_profile_of(&self, config: &Config) -> bool {
        matches!(self, Self::Profile { gpu, .. } if *gpu == config.gpu_type && config.num_gpus_per_replica == 1)
    }

    /// Of a calibration, read from a file or made from it.
    pub fn calibrated(path: &Path, calibration: Calibration) -> Self {
        Self::Calibrated {
            path: path.to_owned(),
            calibration: Box::new(calibration),
        }
    }

    /// Whether there is a calibration.
    pub fn are_calibrated(&self) -> bool {
        matches!(self, Self::Calibrated { .. })
    }
}
