//! What is done between two trials so that the next one meets an idle server.

use std::path::Path;
use std::time::Duration;

use super::files::tail;
use crate::endpoint::{BaseUrl, EndpointError, discover};
use crate::executor::local::Local;
use crate::executor::{Executor, Exit};
use crate::loadgen::Command;
use crate::settings::Reset;

/// How long it may take.
const LIMIT: Duration = Duration::from_mins(5);

/// Does it once. `log` receives what a command writes.
///
/// # Errors
/// Why it failed, in a sentence.
pub(super) fn reset(
    how: &Reset,
    url: &str,
    key: Option<&str>,
    secrets: &[(String, String)],
    log: &Path,
    interrupted: &dyn Fn() -> bool,
) -> Result<(), String> {
    match how {
        Reset::Post(path) => post(url, path, key),
        Reset::Command(words) => command(words, url, secrets, log, interrupted),
    }
}

fn post(url: &str, path: &str, key: Option<&str>) -> Result<(), String> {
    let base: BaseUrl = url.parse().map_err(|e| format!("{e}"))?;
    match discover::post(&base, path, &serde_json::json!({}), key, LIMIT) {
        Ok(_) => Ok(()),
        Err(EndpointError::NotFound { url, .. }) => Err(format!(
            "SERVER_RESET: {url} answered 404; is that the path, and does the server offer it (vLLM does so with \
             VLLM_SERVER_DEV_MODE=1)?"
        )),
        Err(error) => Err(format!("SERVER_RESET: {error}")),
    }
}

fn command(
    words: &[String],
    url: &str,
    secrets: &[(String, String)],
    log: &Path,
    interrupted: &dyn Fn() -> bool,
) -> Result<(), String> {
    let command = Command {
        argv: words
            .iter()
            .map(|word| word.replace("{url}", url).into())
            .collect(),
        env: secrets.to_vec(),
        cwd: None,
        log: log.to_owned(),
        timeout: Some(LIMIT),
    };
    let mut running = Local.start(&command).map_err(|e| format!("SERVER_RESET: {e}"))?;
    let exit = loop {
        match running.poll().map_err(|e| format!("SERVER_RESET: {e}"))? {
            Some(exit) => break exit,
            None if interrupted() => {
                running.kill();
                return Err("SERVER_RESET: interrupted".to_owned());
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let how = match exit {
        Exit::Code(0) => return Ok(()),
        Exit::Code(code) => format!("ended with status {code}"),
        Exit::Signal(signal) => format!("was ended by signal {signal}"),
        Exit::TimedOut => format!("did not end within {} s", LIMIT.as_secs()),
    };
    let program = words.first().map_or("", String::as_str);
    Err(format!(
        "SERVER_RESET: `{program}` {how}; the end of its log ({}):\n{}",
        log.display(),
        tail(log, 10)
    ))
}
