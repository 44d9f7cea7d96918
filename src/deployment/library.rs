//! What is known here: models, GPUs, profiles, and the cost models made from them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::calibrated::Calibration;
use super::profiles::{Found, Wanted};
use super::{CostOrigin, CostSource, Deployment, DeploymentError, Semantics, files, profiles, vidur_case};
use crate::sim::catalog::{Catalog, Gpu, ModelShape};
use crate::sim::cost::fitted::FittedProfile;
use crate::sim::cost::memory::{MemoryFit, fit};
use crate::sim::cost::roofline::Roofline;
use crate::sim::cost::tables::ProfileSpec;
use crate::sim::cost::{CostModel, Input};

/// Where to look for what a library holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Catalog files beside the built-in ones, later ones win: `models:` and `gpus:` in YAML, or a Hugging Face
    /// `config.json`, whose model is named after its folder. A folder stands for all `.yml` files in it.
    pub catalog: Vec<PathBuf>,
    /// Folders of profiles in Vidur's layout; earlier ones win.
    pub profiles: Vec<PathBuf>,
}

/// Models, GPUs and profiles, and the cost models made from them, each made once. It may be shared between threads.
#[derive(Debug)]
pub struct Library {
    catalog: Catalog,
    profiles: Vec<PathBuf>,
    costs: Mutex<HashMap<Key, Cost>>,
}

/// A cost model and where it comes from.
type Cost = (Arc<dyn CostModel>, CostOrigin);

/// What a cost model depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    model: String,
    gpu: String,
    network: Option<String>,
    tp: u32,
    pp: u32,
    block_tokens: u32,
    source: CostSource,
    semantics: Semantics,
}

impl Library {
    /// Reads the catalogs; profiles are read when they are needed.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub fn open(places: Places) -> Result<Self, DeploymentError> {
        let mut catalog = Catalog::built_in()?;
        for place in &places.catalog {
            for file in catalog_files(place)? {
                add(&mut catalog, &file)?;
            }
        }
        for folder in &places.profiles {
            if !folder.is_dir() {
                return Err(DeploymentError::NoProfile {
                    problem: format!(
                        "{}: there is no such folder; profiles lie in compute/ and network/ below it",
                        folder.display()
                    ),
                });
            }
        }
        Ok(Self::new(catalog, places.profiles))
    }

    /// Of a catalog and folders of profiles.
    pub fn new(catalog: Catalog, profiles: Vec<PathBuf>) -> Self {
        Self {
            catalog,
            profiles,
            costs: Mutex::default(),
        }
    }

    /// The models and GPUs.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The model of a deployment.
    ///
    /// # Errors
    /// When it is not known.
    pub fn model(&self, deployment: &Deployment) -> Result<&ModelShape, DeploymentError> {
        Ok(self.catalog.model(&deployment.model)?)
    }

    /// The GPU of a deployment.
    ///
    /// # Errors
    /// When it is not known.
    pub fn gpu(&self, deployment: &Deployment) -> Result<&Gpu, DeploymentError> {
        Ok(self.catalog.gpu(&deployment.device)?)
    }

    /// The memory of a GPU of a deployment: what weights and the engine take, and the KV blocks of a replica that fit
    /// beside them.
    ///
    /// # Errors
    /// When a name is not known, the layout is impossible, or nothing is left for the KV cache.
    pub fn memory(&self, deployment: &Deployment) -> Result<MemoryFit, DeploymentError> {
        Ok(fit(
            self.model(deployment)?,
            self.gpu(deployment)?,
            deployment.tensor_parallel,
            deployment.pipeline_parallel,
            deployment.block_tokens,
            deployment.memory_rule(),
        )?)
    }

    /// The cost model of a deployment, and where it comes from.
    ///
    /// # Errors
    /// When a name is not known, or a profile is missing or cannot be used.
    pub fn cost(&self, deployment: &Deployment) -> Result<Cost, DeploymentError> {
        let (model, gpu) = (self.model(deployment)?, self.gpu(deployment)?);
        let key = Key {
            model: model.name.clone(),
            gpu: gpu.name.clone(),
            network: deployment.network_device.clone(),
            tp: deployment.tensor_parallel,
            pp: deployment.pipeline_parallel,
            block_tokens: deployment.block_tokens,
            source: deployment.cost.clone(),
            semantics: deployment.semantics,
        };
        // Held while it is made: others that want the same wait for it.
        let mut costs = self.costs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cost) = costs.get(&key) {
            return Ok(cost.clone());
        }
        let cost = self.make(deployment, model, gpu)?;
        costs.insert(key, cost.clone());
        Ok(cost)
    }

    fn make(&self, deployment: &Deployment, model: &ModelShape, gpu: &Gpu) -> Result<Cost, DeploymentError> {
        let (tp, pp) = (deployment.tensor_parallel, deployment.pipeline_parallel);
        let roofline = || Roofline::new(model, gpu, tp, pp);
        let origin = |label, files, notes| CostOrigin { label, files, notes };
        let wanted = Wanted {
            catalog: &self.catalog,
            model,
            gpu,
            device: &deployment.device,
            network: deployment.network_device.as_deref(),
            communicates: [tp > 1, pp > 1],
        };
        let spec = ProfileSpec {
            model,
            gpu,
            tp,
            pp,
            block_tokens: deployment.block_tokens,
            multi_node: tp * pp > gpu.per_node,
            rounding: deployment.semantics.rounding(),
        };
        match &deployment.cost {
            CostSource::Roofline => Ok((Arc::new(roofline()?), origin("roofline", vec![], vec![]))),
            CostSource::Fitted(path) => {
                let name = path.display().to_string();
                let mut reader = files::open(path)?;
                let fitted = FittedProfile::read(Input::new(&name, &mut reader), roofline()?)?;
                let notes = fitted.warnings(deployment.batch_size_cap);
                Ok((Arc::new(fitted), origin("fitted", vec![path.clone()], notes)))
            }
            CostSource::Calibrated(path) => {
                let (cost, origin) = Calibration::read(path)?.cost(path, deployment, model, gpu)?;
                Ok((Arc::new(cost), origin))
            }
            CostSource::Tables(path) => {
                let tables = vidur_case::read_tables(path, deployment.semantics.vidur_version())?;
                Ok((tables, origin("tables", vec![path.clone()], vec![])))
            }
            CostSource::Profiles => match profiles::find(&self.profiles, &wanted) {
                Found::Files(found) => profiles::read(&spec, &found),
                Found::Missing(problem) => Err(DeploymentError::NoProfile {
                    problem: format!("cost: profiles are asked for, but {problem}"),
                }),
            },
            CostSource::Auto => match profiles::find(&self.profiles, &wanted) {
                Found::Files(found) => profiles::read(&spec, &found),
                Found::Missing(problem) => {
                    let why = format!("the roofline is used: {problem}");
                    Ok((Arc::new(roofline()?), origin("roofline", vec![], vec![why])))
                }
            },
        }
    }
}

/// The files that a place in the catalog stands for.
fn catalog_files(place: &Path) -> Result<Vec<PathBuf>, DeploymentError> {
    if !place.is_dir() {
        return Ok(vec![place.to_owned()]);
    }
    let unreadable = |error: std::io::Error| DeploymentError::File {
        path: place.to_owned(),
        line: None,
        problem: format!("the folder cannot be read: {error}"),
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(place).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|e| e == "yml" || e == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn add(catalog: &mut Catalog, file: &Path) -> Result<(), DeploymentError> {
    let (shown, text) = (file.display().to_string(), files::text(file)?);
    if file.extension().is_some_and(|e| e == "json") {
        let folder = file.parent().and_then(Path::file_name);
        let name = folder.map_or(shown, |name| name.to_string_lossy().into_owned());
        return Ok(catalog.add_model(ModelShape::from_hf_config(&name, &text)?)?);
    }
    Ok(catalog.add(&shown, &text)?)
}
