//! Requests drawn from distributions.

use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use super::{SourceError, checked_rate};
use crate::sim::{PrefixSpan, Request, Source, Time};
use crate::workload::{GapStream, Gaps, TokenDistribution, TokenSampler, seeds};

/// Lengths of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RequestLengths {
    /// Prompt and response, each by itself.
    Separate {
        /// Prompt length.
        input: TokenDistribution,
        /// Response length.
        output: TokenDistribution,
    },
    /// Both together, split in a fixed proportion: the response is what its share comes to, rounded up, the prompt the
    /// rest, and neither less than one token.
    Total {
        /// Prompt and response together, at least two tokens.
        tokens: TokenDistribution,
        /// Prompt length divided by response length.
        prefill_to_decode_ratio: f64,
    },
}

/// What [`Synthetic`] draws.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SyntheticConfig {
    /// Lengths.
    pub lengths: RequestLengths,
    /// Arrivals.
    #[serde(default)]
    pub arrivals: Gaps,
    /// Requests per second.
    pub rate: f64,
    /// How many requests; without an end if it is not given.
    #[serde(default)]
    pub count: Option<u64>,
}

/// Requests drawn from distributions as they are needed: memory does not grow with their number. Prompts, responses and
/// arrivals come from streams of their own (`arrivals`, `input lengths`, `output lengths`).
#[derive(Clone, Debug)]
pub struct Synthetic {
    lengths: Lengths,
    gaps: GapStream,
    rate: f64,
    unit: f64,
    count: Option<u64>,
    given: u64,
    upcoming: Option<Request>,
}

/// How lengths are drawn.
#[derive(Clone, Debug)]
enum Lengths {
    Separate(Box<[(TokenSampler, Pcg64); 2]>),
    Total(Box<(TokenSampler, Pcg64)>, f64),
}

impl Lengths {
    fn new(lengths: &RequestLengths, seed: u64) -> Result<Self, SourceError> {
        let sampler = |field, lengths: &TokenDistribution| {
            let wrong = |source| SourceError::Lengths { field, source };
            lengths.sampler().map_err(wrong)
        };
        let stream = |name| seeds::stream(seed, name);
        Ok(match lengths {
            RequestLengths::Separate { input, output } => Self::Separate(Box::new([
                (sampler("input", input)?, stream("input lengths")),
                (sampler("output", output)?, stream("output lengths")),
            ])),
            RequestLengths::Total {
                tokens,
                prefill_to_decode_ratio: ratio,
            } => {
                let sampler = sampler("tokens", tokens)?;
                if sampler.min() < 2 {
                    return Err(SourceError::Range {
                        field: "tokens",
                        value: sampler.min().to_string(),
                        range: "at least 2 at its shortest, one for the prompt and one for the response",
                    });
                }
                if !(ratio.is_finite() && *ratio >= 0.0) {
                    return Err(SourceError::Range {
                        field: "prefill_to_decode_ratio",
                        value: ratio.to_string(),
                        range: "a number of at least zero",
                    });
                }
                Self::Total(Box::new((sampler, stream("input lengths"))), *ratio)
            }
        })
    }

    fn draw(&mut self) -> (u32, u32) {
        match self {
            Self::Separate(both) => {
                let [(input, inputs), (output, outputs)] = &mut **both;
                (input.sample(inputs), output.sample(outputs))
            }
            Self::Total(total, ratio) => {
                let (sampler, draws) = &mut **total;
                let tokens = sampler.sample(draws);
                let output = (f64::from(tokens) / (1.0 + *ratio)).ceil() as u32;
                let output = output.clamp(1, tokens - 1);
                (tokens - output, output)
            }
        }
    }
}

impl Synthetic {
    /// The requests of a seed.
    pub fn new(config: &SyntheticConfig, seed: u64) -> Result<Self, SourceError> {
        let mut synthetic = Self {
            lengths: Lengths::new(&config.lengths, seed)?,
            gaps: config.arrivals.stream(seed)?,
            rate: checked_rate("rate", config.rate)?,
            unit: 0.0,
            count: config.count,
            given: 0,
            upcoming: None,
        };
        if config.count.is_none() && config.arrivals == Gaps::Static {
            return Err(SourceError::Range {
                field: "count",
                value: "not given".to_owned(),
                range: "given when all requests arrive at once",
            });
        }
        synthetic.upcoming = synthetic.make();
        Ok(synthetic)
    }

    fn make(&mut self) -> Option<Request> {
        if self.count.is_some_and(|count| self.given >= count) {
            return None;
        }
        let id = self.given;
        self.given += 1;
        self.unit += self.gaps.draw();
        let (input_tokens, output_tokens) = self.lengths.draw();
        Some(Request {
            id,
            arrival: Time::from_seconds(self.unit / self.rate),
            input_tokens,
            output_tokens,
            session: None,
            deadline: Time::MAX,
            prefix: PrefixSpan::default(),
        })
    }
}

impl Source for Synthetic {
    fn peek(&mut self) -> Option<Time> {
        self.upcoming.map(|r| r.arrival)
    }

    fn next(&mut self) -> Option<Request> {
        let request = self.upcoming.take();
        self.upcoming = self.make();
        request
    }
}
