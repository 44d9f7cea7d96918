//! What requests say: prompts from a file and prompts counted by a tokenizer.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mst::loadgen::native::{Native, TrialFailure};
use mst::loadgen::{LoadGenerator, TrialJob};
use mst::workload::PromptSource;
use mst::workload::prompts::digest_of_file;

use super::server::{Seen, Server, quick};
#[cfg(feature = "tokenizer")]
use super::trial;
use super::{minute_job, rows};

#[cfg(feature = "tokenizer")]
fn tokenizer() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/external/tokenizers/byte-level.json")
}

fn server() -> Server {
    Server::start(|_, request, stream| quick(request, stream))
}

/// Runs a short job that was changed by `change`, as a driver would.
fn run_job(server: &Server, dir: &Path, change: impl FnOnce(&mut TrialJob)) -> Option<i32> {
    let (mut job, _) = minute_job(server, dir);
    job.spec.duration_s = 0.5;
    job.limits.drain_s = 5.0;
    change(&mut job);
    let native = Native::with_program(env!("CARGO_BIN_EXE_mst").into());
    let [planned] = native.prepare(&job, dir).unwrap().try_into().unwrap();
    let mut command = Command::new(&planned.argv[0]);
    command.args(&planned.argv[1..]).stderr(Stdio::null());
    command.status().unwrap().code()
}

fn text(request: &Seen) -> &str {
    request.body["prompt"].as_str().unwrap()
}

#[test]
fn a_job_sends_the_texts_of_its_prompts_file() {
    let server = server();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("prompts.jsonl");
    let lines = [
        r#"{"text": "the first fits", "token_count": 6}"#,
        r#"{"text": "the second is too long for the class", "token_count": 60}"#,
        "",
        r#"{"prompt": "the third \"fits\" too", "token_count": 8}"#,
    ];
    std::fs::write(&file, lines.join("\n")).unwrap();
    let code = run_job(&server, dir.path(), |job| {
        job.spec.workload.prompts.source = PromptSource::File {
            digest: digest_of_file(&file).unwrap(),
        };
        job.spec.workload.prompts.unique_prefix = false;
        job.spec.workload.classes[0].pair.input.max = 8;
        job.prompts_file = Some(file.clone());
    });
    assert_eq!(code, Some(0));
    let requests = server.requests();
    assert_eq!(requests.len(), 10);
    let fitting = ["the first fits", "the third \"fits\" too"];
    assert!(requests.iter().all(|r| fitting.contains(&text(r))));
    // What counts as asked for is the length of the text that was sent.
    let short = requests.iter().filter(|r| text(r) == fitting[0]).count();
    let rows = rows(dir.path());
    assert_eq!(rows.iter().filter(|r| r.input_asked == 6).count(), short);
    assert_eq!(rows.iter().filter(|r| r.input_asked == 8).count(), 10 - short);
}

#[cfg(feature = "tokenizer")]
#[test]
fn a_job_sends_texts_that_its_tokenizer_counted() {
    let server = server();
    let dir = tempfile::tempdir().unwrap();
    let code = run_job(&server, dir.path(), |job| {
        job.encoding = mst::loadgen::PromptEncoding::Tokenizer { path: tokenizer() };
    });
    assert_eq!(code, Some(0));
    let tokenizer = tokenizers::Tokenizer::from_file(tokenizer()).unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 10);
    for request in &requests {
        let tokens = tokenizer.encode(text(request), true).unwrap().len();
        assert_eq!(tokens, 6, "{:?}", text(request));
    }
    let different: std::collections::HashSet<&str> = requests.iter().map(text).collect();
    assert_eq!(different.len(), 10);
}

#[test]
fn a_bad_line_in_a_prompts_file_is_a_bad_job_that_names_it() {
    let server = server();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("prompts.jsonl");
    std::fs::write(
        &file,
        "{\"text\": \"good\", \"token_count\": 6}\n{\"text\": \"no count\"}\n",
    )
    .unwrap();
    let code = run_job(&server, dir.path(), |job| {
        job.spec.workload.prompts.source = PromptSource::File {
            digest: digest_of_file(&file).unwrap(),
        };
        job.prompts_file = Some(file.clone());
    });
    assert_eq!(code, Some(3));
    let failure = TrialFailure::load(dir.path()).unwrap();
    assert_eq!(failure.kind, "bad-job");
    let place = format!("{}:2:", file.display());
    assert!(failure.message.contains(&place), "{}", failure.message);
}

#[cfg(feature = "tokenizer")]
#[test]
fn the_flags_name_a_prompts_file_and_a_tokenizer() {
    let server = server();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("prompts.jsonl");
    // No counts: the tokenizer's count decides.
    std::fs::write(&file, "{\"text\": \"It was a dark night on the river.\"}\n").unwrap();
    let tokenizer_file = tokenizer();
    let more = [
        "--model",
        "m",
        "--input-tokens",
        "2-40",
        "--shared-prefix",
        "--prompts-file",
        file.to_str().unwrap(),
        "--tokenizer",
        tokenizer_file.to_str().unwrap(),
    ];
    let ran = trial(&server.url, &more);
    assert_eq!(ran.summary["completed"], 20, "{}", ran.stderr);
    let requests = server.requests();
    assert!(
        requests
            .iter()
            .all(|r| text(r) == "It was a dark night on the river.")
    );
}
