//! Distributions of lengths, as requests write them.

use serde::Deserialize;
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use super::error::{Wrong, line};
use crate::workload::TokenDistribution;

/// Names that are known.
const KNOWN: &str = "normal, lognormal, gamma, uniform, zipf, fixed, empirical";

/// As a file has it: which keys belong to which distribution is checked afterwards.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LengthEntry {
    distribution: Option<Spanned<String>>,
    mean: Option<Spanned<f64>>,
    std: Option<Spanned<f64>>,
    min: Option<Spanned<u32>>,
    max: Option<Spanned<u32>>,
    tokens: Option<Spanned<u32>>,
    theta: Option<Spanned<f64>>,
    values: Option<Spanned<Vec<u32>>>,
    weights: Option<Spanned<Vec<f64>>>,
}

impl LengthEntry {
    /// The keys that are given, with their lines.
    fn given(&self) -> Vec<(&'static str, Option<u64>, Value)> {
        fn of<T: Clone + Into<Value>>(
            key: &'static str,
            value: Option<&Spanned<T>>,
        ) -> Option<(&'static str, Option<u64>, Value)> {
            value.map(|v| (key, line(v), v.value.clone().into()))
        }
        let all = [
            of("mean", self.mean.as_ref()),
            of("std", self.std.as_ref()),
            of("min", self.min.as_ref()),
            of("max", self.max.as_ref()),
            of("tokens", self.tokens.as_ref()),
            of("theta", self.theta.as_ref()),
            of("values", self.values.as_ref()),
            of("weights", self.weights.as_ref()),
        ];
        all.into_iter().flatten().collect()
    }

    /// The distribution; `key` is what it belongs to, `at` where that stands.
    pub(super) fn check(&self, key: &str, at: Option<u64>) -> Result<TokenDistribution, Wrong> {
        let Some(name) = &self.distribution else {
            let problem = format!("{key}: `distribution` is missing; write one of {KNOWN}");
            return Err((at, problem));
        };
        let kind = match name.value.to_lowercase().as_str() {
            "constant" => "fixed".to_owned(),
            "gaussian" => "normal".to_owned(),
            "log_normal" | "log-normal" => "lognormal".to_owned(),
            other => other.to_owned(),
        };
        if !KNOWN.split(", ").any(|known| known == kind) {
            let problem = format!("{key}: `{}` is no distribution; write one of {KNOWN}", name.value);
            return Err((line(name), problem));
        }
        let given = self.given();
        let place = |field: &str| given.iter().find(|g| g.0 == field).and_then(|g| g.1);
        let mut map = Map::new();
        map.insert("distribution".to_owned(), kind.clone().into());
        map.extend(
            given
                .iter()
                .map(|(field, _, value)| ((*field).to_owned(), value.clone())),
        );
        let read: TokenDistribution = serde_json::from_value(Value::Object(map)).map_err(|error| {
            let text = error.to_string();
            let field = text.split('`').nth(1).unwrap_or_default();
            let problem = if text.starts_with("unknown field") {
                format!("{key}: {kind} lengths have no `{field}`; remove it")
            } else if text.starts_with("missing field") {
                format!("{key}: {kind} lengths need `{field}`; add it")
            } else {
                format!("{key}: {text}")
            };
            (place(field).or(line(name)), problem)
        })?;
        let wrong = |error: crate::workload::DistributionError| {
            (place(error.field).or(line(name)), format!("{key}: {error}"))
        };
        read.sampler().map_err(wrong)?;
        Ok(read)
    }
}
