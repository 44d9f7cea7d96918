//! From settings to the load generator that they name, and its identity.

use std::path::Path;

use crate::executor::local::Local;
use crate::executor::{Executor, Exit};
use crate::loadgen::aiperf::Aiperf;
use crate::loadgen::command::{CommandConfig, CommandLoad};
use crate::loadgen::fmperf::{Fmperf, FmperfConfig, FmperfEvents, FmperfPrompts, FmperfRequest};
use crate::loadgen::guidellm::Guidellm;
use crate::loadgen::inference_perf::InferencePerf;
use crate::loadgen::native::Native;
use crate::loadgen::tool::{Tool, ToolConfig};
use crate::loadgen::{Command, LoadGenError, LoadGenerator};
use crate::runner::TrialError;
use crate::settings::{self, LoadGenChoice, Settings, ToolName, ToolSettings};
use crate::store::fmperf_events::read_results_json;
use crate::trial::LoadGenSpec;

/// What the native load generator measures. Raised when a change makes its trials another measurement; not the
/// program's version, so that an upgrade in the middle of a campaign keeps what is measured.
const NATIVE_VERSION: &str = "1";

/// The load generator and its identity. For those in Python this starts it once, to see whether and which it is.
///
/// # Errors
/// When it cannot be used; the message says what to do.
pub fn load_generator(settings: &Settings) -> Result<(Box<dyn LoadGenerator>, LoadGenSpec), TrialError> {
    let mut options = vec![
        (
            "request_timeout_s".to_owned(),
            settings.request_timeout.as_secs_f64().to_string(),
        ),
        (
            "ttft_timeout_s".to_owned(),
            settings.ttft_timeout.as_secs_f64().to_string(),
        ),
        (
            "tpot_timeout_s".to_owned(),
            settings.tpot_timeout.as_secs_f64().to_string(),
        ),
    ];
    let (generator, version): (Box<dyn LoadGenerator>, String) = match &settings.loadgen {
        LoadGenChoice::Native { fresh_connections } => {
            if *fresh_connections {
                options.push(("fresh_connections".to_owned(), "true".to_owned()));
            }
            (
                Box::new(Native::new().map_err(LoadGenError::from)?),
                NATIVE_VERSION.to_owned(),
            )
        }
        LoadGenChoice::Command(choice) => {
            let command = CommandLoad::new(CommandConfig {
                argv: choice.argv.clone(),
                output: choice.output.clone(),
                columns: choice.columns.clone(),
            })?;
            let digest = command.digest();
            (Box::new(command), digest)
        }
        LoadGenChoice::Tool(choice) => {
            options.push(("tokenizer".to_owned(), tokenizer_digest(&choice.tokenizer)?));
            tool(choice, settings.api_key.is_some())?
        }
        LoadGenChoice::Fmperf(choice) => {
            let fmperf = Fmperf::new(
                FmperfConfig {
                    python: choice.python.clone(),
                    workdir: choice.workdir.clone(),
                    prompts: match &choice.prompt_source {
                        settings::FmperfPrompts::Native => FmperfPrompts::Native,
                        settings::FmperfPrompts::File(path) => FmperfPrompts::File(path.clone()),
                        settings::FmperfPrompts::Fmperf => FmperfPrompts::Fmperf,
                    },
                    passed_on: choice.passed_on.clone(),
                    api_key: settings.api_key.is_some(),
                },
                fmperf_events,
            );
            let version = fmperf_version(&fmperf)?;
            (Box::new(fmperf), version)
        }
    };
    let name = generator.name().to_owned();
    Ok((
        generator,
        LoadGenSpec {
            name,
            version,
            options,
        },
    ))
}

/// A load generator from Python's package index, and its version.
fn tool(choice: &ToolSettings, api_key: bool) -> Result<(Box<dyn LoadGenerator>, String), TrialError> {
    let config = ToolConfig {
        argv: choice.argv.clone(),
        tokenizer: choice.tokenizer.clone(),
        api_key,
    };
    Ok(match choice.tool {
        ToolName::Guidellm => checked(Guidellm::new(config))?,
        ToolName::Aiperf => checked(Aiperf::new(config))?,
        ToolName::InferencePerf => checked(InferencePerf::new(config))?,
    })
}

/// Runs the check of such a load generator.
fn checked(tool: impl Tool + 'static) -> Result<(Box<dyn LoadGenerator>, String), TrialError> {
    let dir = tempfile::tempdir().map_err(LoadGenError::from)?;
    // A program that is not there cannot be started; the explanation says what to do about it.
    let succeeded = matches!(complete(&tool.check(dir.path())?), Ok(Exit::Code(0)));
    let version = tool.explain_check(succeeded, dir.path())?;
    Ok((Box::new(tool), version))
}

/// The content of a tokenizer decides the prompts; its place does not.
fn tokenizer_digest(path: &Path) -> Result<String, TrialError> {
    let file = if path.is_dir() {
        path.join("tokenizer.json")
    } else {
        path.to_owned()
    };
    let text = fs_err::read(&file).map_err(LoadGenError::from)?;
    Ok(blake3::hash(&text).to_hex()[..16].to_owned())
}

/// Runs fmperf's check.
fn fmperf_version(fmperf: &Fmperf) -> Result<String, TrialError> {
    let dir = tempfile::tempdir().map_err(LoadGenError::from)?;
    let succeeded = complete(&fmperf.check(dir.path())?)? == Exit::Code(0);
    Ok(fmperf.explain_check(succeeded, dir.path())?)
}

/// Runs a short command to its end.
fn complete(command: &Command) -> Result<Exit, TrialError> {
    let mut running = Local.start(command)?;
    loop {
        if let Some(exit) = running.poll()? {
            return Ok(exit);
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Reads fmperf's `results.json` by way of the archive's reader.
fn fmperf_events(path: &Path) -> Result<FmperfEvents, LoadGenError> {
    let log = read_results_json(path).map_err(|e| LoadGenError::Output {
        path: path.to_owned(),
        why: e.to_string(),
    })?;
    let requests = log
        .requests
        .iter()
        .map(|r| FmperfRequest {
            worker: u32::try_from(r.worker).unwrap_or(0),
            index: u32::try_from(r.index).unwrap_or(0),
            sample: r.sample,
            sent_ns: r.sent_ns(),
            first_token_ns: r.first_token_ns,
            done_ns: r.last_timestamp_ns,
            tokens: r.tokens,
            ok: r.success,
            error: r.error.as_deref().map(str::to_owned),
        })
        .collect();
    Ok(FmperfEvents {
        requests,
        asked_per_minute: log.req_min,
        workers: log.users,
    })
}
