//! `metadata.json`: what a profile is of.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, NaiveDate};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::error::RequestError;

const NAME: &str = "metadata.json";

/// What a profile is of, as its profiler says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// The model.
    pub model_name: String,
    /// The file of the measured times.
    pub fitted_profile: Option<String>,
    /// The machine.
    pub hardware: Option<Hardware>,
    /// When it was measured.
    pub profiling_date: Option<String>,
    /// Where the profiler's own record lies.
    pub raw_trace_location: Option<String>,
    /// Its hash.
    pub raw_trace_sha256: Option<String>,
    /// What people should know.
    pub notes: Option<String>,
    /// Keys that mean nothing here.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// The machine of a profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hardware {
    /// The GPU.
    pub gpu: Option<String>,
    /// Keys that mean nothing here.
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

impl Metadata {
    /// The one beside a profile.
    pub(super) fn beside(profile: &Path, notes: &mut Vec<String>) -> Result<Option<Self>, RequestError> {
        let read: Option<Self> = super::beside(profile, NAME)?;
        if let Some(metadata) = &read {
            let hardware = metadata.hardware.iter().flat_map(|h| h.other.keys());
            super::unused(NAME, metadata.other.keys().chain(hardware), notes);
            notes.extend(
                metadata
                    .profiling_date
                    .iter()
                    .map(|date| format!("profiled {date}")),
            );
            notes.extend(metadata.notes.iter().map(|text| format!("{NAME} says: {text}")));
        }
        Ok(read)
    }

    /// The GPU.
    pub fn gpu(&self) -> Option<&str> {
        self.hardware.as_ref()?.gpu.as_deref()
    }

    /// What speaks against its being of this profile.
    pub(super) fn doubts(&self, profile: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let own = profile
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let named = self
            .fitted_profile
            .as_deref()
            .and_then(|path| Path::new(path).file_name());
        if let Some(named) = named.filter(|named| named.to_string_lossy() != own) {
            found.push(format!("{NAME} is of {}, not of {own}", named.display()));
        }
        if self.gpu().is_none() {
            found.push(format!("{NAME} does not say hardware.gpu"));
        }
        let date = self.profiling_date.as_deref();
        let no_date =
            |date: &&str| DateTime::parse_from_rfc3339(date).is_err() && date.parse::<NaiveDate>().is_err();
        if let Some(date) = date.filter(no_date) {
            found.push(format!(
                "{NAME}: profiling_date `{date}` is no date as 2025-11-04T21:06:41Z"
            ));
        }
        found
    }
}
