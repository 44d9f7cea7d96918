//! Model discovery and health: each bad endpoint has its own error, which says what to do.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use mst::endpoint::{health, models, served};

/// Answers every connection with the same bytes; nothing at all when there are none.
fn saying(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = [0; 4096];
            if answer.is_empty() {
                silent.push(stream);
            } else if stream.read(&mut request).is_ok() {
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
    url
}

#[test]
fn models_are_listed_or_the_error_says_why_not() {
    let limit = Duration::from_millis(500);
    let good =
        saying("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n{\"data\":[{\"id\":\"a\"},{\"id\":\"b\"}]}");
    // The length is that of the answer, to the byte.
    assert!(models(&good, None, limit).is_err());
    let good =
        saying("HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n{\"data\":[{\"id\":\"a\"},{\"id\":\"b\"}]}");
    assert_eq!(models(&good, Some("key"), limit).unwrap(), ["a", "b"]);
    // How long a request may be, as vLLM and llama.cpp tell it, and where nobody does.
    let lengths = saying(
        "HTTP/1.1 200 OK\r\nContent-Length: 176\r\n\r\n{\"data\":[{\"id\":\"a\",\"max_model_len\":4096},\
         {\"id\":\"b\",\"meta\":{\"n_ctx\":512,\"n_ctx_train\":8192}},{\"id\":\"c\",\"meta\":{\"n_ctx_train\":2048}},\
         {\"id\":\"d\",\"max_model_len\":null,\"meta\":null}]}",
    );
    let lengths: Vec<Option<u32>> = served(&lengths, None, limit)
        .unwrap()
        .iter()
        .map(|model| model.max_model_len)
        .collect();
    assert_eq!(lengths, [Some(4096), Some(512), Some(2048), None]);
    for (answer, kind, words) in [
        (
            "HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n",
            "unauthorized",
            "API_KEY",
        ),
        (
            "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
            "not-found",
            "check the URL",
        ),
        (
            "HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\noops",
            "bad-endpoint",
            "oops",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n<html></html>",
            "bad-endpoint",
            "OpenAI",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"data\":[]}",
            "bad-endpoint",
            "no model",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"data\"",
            "bad-endpoint",
            "broke off",
        ),
        ("SSH-2.0-OpenSSH\r\n\r\n", "bad-endpoint", "not HTTP"),
        ("", "timeout", "still loading"),
    ] {
        let error = models(&saying(answer), None, limit).unwrap_err();
        assert_eq!(error.kind(), kind, "{answer:?}: {error}");
        assert!(error.to_string().contains(words), "{answer:?}: {error}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(
        models(&closed.to_string(), None, limit).unwrap_err().kind(),
        "unreachable"
    );
    assert_eq!(models("ftp://x", None, limit).unwrap_err().kind(), "bad-url");
    health(
        &saying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        None,
        limit,
    )
    .unwrap();
    let loading = saying("HTTP/1.1 503 No\r\nContent-Length: 7\r\n\r\nloading");
    assert!(
        health(&loading, None, limit)
            .unwrap_err()
            .to_string()
            .contains("loading")
    );
}
