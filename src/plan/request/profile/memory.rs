//! `model_memory.json`: what a model takes, as its profiler found.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::error::RequestError;
use crate::sim::catalog::{Catalog, ModelShape};

const NAME: &str = "model_memory.json";
/// By how much, as a share, a number may differ from the model's shape.
const TOLERANCE: f64 = 0.2;

/// What a model takes. The older guide has other keys than its profiler wrote; both are read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelMemory {
    /// The model.
    pub model_name: Option<String>,
    /// Parameters.
    pub model_params: Option<f64>,
    /// Parameters.
    pub num_parameters: Option<f64>,
    /// MiB of activations.
    pub activation_memory_mb: Option<f64>,
    /// Bytes of one token's keys and values.
    pub kv_cache_per_token_bytes: Option<f64>,
    /// Weights and activations, in GB.
    pub total_model_memory_gb: Option<f64>,
    /// Bytes of the weights.
    pub param_bytes: Option<f64>,
    /// Bytes of buffers beside the weights.
    pub buffer_bytes: Option<f64>,
    /// Bytes of both.
    pub total_bytes: Option<f64>,
    /// The same in GiB.
    pub model_size_gb: Option<f64>,
    /// Type of a weight.
    pub dtype: Option<String>,
    /// Keys that mean nothing here.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

impl ModelMemory {
    /// The one beside a profile.
    pub(super) fn beside(profile: &Path, notes: &mut Vec<String>) -> Result<Option<Self>, RequestError> {
        let read: Option<Self> = super::beside(profile, NAME)?;
        let Some(memory) = read else { return Ok(None) };
        super::unused(NAME, memory.other.keys(), notes);
        for (key, value) in memory.numbers() {
            if let Some(value) = value.filter(|v| !(*v >= 0.0 && v.is_finite())) {
                let problem = format!("{key} is {value}; write 0 or more, or leave it out");
                return Err(RequestError::new(&profile.with_file_name(NAME), None, problem));
            }
        }
        Ok(Some(memory))
    }

    fn numbers(&self) -> [(&'static str, Option<f64>); 9] {
        [
            ("model_params", self.model_params),
            ("num_parameters", self.num_parameters),
            ("activation_memory_mb", self.activation_memory_mb),
            ("kv_cache_per_token_bytes", self.kv_cache_per_token_bytes),
            ("total_model_memory_gb", self.total_model_memory_gb),
            ("param_bytes", self.param_bytes),
            ("buffer_bytes", self.buffer_bytes),
            ("total_bytes", self.total_bytes),
            ("model_size_gb", self.model_size_gb),
        ]
    }

    /// Parameters, from what is given.
    pub fn parameters(&self) -> Option<f64> {
        let by_bytes = || Some(self.param_bytes? / f64::from(self.weight_bytes()?));
        self.num_parameters.or(self.model_params).or_else(by_bytes)
    }

    /// Bytes of a weight, by `dtype`.
    pub fn weight_bytes(&self) -> Option<u32> {
        let name = self.dtype.as_deref()?.to_lowercase();
        match name.strip_prefix("torch.").unwrap_or(&name) {
            "float32" | "fp32" | "float" => Some(4),
            "float16" | "fp16" | "half" | "bfloat16" | "bf16" => Some(2),
            "float8_e4m3fn" | "float8" | "fp8" | "int8" => Some(1),
            _ => None,
        }
    }

    /// Bytes beside weights and KV cache: activations and buffers.
    pub fn reserved_bytes(&self) -> f64 {
        let mib = f64::from(1 << 20);
        self.activation_memory_mb.unwrap_or(0.0) * mib + self.buffer_bytes.unwrap_or(0.0)
    }

    /// Whether it is of this model: if so its `dtype` counts; if not it is left aside, and the warning says why.
    pub(super) fn judged(
        self,
        model: &mut ModelShape,
        catalog: &Catalog,
        notes: &mut Vec<String>,
        warnings: &mut Vec<String>,
    ) -> Option<Self> {
        if let Some(why) = self.other_model(model, catalog) {
            warnings.push(format!("{NAME} is of another model and is left aside: {why}"));
            return None;
        }
        let kv = model.kv_bytes_per_token();
        if let Some(said) = self.kv_cache_per_token_bytes.filter(|said| far(*said, kv as f64)) {
            let (layers, heads, dim, bytes) = (model.layers, model.kv_heads, model.head_dim, model.kv_bytes);
            warnings.push(format!(
                "{NAME}: kv_cache_per_token_bytes is {said}, the shape of {} gives {kv} (2 x {layers} layers x {heads} KV heads x \
                 {dim} elements x {bytes} bytes): the shape's is used",
                model.name
            ));
        }
        match self.weight_bytes() {
            Some(bytes) if bytes != model.weight_bytes => {
                notes.push(format!(
                    "{NAME}: weights are {}: {bytes} bytes each, not {}",
                    self.dtype.as_deref().unwrap_or_default(),
                    model.weight_bytes
                ));
                model.weight_bytes = bytes;
            }
            None if self.dtype.is_some() => warnings.push(format!(
                "{NAME}: dtype `{}` is not known; weights are taken to have {} bytes",
                self.dtype.as_deref().unwrap_or_default(),
                model.weight_bytes
            )),
            _ => {}
        }
        let weights = model.parameters() as f64 * f64::from(model.weight_bytes);
        for (key, bytes) in [
            (
                "total_model_memory_gb",
                self.total_model_memory_gb.map(|gb| gb * 1e9),
            ),
            ("total_bytes", self.total_bytes),
            (
                "model_size_gb",
                self.model_size_gb.map(|gib| gib * f64::from(1 << 30)),
            ),
            ("param_bytes", self.param_bytes),
        ] {
            if let Some(bytes) = bytes.filter(|bytes| *bytes < (1.0 - TOLERANCE) * weights) {
                warnings.push(format!(
                    "{NAME}: {key} is {:.1} GB, less than the weights of {}, {:.1} GB",
                    bytes / 1e9,
                    model.name,
                    weights / 1e9
                ));
            }
        }
        Some(self)
    }

    fn other_model(&self, model: &ModelShape, catalog: &Catalog) -> Option<String> {
        let own = model.parameters();
        if let Some(said) = self.parameters().filter(|said| far(*said, own as f64)) {
            return Some(format!("it has {said:.0} parameters, {} has {own}", model.name));
        }
        let name = self.model_name.as_deref()?;
        let same = catalog
            .model(name)
            .map_or(name == model.name, |m| m.name == model.name);
        (!same).then(|| format!("it says {name}, the profile is of {}", model.name))
    }
}

fn far(said: f64, known: f64) -> bool {
    (said / known - 1.0).abs() > TOLERANCE
}
