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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// Answers one request with this status and returns its first line.
    fn answer(status: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = [0; 4096];
            let read = stream.read(&mut text).unwrap();
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").unwrap();
            let text = String::from_utf8_lossy(&text[..read]).into_owned();
            text.lines().next().unwrap_or("").to_owned()
        });
        (url, thread)
    }

    #[test]
    fn a_path_is_posted_to() {
        let how = Reset::Post("/reset_prefix_cache".to_owned());
        let once = |url: &str| reset(&how, url, None, &[], Path::new("/dev/null"), &|| false);
        let (url, asked) = answer("200 OK");
        once(&url).unwrap();
        assert_eq!(asked.join().unwrap(), "POST /reset_prefix_cache HTTP/1.1");
        let (url, asked) = answer("404 Not Found");
        let told = once(&url).unwrap_err();
        assert!(told.contains("/reset_prefix_cache answered 404"), "{told}");
        asked.join().unwrap();
    }

    #[test]
    fn a_command_that_fails_is_told_with_what_it_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let words = ["sh", "-c", "echo cannot reach $0; exit 7", "{url}"].map(str::to_owned);
        let how = Reset::Command(words.to_vec());
        let told = reset(&how, "http://h:1", None, &[], &log, &|| false).unwrap_err();
        assert!(
            told.contains("status 7") && told.contains("cannot reach http://h:1"),
            "{told}"
        );
    }
}
