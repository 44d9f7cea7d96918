//! The server's metrics, recorded while trials run: a queue that grows, and servers that offer none, are slow, or die.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mst::store::tables::{ServerLook, longest_queue, read_server_metrics};
use serde_json::Value;

use super::{Server, Workspace, stderr, walk};
use crate::support::mst;

/// One or two trials of four seconds each, which are not ended early, by the native load generator.
fn workspace(url: &str, extra: &str) -> Workspace {
    Workspace::native(&format!(
        "URL={url}\nTOKENS_LIST=8:4\nEVALUATION=welch\nDURATION=4s\nDRAIN=1s\nRETRIES=0\nMODEL_DISCOVERY_TIMEOUT=5s\n{extra}"
    ))
}

/// The looks of each trial, in order of time.
fn looks(space: &Workspace) -> Vec<(PathBuf, Vec<ServerLook>)> {
    let mut files = walk(&space.results(), "server_metrics.csv");
    files.sort();
    let read = |path: PathBuf| {
        let looks = read_server_metrics(&path).unwrap();
        (path, looks)
    };
    files.into_iter().map(read).collect()
}

/// Answers what `page` says for a request's number; nothing at all where it is `None`.
fn metrics(page: impl Fn(usize) -> Option<String> + Send + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/some/metrics", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            match page(count.fetch_add(1, Ordering::SeqCst)) {
                Some(answer) => {
                    let mut request = [0; 4096];
                    let read = stream.read(&mut request).unwrap_or(0);
                    let head = String::from_utf8_lossy(&request[..read]).into_owned();
                    assert!(head.starts_with("GET /some/metrics "), "{head}");
                    assert!(!head.contains("the-key"), "{head}");
                    let _ = stream.write_all(answer.as_bytes());
                }
                None => silent.push(stream),
            }
        }
    });
    (url, asked)
}

fn page(text: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )
}

#[test]
fn an_overloaded_server_shows_a_growing_queue() {
    // Four requests of four tokens in some 200 ms: 1,200 a minute.
    let slow = [
        "--batch-cap",
        "4",
        "--step-base",
        "50ms",
        "--jitter",
        "0",
        "--port",
        "0",
        "--kv-tokens",
        "1000",
    ];
    let server = Server::start(&slow, None);
    let space = workspace(&server.url, "REQ_MIN_START=6000\nITERATION_HARD_LIMIT=1");
    let (output, _) = space.answer(&[]);
    let looks = looks(&space);
    assert_eq!(looks.len(), 1, "{}", stderr(&output));
    let (path, looks) = &looks[0];
    let during: Vec<&ServerLook> = looks
        .iter()
        .filter(|l| (0.5..4.0).contains(&l.elapsed_s))
        .collect();
    assert!(during.len() >= 2, "{looks:?}");
    let waiting: Vec<f64> = during.iter().map(|l| l.waiting.unwrap()).collect();
    assert!(
        waiting.windows(2).all(|pair| pair[1] > pair[0] + 20.0),
        "{waiting:?}"
    );
    assert!(during.iter().all(|l| l.running == Some(4.0)), "{looks:?}");
    // Four of 12 tokens in a cache of 1000.
    assert!(
        during.iter().all(|l| l.kv_cache_usage == Some(0.048)),
        "{looks:?}"
    );
    assert!(looks.iter().all(|l| l.elapsed_s > -2.0 && l.elapsed_s < 12.0));
    let svg = std::fs::read_to_string(path.with_extension("svg")).unwrap();
    assert!(
        svg.contains("waiting") && svg.contains("8_4 at 6000 req/min"),
        "{svg}"
    );
    // The report tells it.
    let longest = longest_queue(looks).unwrap();
    let report = mst()
        .current_dir(space.path())
        .args(["report", "--format", "json"])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(report[0]["trials"][0]["longest_queue"].as_f64(), Some(longest));
    // Without the file it is not told, and nothing is missed.
    std::fs::remove_file(path).unwrap();
    let (output, answer) = space.answer(&[]);
    assert_eq!(answer[0]["trials_reused"], 1, "{}", stderr(&output));
    let report = mst()
        .current_dir(space.path())
        .args(["report", "--format", "json"])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert!(report[0]["trials"][0].get("longest_queue").is_none());
}

#[test]
fn a_server_without_metrics_or_a_slow_one_is_told_once_and_costs_nothing() {
    let server = Server::start(&["--port", "0"], None);
    for (answer, why) in [
        (
            Some("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".to_owned()),
            "404",
        ),
        (Some(page("<html>hello</html>")), "none of vLLM's"),
        (None, "within 2 s"),
    ] {
        let (url, asked) = metrics(move |_| answer.clone());
        let space = workspace(
            &server.url,
            &format!(
                "SERVER_METRICS_URL={url}\nAPI_KEY=the-key\nREQ_MIN_START=600\nITERATION_HARD_LIMIT=2\nDURATION=3s"
            ),
        );
        let (output, answer) = space.answer(&[]);
        let said = stderr(&output);
        assert_eq!(answer[0]["trials"], 2, "{said}");
        assert_eq!(said.matches("no metrics of the server").count(), 1, "{said}");
        assert!(said.contains(why), "{why}: {said}");
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{said}");
        assert!(looks(&space).is_empty());
    }
}

#[test]
fn metrics_that_end_in_the_middle_leave_a_gap() {
    let server = Server::start(&["--port", "0"], None);
    let (url, asked) = metrics(|number| {
        Some(match number {
            0 | 1 => page("llamacpp:requests_processing 2\nllamacpp:requests_deferred 7\n"),
            _ => "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".to_owned(),
        })
    });
    let space = workspace(
        &server.url,
        &format!("SERVER_METRICS_URL={url}\nREQ_MIN_START=600\nITERATION_HARD_LIMIT=1"),
    );
    let (output, answer) = space.answer(&[]);
    assert_eq!(answer[0]["trials"], 1, "{}", stderr(&output));
    assert!(!stderr(&output).contains("no metrics"), "{}", stderr(&output));
    let looks = looks(&space).remove(0).1;
    let waiting: Vec<Option<f64>> = looks.iter().map(|l| l.waiting).collect();
    assert_eq!(waiting[..2], [Some(7.0), Some(7.0)]);
    assert!(
        waiting.len() > 3 && waiting[2..].iter().all(Option::is_none),
        "{waiting:?}"
    );
    // About one a second.
    assert!(
        looks
            .windows(2)
            .all(|pair| pair[1].elapsed_s - pair[0].elapsed_s > 0.9),
        "{looks:?}"
    );
    assert!(asked.load(Ordering::SeqCst) <= 9);
}

#[test]
fn nobody_looks_where_that_is_not_wanted() {
    let server = Server::start(&["--port", "0"], None);
    let (url, asked) = metrics(|_| Some(page("vllm:num_requests_running 1\n")));
    let space = workspace(
        &server.url,
        &format!(
            "SERVER_METRICS=off\nSERVER_METRICS_URL={url}\nREQ_MIN_START=600\nITERATION_HARD_LIMIT=1\nDURATION=1s"
        ),
    );
    let (output, _) = space.answer(&[]);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(asked.load(Ordering::SeqCst), 0, "{}", stderr(&output));
    assert!(looks(&space).is_empty() && !stderr(&output).contains("no metrics"));
    let output = space.run(&["--set", "SERVER_METRICS=maybe"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("SERVER_METRICS"), "{}", stderr(&output));
}
