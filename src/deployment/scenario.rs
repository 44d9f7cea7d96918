//! One simulation as a YAML file describes it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Deployment, DeploymentError, Places, Workload, files, yaml};
use crate::sim::Time;

/// A cluster, its load, and how long to look at it: the file of `mst simulate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The cluster.
    pub deployment: Deployment,
    /// The requests.
    pub workload: Workload,
    /// Seeds the workload, the router's ties and the noise. Default 0.
    #[serde(default)]
    pub seed: u64,
    /// Virtual seconds after which the run is broken off. Default: never.
    #[serde(default)]
    pub time_limit: Option<f64>,
    /// Catalog files, or folders of them, beside the built-in ones.
    #[serde(default)]
    pub catalog: Vec<PathBuf>,
    /// Folders of profiles in Vidur's layout.
    #[serde(default)]
    pub profiles: Vec<PathBuf>,
}

/// A scenario and the text that it was read from.
#[derive(Clone, Debug)]
pub struct ScenarioFile {
    /// What it says.
    pub scenario: Scenario,
    path: PathBuf,
    text: String,
}

/// A file to begin with.
pub const EXAMPLE: &str = include_str!("../../examples/simulate.yml");

impl ScenarioFile {
    /// Reads a file. Paths in it are looked for beside it, and then as they are.
    ///
    /// # Errors
    /// When it cannot be read, is not YAML, has unknown keys or wrong values.
    pub fn read(path: &Path) -> Result<Self, DeploymentError> {
        let text = files::text(path)?;
        let scenario: Scenario = yaml::parse(path, &text)?;
        let mut file = Self {
            scenario,
            path: path.to_owned(),
            text,
        };
        if let Some(limit) = file.scenario.time_limit.filter(|l| !(l.is_finite() && *l > 0.0)) {
            let problem =
                format!("{limit} does not do; write virtual seconds above zero, or leave the key out");
            return Err(file.at(DeploymentError::value("time_limit", problem)));
        }
        let base = file.base();
        let beside = |path: &mut PathBuf| {
            let joined = base.join(&path);
            if joined.exists() {
                *path = joined;
            }
        };
        file.scenario.catalog.iter_mut().for_each(beside);
        file.scenario.profiles.iter_mut().for_each(beside);
        file.scenario.deployment.cost.locate(&base);
        Ok(file)
    }

    /// The folder that it lies in.
    pub fn base(&self) -> PathBuf {
        self.path.parent().map_or_else(PathBuf::new, Path::to_owned)
    }

    /// An error of one of its keys, with the key's line.
    pub fn at(&self, error: DeploymentError) -> DeploymentError {
        let key = match &error {
            DeploymentError::Value { key, .. } => *key,
            DeploymentError::Catalog(crate::sim::catalog::CatalogError::Unknown {
                kind: "model", ..
            }) => "model",
            DeploymentError::Catalog(crate::sim::catalog::CatalogError::Unknown { .. }) => "device",
            DeploymentError::DoesNotFit(_) | DeploymentError::Engine(_) => "deployment",
            DeploymentError::NoProfile { .. } => "cost",
            DeploymentError::Source(_) => "workload",
            _ => return error,
        };
        DeploymentError::File {
            path: self.path.clone(),
            // A key that is missing is missing in one of the two parts.
            line: yaml::line_of(&self.text, key).or_else(|| yaml::line_of(&self.text, "workload")),
            problem: error.to_string(),
        }
    }

    /// Where its library looks: its own places first.
    pub fn places(&self, beside: Places) -> Places {
        let mut places = Places {
            // Later files win in a catalog.
            catalog: beside.catalog,
            profiles: self.scenario.profiles.clone(),
        };
        places.catalog.extend(self.scenario.catalog.iter().cloned());
        places.profiles.extend(beside.profiles);
        places
    }

    /// The end of the run.
    pub fn limit(&self) -> Time {
        self.scenario.time_limit.map_or(Time::MAX, Time::from_seconds)
    }
}
