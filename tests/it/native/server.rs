//! A server on loopback that does what a test tells it to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) path: String,
    pub(super) head: String,
    pub(super) body: Value,
}

impl Seen {
    pub(super) fn tokens(&self) -> u64 {
        self.body["max_tokens"].as_u64().unwrap_or(0)
    }
}

/// What is done with the connection after an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Keep,
    Close,
}

type Answer = dyn Fn(usize, &Seen, &mut TcpStream) -> std::io::Result<After> + Send + Sync;

/// The server; its threads end with the test program.
pub(super) struct Server {
    pub(super) url: String,
    pub(super) seen: Arc<Mutex<Vec<Seen>>>,
    pub(super) connections: Arc<AtomicUsize>,
}

impl Server {
    /// `answer` is given the number of the completion request (0 is the probe). Models are listed without asking it.
    pub(super) fn start(
        answer: impl Fn(usize, &Seen, &mut TcpStream) -> std::io::Result<After> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            seen: Arc::default(),
            connections: Arc::default(),
        };
        let (seen, connections) = (Arc::clone(&server.seen), Arc::clone(&server.connections));
        let answer: Arc<Answer> = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, Ordering::SeqCst);
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream, &seen, &*answer));
            }
        });
        server
    }

    /// Completion requests without the probe.
    pub(super) fn requests(&self) -> Vec<Seen> {
        self.seen.lock().unwrap()[1..].to_vec()
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Seen>>, answer: &Answer) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = read(&mut reader) {
        if request.path.ends_with("/models") {
            let list = r#"{"object":"list","data":[{"id":"first-model"},{"id":"second"}]}"#;
            if status(&mut stream, 200, "application/json", list).is_err() {
                return;
            }
            continue;
        }
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push(request.clone());
            seen.len() - 1
        };
        match answer(number, &request, &mut stream) {
            Ok(After::Keep) => {}
            _ => return,
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut head = String::new();
    loop {
        let start = head.len();
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
        if head[start..].trim().is_empty() {
            break;
        }
    }
    let length = |l: &str| {
        l.to_ascii_lowercase()
            .strip_prefix("content-length:")?
            .trim()
            .parse()
            .ok()
    };
    let mut body = vec![0; head.lines().find_map(length).unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Seen {
        path: head.split(' ').nth(1)?.to_owned(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
        head,
    })
}

/// Answers with a status and a body.
pub(super) fn status(stream: &mut TcpStream, code: u16, kind: &str, body: &str) -> std::io::Result<After> {
    write!(
        stream,
        "HTTP/1.1 {code} Said\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    Ok(After::Keep)
}

/// Begins a stream.
pub(super) fn begin(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    )
}

/// Sends a piece of a stream.
pub(super) fn piece(stream: &mut TcpStream, text: &str) -> std::io::Result<()> {
    stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())
}

/// Ends a stream.
pub(super) fn end(stream: &mut TcpStream) -> std::io::Result<After> {
    stream.write_all(b"0\r\n\r\n")?;
    Ok(After::Keep)
}

/// The event of a token.
pub(super) fn token(finish: Option<&str>) -> String {
    let finish = finish.map_or("null".to_owned(), |f| format!("\"{f}\""));
    format!("data: {{\"choices\":[{{\"index\":0,\"text\":\" a\",\"finish_reason\":{finish}}}]}}\n\n")
}

/// The events at the end of a stream.
pub(super) fn usage(prompt: u64, completion: u64) -> String {
    format!(
        "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":{prompt},\"completion_tokens\":{completion}}}}}\n\ndata: [DONE]\n\n"
    )
}

/// A good answer of as many tokens as asked for.
pub(super) fn good(
    request: &Seen,
    stream: &mut TcpStream,
    first: Duration,
    gap: Duration,
) -> std::io::Result<After> {
    let tokens = request.tokens();
    let prompt = request.body["prompt"].as_array().map_or(7, Vec::len) as u64;
    std::thread::sleep(first);
    begin(stream)?;
    for number in 1..=tokens {
        piece(stream, &token((number == tokens).then_some("length")))?;
        if number < tokens {
            std::thread::sleep(gap);
        }
    }
    piece(stream, &usage(prompt, tokens))?;
    end(stream)
}

/// A good answer at once.
pub(super) fn quick(request: &Seen, stream: &mut TcpStream) -> std::io::Result<After> {
    good(request, stream, Duration::from_millis(1), Duration::ZERO)
}
