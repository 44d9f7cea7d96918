//! What a server recorded of its batches, in the older planner's format: iterations with their requests and the times of
//! their operators.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::CalibrationError;
use super::steps::{Step, Steps};
use crate::deployment::calibrated::SourceFile;
use crate::sim::cost::BatchShape;
use crate::sim::cost::calibrated::Domain;

/// Records of batches, one for each request and batch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Telemetry {
    /// The records, as they stand in the file.
    pub samples: Vec<Sample>,
    /// The file.
    #[serde(skip)]
    pub source: SourceFile,
}

/// One request in one batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The request.
    #[serde(deserialize_with = "identifier")]
    pub request_id: String,
    /// What the batch did for it.
    pub phase: Phase,
    /// The batch; samples of one batch share it.
    #[serde(deserialize_with = "identifier")]
    pub batch_id: String,
    /// The requests of the batch.
    pub batch_composition: Vec<BatchMember>,
    /// The operators of the batch.
    pub operator_timings: Vec<OperatorTiming>,
    /// Share of the GPU's peak rate that was used, where it is known.
    #[serde(default, deserialize_with = "share")]
    pub gpu_mfu: Option<f64>,
    /// When, as the server writes it.
    #[serde(default)]
    pub timestamp: Option<Value>,
}

/// What a batch does for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Reads its prompt.
    Prefill,
    /// Writes its response.
    Decode,
    /// Either, of several requests.
    Mixed,
}

/// A request of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchMember {
    /// The request.
    #[serde(deserialize_with = "identifier")]
    pub request_id: String,
    /// Tokens of its prompt that the batch reads.
    pub prefill_len: u32,
    /// Tokens of its response so far.
    pub decode_len: u32,
    /// Bytes of its keys and values.
    #[serde(default)]
    pub kv_bytes: u64,
}

/// An operator of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorTiming {
    /// Its name.
    pub name: String,
    /// How long it took, in milliseconds.
    #[serde(deserialize_with = "milliseconds")]
    pub time_ms: f64,
}

impl Sample {
    /// How long the operators took together, in milliseconds.
    pub fn total_ms(&self) -> f64 {
        self.operator_timings
            .iter()
            .map(|operator| operator.time_ms)
            .sum()
    }

    /// The iteration. Requests without a token of response prefill their whole prompt, unless the phase is `decode`.
    fn step(&self) -> Step {
        let mut shape = BatchShape::default();
        let mut domain = Domain::default();
        for member in &self.batch_composition {
            let context = member.prefill_len + member.decode_len;
            if member.decode_len == 0 && self.phase != Phase::Decode {
                shape.add_prefill(0, member.prefill_len, true);
            } else {
                shape.add_decode(context);
            }
            domain.context = domain.context.max(context);
            domain.prompt = domain.prompt.max(member.prefill_len);
        }
        domain.batch = shape.sequences;
        Step {
            shape,
            ms: self.total_ms(),
            domain,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TelemetryFile {
    samples: Vec<Sample>,
}

impl Telemetry {
    /// Reads a file: an object with `samples`, or the list alone.
    ///
    /// # Errors
    /// When it cannot be read or is no such file, a time is below zero, or there is no sample; with the line.
    pub fn read(path: &Path) -> Result<Self, CalibrationError> {
        let text = fs_err::read_to_string(path).map_err(|error| {
            let why = format!(
                "the file cannot be read: {}; check its name and its rights",
                error.kind()
            );
            wrong(path, None, why)
        })?;
        Self::parse(&text, path)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// As [`Telemetry::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, CalibrationError> {
        let malformed = |error: serde_json::Error| {
            let told = error.to_string();
            let why = &told[..told.find(" at line ").unwrap_or(told.len())];
            let shape = "a sample is {request_id, phase, batch_id, batch_composition, operator_timings}";
            wrong(path, Some(error.line()), format!("{why}; {shape}"))
        };
        let samples = if text.trim_start().starts_with('[') {
            serde_json::from_str(text).map_err(malformed)?
        } else {
            serde_json::from_str::<TelemetryFile>(text)
                .map_err(malformed)?
                .samples
        };
        for (index, sample) in samples.iter().enumerate() {
            let problem = match sample {
                Sample {
                    batch_composition, ..
                } if batch_composition.is_empty() => "batch_composition is empty",
                Sample { operator_timings, .. } if operator_timings.is_empty() => "operator_timings is empty",
                sample if sample.total_ms() <= 0.0 => "its operators take no time",
                _ => continue,
            };
            let problem = format!("samples, number {}: {problem}; leave the sample out", index + 1);
            return Err(wrong(path, None, problem));
        }
        if samples.is_empty() {
            let problem = "there is no sample; record some batches, or leave the file out";
            return Err(wrong(path, None, problem.to_owned()));
        }
        Ok(Self {
            samples,
            source: SourceFile {
                path: path.to_owned(),
                blake3: blake3::hash(text.as_bytes()).to_hex()[..32].to_owned(),
            },
        })
    }

    /// The iterations. A batch that several samples tell of counts once.
    pub fn steps(&self) -> Steps {
        let mut seen = HashSet::new();
        let once = self.samples.iter().filter(|sample| seen.insert(&sample.batch_id));
        Steps {
            steps: once.map(Sample::step).collect(),
            source: self.source.clone(),
        }
    }
}

fn wrong(path: &Path, line: Option<usize>, why: String) -> CalibrationError {
    let place = line.filter(|line| *line > 0).map_or(PathBuf::from(path), |line| {
        PathBuf::from(format!("{}:{line}", path.display()))
    });
    CalibrationError::Telemetry { path: place, why }
}

/// A text or a number.
fn identifier<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    match Value::deserialize(from)? {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(serde::de::Error::custom(format!(
            "`{other}` is no identifier; write a text or a number"
        ))),
    }
}

fn milliseconds<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let ms = f64::deserialize(from)?;
    if ms >= 0.0 && ms.is_finite() {
        return Ok(ms);
    }
    Err(serde::de::Error::custom(format!(
        "time_ms is {ms}; a time is 0 or more"
    )))
}

fn share<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    let share = Option::<f64>::deserialize(from)?;
    match share {
        Some(share) if !(0.0..=1.0).contains(&share) => Err(serde::de::Error::custom(format!(
            "gpu_mfu is {share}; it is a share from 0 to 1"
        ))),
        other => Ok(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_count_once_and_their_operators_together() {
        let member = r#"{"request_id": "a", "prefill_len": 100, "decode_len": 0, "kv_bytes": 1}"#;
        let sample = |phase: &str, batch: u32| {
            format!(
                r#"{{"request_id": "a", "phase": "{phase}", "batch_id": {batch}, "batch_composition": [{member}],
                "operator_timings": [{{"name": "mlp", "time_ms": 2.5}}, {{"name": "attention", "time_ms": 1.5}}],
                "gpu_mfu": 0.5, "timestamp": 1.0}}"#
            )
        };
        let text = [sample("prefill", 1), sample("prefill", 1), sample("decode", 2)].join(",");
        let telemetry = Telemetry::parse(&format!("[{text}]"), Path::new("t.json")).unwrap();
        let steps = telemetry.steps().steps;
        assert_eq!(steps.len(), 2);
        assert_eq!((steps[0].ms, steps[0].shape.prefill_pairs), (4.0, 5050));
        assert_eq!((steps[1].shape.decodes, steps[1].shape.decode_kv), (1, 100));
    }
}
