//! Recorded decisions of other tools, decided again and compared. Pure: files are read by whoever calls.
//!
//! A file holds cases: what was given, and what the tool made of it. Which kind of file it is, its contents say. Counts and
//! sequences must be the same; numbers agree to 10^-9, deadlines that were found by bisection to 10^-4, values that a tool
//! read from a quantile sketch to 0.1 %.

mod compare;
mod gpus;
mod jobs;
mod json;
mod poisson;
mod populations;
mod predictor;
mod searches;
mod slo_eval;
mod timelines;
mod veeksha;

use serde::de::{DeserializeOwned, Deserializer, Error};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What became of one case.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Case {
    /// Its name in the file.
    pub id: String,
    /// Whether all that the file holds was found again.
    pub equal: bool,
    /// Where it was not: the place, what this program computes, what the file holds.
    pub first_difference: Option<String>,
}

impl Case {
    fn new(id: impl Into<String>, first_difference: Option<String>) -> Self {
        Self {
            id: id.into(),
            equal: first_difference.is_none(),
            first_difference,
        }
    }
}

/// A file whose cases were decided again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replayed {
    /// What the file holds, and how it is compared.
    pub kind: Kind,
    /// Its cases, in order.
    pub cases: Vec<Case>,
}

/// A file that cannot be replayed: what is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

/// The kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Requests token by token, with their deadlines.
    Timelines,
    /// Requests of a trial, with objectives over all of them.
    Populations,
    /// Predicted prefill times.
    Predictor,
    /// Searches of etalon or sarathi-serve.
    Searches,
    /// Searches of veeksha.
    VeekshaSearches,
    /// Objectives of veeksha.
    VeekshaSlos,
    /// Jobs of experiment files with their cache keys.
    Jobs,
    /// Which GPUs jobs were given.
    Gpus,
    /// Moments of the clipped Poisson process.
    ClippedPoisson,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Timelines,
        Self::Populations,
        Self::Predictor,
        Self::Searches,
        Self::VeekshaSearches,
        Self::VeekshaSlos,
        Self::Jobs,
        Self::Gpus,
        Self::ClippedPoisson,
    ];

    /// What it is, and what it is told by.
    const fn described(self) -> &'static str {
        match self {
            Self::Timelines => "timelines: `cases[]` with `inter_token_times_s`",
            Self::Populations => "populations: `populations[]` with `requests`",
            Self::Predictor => {
                "predicted prefill times: `profiled[]` and `predictions[]`; only their shape is compared"
            }
            Self::Searches => {
                "searches of etalon (`searches[]` with `slo_type`) and sarathi-serve (with `scheduling_delay_slo_value`)"
            }
            Self::VeekshaSearches => "searches of veeksha: `algorithm_cases[]` or `full_cases[]`",
            Self::VeekshaSlos => {
                "objectives of veeksha: `slo_cases[]`, `request_metric_cases[]` or `audio_fluidity_cases[]`"
            }
            Self::Jobs => "jobs of experiment files: `jobs[]` with `key` and `hash`",
            Self::Gpus => "allocations of GPUs: `sequences[]` of steps with `op`",
            Self::ClippedPoisson => {
                "the clipped Poisson process: `nominal_qps` and `analytic_rate_inflation`"
            }
        }
    }

    /// Whether a file is of this kind, by its contents.
    fn is(self, file: &Value) -> bool {
        let list = |name: &str| file.get(name).and_then(Value::as_array);
        let has = |name: &str, key: &str| {
            list(name).is_some_and(|cases| cases.iter().any(|case| case.get(key).is_some()))
        };
        match self {
            Self::Timelines => has("cases", "inter_token_times_s"),
            Self::Populations => has("populations", "requests"),
            Self::Predictor => list("profiled").is_some() && list("predictions").is_some(),
            Self::Searches => has("searches", "slo_type") || has("searches", "scheduling_delay_slo_value"),
            Self::VeekshaSearches => has("algorithm_cases", "params") || has("full_cases", "params"),
            Self::VeekshaSlos => {
                has("slo_cases", "metric")
                    || has("request_metric_cases", "inter_chunk_times_s")
                    || has("audio_fluidity_cases", "chunks_receipt_ms_duration_ms")
            }
            Self::Jobs => has("jobs", "key"),
            Self::Gpus => list("sequences").is_some_and(|sequences| {
                let steps = sequences.iter().filter_map(Value::as_array).flatten();
                steps.into_iter().any(|step| step.get("op").is_some())
            }),
            Self::ClippedPoisson => {
                file.get("nominal_qps").is_some() && file.get("analytic_rate_inflation").is_some()
            }
        }
    }
}

/// Decides the cases of a file again.
///
/// # Errors
/// No JSON, or no kind that is known.
pub fn replay(text: &str) -> Result<Replayed, Malformed> {
    let file = json::parse(text.trim_start_matches('\u{feff}'))
        .map_err(|error| Malformed(format!("this is not JSON: {error}")))?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.is(&file)).ok_or_else(|| {
        let kinds: Vec<String> = Kind::ALL
            .iter()
            .map(|kind| format!("\n  {}", kind.described()))
            .collect();
        Malformed(format!(
            "the file is of no kind that can be replayed; these can:{}",
            kinds.concat()
        ))
    })?;
    let cases = match kind {
        Kind::Timelines => timelines::replay(&file),
        Kind::Populations => populations::replay(&file),
        Kind::Predictor => predictor::replay(&file)?,
        Kind::Searches => searches::replay(&file),
        Kind::VeekshaSearches => veeksha::replay(&file),
        Kind::VeekshaSlos => slo_eval::replay(&file),
        Kind::Jobs => jobs::replay(&file),
        Kind::Gpus => gpus::replay(&file)?,
        Kind::ClippedPoisson => poisson::replay(&file)?,
    };
    Ok(Replayed { kind, cases })
}

/// Goes through a list of the file; none is an empty one. A case that lacks what it must give is not equal, and the others
/// are decided all the same. One without a name has that of its place.
fn each(file: &Value, list: &str, mut one: impl FnMut(&str, &Value) -> Result<Case, Malformed>) -> Vec<Case> {
    let cases = file.get(list).and_then(Value::as_array).into_iter().flatten();
    cases
        .enumerate()
        .map(|(index, case)| {
            let path = format!("{list}[{index}]");
            let id = match case.get("id") {
                Some(Value::String(id)) => id.clone(),
                None | Some(Value::Null) => path.clone(),
                Some(other) => other.to_string(),
            };
            let mut case = case.clone();
            if let Value::Object(fields) = &mut case {
                fields.insert("id".to_owned(), id.as_str().into());
            }
            one(&path, &case).unwrap_or_else(|Malformed(why)| Case::new(id, Some(why)))
        })
        .collect()
}

/// A whole number, also written as `20.0`.
fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    let number = f64::deserialize(from)?;
    let whole = number.fract() == 0.0 && number.abs() < 1e15;
    whole
        .then_some(number as i64)
        .ok_or_else(|| D::Error::custom(format!("{number} is no whole number")))
}

/// `null` where something may be left out.
fn or_nothing<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// What a case gives, or what it lacks.
fn given<T: DeserializeOwned>(path: &str, case: &Value) -> Result<T, Malformed> {
    serde_json::from_value(case.clone()).map_err(|error| Malformed(format!("{path}: {error}")))
}
