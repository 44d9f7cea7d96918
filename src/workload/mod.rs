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
}

impl WorkloadSpec {
    /// Mean response length in tokens of what is planned; `None` where nothing is.
    pub fn mean_output_tokens(&self) -> Option<f64> {
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
