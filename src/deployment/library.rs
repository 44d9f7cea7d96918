//! What is known here: models, GPUs, profiles, and the cost models made from them.

use std::path::PathBuf;
use std::sync::Arc;

use super::{CostOrigin, Deployment, DeploymentError};
use crate::sim::cost::CostModel;

/// Where to look for what a library holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Catalog files with models, beside the built-in ones; later ones win.
    pub models: Vec<PathBuf>,
    /// Catalog files with GPUs.
    pub gpus: Vec<PathBuf>,
    /// Folders of profiles in Vidur's layout; earlier ones win.
    pub profiles: Vec<PathBuf>,
    /// Where built tables are kept between runs.
    pub cache: Option<PathBuf>,
}

/// Models, GPUs and profiles, and the cost models made from them, each made once. It may be shared between threads.
#[derive(Debug)]
pub struct Library {
    #[expect(dead_code, reason = "the profiles are not read yet")]
    places: Places,
}

impl Library {
    /// Reads the catalogs; profiles are read when they are needed.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub fn open(places: Places) -> Result<Self, DeploymentError> {
        Ok(Self { places })
    }

    /// The cost model of a deployment, and where it comes from.
    ///
    /// # Errors
    /// As [`Deployment::cluster`].
    pub fn cost(&self, deployment: &Deployment) -> Result<(Arc<dyn CostModel>, CostOrigin), DeploymentError> {
        Err(DeploymentError::NoProfile {
            problem: format!("no cost model for {} on {}", deployment.model, deployment.device),
        })
    }

    /// KV blocks that the weights of a deployment leave room for, on each replica.
    ///
    /// # Errors
    /// As [`Deployment::cluster`].
    pub fn blocks(&self, deployment: &Deployment) -> Result<u32, DeploymentError> {
        Err(DeploymentError::value(
            "num_blocks",
            format!("not known for {}", deployment.model),
        ))
    }
}
