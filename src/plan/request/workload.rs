//! The requests that are to be served.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use super::constraints::above_zero;
use super::error::{Wrong, line};
use super::lengths::LengthEntry;
use crate::deployment::{Workload, located, trace};
use crate::sim::catalog::ModelShape;
use crate::sim::source::{RequestLengths, TraceFormat};
use crate::workload::{Gaps, TokenDistribution};

/// Standard deviation of a burst's gaps over their mean.
const BURST_CV: f64 = 2.0;

/// The requests that are to be served.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanWorkload {
    /// Requests a second that are of interest, from and to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrival_rate_range: Option<[f64; 2]>,
    /// Most requests a second that are tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_qps: Option<f64>,
    /// How long the requests are.
    #[serde(flatten)]
    pub lengths: PlanLengths,
    /// The process of arrivals. `None`: as the trace records them, stretched to the rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Gaps>,
}

/// How long the requests are.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum PlanLengths {
    /// Drawn from distributions.
    Drawn {
        /// Prompt length in tokens.
        prompt_length: TokenDistribution,
        /// Response length in tokens.
        output_length: TokenDistribution,
    },
    /// As recorded.
    Recorded {
        /// The trace: Mooncake's JSON lines, or CSV as Vidur has it; packed or not.
        trace_file: PathBuf,
        /// What is in it.
        #[serde(skip)]
        facts: TraceFacts,
    },
}

/// What is in a trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceFacts {
    /// Requests.
    pub requests: usize,
    /// Mean prompt and response length in tokens.
    pub mean_tokens: (f64, f64),
    /// Tokens of the longest request, prompt and response.
    pub longest: u32,
    /// Requests a second, where it records arrivals.
    pub qps: Option<f64>,
}

impl PlanLengths {
    /// What the older guide's request has: prompts of 512 +- 128 tokens, responses of 256 +- 64.
    pub fn documented() -> Self {
        let normal = |mean, std| TokenDistribution::Normal {
            mean,
            std,
            min: 1,
            max: None,
        };
        Self::Drawn {
            prompt_length: normal(512.0, 128.0),
            output_length: normal(256.0, 64.0),
        }
    }

    /// Requests a second of the trace.
    pub fn recorded_qps(&self) -> Option<f64> {
        match self {
            Self::Recorded { facts, .. } => facts.qps,
            Self::Drawn { .. } => None,
        }
    }

    /// Mean prompt and response length in tokens.
    pub fn mean_tokens(&self) -> (f64, f64) {
        let mean = |lengths: &TokenDistribution| lengths.sampler().map_or(0.0, |sampler| sampler.mean());
        match self {
            Self::Recorded { facts, .. } => facts.mean_tokens,
            Self::Drawn {
                prompt_length,
                output_length,
            } => (mean(prompt_length), mean(output_length)),
        }
    }

    /// Tokens of the longest request, prompt and response; of distributions without an end those of three standard deviations
    /// above the mean.
    pub fn longest(&self) -> f64 {
        match self {
            Self::Recorded { facts, .. } => f64::from(facts.longest),
            Self::Drawn {
                prompt_length,
                output_length,
            } => longest(prompt_length) + longest(output_length),
        }
    }

    /// What to know where requests are longer than what a model reads.
    pub fn beyond(&self, model: &ModelShape) -> Option<String> {
        let (longest, context) = (self.longest(), model.max_context);
        (longest > f64::from(context)).then(|| {
            format!(
                "requests of up to {longest:.0} tokens, prompt and response, are longer than the {context} that {} reads: a real \
                 server refuses them, the simulation does not; take a model that reads more, or bound the lengths by max",
                model.name
            )
        })
    }

    /// Reads a trace.
    fn recorded(file: PathBuf) -> Result<Self, String> {
        let format = TraceFormat::of_name(&file.to_string_lossy());
        let read = trace(&file, format).map_err(|error| error.to_string())?;
        let facts = TraceFacts {
            requests: read.len(),
            mean_tokens: read.mean_tokens(),
            longest: read.longest(),
            qps: read.rate(),
        };
        Ok(Self::Recorded {
            trace_file: file,
            facts,
        })
    }
}

/// See [`PlanLengths::longest`].
fn longest(lengths: &TokenDistribution) -> f64 {
    let within = |length: f64, min: u32, max: Option<u32>| {
        let length = length.max(f64::from(min));
        max.map_or(length, |max| length.min(f64::from(max)))
    };
    match lengths {
        TokenDistribution::Fixed { tokens } => f64::from(*tokens),
        TokenDistribution::Uniform { max, .. } | TokenDistribution::Zipf { max, .. } => f64::from(*max),
        TokenDistribution::Empirical { values, .. } => f64::from(values.iter().copied().max().unwrap_or(0)),
        TokenDistribution::Normal { mean, std, min, max }
        | TokenDistribution::Gamma { mean, std, min, max } => within(mean + 3.0 * std, *min, *max),
        TokenDistribution::Lognormal { mean, std, min, max } => {
            let variance = (std / mean).powi(2).ln_1p();
            within(
                (mean.ln() - variance / 2.0 + 3.0 * variance.sqrt()).exp(),
                *min,
                *max,
            )
        }
    }
}

impl PlanWorkload {
    /// The workload of a simulation at a rate in requests a second, for so many seconds of arrivals. A trace that is
    /// shorter than that is taken again from its start where `pattern` gives its arrivals; with its own it ends with its last
    /// request.
    pub fn at(&self, qps: f64, seconds: f64) -> Workload {
        let mut workload = Workload {
            qps: Some(qps),
            duration: Some(seconds),
            arrivals: self.pattern.clone(),
            ..Workload::default()
        };
        match &self.lengths {
            PlanLengths::Drawn {
                prompt_length,
                output_length,
            } => {
                workload.lengths = Some(RequestLengths::Separate {
                    input: prompt_length.clone(),
                    output: output_length.clone(),
                });
            }
            PlanLengths::Recorded { trace_file, facts } => {
                workload.trace = Some(trace_file.clone());
                let wanted = (qps * seconds).ceil() as u64;
                // Recorded arrivals are taken once: a second round would begin with a gap that nobody recorded.
                if self.pattern.is_some() && wanted > facts.requests as u64 {
                    workload.num_requests = Some(wanted);
                }
            }
        }
        workload
    }
}

/// A name, or a process with its numbers.
#[derive(Clone, Debug)]
pub(super) enum PatternEntry {
    Named(String),
    Full(Gaps),
}

struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = PatternEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "poisson, uniform, burst, or a process as {{process: gamma, cv: 2}}"
        )
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(PatternEntry::Named(name.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Gaps::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(PatternEntry::Full)
    }
}

impl<'de> Deserialize<'de> for PatternEntry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reading)
    }
}

impl PatternEntry {
    fn process(&self, notes: &mut Vec<String>) -> Result<Gaps, String> {
        let name = match self {
            Self::Full(Gaps::Static) => {
                return Err(
                    "pattern: requests that all arrive at once have no rate; write another process"
                        .to_owned(),
                );
            }
            Self::Full(gaps) => return Ok(gaps.clone()),
            Self::Named(name) => name.to_lowercase(),
        };
        match name.as_str() {
            "poisson" => Ok(Gaps::Poisson),
            "clipped_poisson" => Ok(Gaps::ClippedPoisson),
            "uniform" | "constant" => Ok(Gaps::Constant),
            "burst" | "bursty" => {
                notes.push(format!(
                    "pattern: {name} is taken to be gamma arrivals with a coefficient of variation of {BURST_CV}"
                ));
                Ok(Gaps::Gamma { cv: BURST_CV })
            }
            "gamma" => Err("pattern: gamma arrivals need `cv`; write {process: gamma, cv: 2}".to_owned()),
            other => Err(format!(
                "pattern: `{other}` is not known; write poisson, uniform, burst, or {{process: gamma, cv: 2}}; of a load that \
                 changes with the hour, plan for its peak"
            )),
        }
    }
}

/// As a file has it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WorkloadEntry {
    pub(super) arrival_rate_range: Option<Spanned<RangeEntry>>,
    pub(super) max_qps: Option<Spanned<f64>>,
    pub(super) prompt_length: Option<Spanned<LengthEntry>>,
    #[serde(alias = "decode_length")]
    pub(super) output_length: Option<Spanned<LengthEntry>>,
    pub(super) pattern: Option<Spanned<PatternEntry>>,
    pub(super) trace_file: Option<Spanned<PathBuf>>,
}

impl WorkloadEntry {
    /// Whether it says anything.
    pub(super) fn is_given(&self) -> bool {
        self.arrival_rate_range.is_some()
            || self.max_qps.is_some()
            || self.prompt_length.is_some()
            || self.output_length.is_some()
            || self.pattern.is_some()
            || self.trace_file.is_some()
    }

    /// The workload; `file` is where it stands.
    pub(super) fn check(&self, file: &Path, notes: &mut Vec<String>) -> Result<PlanWorkload, Wrong> {
        let range = self.arrival_rate_range.as_ref().map(range).transpose()?;
        let max_qps = above_zero("max_qps", "requests a second", self.max_qps.as_ref())?;
        if let (Some(range), Some(most), Some(entry)) = (range, max_qps, &self.max_qps)
            && most < range[0]
        {
            let problem = format!(
                "max_qps: {most} is below the lower end of arrival_rate_range, {}; raise it or leave it out",
                range[0]
            );
            return Err((line(entry), problem));
        }
        let lengths = self.lengths(file, notes)?;
        let pattern = self.pattern.as_ref();
        let pattern = pattern
            .map(|p| p.value.process(notes).map_err(|why| (line(p), why)))
            .transpose()?;
        let pattern = match (&lengths, pattern) {
            (PlanLengths::Recorded { facts, .. }, None) if facts.qps.is_some() => None,
            (PlanLengths::Recorded { .. }, None) => {
                notes.push(
                    "trace_file: it records no arrivals; they are drawn as a Poisson process".to_owned(),
                );
                Some(Gaps::Poisson)
            }
            (_, given) => Some(given.unwrap_or_default()),
        };
        Ok(PlanWorkload {
            arrival_rate_range: range,
            max_qps,
            lengths,
            pattern,
        })
    }

    fn lengths(&self, file: &Path, notes: &mut Vec<String>) -> Result<PlanLengths, Wrong> {
        let checked = |entry: Option<&Spanned<LengthEntry>>, key: &str| {
            entry.map(|e| e.value.check(key, line(e))).transpose()
        };
        let prompt = checked(self.prompt_length.as_ref(), "prompt_length")?;
        let output = checked(self.output_length.as_ref(), "output_length")?;
        if let Some(trace) = &self.trace_file {
            if prompt.is_some() || output.is_some() {
                notes.push("trace_file takes the place of prompt_length and output_length".to_owned());
            }
            let base = file.parent().unwrap_or(Path::new(""));
            let found = located(base, &trace.value);
            return PlanLengths::recorded(found).map_err(|why| (line(trace), format!("trace_file: {why}")));
        }
        let PlanLengths::Drawn {
            prompt_length,
            output_length,
        } = PlanLengths::documented()
        else {
            return Ok(PlanLengths::documented());
        };
        for (key, missing, what) in [
            (
                "prompt_length",
                prompt.is_none(),
                "512 and a standard deviation of 128",
            ),
            (
                "output_length",
                output.is_none(),
                "256 and a standard deviation of 64",
            ),
        ] {
            if missing {
                notes.push(format!(
                    "{key} is not given: normal with a mean of {what} tokens is assumed"
                ));
            }
        }
        Ok(PlanLengths::Drawn {
            prompt_length: prompt.unwrap_or(prompt_length),
            output_length: output.unwrap_or(output_length),
        })
    }
}

/// The workload that a trace is by itself.
pub(super) fn of_trace(file: &Path, notes: &mut Vec<String>) -> Result<PlanWorkload, String> {
    let lengths = PlanLengths::recorded(file.to_owned())?;
    let pattern = lengths.recorded_qps().is_none().then(|| {
        notes.push("the trace records no arrivals; they are drawn as a Poisson process".to_owned());
        Gaps::Poisson
    });
    Ok(PlanWorkload {
        arrival_rate_range: None,
        max_qps: None,
        lengths,
        pattern,
    })
}

/// Two rates, or one that is both.
#[derive(Debug)]
pub(super) struct RangeEntry(Vec<f64>);

struct ReadingRange;

impl<'de> Visitor<'de> for ReadingRange {
    type Value = RangeEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "two rates in requests a second as [10, 100], or one")
    }

    fn visit_f64<E: Error>(self, rate: f64) -> Result<Self::Value, E> {
        Ok(RangeEntry(vec![rate, rate]))
    }

    fn visit_u64<E: Error>(self, rate: u64) -> Result<Self::Value, E> {
        self.visit_f64(rate as f64)
    }

    fn visit_i64<E: Error>(self, rate: i64) -> Result<Self::Value, E> {
        self.visit_f64(rate as f64)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut rates = Vec::new();
        while let Some(rate) = list.next_element()? {
            rates.push(rate);
        }
        Ok(RangeEntry(rates))
    }
}

impl<'de> Deserialize<'de> for RangeEntry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ReadingRange)
    }
}

fn range(entry: &Spanned<RangeEntry>) -> Result<[f64; 2], Wrong> {
    match entry.value.0.as_slice() {
        &[low, high] if low > 0.0 && high >= low && high.is_finite() => Ok([low, high]),
        other => {
            let problem = format!(
                "arrival_rate_range: {other:?} is no range; write two rates in requests a second as [10, 100], the lower \
                 one first and above 0"
            );
            Err((line(entry), problem))
        }
    }
}
