//! What a GPU-hour costs: a built-in list, the older planner's, a user's, or none.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use chrono::NaiveDate;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use super::request::RequestError;
use crate::sim::catalog::{Catalog, Gpu};

const BUILT_IN: &str = include_str!("prices/prices.yml");
const OLDER: &str = include_str!("prices/simfaasinfer.yml");
/// The currency of the built-in list.
const USD: &str = "USD";

/// Prices of GPUs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prices {
    /// `built-in`, `simfaasinfer`, or the user's file.
    pub source: String,
    /// Of which day or month they are: `2026-05-01` or `2026-05`.
    pub date: String,
    /// In what they are.
    pub currency: String,
    /// By the name of the GPU in the catalog.
    pub gpus: BTreeMap<String, Price>,
}

/// What one GPU costs an hour.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Price {
    /// The least that is asked for it.
    pub low: f64,
    /// What is reckoned with.
    pub default: f64,
    /// The most that is asked for it.
    pub high: f64,
    /// The list that it is from, with its date.
    pub source: String,
}

/// A number, or three.
#[derive(Clone, Copy, Debug)]
struct PriceEntry {
    low: f64,
    default: f64,
    high: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Three {
    low: f64,
    high: f64,
    default: f64,
}

struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = PriceEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a price for a GPU-hour as 2.2, or {{low: 1.1, high: 3.4, default: 2.2}}"
        )
    }

    fn visit_f64<E: Error>(self, price: f64) -> Result<Self::Value, E> {
        Ok(PriceEntry {
            low: price,
            default: price,
            high: price,
        })
    }

    fn visit_u64<E: Error>(self, price: u64) -> Result<Self::Value, E> {
        self.visit_f64(price as f64)
    }

    fn visit_i64<E: Error>(self, price: i64) -> Result<Self::Value, E> {
        self.visit_f64(price as f64)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let Three { low, high, default } =
            Three::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        Ok(PriceEntry { low, default, high })
    }
}

impl<'de> Deserialize<'de> for PriceEntry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reading)
    }
}

/// As a user's file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PricesFile {
    prices: List,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    date: Spanned<String>,
    #[serde(default = "usd")]
    currency: String,
    gpus: BTreeMap<String, Spanned<PriceEntry>>,
}

fn usd() -> String {
    USD.to_owned()
}

impl Prices {
    /// What `--prices` means: nothing is the built-in list, `none` no prices at all, `simfaasinfer` the older planner's, all
    /// else a file.
    ///
    /// # Errors
    /// As [`Prices::read`].
    pub fn named(name: Option<&str>, catalog: &Catalog) -> Result<Option<Self>, RequestError> {
        match name {
            None => Self::built_in(catalog).map(Some),
            Some("none") => Ok(None),
            Some("simfaasinfer") => Self::simfaasinfer(catalog).map(Some),
            Some(path) => Self::read(Path::new(path), catalog).map(Some),
        }
    }

    /// Whether a name means no file.
    pub fn is_built_in(name: &str) -> bool {
        ["none", "simfaasinfer"].contains(&name)
    }

    /// Indicative prices of spring 2026.
    ///
    /// # Errors
    /// None with the built-in catalog: a test reads it.
    pub fn built_in(catalog: &Catalog) -> Result<Self, RequestError> {
        Self::list(BUILT_IN, Path::new("prices.yml"), "built-in", catalog)
    }

    /// The older planner's prices, for comparison with its reports.
    ///
    /// # Errors
    /// None with the built-in catalog: a test reads it.
    pub fn simfaasinfer(catalog: &Catalog) -> Result<Self, RequestError> {
        Self::list(OLDER, Path::new("simfaasinfer.yml"), "simfaasinfer", catalog)
    }

    /// Reads a user's file: `prices: {date, currency, gpus}`. In US$, GPUs that it does not name keep their built-in price,
    /// which says so; in another currency they have none.
    ///
    /// # Errors
    /// When it cannot be read, has unknown keys or GPUs, a GPU twice, or a price that is none; with the line.
    pub fn read(path: &Path, catalog: &Catalog) -> Result<Self, RequestError> {
        Self::parse(&super::request::text(path)?, path, catalog)
    }

    /// Reads the text of a user's file.
    ///
    /// # Errors
    /// As [`Prices::read`].
    pub fn parse(text: &str, path: &Path, catalog: &Catalog) -> Result<Self, RequestError> {
        let file: PricesFile =
            serde_saphyr::from_str(text).map_err(|e| RequestError::yaml(path, text, &e))?;
        let mut prices = Self::of(file.prices, path, &path.display().to_string(), catalog)?;
        if prices.currency == USD {
            for (gpu, price) in Self::built_in(catalog)?.gpus {
                prices.gpus.entry(gpu).or_insert(price);
            }
        }
        Ok(prices)
    }

    fn list(text: &str, path: &Path, source: &str, catalog: &Catalog) -> Result<Self, RequestError> {
        let list: List = serde_saphyr::from_str(text).map_err(|e| RequestError::yaml(path, text, &e))?;
        Self::of(list, path, source, catalog)
    }

    fn of(list: List, path: &Path, source: &str, catalog: &Catalog) -> Result<Self, RequestError> {
        let at = |line: u64, problem: String| RequestError::new(path, Some(line).filter(|l| *l > 0), problem);
        let date = list.date.value.trim().to_owned();
        let day = if date.len() == 7 {
            format!("{date}-01")
        } else {
            date.clone()
        };
        if day.parse::<NaiveDate>().is_err() {
            let problem =
                format!("date: `{date}` is no date; write the day or the month of the prices, as 2026-05-01");
            return Err(at(list.date.referenced.line(), problem));
        }
        let mut gpus = BTreeMap::new();
        for (name, entry) in list.gpus {
            let line = entry.referenced.line();
            let gpu = catalog.gpu(&name).map_err(|error| {
                let known: Vec<&str> = catalog.gpus().iter().map(|gpu| gpu.name.as_str()).collect();
                at(line, format!("gpus: {error}; known are {}", known.join(", ")))
            })?;
            let PriceEntry { low, default, high } = entry.value;
            if !(low >= 0.0 && low <= default && default <= high && high.is_finite()) {
                let problem = format!(
                    "gpus, {name}: low {low}, default {default}, high {high}; write 0 <= low <= default <= high"
                );
                return Err(at(line, problem));
            }
            if default <= 0.0 {
                let problem = format!(
                    "gpus, {name}: the price is 0, and nothing can be weighed against it; write more than 0, or plan in GPU-hours \
                     with --prices none"
                );
                return Err(at(line, problem));
            }
            let price = Price {
                low,
                default,
                high,
                source: format!("{source}, {date}"),
            };
            if gpus.insert(gpu.name.clone(), price).is_some() {
                let problem = format!(
                    "gpus: `{}` is {}, which is there twice; remove one",
                    name, gpu.name
                );
                return Err(at(line, problem));
            }
        }
        Ok(Self {
            source: source.to_owned(),
            date,
            currency: list.currency,
            gpus,
        })
    }

    /// What a GPU costs, if it is known.
    pub fn price(&self, gpu: &Gpu) -> Option<&Price> {
        self.gpus.get(&gpu.name)
    }

    /// What a GPU costs.
    ///
    /// # Errors
    /// When the list does not say: what to do.
    pub fn of_gpu(&self, gpu: &Gpu) -> Result<&Price, String> {
        self.price(gpu).ok_or_else(|| {
            format!(
                "the prices ({}) do not have {}; add it to a file and give it with --prices, or use --prices none",
                self.source, gpu.name
            )
        })
    }
}
