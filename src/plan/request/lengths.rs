//! Distributions of lengths, as requests write them.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use super::error::{Wrong, line};
use crate::workload::{MAX_TOKENS, TokenDistribution};

/// Names that are known.
const KNOWN: &str = "normal, lognormal, gamma, uniform, zipf, fixed, empirical";

/// A number of tokens, or a distribution.
#[derive(Debug)]
pub(super) enum LengthEntry {
    Tokens(f64),
    Drawn(Box<DrawnEntry>),
}

struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = LengthEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a number of tokens, or a distribution as {{distribution: normal, mean: 512, std: 128}}"
        )
    }

    fn visit_f64<E: Error>(self, tokens: f64) -> Result<Self::Value, E> {
        Ok(LengthEntry::Tokens(tokens))
    }

    fn visit_u64<E: Error>(self, tokens: u64) -> Result<Self::Value, E> {
        self.visit_f64(tokens as f64)
    }

    fn visit_i64<E: Error>(self, tokens: i64) -> Result<Self::Value, E> {
        self.visit_f64(tokens as f64)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let drawn = DrawnEntry::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        Ok(LengthEntry::Drawn(Box::new(drawn)))
    }
}

impl<'de> Deserialize<'de> for LengthEntry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reading)
    }
}

impl LengthEntry {
    /// The distribution; `key` is what it belongs to, `at` where that stands.
    pub(super) fn check(&self, key: &str, at: Option<u64>) -> Result<TokenDistribution, Wrong> {
        let tokens = match self {
            Self::Drawn(drawn) => return drawn.check(key, at),
            Self::Tokens(tokens) => *tokens,
        };
        if tokens.fract() != 0.0 || !(1.0..=f64::from(MAX_TOKENS)).contains(&tokens) {
            let problem =
                format!("{key}: {tokens} is no number of tokens; write a whole number of at least 1");
            return Err((at, problem));
        }
        Ok(TokenDistribution::Fixed {
            tokens: tokens as u32,
        })
    }
}

/// As a file has it: which keys belong to which distribution is checked afterwards.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DrawnEntry {
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

impl DrawnEntry {
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

    /// Refuses what is no number: `.nan`, `.inf`.
    fn finite(&self, key: &str) -> Result<(), Wrong> {
        let all = [("mean", &self.mean), ("std", &self.std), ("theta", &self.theta)];
        for (field, value) in all {
            if let Some(value) = value.as_ref().filter(|value| !value.value.is_finite()) {
                let problem = format!("{key}: `{field}` is {}; write a number", value.value);
                return Err((line(value), problem));
            }
        }
        let weights = self.weights.as_ref();
        match weights.filter(|weights| weights.value.iter().any(|weight| !weight.is_finite())) {
            Some(weights) => Err((
                line(weights),
                format!("{key}: `weights` are no numbers; write numbers"),
            )),
            None => Ok(()),
        }
    }

    fn check(&self, key: &str, at: Option<u64>) -> Result<TokenDistribution, Wrong> {
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
        self.finite(key)?;
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
            let one = match self.mean.as_ref() {
                Some(mean) if error.field == "std" && error.value == "0" => {
                    format!(
                        "; for one length write {{distribution: fixed, tokens: {}}}",
                        mean.value
                    )
                }
                _ => String::new(),
            };
            (place(error.field).or(line(name)), format!("{key}: {error}{one}"))
        };
        read.sampler().map_err(wrong)?;
        Ok(read)
    }
}
