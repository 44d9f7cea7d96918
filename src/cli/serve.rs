//! `mst serve`.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Format;
use super::exit::{Exit, Failure, Outcome};
use crate::endpoint::embedded::{EmbeddedConfig, EmbeddedError, EmbeddedServer};
use crate::sim::affine::{CapacityMethod, OverloadStatus, ReplicaConfig, TrueCapacity, true_capacity};
use crate::units::{Plain, TokenPair, TokenRange};
use crate::workload::LengthClass;

/// Serve the embedded simulated endpoint.
///
/// An OpenAI-compatible server whose answers are paced by a replica with continuous batching: a step makes
/// one token for each running request, and takes step-base, step-per-seq for each of them, and prefill-base and
/// prefill-per-token for each request that it admits. So its true capacity is known. One word of a prompt, or one token
/// id, is one token.
///
/// It serves until SIGINT or SIGTERM, and then exits with 0.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// Port, in place of that of --listen; 0 takes a free one, which the first line on stdout tells
    #[arg(long)]
    port: Option<u16>,
    /// Name of the model
    #[arg(long, default_value = "simulated")]
    model: String,
    /// Demand the API key that this environment variable holds
    #[arg(long, value_name = "NAME")]
    api_key_env: Option<String>,
    /// Print the true capacity for requests of this size; ranges as 100-200:1-50
    #[arg(long, value_name = "IN:OUT", value_parser = pair)]
    tokens: Option<TokenPair>,
    /// How the line on stdout is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    replica: ReplicaArgs,
    #[command(flatten)]
    behaviour: BehaviourArgs,
}

/// The replica; what is not given comes from the profile.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Replica")]
struct ReplicaArgs {
    /// Where the values that are not given come from
    #[arg(long, value_enum, default_value_t)]
    profile: Profile,
    /// Most requests in a batch [large: 64, demo: 32]
    #[arg(long, value_name = "N")]
    batch_cap: Option<u32>,
    /// Time of a step without any request [large: 8ms, demo: 6ms]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    step_base: Option<Duration>,
    /// Time that each running request adds to a step [large: 60us, demo: 100us]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    step_per_seq: Option<Duration>,
    /// Time that each admitted request adds to its first step [large: 500us, demo: 200us]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    prefill_base: Option<Duration>,
    /// Time that each prompt token adds to that step [large: 40us, demo: 20us]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    prefill_per_token: Option<Duration>,
    /// Room of the KV cache in tokens [default: unlimited]
    #[arg(long, value_name = "TOKENS")]
    kv_tokens: Option<u64>,
    /// Most waiting requests; more are refused [default: unlimited]
    #[arg(long, value_name = "N")]
    queue_limit: Option<u32>,
    /// HTTP status of a refused request: 429 or 503 [default: 503]
    #[arg(long, value_name = "STATUS", value_parser = overload_status)]
    overload_status: Option<OverloadStatus>,
    /// Coefficient of variation of the step time [large: 0, demo: 0.05]
    #[arg(long, value_name = "FRACTION")]
    jitter: Option<f64>,
    /// Time before it answers; /health says 503 until then [default: 0s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    startup: Option<Duration>,
    /// Seed of the jitter [default: 0]
    #[arg(long)]
    seed: Option<u64>,
}

/// What is not the replica's.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Behaviour")]
struct BehaviourArgs {
    /// End responses after this many tokens, unless a request says ignore_eos or min_tokens
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..))]
    eos_after: Option<u32>,
    /// Refuse streaming requests as vLLM does: status 200, then an error frame
    #[arg(long)]
    refuse_in_stream: bool,
}

/// A set of values for the replica.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Profile {
    /// Resembles a model of some 8 billion parameters on one large accelerator
    #[default]
    Large,
    /// The server of mst run without a URL: some 11,000 requests/min of 32:16
    Demo,
}

/// Shown below the long help.
const EXAMPLES: &str = "\
Examples:
  mst serve --port 0 --tokens 128:128
  mst serve --profile demo --listen 0.0.0.0:8000
  mst serve --batch-cap 16 --step-base 8ms --queue-limit 50 --overload-status 429
  SERVE_KEY=… mst serve --api-key-env SERVE_KEY --startup 5s --format json";

/// Runs the verb.
pub(crate) fn run(args: Args) -> Outcome {
    let (tokens, format) = (args.tokens, args.format);
    let config = args.into_config().map_err(Failure::input)?;
    let class = tokens.map(|pair| LengthClass { pair, share: 1.0 });
    let capacity = match class {
        Some(class) => Some(true_capacity(&config.replica, &[class]).map_err(Failure::input)?),
        None => None,
    };
    // Before the server starts: a signal that comes at once must not be missed.
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot wait for signals")?;
    let server = EmbeddedServer::start(config).map_err(|error| match error {
        EmbeddedError::System(_) => Failure::from(error),
        EmbeddedError::Config(_) | EmbeddedError::Listen { .. } => Failure::input(error),
    })?;
    announce(&server, tokens.zip(capacity), format)?;
    let _ = signals.forever().next();
    server.shutdown();
    Ok(Exit::Done)
}

impl Args {
    fn into_config(self) -> anyhow::Result<EmbeddedConfig> {
        let mut listen = self.listen;
        if let Some(port) = self.port {
            listen.set_port(port);
        }
        let api_key = match &self.api_key_env {
            None => None,
            Some(name) => match std::env::var(name) {
                Ok(key) if !key.is_empty() => Some(key),
                _ => {
                    return Err(anyhow!(
                        "--api-key-env {name}: the environment variable {name} is not set; set it to the key"
                    ));
                }
            },
        };
        let replica = self.replica.config();
        replica.validate()?;
        Ok(EmbeddedConfig {
            replica,
            model: self.model,
            listen,
            api_key,
            eos_after: self.behaviour.eos_after,
            refuse_in_stream: self.behaviour.refuse_in_stream,
        })
    }
}

impl ReplicaArgs {
    fn config(&self) -> ReplicaConfig {
        let profile = match self.profile {
            Profile::Large => ReplicaConfig::default(),
            Profile::Demo => ReplicaConfig::demo(),
        };
        let us = |given: Option<Duration>, else_: f64| given.map_or(else_, |d| d.as_secs_f64() * 1e6);
        ReplicaConfig {
            batch_cap: self.batch_cap.unwrap_or(profile.batch_cap),
            step_base_us: us(self.step_base, profile.step_base_us),
            step_per_seq_us: us(self.step_per_seq, profile.step_per_seq_us),
            prefill_us_per_token: us(self.prefill_per_token, profile.prefill_us_per_token),
            prefill_base_us: us(self.prefill_base, profile.prefill_base_us),
            kv_tokens: self.kv_tokens.or(profile.kv_tokens),
            queue_limit: self.queue_limit.or(profile.queue_limit),
            overload_status: self.overload_status.unwrap_or(profile.overload_status),
            jitter: self.jitter.unwrap_or(profile.jitter),
            startup_s: self.startup.map_or(profile.startup_s, |d| d.as_secs_f64()),
            seed: self.seed.unwrap_or(profile.seed),
        }
    }
}

/// The one line on stdout.
fn announce(
    server: &EmbeddedServer,
    capacity: Option<(TokenPair, TrueCapacity)>,
    format: Format,
) -> std::io::Result<()> {
    let (url, model) = (server.base_url(), server.model());
    let line = match format {
        Format::Json => json!({
            "url": url, "model": model, "label": server.label(),
            "tokens": capacity.map(|(tokens, _)| tokens.to_string()),
            "true_capacity_per_minute": capacity.map(|(_, c)| c.rate.as_per_minute()),
            "capacity_method": capacity.map(|(_, c)| c.method),
        })
        .to_string(),
        Format::Human => match capacity {
            None => format!("{url} model {model}"),
            Some((tokens, capacity)) => {
                let rate = Plain((capacity.rate.as_per_minute() * 10.0).round() / 10.0);
                let error = match capacity.method {
                    CapacityMethod::ClosedForm => "exact".to_owned(),
                    CapacityMethod::LongRun => {
                        format!("simulated, +-{} %", Plain(capacity.relative_error * 196.0))
                    }
                };
                format!("{url} model {model} true capacity for {tokens}: {rate} req/min ({error})")
            }
        },
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

fn overload_status(text: &str) -> Result<OverloadStatus, String> {
    match text {
        "429" => Ok(OverloadStatus::TooManyRequests),
        "503" => Ok(OverloadStatus::Unavailable),
        _ => Err("write 429 or 503".to_owned()),
    }
}

/// `128:128`, `100-200:0-100`.
fn pair(text: &str) -> Result<TokenPair, String> {
    let range = |part: &str| -> Option<TokenRange> {
        let (min, max) = part.split_once('-').unwrap_or((part, part));
        let range = TokenRange {
            min: min.trim().parse().ok()?,
            max: max.trim().parse().ok()?,
        };
        (range.max >= 1 && range.min <= range.max).then_some(range)
    };
    text.split_once(':')
        .and_then(|(input, output)| {
            Some(TokenPair {
                input: range(input)?,
                output: range(output)?,
            })
        })
        .ok_or_else(|| "write input:output, as 128:128 or 100-200:1-50".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_and_ranges_are_read() {
        let read = |text| pair(text).map(|p| p.to_string());
        assert_eq!(read("128:64"), Ok("128:64".to_owned()));
        assert_eq!(read("100-200:0-9"), Ok("100-200:0-9".to_owned()));
        for bad in ["", "128", "0:1", "1:0", "9-3:1", "a:b", "1:2:3"] {
            assert!(pair(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_help_tells_the_values_of_the_profiles() {
        #[derive(clap::Parser)]
        struct Alone {
            #[command(flatten)]
            args: Args,
        }
        let help = <Alone as clap::CommandFactory>::command()
            .render_long_help()
            .to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        let (large, demo) = (ReplicaConfig::default(), ReplicaConfig::demo());
        let time = |us: f64| humantime::format_duration(Duration::from_nanos((us * 1e3) as u64)).to_string();
        for (large, demo) in [
            (large.batch_cap.to_string(), demo.batch_cap.to_string()),
            (time(large.step_base_us), time(demo.step_base_us)),
            (time(large.step_per_seq_us), time(demo.step_per_seq_us)),
            (time(large.prefill_base_us), time(demo.prefill_base_us)),
            (time(large.prefill_us_per_token), time(demo.prefill_us_per_token)),
            (large.jitter.to_string(), demo.jitter.to_string()),
        ] {
            let values = format!("[large: {large}, demo: {demo}]");
            assert!(help.contains(&values), "{values} is not in {help}");
        }
        let Alone { args } = clap::Parser::parse_from(["serve", "--profile", "demo"]);
        assert_eq!(args.replica.config(), ReplicaConfig::demo());
    }
}
