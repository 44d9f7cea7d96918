//! `fitted_profile.json`: the measured times, and what is only in the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::super::error::RequestError;
use crate::deployment::open;
use crate::sim::catalog::{Gpu, ModelShape};
use crate::sim::cost::Input;
use crate::sim::cost::fitted::FittedProfile;
use crate::sim::cost::mfu::mfu;
use crate::sim::cost::roofline::Roofline;
use crate::stats::quantile::quantile_of;

/// Measured times.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// The file.
    pub file: PathBuf,
    /// Its entries.
    pub entries: Vec<ProfileEntry>,
}

/// A measured kind of iteration.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ProfileEntry {
    /// `prefill` or `decode`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Prefill: prompt length in tokens.
    pub seq_len: Option<u32>,
    /// Decode: tokens in the cache of each sequence.
    pub kv_cache: Option<u32>,
    /// Decode: tokens that each sequence gets.
    pub new_tokens: Option<u32>,
    /// Sequences.
    pub batch_size: u32,
    /// Mean time in milliseconds.
    pub mean_ms: Option<f64>,
    /// Median time in milliseconds.
    pub median_ms: Option<f64>,
    /// Its standard deviation in milliseconds.
    pub std_ms: Option<f64>,
    /// Keys that mean nothing here.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

impl Fitted {
    pub(super) fn parse(json: &str, path: &Path, notes: &mut Vec<String>) -> Result<Self, RequestError> {
        let entries: Vec<ProfileEntry> =
            serde_json::from_str(json).map_err(|error| RequestError::json(path, &error))?;
        for (index, entry) in entries.iter().enumerate() {
            if let Some(std) = entry.std_ms.filter(|std| !(*std >= 0.0 && std.is_finite())) {
                let problem = format!(
                    "entry {}: std_ms is {std}; write 0 or more, or leave it out",
                    index + 1
                );
                return Err(RequestError::new(path, None, problem));
            }
        }
        super::unused(
            "fitted_profile.json",
            entries.iter().flat_map(|entry| entry.other.keys()),
            notes,
        );
        Ok(Self {
            file: path.to_owned(),
            entries,
        })
    }

    /// As the simulator reads it, measured on one GPU.
    ///
    /// # Errors
    /// When an entry is wrong or a kind is missing.
    pub fn open(&self, model: &ModelShape, gpu: &Gpu) -> Result<FittedProfile, RequestError> {
        let wrong = |problem: String| {
            let name = format!("{}: ", self.file.display());
            RequestError::new(&self.file, None, problem.strip_prefix(&name).unwrap_or(&problem))
        };
        let roofline = Roofline::new(model, gpu, 1, 1).map_err(|e| wrong(e.to_string()))?;
        let mut reader = open(&self.file).map_err(|e| wrong(e.to_string()))?;
        let name = self.file.display().to_string();
        FittedProfile::read(Input::new(&name, &mut reader), roofline).map_err(|e| wrong(e.to_string()))
    }

    /// Coefficient of variation of an iteration's time: the median of `std_ms` over `mean_ms`. Zero where none is given.
    pub fn noise(&self) -> f64 {
        let ratio = |entry: &ProfileEntry| Some(entry.std_ms? / entry.mean_ms.or(entry.median_ms)?);
        let all: Vec<f64> = self.entries.iter().filter_map(ratio).collect();
        quantile_of(&all, 0.5).unwrap_or(0.0)
    }

    /// The prefill that is furthest beyond what the datasheet says the GPU can reckon, where any is.
    pub fn beyond_peak(&self, model: &ModelShape, gpu: &Gpu) -> Option<String> {
        let share = |entry: &ProfileEntry| {
            let (batch, length) = (u64::from(entry.batch_size), u64::from(entry.seq_len?));
            let (tokens, pairs) = (batch * length, batch * length * (length + 1) / 2);
            let ms = entry.median_ms.or(entry.mean_ms)?;
            Some((ms, mfu(model, gpu, 1, tokens, pairs, ms / 1e3)))
        };
        let prefills = self.entries.iter().filter(|entry| entry.kind == "prefill");
        let (entry, (ms, share)) = prefills
            .filter_map(|entry| Some((entry, share(entry)?)))
            .max_by(|(_, a), (_, b)| a.1.total_cmp(&b.1))
            .filter(|(_, (_, share))| *share > 1.0)?;
        let peak = gpu.flops(model.weight_bytes) / 1e12;
        Some(format!(
            "the profile is faster than its GPU: prefill of {} x {} tokens in {} ms is {:.0} TFLOP/s, the datasheet of {} says \
             {peak:.0}; is it of this model, on one GPU? MFU above 100 % follows from it",
            entry.batch_size,
            entry.seq_len.unwrap_or(0),
            ms,
            share * peak,
            gpu.name
        ))
    }

    /// The largest measured batch of decodes.
    pub fn largest_decode_batch(&self) -> u32 {
        let decodes = self.entries.iter().filter(|entry| entry.kind == "decode");
        decodes.map(|entry| entry.batch_size).max().unwrap_or(0)
    }
}
