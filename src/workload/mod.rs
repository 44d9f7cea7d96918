//! What is asked of the service: token lengths, arrival process and prompts, all drawn from one seed.
//!
//! A trial's requests are planned as a whole before the first is sent ([`plan`]), so that the number of
//! requests is fixed and the same seed gives the same requests everywhere.

mod arrivals;
mod distribution;
mod gaps;
mod lengths;
pub mod prompts;
pub mod seeds;
mod strata;

pub use arrivals::Arrival;
pub use distribution::{DistributionError, MAX_TOKENS, TokenDistribution, TokenSampler};
pub use gaps::{GapStream, Gaps, GapsError};
pub use strata::{BLOCK, Uniforms};

use serde::{Deserialize, Serialize};

use crate::units::{Rate, TokenPair};

/// One class of requests in a workload: its lengths and its share of all requests.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LengthClass {
    /// Input and output lengths, drawn uniformly and independently.
    pub pair: TokenPair,
    /// Share of all requests, in (0, 1]; the shares of a workload sum to one.
    pub share: f64,
}

/// Where prompt text comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PromptSource {
    /// The public-domain text that ships with the program.
    Builtin,
    /// A JSONL file of prompts, named by the BLAKE3 digest of its content.
    File {
        /// Hexadecimal digest.
        digest: String,
    },
}

/// How prompts are made and sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptSpec {
    /// Origin of the text.
    pub source: PromptSource,
    /// Whether every prompt starts with tokens of its own, so that a prefix cache does not flatter the server.
    pub unique_prefix: bool,
}

/// A workload: classes of lengths, arrival process and prompts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkloadSpec {
    /// One class for a token pair, several for a mix.
    pub classes: Vec<LengthClass>,
    /// Arrival process.
    pub arrival: Arrival,
    /// Prompts.
    pub prompts: PromptSpec,
    /// Lengths of the requests one by one, in place of draws from the classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lengths: Option<ListedLengths>,
}

/// Lengths of requests that are listed one by one: those of a trace. The list itself is handed over beside the
/// specification, which names it by its content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListedLengths {
    /// BLAKE3 digest of the list, in hexadecimal digits.
    pub digest: String,
    /// Mean response length, in tokens.
    pub mean_output: f64,
}

/// Prompt and response length of a request, in tokens.
pub type Lengths = (u32, u32);

impl ListedLengths {
    /// Names a list.
    pub fn of(list: &[Lengths]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for (input, output) in list {
            hasher.update(&input.to_le_bytes()).update(&output.to_le_bytes());
        }
        let sum: f64 = list.iter().map(|(_, output)| f64::from(*output)).sum();
        Self {
            digest: hasher.finalize().to_hex()[..32].to_owned(),
            mean_output: sum / list.len().max(1) as f64,
        }
    }
}

impl WorkloadSpec {
    /// Mean response length in tokens of what is planned; `None` where nothing is.
    pub fn mean_output_tokens(&self) -> Option<f64> {
        if let Some(listed) = &self.lengths {
            return Some(listed.mean_output);
        }
        let shares: f64 = self.classes.iter().map(|c| c.share).sum();
        let mean =
            |c: &LengthClass| f64::midpoint(f64::from(c.pair.output.lowest()), f64::from(c.pair.output.max));
        let sum: f64 = self.classes.iter().map(|c| c.share * mean(c)).sum();
        (shares > 0.0 && sum > 0.0).then(|| sum / shares)
    }
}

/// One request as planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedRequest {
    /// Intended send time, nanoseconds since the start of the trial.
    pub intended_ns: u64,
    /// Index into [`WorkloadSpec::classes`].
    pub class: u16,
    /// Prompt length in tokens.
    pub input_tokens: u32,
    /// Response length in tokens.
    pub output_tokens: u32,
    /// Seeds the prompt's text; different for every request.
    pub salt: u64,
}

/// Plans all requests of a trial: `rate` times `duration_s` of them (at least one), in order of send time.
///
/// With [`Arrival::Stratified`] any block of [`BLOCK`] requests has each class as often as its share asks, to one request,
/// and the lengths of a class spread evenly over its range, in random order. With the others classes and lengths are
/// independent draws.
pub fn plan(spec: &WorkloadSpec, rate: Rate, duration_s: f64, seed: u64) -> Vec<PlannedRequest> {
    let times = spec.arrival.schedule(rate, duration_s, seed);
    if spec.arrival.is_balanced() {
        lengths::balanced(&spec.classes, &times, seed)
    } else {
        lengths::assign(&spec.classes, &times, seed)
    }
}

/// As [`plan`], with listed lengths: the first request has the first, and behind the last comes the first again.
pub fn plan_listed(
    spec: &WorkloadSpec,
    rate: Rate,
    duration_s: f64,
    seed: u64,
    list: &[Lengths],
) -> Vec<PlannedRequest> {
    let mut salts = seeds::stream(seed, "prompts");
    let times = spec.arrival.schedule(rate, duration_s, seed);
    let lengths = list.iter().cycle();
    let planned = times.into_iter().zip(lengths);
    planned
        .map(|(intended_ns, &(input_tokens, output_tokens))| PlannedRequest {
            intended_ns,
            class: 0,
            input_tokens,
            output_tokens,
            salt: rand::RngExt::random(&mut salts),
        })
        .collect()
}
