//! What is sent: a token pair, a mix of them, a trace, or distributions of lengths.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{duration, positive};
use crate::settings::token_pair;
use crate::sim::source::{Order, RequestLengths, TooLong, TraceFormat};
use crate::workload::{Arrival, LengthClass};

/// What is sent.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Its name in the results.
    pub name: String,
    /// A token pair: `128:128`, `100-300:1-100`.
    #[serde(default)]
    pub tokens: Option<String>,
    /// Several, each with its share: the classes that bounds may name.
    #[serde(default)]
    pub mix: Option<Vec<Part>>,
    /// A trace, whose lengths are taken: Mooncake's JSON lines or CSV; `.gz` is unpacked.
    #[serde(default, alias = "trace_file")]
    pub trace: Option<PathBuf>,
    /// How the trace is written. Default: by its name.
    #[serde(default)]
    pub format: Option<TraceFormat>,
    /// Distributions that lengths are drawn from.
    #[serde(default)]
    pub lengths: Option<RequestLengths>,
    /// Longest request, prompt and response.
    #[serde(default, alias = "max_seq_len")]
    pub max_tokens: Option<u32>,
    /// What becomes of longer ones. Default: they are left out.
    #[serde(default = "skip_too_long")]
    pub too_long: TooLong,
    /// In which order the requests of a trace are taken.
    #[serde(default)]
    pub order: Order,
    /// Requests of a trial.
    #[serde(default = "default_requests", alias = "num_requests")]
    pub requests: usize,
    /// Longest time that requests are sent in a trial, as `30m`: at low rates it has fewer requests.
    #[serde(default)]
    pub max_duration: Option<String>,
    /// Arrival process.
    #[serde(default = "poisson")]
    pub arrivals: Arrival,
    /// First rate, requests a second. Default: that of `search`.
    #[serde(default)]
    pub start_qps: Option<f64>,
}

/// A class of a mix.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its name in bounds; without one it is called by its place, counted from 0.
    #[serde(default)]
    pub name: Option<String>,
    /// A token pair.
    pub tokens: String,
    /// Its share of the requests; those of a mix are taken relative to their sum.
    pub share: f64,
}

impl Workload {
    pub(super) fn check(&self) -> Result<(), String> {
        let name = &self.name;
        let named = |why: String| format!("workloads, {name}: {why}");
        let forms = [
            self.tokens.is_some(),
            self.mix.is_some(),
            self.trace.is_some(),
            self.lengths.is_some(),
        ];
        if forms.iter().filter(|given| **given).count() != 1 {
            return Err(named("write one of tokens, mix, trace and lengths".to_owned()));
        }
        if self.tokens.is_some() || self.mix.is_some() {
            self.classes().map_err(named)?;
            if self.max_tokens.is_some() {
                return Err(named(
                    "max_tokens: tokens say how long requests are; remove it".to_owned(),
                ));
            }
        }
        self.check_names().map_err(named)?;
        if self.requests == 0 || self.max_tokens.is_some_and(|most| most < 2) {
            return Err(named(
                "requests: write at least 1; max_tokens: at least 2".to_owned(),
            ));
        }
        if let Some(text) = &self.max_duration {
            duration(text).map_err(|why| named(format!("max_duration: {why}")))?;
        }
        match self.start_qps {
            Some(qps) => positive("start_qps", qps).map_err(named),
            None => Ok(()),
        }
    }

    fn check_names(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for name in self.class_names().into_iter().flatten() {
            if name.trim().is_empty() || name.parse::<u64>().is_ok() {
                return Err(format!(
                    "mix: the name `{name}` could be taken for a place; write a word"
                ));
            }
            if !seen.insert(name.clone()) {
                return Err(format!("mix: the name `{name}` is there twice; rename one"));
            }
        }
        Ok(())
    }

    /// Its token pairs and their shares, which sum to one; none where requests are listed one by one.
    ///
    /// # Errors
    /// What is wrong with them, and what to write.
    pub fn classes(&self) -> Result<Vec<LengthClass>, String> {
        if let Some(tokens) = &self.tokens {
            let pair = token_pair(tokens).map_err(|why| format!("tokens: {why}"))?;
            return Ok(vec![LengthClass { pair, share: 1.0 }]);
        }
        let Some(parts) = &self.mix else {
            return Ok(Vec::new());
        };
        if parts.is_empty() {
            return Err(
                "mix: the list is empty; write {tokens: IN:OUT, share: 0.5} for each class".to_owned(),
            );
        }
        let mut classes = Vec::with_capacity(parts.len());
        for (place, part) in parts.iter().enumerate() {
            let at = |why: String| format!("mix, class {place}: {why}");
            positive("share", part.share).map_err(at)?;
            let pair = token_pair(&part.tokens).map_err(|why| at(format!("tokens: {why}")))?;
            classes.push(LengthClass {
                pair,
                share: part.share,
            });
        }
        let total: f64 = classes.iter().map(|class| class.share).sum();
        for class in &mut classes {
            class.share /= total;
        }
        Ok(classes)
    }

    /// The names of its classes, by place: one without a name where it is no mix.
    pub fn class_names(&self) -> Vec<Option<String>> {
        match &self.mix {
            Some(parts) => parts.iter().map(|part| part.name.clone()).collect(),
            None => vec![None],
        }
    }

    /// Longest time that requests are sent in a trial.
    pub fn max_duration(&self) -> Option<Duration> {
        self.max_duration.as_deref().and_then(|text| duration(text).ok())
    }
}

fn default_requests() -> usize {
    1000
}

fn poisson() -> Arrival {
    Arrival::Poisson
}

fn skip_too_long() -> TooLong {
    TooLong::Skip
}
