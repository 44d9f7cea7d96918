//! Everything that a server can do wrong has an outcome of its own, and an endpoint that cannot be used an error.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use super::server::{After, Seen, Server, begin, end, piece, quick, status, token, usage};
use super::trial;

type Behaviour = fn(&Seen, &mut TcpStream) -> std::io::Result<After>;

/// One bad behaviour: every request but the probe meets it.
struct Case {
    name: &'static str,
    behaviour: Behaviour,
    outcome: &'static str,
    flags: &'static [&'static str],
}

const fn case(name: &'static str, outcome: &'static str, behaviour: Behaviour) -> Case {
    Case {
        name,
        behaviour,
        outcome,
        flags: &[],
    }
}

fn tokens(stream: &mut TcpStream, count: u64, finish: Option<&str>) -> std::io::Result<()> {
    begin(stream)?;
    for number in 1..=count {
        piece(stream, &token(finish.filter(|_| number == count)))?;
    }
    Ok(())
}

const CASES: [Case; 19] = [
    case("429", "http-429", |_, s| {
        status(s, 429, "application/json", r#"{"error":{"message":"slow down"}}"#)
    }),
    case("503", "http-503", |_, s| status(s, 503, "text/plain", "busy")),
    case("401 later", "http-401", |_, s| {
        status(s, 401, "text/plain", "key expired")
    }),
    case("HTML", "bad-response", |_, s| {
        status(s, 200, "text/html", "<html>\n<body>hello</body></html>")
    }),
    case("no stream", "bad-response", |_, s| {
        status(
            s,
            200,
            "application/json",
            r#"{"choices":[{"text":"all at once"}]}"#,
        )
    }),
    case("not HTTP", "bad-response", |_, s| {
        s.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")?;
        Ok(After::Close)
    }),
    case("bad JSON", "bad-response", |_, s| {
        begin(s)?;
        piece(s, "data: {\"choices\":[{\"text\"\n\n")?;
        end(s)
    }),
    case("half a stream, reset", "broken-stream", |_, s| {
        tokens(s, 2, None)?;
        Ok(After::Close)
    }),
    case("half a stream, ended", "broken-stream", |_, s| {
        tokens(s, 2, None)?;
        end(s)
    }),
    case("closed at once", "broken-stream", |_, _| Ok(After::Close)),
    case("error frame", "error-frame-503", |_, s| {
        begin(s)?;
        piece(
            s,
            "data: {\"error\":{\"message\":\"queue full\",\"code\":503}}\n\ndata: [DONE]\n\n",
        )?;
        end(s)
    }),
    case("error after tokens", "error-frame", |_, s| {
        tokens(s, 2, None)?;
        piece(s, "event: error\ndata: out of memory\n\n")?;
        end(s)
    }),
    case("short output", "wrong-length", |_, s| {
        tokens(s, 3, Some("stop"))?;
        piece(s, &usage(6, 3))?;
        end(s)
    }),
    case("no tokens", "no-tokens", |_, s| {
        begin(s)?;
        piece(
            s,
            "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
        )?;
        end(s)
    }),
    case("no usage", "ok", |_, s| {
        tokens(s, 4, Some("length"))?;
        end(s)
    }),
    case("many tokens a chunk", "ok", |_, s| {
        begin(s)?;
        let all = [
            token(None),
            token(None),
            token(None),
            token(Some("length")),
            usage(6, 4),
        ]
        .concat();
        piece(s, &all)?;
        end(s)
    }),
    case("split anywhere", "ok", |_, s| {
        begin(s)?;
        let all = [
            token(None),
            token(None),
            token(None),
            token(Some("length")),
            usage(6, 4),
        ]
        .concat();
        for at in (0..all.len()).step_by(7) {
            piece(
                s,
                &all[at..(at + 7).min(all.len())]
                    .replace('\n', "\r\n")
                    .replace("\r\n", "\n"),
            )?;
        }
        end(s)
    }),
    Case {
        name: "never answers",
        behaviour: |_, _| {
            std::thread::sleep(Duration::from_secs(20));
            Ok(After::Close)
        },
        outcome: "timeout-ttft",
        flags: &["--ttft-timeout", "300ms"],
    },
    Case {
        name: "stalls",
        behaviour: |_, s| {
            tokens(s, 2, None)?;
            std::thread::sleep(Duration::from_secs(20));
            Ok(After::Close)
        },
        outcome: "timeout-tpot",
        flags: &["--tpot-timeout", "300ms"],
    },
];

#[test]
fn every_bad_answer_has_its_outcome() {
    for case in CASES {
        let behaviour = case.behaviour;
        let server = Server::start(move |number, request, stream| {
            if number == 0 {
                quick(request, stream)
            } else {
                behaviour(request, stream)
            }
        });
        let mut flags = vec!["--model", "m", "--rate", "50/s", "--duration", "200ms"];
        flags.extend(case.flags);
        let ran = trial(&server.url, &flags);
        let found = &ran.summary["outcomes"];
        assert_eq!(
            *found,
            serde_json::json!({ case.outcome: 10 }),
            "{}: {}",
            case.name,
            ran.stderr
        );
        let good = if case.outcome == "ok" { 10 } else { 0 };
        assert_eq!(ran.summary["completed"], good, "{}", case.name);
        assert_eq!(ran.summary["failed"], 10 - good, "{}", case.name);
    }
}

#[test]
fn what_is_open_at_the_end_of_the_drain_is_unfinished() {
    let server = Server::start(|number, request, stream| {
        if number % 2 == 1 {
            std::thread::sleep(Duration::from_secs(20));
        }
        quick(request, stream)
    });
    let more = [
        "--model",
        "m",
        "--rate",
        "50/s",
        "--duration",
        "200ms",
        "--drain",
        "300ms",
    ];
    let mut command = crate::support::mst();
    command.args([
        "trial",
        "--url",
        &server.url,
        "--format",
        "json",
        "--input-tokens",
        "6",
        "--output-tokens",
        "4",
    ]);
    command.args(more);
    let ran = super::run(command);
    assert_eq!(
        ran.summary["outcomes"],
        serde_json::json!({"ok": 5, "unfinished": 5}),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.summary["unfinished"], 5);
}

#[test]
fn an_endpoint_that_cannot_be_used_is_an_error_and_not_a_measurement() {
    let answers: [(&str, Behaviour, &str, i32); 6] = [
        (
            "401",
            |_, s| status(s, 401, "application/json", r#"{"error":{"message":"x"}}"#),
            "API_KEY",
            12,
        ),
        ("403", |_, s| status(s, 403, "text/plain", ""), "API_KEY", 12),
        (
            "404",
            |_, s| {
                status(
                    s,
                    404,
                    "application/json",
                    r#"{"error":{"message":"no model m"}}"#,
                )
            },
            "no model m",
            12,
        ),
        (
            "HTML",
            |_, s| status(s, 200, "text/html", "<html></html>"),
            "OpenAI API",
            12,
        ),
        (
            "400 for good",
            |_, s| {
                status(
                    s,
                    400,
                    "application/json",
                    r#"{"error":{"message":"context too long"}}"#,
                )
            },
            "context too long",
            10,
        ),
        (
            "never answers",
            |_, _| {
                std::thread::sleep(Duration::from_secs(20));
                Ok(After::Close)
            },
            "did not answer within 1 s",
            12,
        ),
    ];
    for (name, behaviour, message, code) in answers {
        let server = Server::start(move |_, request, stream| behaviour(request, stream));
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let flags = [
            "--model",
            "m",
            "--request-timeout",
            "200ms",
            "--out",
            out.to_str().unwrap(),
        ];
        let ran = trial(&server.url, &flags);
        assert_eq!(ran.code, Some(code), "{name}: {}", ran.stderr);
        assert!(ran.stderr.contains(message), "{name}: {}", ran.stderr);
        assert!(ran.summary.is_null(), "{name}");
        let failure = std::fs::read_to_string(out.join("failure.json")).unwrap();
        assert!(failure.contains(message), "{name}: {failure}");
        assert!(!out.join("summary.json").exists(), "{name}");
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    for flags in [&["--model", "m"][..], &[]] {
        let ran = trial(&format!("http://{free}"), flags);
        assert_eq!(ran.code, Some(12), "{}", ran.stderr);
        assert!(ran.stderr.contains("refused the connection"), "{}", ran.stderr);
    }
    let ran = trial("ftp://nowhere", &["--model", "m"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
}

#[test]
fn a_busy_server_is_measured_all_the_same() {
    let server = Server::start(|_, _, stream| status(stream, 503, "text/plain", "queue full"));
    let ran = trial(&server.url, &["--model", "m"]);
    assert_eq!(
        ran.summary["outcomes"],
        serde_json::json!({"http-503": 20}),
        "{}",
        ran.stderr
    );
    assert!(ran.summary["notes"].to_string().contains("queue full"));
}
