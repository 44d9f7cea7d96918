//! Requests drawn from distributions.

use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use super::{PublishedLengths, SourceError, checked_rate};
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
    /// As in a published trace, from its statistics.
    Published(PublishedLengths),
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
    Published(PublishedLengths, Box<[Pcg64; 2]>),
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
            RequestLengths::Published(trace) => Self::Published(
                *trace,
                Box::new([stream("input lengths"), stream("output lengths")]),
            ),
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
            Self::Published(trace, both) => {
                let [inputs, outputs] = &mut **both;
                trace.draw(inputs, outputs)
            }
        }
    }
}

impl Synthetic {
    /// The requests of a seed.
    ///
    /// # Errors
    /// If a setting is out of its range.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn config(yaml: &str) -> SyntheticConfig {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn take(config: &SyntheticConfig, seed: u64, count: usize) -> Vec<Request> {
        let mut source = Synthetic::new(config, seed).unwrap();
        std::iter::from_fn(|| {
            let announced = source.peek();
            let request = source.next();
            assert_eq!(announced, request.map(|r| r.arrival));
            request
        })
        .take(count)
        .collect()
    }

    const SEPARATE: &str = "
lengths:
  separate:
    input: {distribution: lognormal, mean: 500, std: 800, max: 8000}
    output: {distribution: uniform, min: 1, max: 99}
rate: 2.0
";

    #[test]
    fn requests_follow_their_distributions() {
        let requests = take(&config(SEPARATE), 7, 40_000);
        let mean = |of: &dyn Fn(&Request) -> u32| {
            requests.iter().map(|r| f64::from(of(r))).sum::<f64>() / requests.len() as f64
        };
        assert!((mean(&|r| r.output_tokens) - 50.0).abs() < 0.6);
        assert!((mean(&|r| r.input_tokens) - 490.0).abs() < 25.0);
        let rate = requests.len() as f64 / requests.last().unwrap().arrival.as_seconds();
        assert!((rate - 2.0).abs() < 0.04, "{rate}");
        assert!(requests.is_sorted_by_key(|r| r.arrival));
    }

    #[test]
    fn a_count_ends_it_and_another_rate_stretches_it() {
        let slow = config(&format!("{SEPARATE}count: 300"));
        let fast = SyntheticConfig {
            rate: 16.0,
            ..slow.clone()
        };
        let (slow, fast) = (take(&slow, 7, 1000), take(&fast, 7, 1000));
        assert_eq!(slow.len(), 300);
        for (s, f) in slow.iter().zip(&fast) {
            assert_eq!(
                (s.id, s.input_tokens, s.output_tokens),
                (f.id, f.input_tokens, f.output_tokens)
            );
            assert!(s.arrival.as_ps().abs_diff(8 * f.arrival.as_ps()) <= 8);
        }
    }

    #[test]
    fn one_stream_does_not_shift_another() {
        let long = take(&config(SEPARATE), 7, 100);
        let short = take(&config(&SEPARATE.replace("lognormal", "gamma")), 7, 100);
        for (l, s) in long.iter().zip(&short) {
            assert_eq!((l.arrival, l.output_tokens), (s.arrival, s.output_tokens));
        }
    }

    #[test]
    fn a_total_is_split_in_proportion() {
        let config = config(
            "
lengths:
  total:
    tokens: {distribution: zipf, theta: 0.6, min: 2, max: 4096}
    prefill_to_decode_ratio: 20.0
arrivals: {process: static}
rate: 1
count: 2000
",
        );
        for r in take(&config, 3, 5000) {
            let total = r.input_tokens + r.output_tokens;
            assert!(total <= 4096 && r.input_tokens >= 1);
            let share = (f64::from(total) / 21.0).ceil();
            assert_eq!(r.output_tokens, (share as u32).clamp(1, total - 1));
            assert_eq!(r.arrival, Time::ZERO);
        }
    }

    #[test]
    fn settings_without_sense_are_named() {
        let base = config(SEPARATE);
        let total = |min, prefill_to_decode_ratio| RequestLengths::Total {
            tokens: TokenDistribution::Uniform { min, max: 9 },
            prefill_to_decode_ratio,
        };
        let lengths = |lengths| SyntheticConfig {
            lengths,
            ..base.clone()
        };
        let fixed = |tokens| TokenDistribution::Fixed { tokens };
        for (config, words) in [
            (
                SyntheticConfig {
                    rate: f64::NAN,
                    ..base.clone()
                },
                "`rate` is NaN",
            ),
            (
                SyntheticConfig {
                    arrivals: Gaps::Static,
                    ..base.clone()
                },
                "`count` is not given",
            ),
            (
                SyntheticConfig {
                    arrivals: Gaps::Gamma { cv: -1.0 },
                    ..base.clone()
                },
                "`cv` of the arrivals is -1",
            ),
            (lengths(total(1, 1.0)), "`tokens` is 1, but must be at least 2"),
            (lengths(total(2, -1.0)), "`prefill_to_decode_ratio` is -1"),
            (
                lengths(RequestLengths::Separate {
                    input: fixed(1),
                    output: fixed(0),
                }),
                "`output`: `tokens` of the fixed lengths is 0",
            ),
        ] {
            let error = Synthetic::new(&config, 1).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
