//! From the flags of `mst trial` to a job.

use std::time::Duration;

use anyhow::anyhow;

use super::{Args, PromptKind, unusable};
use crate::cli::exit::Failure;
use crate::endpoint::{self, BaseUrl, EndpointError};
use crate::loadgen::{Api, Endpoint, Limits, PromptEncoding, ResultsJson, TrialJob};
use crate::trial::{LoadGenSpec, TargetSpec, TrialSpec};
use crate::units::{TokenPair, TokenRange};
use crate::workload::prompts::digest_of_file;
use crate::workload::{LengthClass, PromptSource, PromptSpec, WorkloadSpec};

/// How long the endpoint may take to list its models.
const DISCOVERY: Duration = Duration::from_secs(10);
/// Tokens that a chat template adds to a prompt, and tokens a word: typical values, unless a calibration says better.
const CHAT_OVERHEAD: f64 = 10.0;

/// The job that the flags describe; asks the endpoint for its model where none is named.
pub(super) fn build(args: &Args, key: Option<&str>) -> Result<TrialJob, Failure> {
    let url = args.target.url.as_deref().unwrap_or_default();
    let url: BaseUrl = url.parse().map_err(Failure::input)?;
    let (Some(rate), Some(duration)) = (args.load.rate, args.load.duration) else {
        return Err(Failure::input(anyhow!("--rate and --duration are needed")));
    };
    if duration.is_zero() {
        return Err(Failure::input(anyhow!("--duration must be longer than nothing")));
    }
    let api = Api::from(args.target.api);
    let encoding = encoding(args, api)?;
    let source = match &args.load.prompts_file {
        None => PromptSource::Builtin,
        Some(path) => PromptSource::File {
            digest: digest_of_file(path).map_err(Failure::input)?,
        },
    };
    let model = match &args.target.model {
        Some(name) => name.clone(),
        None => discover(&url, key)?,
    };
    let request = args.limits.request_timeout;
    let seconds = |limit: Option<Duration>| limit.unwrap_or(request).as_secs_f64();
    Ok(TrialJob {
        spec: TrialSpec {
            target: TargetSpec {
                label: url.to_string(),
                model: model.clone(),
                api: api.path().to_owned(),
            },
            workload: WorkloadSpec {
                classes: vec![LengthClass {
                    pair: TokenPair {
                        input: args.load.input_tokens,
                        output: args.load.output_tokens,
                    },
                    share: 1.0,
                }],
                arrival: args.load.arrival,
                prompts: PromptSpec {
                    source,
                    unique_prefix: !args.load.shared_prefix,
                },
                lengths: None,
            },
            rate,
            duration_s: duration.as_secs_f64(),
            loadgen: LoadGenSpec {
                name: "native".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                options: Vec::new(),
            },
            seed: args.load.seed,
            attempt: 0,
        },
        endpoint: Endpoint {
            base_url: url.to_string(),
            api,
            model,
        },
        limits: Limits {
            request_s: request.as_secs_f64(),
            ttft_s: seconds(args.limits.ttft_timeout),
            tpot_s: seconds(args.limits.tpot_timeout),
            drain_s: args.limits.drain.as_secs_f64(),
        },
        encoding,
        prompts_file: args.load.prompts_file.clone(),
        lengths: Vec::new(),
        fresh_connections: args.load.fresh_connections,
        results_json: ResultsJson::Off,
    })
}

fn encoding(args: &Args, api: Api) -> Result<PromptEncoding, Failure> {
    if let Some(path) = &args.load.tokenizer {
        return Ok(PromptEncoding::Tokenizer { path: path.clone() });
    }
    let kind = args.load.prompts.unwrap_or(match api {
        Api::Completions => PromptKind::Ids,
        Api::Chat => PromptKind::Words,
    });
    match (kind, api) {
        (PromptKind::Ids, Api::Chat) => Err(Failure::input(anyhow!(
            "--prompts ids: the chat API takes no token ids; use --prompts words, or --api completions"
        ))),
        (PromptKind::Ids, Api::Completions) => Ok(PromptEncoding::TokenIds {
            low: args.load.token_ids.min,
            high: args.load.token_ids.max.saturating_add(1),
        }),
        (PromptKind::Words, _) => Ok(PromptEncoding::Calibrated {
            overhead: if api == Api::Chat { CHAT_OVERHEAD } else { 0.0 },
            per_word: 1.0,
        }),
    }
}

/// The first model that the endpoint lists. One that does not know the path gets along without a name.
fn discover(url: &BaseUrl, key: Option<&str>) -> Result<String, Failure> {
    match endpoint::models(&url.to_string(), key, DISCOVERY) {
        Ok(models) => Ok(models.into_iter().next().unwrap_or_default()),
        Err(error @ EndpointError::NotFound { .. }) => Err(Failure::new(
            crate::cli::exit::Exit::Unreachable,
            anyhow!("{error}; where the endpoint lists no models, name one by --model"),
        )),
        Err(error) => Err(unusable(error)),
    }
}

/// Parses `32` or `100-200`.
pub(super) fn token_range(text: &str) -> Result<TokenRange, String> {
    let number = |t: &str| {
        t.trim()
            .parse::<u32>()
            .map_err(|_| format!("`{text}` is neither `32` nor `100-200`"))
    };
    let range = match text.split_once('-') {
        None => TokenRange::exactly(number(text)?),
        Some((low, high)) => TokenRange {
            min: number(low)?,
            max: number(high)?,
        },
    };
    if range.max == 0 || range.min > range.max {
        return Err(format!(
            "`{text}` holds no length: the upper end is at least 1 and not below the lower"
        ));
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_single_or_ranges() {
        assert_eq!(token_range("32"), Ok(TokenRange::exactly(32)));
        assert_eq!(token_range("0-5"), Ok(TokenRange { min: 0, max: 5 }));
        for bad in ["", "x", "0", "5-2", "-3", "1-2-3"] {
            assert!(token_range(bad).is_err(), "{bad}");
        }
    }
}
