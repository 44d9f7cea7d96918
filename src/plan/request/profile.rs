//! What a profiler wrote: `fitted_profile.json`, with `metadata.json` and `model_memory.json` beside it; or a model's
//! `config.json` from Hugging Face, of which the roofline makes a profile.

mod fitted;
mod memory;
mod metadata;

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::error::{RequestError, text};
use crate::deployment::CostSource;
use crate::sim::catalog::{Catalog, Gpu, ModelShape};

pub use fitted::{Fitted, ProfileEntry};
pub use memory::ModelMemory;
pub use metadata::{Hardware, Metadata};

/// A profile, and the model and GPU that it is of.
#[derive(Clone, Debug)]
pub struct ProfileFolder {
    /// The file that was named: a fitted profile or a `config.json`; `None` where a model of the catalog was.
    pub file: Option<PathBuf>,
    /// The model as the profile or the request calls it.
    pub model_name: String,
    /// Its shape.
    pub model: ModelShape,
    /// The GPU as the profile or the request calls it.
    pub gpu_name: Option<String>,
    /// What is known of it. Always there where there is a fitted profile.
    pub gpu: Option<Gpu>,
    /// The measured times; `None`: the roofline.
    pub fitted: Option<Fitted>,
    /// Whether these are another model's, as far as is known.
    pub is_of_another: bool,
    /// `metadata.json`, where it is there.
    pub metadata: Option<Metadata>,
    /// `model_memory.json`, where it is there and of this model.
    pub memory: Option<ModelMemory>,
    /// What was taken for what.
    pub notes: Vec<String>,
    /// What is doubtful.
    pub warnings: Vec<String>,
}

/// What a request says of model and GPU, beside a profile or in its place.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// The model.
    pub model: Option<&'a str>,
    /// The GPU, where only one is in question.
    pub gpu: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    /// Of a request.
    pub fn of(request: &'a super::PlanRequest) -> Self {
        let gpu = match request.config_space.gpu_types.as_slice() {
            [one] => Some(one.as_str()),
            _ => None,
        };
        Self {
            model: request.model.as_deref(),
            gpu,
        }
    }
}

impl ProfileFolder {
    /// Reads a profile: a fitted profile, a folder with one, its `metadata.json`, or a `config.json` of Hugging Face. What
    /// `metadata.json` does not say is taken from the request, and then from the names of the folders
    /// (`.../a100/llama-7b/fitted_profile.json`).
    ///
    /// # Errors
    /// When a file cannot be read or is none of these, or model or GPU are not known; with what to do.
    pub fn read(path: &Path, wanted: Wanted<'_>, catalog: &Catalog) -> Result<Self, RequestError> {
        let path = profile_file(path)?;
        let content = text(&path)?;
        let value: Value = serde_json::from_str(&content).map_err(|e| RequestError::json(&path, &e))?;
        match value {
            Value::Array(_) => Self::of_fitted(&path, &content, wanted, catalog),
            Value::Object(keys) if keys.contains_key("fitted_profile") => {
                let name = keys
                    .get("fitted_profile")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                let beside = path.with_file_name(Path::new(name).file_name().unwrap_or_default());
                let content = text(&beside)?;
                Self::of_fitted(&beside, &content, wanted, catalog)
            }
            Value::Object(_) => Self::of_config(&path, wanted, catalog),
            _ => {
                let problem = "it is neither a list of measured times nor a model's config.json; name a fitted_profile.json";
                Err(RequestError::new(&path, None, problem))
            }
        }
    }

    /// A model without a profile: by its name in the catalog, or the path of its `config.json`, from `request` or as it is.
    ///
    /// # Errors
    /// When it is not known, or the file is no such file.
    pub fn of_model(
        name: &str,
        request: &Path,
        wanted: Wanted<'_>,
        catalog: &Catalog,
    ) -> Result<Self, RequestError> {
        let mut notes = Vec::new();
        let (file, model) = model(name, request, catalog, &mut notes)?;
        let (gpu_name, gpu) = match wanted.gpu {
            Some(gpu) => (
                Some(gpu.to_owned()),
                Some(self::gpu(gpu, request, catalog, &mut notes)?),
            ),
            None => (None, None),
        };
        Ok(Self {
            file,
            model_name: name.to_owned(),
            model,
            gpu_name,
            gpu,
            fitted: None,
            is_of_another: false,
            metadata: None,
            memory: None,
            notes,
            warnings: Vec::new(),
        })
    }

    /// Where the times of its iterations come from, on the GPU that it is of.
    pub fn cost(&self) -> CostSource {
        match &self.fitted {
            Some(fitted) => CostSource::Fitted(fitted.file.clone()),
            None => CostSource::Roofline,
        }
    }

    /// What is doubtful, with what is doubtful for batches of up to `batch` sequences.
    ///
    /// # Errors
    /// None for a profile that was read, unless its file changed since.
    pub fn warnings_at(&self, batch: u32) -> Result<Vec<String>, RequestError> {
        let mut all = self.warnings.clone();
        if let (Some(fitted), Some(gpu)) = (&self.fitted, &self.gpu) {
            all.extend(fitted.open(&self.model, gpu)?.warnings(batch));
            all.extend(fitted.beyond_peak(&self.model, gpu));
        }
        Ok(all)
    }

    /// Bytes that the profiler found beside weights and KV cache; zero where it says nothing, or of another model.
    pub fn reserved_bytes(&self) -> f64 {
        self.memory.as_ref().map_or(0.0, ModelMemory::reserved_bytes)
    }

    fn of_config(path: &Path, wanted: Wanted<'_>, catalog: &Catalog) -> Result<Self, RequestError> {
        let mut profile = Self::of_model(&path.to_string_lossy(), path, wanted, catalog)?;
        profile.model_name.clone_from(&profile.model.name);
        profile.notes.push(format!(
            "{} is a model, not a profile: times are those of the roofline",
            path.display()
        ));
        Ok(profile)
    }

    fn of_fitted(
        path: &Path,
        json: &str,
        wanted: Wanted<'_>,
        catalog: &Catalog,
    ) -> Result<Self, RequestError> {
        let (mut notes, mut warnings) = (Vec::new(), Vec::new());
        let metadata = Metadata::beside(path, &mut notes)?;
        match &metadata {
            None => warnings.push(format!(
                "{}: there is no metadata.json beside it, which says model and GPU",
                path.display()
            )),
            Some(metadata) => warnings.extend(metadata.doubts(path)),
        }
        let (by_folder_gpu, by_folder_model) = folders(path, catalog);
        let said = metadata.as_ref();
        let model_name = wanted
            .model
            .or(said.map(|m| m.model_name.as_str()))
            .or(by_folder_model.as_deref());
        let gpu_name = said
            .and_then(Metadata::gpu)
            .or(wanted.gpu)
            .or(by_folder_gpu.as_deref());
        let lacks = |what: &str, remedy: &str| {
            let problem = format!("of which {what} it is, is not known; {remedy}");
            RequestError::new(path, None, problem)
        };
        let model_name = model_name.ok_or_else(|| {
            lacks(
                "model",
                "write a metadata.json with model_name beside it, or model: in the request",
            )
        })?;
        let gpu_name = gpu_name.ok_or_else(|| {
            lacks(
                "GPU",
                "write a metadata.json with hardware: {gpu: ...} beside it, or one GPU in gpu_types",
            )
        })?;
        if said.is_none() {
            notes.push(format!(
                "the profile is taken to be of {model_name} on {gpu_name}"
            ));
        }
        let (_, mut model) = model(model_name, path, catalog, &mut notes)?;
        let measured = said.map(|m| m.model_name.as_str()).or(by_folder_model.as_deref());
        let other = measured.filter(|name| catalog.model(name).is_ok_and(|m| m.name != model.name));
        if let (Some(asked), Some(other)) = (wanted.model, other) {
            warnings.push(format!(
                "the profile is of {other}, the request asks for {asked}: its times are not those of that model, and count as \
                 scaled"
            ));
        }
        let is_of_another = other.is_some();
        let gpu = self::gpu(gpu_name, path, catalog, &mut notes)?;
        let memory = ModelMemory::beside(path, &mut notes)?;
        let memory = match memory {
            None => {
                notes.push(
                    "there is no model_memory.json: memory is counted from the model's shape".to_owned(),
                );
                None
            }
            Some(memory) => memory.judged(&mut model, catalog, &mut notes, &mut warnings),
        };
        let fitted = Fitted::parse(json, path, &mut notes)?;
        fitted.open(&model, &gpu)?;
        Ok(Self {
            file: Some(path.to_owned()),
            model_name: model_name.to_owned(),
            model,
            gpu_name: Some(gpu_name.to_owned()),
            gpu: Some(gpu),
            fitted: Some(fitted),
            is_of_another,
            metadata,
            memory,
            notes,
            warnings,
        })
    }
}

/// The file that a path stands for: a folder's fitted profile, or its `config.json`.
fn profile_file(path: &Path) -> Result<PathBuf, RequestError> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let found = ["fitted_profile.json", "metadata.json", "config.json"].map(|name| path.join(name));
    found.into_iter().find(|file| file.is_file()).ok_or_else(|| {
        let problem = "the folder has no fitted_profile.json and no config.json; name the file itself";
        RequestError::new(path, None, problem)
    })
}

/// GPU and model by the names of the folders, where the catalog knows them.
fn folders(path: &Path, catalog: &Catalog) -> (Option<String>, Option<String>) {
    let name = |up: usize| {
        path.ancestors()
            .nth(up)
            .and_then(Path::file_name)
            .map(|n| n.to_string_lossy().into_owned())
    };
    let gpu = name(2).filter(|name| catalog.gpu(name).is_ok());
    let model = name(1).filter(|name| catalog.model(name).is_ok());
    (gpu, model)
}

/// A model by its name, or from its `config.json`.
fn model(
    name: &str,
    from: &Path,
    catalog: &Catalog,
    notes: &mut Vec<String>,
) -> Result<(Option<PathBuf>, ModelShape), RequestError> {
    if Path::new(name).extension().is_some_and(|e| e == "json") {
        let beside = from.parent().unwrap_or(Path::new("")).join(name);
        let file = if beside.is_file() {
            beside
        } else {
            PathBuf::from(name)
        };
        let folder = file.parent().and_then(Path::file_name);
        let shown = folder.map_or_else(|| name.to_owned(), |folder| folder.to_string_lossy().into_owned());
        let read = ModelShape::from_hf_config(&shown, &text(&file)?);
        let shape = read.map_err(|error| RequestError::new(&file, None, error.to_string()))?;
        return Ok((Some(file), shape));
    }
    let found = catalog.model(name);
    let shape = found.map_err(|error| {
        let problem = format!("{error}, or name its config.json by model: in the request");
        RequestError::new(from, None, problem)
    })?;
    if !shape.name.eq_ignore_ascii_case(name) {
        notes.push(format!("{name} is taken to be {}", shape.name));
    }
    Ok((None, shape.clone()))
}

/// A GPU by its name.
fn gpu(name: &str, from: &Path, catalog: &Catalog, notes: &mut Vec<String>) -> Result<Gpu, RequestError> {
    let found = catalog.gpu(name);
    let gpu = found.map_err(|error| RequestError::new(from, None, error.to_string()))?;
    if !gpu.name.eq_ignore_ascii_case(name) {
        notes.push(format!("{name} is taken to be {}", gpu.name));
    }
    Ok(gpu.clone())
}

/// A file beside the profile, where it is there.
fn beside<T: serde::de::DeserializeOwned>(profile: &Path, name: &str) -> Result<Option<T>, RequestError> {
    let path = profile.with_file_name(name);
    if !path.exists() {
        return Ok(None);
    }
    let read = serde_json::from_str(&text(&path)?);
    read.map(Some).map_err(|error| RequestError::json(&path, &error))
}

/// Notes the keys of a file that mean nothing here.
fn unused<'a>(file: &str, keys: impl Iterator<Item = &'a String>, notes: &mut Vec<String>) {
    let keys: std::collections::BTreeSet<&str> = keys.map(String::as_str).collect();
    if !keys.is_empty() {
        let keys: Vec<&str> = keys.into_iter().collect();
        notes.push(format!("{file}: not used: {}", keys.join(", ")));
    }
}
