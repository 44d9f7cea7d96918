//! `mst trial`.

mod human;
mod job;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;

use super::Format;
use super::exit::{Exit, Failure, Outcome};
use crate::endpoint::{EndpointError, clock};
use crate::loadgen::native::{self, JOB_FILE, RunOptions, Summary, TrialFailure};
use crate::loadgen::{API_KEY_VARIABLE, Api, TrialJob};
use crate::units::{Rate, TokenRange};
use crate::workload::Arrival;

/// Run one trial with the native load generator.
///
/// Sends requests open loop at their intended times, never waiting for answers, and reports latencies, outcomes and
/// whether the client itself kept its schedule.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Run the job that a driver left in DIR/job.json, and leave the results there; the API key comes from MST_API_KEY.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["url", "out"])]
    job: Option<PathBuf>,
    /// End when the parent process does.
    #[arg(long, requires = "job", hide = true)]
    die_with_parent: bool,
    /// Take the time of our own reads in place of the kernel's receive stamps, to compare.
    #[arg(long)]
    no_kernel_timestamps: bool,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Keep the results (requests.jsonl.zst, progress.jsonl, summary.json) in this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    limits: LimitArgs,
}

/// Where requests go.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Target")]
struct Target {
    /// The endpoint: host:port, http://host:port or https://host/v1.
    #[arg(long, required_unless_present = "job", value_name = "URL")]
    url: Option<String>,
    /// Which API.
    #[arg(long, value_enum, default_value_t = ApiName::Completions)]
    api: ApiName,
    /// The model's name [default: the first that /v1/models lists].
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// The environment variable that holds the API key [default: MST_API_KEY, if it is set].
    #[arg(long, value_name = "VARIABLE")]
    api_key_env: Option<String>,
}

/// What is sent.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Load")]
struct Load {
    /// Requests per minute, or with a unit: 300, 300/min, 5/s.
    #[arg(long, required_unless_present = "job", value_name = "RATE")]
    rate: Option<Rate>,
    /// How long requests are sent.
    #[arg(long, required_unless_present = "job", value_name = "TIME", value_parser = seconds_or_units)]
    duration: Option<Duration>,
    /// Prompt tokens, or a range LOW-HIGH.
    #[arg(long, default_value = "128", value_name = "N", value_parser = job::token_range)]
    input_tokens: TokenRange,
    /// Response tokens, or a range LOW-HIGH.
    #[arg(long, default_value = "128", value_name = "N", value_parser = job::token_range)]
    output_tokens: TokenRange,
    /// Arrival process: poisson, stratified, constant, gamma:CV, fmperf or clipped-poisson.
    #[arg(long, default_value = "poisson", value_name = "PROCESS")]
    arrival: Arrival,
    /// Seeds arrivals, lengths and prompts.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// What prompts are made of.
    #[arg(long, value_enum, value_name = "KIND")]
    prompts: Option<PromptKind>,
    /// Take prompts from FILE: one JSON object a line with text and token_count; those within --input-tokens are used.
    #[arg(long, value_name = "FILE", conflicts_with = "prompts")]
    prompts_file: Option<PathBuf>,
    /// Count prompts with the model's tokenizer.json, so that text has the exact length.
    #[arg(long, value_name = "FILE", conflicts_with = "prompts")]
    tokenizer: Option<PathBuf>,
    /// Token ids are drawn from LOW-HIGH.
    #[arg(long, default_value = "1000-29999", value_name = "RANGE", value_parser = job::token_range)]
    token_ids: TokenRange,
    /// Let prompts share their first tokens, so that a prefix cache helps.
    #[arg(long)]
    shared_prefix: bool,
    /// Open a connection for every request.
    #[arg(long)]
    fresh_connections: bool,
}

/// How long is waited.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Time limits")]
struct LimitArgs {
    /// For a whole request.
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = seconds_or_units)]
    request_timeout: Duration,
    /// For the first token [default: that of a request].
    #[arg(long, value_name = "TIME", value_parser = seconds_or_units)]
    ttft_timeout: Option<Duration>,
    /// Between two tokens [default: that of a request].
    #[arg(long, value_name = "TIME", value_parser = seconds_or_units)]
    tpot_timeout: Option<Duration>,
    /// How long to wait for open requests after the last was sent.
    #[arg(long, default_value = "60s", value_name = "TIME", value_parser = seconds_or_units)]
    drain: Duration,
}

/// An API by the name of its flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ApiName {
    /// /v1/completions.
    Completions,
    /// /v1/chat/completions.
    Chat,
}

impl From<ApiName> for Api {
    fn from(name: ApiName) -> Self {
        match name {
            ApiName::Completions => Self::Completions,
            ApiName::Chat => Self::Chat,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PromptKind {
    /// Lists of token ids: exact lengths without a tokenizer (completions only; its default).
    Ids,
    /// Plain words, about one token each: inexact lengths (the default of chat).
    Words,
}

/// Shown below the long help.
const EXAMPLES: &str = "\
Examples:
  mst trial --url localhost:8000 --rate 5/s --duration 30s --input-tokens 128 --output-tokens 128
  mst trial --url https://host/v1 --api chat --rate 300 --duration 5m --format json
  mst trial --url localhost:8000 --rate 100/s --duration 10s --arrival constant --out results/
  mst trial --url localhost:8000 --rate 2/s --duration 1m --tokenizer tokenizer.json --prompts-file prompts.jsonl --input-tokens 100-200

A trial whose client did not keep its schedule is void: client.void says why,
and the exit code is 10.";

/// A duration with a unit, or a plain number of seconds as in `.env`.
pub(super) fn seconds_or_units(text: &str) -> Result<Duration, String> {
    match text.trim().parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string()),
        Err(_) => {
            humantime::parse_duration(text).map_err(|e| format!("{e}; write for example `30s` or `5m`"))
        }
    }
}

/// Runs the verb.
#[expect(clippy::needless_pass_by_value, reason = "the signature of every verb")]
pub(crate) fn run(args: Args) -> Outcome {
    let started = clock::monotonic_ns();
    let options = |key| RunOptions {
        key,
        user_timestamps: args.no_kernel_timestamps,
        program_start_ns: Some(started),
    };
    if let Some(dir) = &args.job {
        if args.die_with_parent {
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)
                .context("failed to tie to the parent")?;
        }
        let summary = native::run(&load_job(dir)?, dir, &options(key(API_KEY_VARIABLE)?)).map_err(failed)?;
        // The driver reads in the summary that a trial is void; its measurement is complete all the same.
        return Ok(if summary.interrupted_by.is_some() {
            exit(&summary)
        } else {
            Exit::Done
        });
    }
    let key = api_key(args.target.api_key_env.as_deref())?;
    let job = job::build(&args, key.as_deref())?;
    let scratch = tempfile::tempdir().context("failed to make a temporary folder")?;
    let dir = match &args.out {
        None => scratch.path(),
        Some(dir) => {
            fs_err::create_dir_all(dir)?;
            if let Some(file) = ["stop", "summary.json"]
                .into_iter()
                .find(|f| dir.join(f).exists())
            {
                let error = anyhow::anyhow!("{} already has `{file}`: name another folder", dir.display());
                return Err(Failure::input(error));
            }
            dir
        }
    };
    let summary = native::run(&job, dir, &options(key)).map_err(failed)?;
    print(&summary, args.format)?;
    if let Some(why) = &summary.client.void {
        eprintln!("void: {why}");
    }
    Ok(exit(&summary))
}

/// The job in `dir`.
fn load_job(dir: &Path) -> Result<TrialJob, Failure> {
    let path = dir.join(JOB_FILE);
    let text = fs_err::read(&path).map_err(Failure::input)?;
    let parsed = serde_json::from_slice(&text).with_context(|| format!("{} is not a job", path.display()));
    parsed.map_err(Failure::input)
}

/// The key in the variable that `--api-key-env` names, which must be set then, else in `MST_API_KEY`.
pub(super) fn api_key(variable: Option<&str>) -> Result<Option<String>, Failure> {
    match variable {
        None => key(API_KEY_VARIABLE),
        Some(name) => Ok(Some(key(name)?.ok_or_else(|| {
            Failure::input(anyhow::anyhow!("--api-key-env {name}: that variable is not set"))
        })?)),
    }
}

/// The key in the environment variable `name`, where it is set to something.
fn key(name: &str) -> Result<Option<String>, Failure> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value.trim().to_owned()).filter(|v| !v.is_empty())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(Failure::input(anyhow::anyhow!(
            "the API key in {name} is not UTF-8 text"
        ))),
    }
}

/// How the program ends after a trial that could not be made.
pub(super) fn failed(failure: TrialFailure) -> Failure {
    let exit = match failure.kind.as_str() {
        "bad-job" | "bad-url" => Exit::Input,
        _ if failure.is_endpoint() => Exit::Unreachable,
        _ => Exit::LoadGenerator,
    };
    Failure::new(exit, failure)
}

/// How the program ends because of what an endpoint said before the trial.
pub(super) fn unusable(error: EndpointError) -> Failure {
    failed(TrialFailure::from(error))
}

/// How the program ends after a trial.
fn exit(summary: &Summary) -> Exit {
    match summary.interrupted_by {
        Some(signal) if signal == nix::sys::signal::Signal::SIGTERM as i32 => Exit::Terminated,
        Some(_) => Exit::Interrupted,
        None if summary.client.void.is_some() => Exit::LoadGenerator,
        None => Exit::Done,
    }
}

fn print(summary: &Summary, format: Format) -> anyhow::Result<()> {
    use std::io::Write;
    let text = match format {
        Format::Json => serde_json::to_string_pretty(summary)? + "\n",
        Format::Human => human::table(summary),
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}
