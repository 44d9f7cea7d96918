//! A tiny HTTP client.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

/// No answer of a test takes longer.
const LIMIT: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    /// The objects of a stream; it must end with `[DONE]`.
    pub(super) fn events(&self) -> Vec<Value> {
        assert!(self.body.ends_with("data: [DONE]\n\n"), "{}", self.body);
        let frames = self.body.split("\n\n").filter(|f| !f.is_empty());
        frames
            .map(|f| f.strip_prefix("data: ").unwrap())
            .filter(|f| *f != "[DONE]")
            .map(|f| serde_json::from_str(f).unwrap())
            .collect()
    }
}

/// A connection that is kept alive.
pub(super) struct Client {
    reader: BufReader<TcpStream>,
    length: Option<usize>,
}

impl Client {
    pub(super) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Self {
            reader: BufReader::new(stream),
            length: None,
        }
    }

    pub(super) fn send(&mut self, method: &str, path: &str, extra: &str, body: &str) {
        let length = body.len();
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\n{extra}Content-Length: {length}\r\n\r\n{body}"
        );
        self.reader.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        assert!(line.ends_with("\r\n"), "{line:?}");
        line.trim_end().to_owned()
    }

    /// Status and content type.
    pub(super) fn head(&mut self) -> (u16, String) {
        let status = self.line().split(' ').nth(1).unwrap().parse().unwrap();
        let mut kind = String::new();
        self.length = None;
        loop {
            let line = self.line().to_ascii_lowercase();
            match line.split_once(": ") {
                None => return (status, kind),
                Some(("content-type", value)) => value.clone_into(&mut kind),
                Some(("content-length", value)) => self.length = Some(value.parse().unwrap()),
                Some(_) => {}
            }
        }
    }

    /// The next chunk of a chunked body; `None` at its end.
    pub(super) fn chunk(&mut self) -> Option<String> {
        let length = usize::from_str_radix(&self.line(), 16).unwrap();
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes).unwrap();
        assert_eq!(self.line(), "");
        (length > 0).then(|| String::from_utf8(bytes).unwrap())
    }

    pub(super) fn reply(&mut self) -> Reply {
        let (status, content_type) = self.head();
        let body = match self.length {
            Some(length) => {
                let mut bytes = vec![0; length];
                self.reader.read_exact(&mut bytes).unwrap();
                String::from_utf8(bytes).unwrap()
            }
            None => std::iter::from_fn(|| self.chunk()).collect(),
        };
        Reply {
            status,
            content_type,
            body,
        }
    }
}

pub(super) fn get(address: SocketAddr, path: &str) -> Reply {
    let mut client = Client::connect(address);
    client.send("GET", path, "", "");
    client.reply()
}

pub(super) fn post(address: SocketAddr, path: &str, body: &str) -> Reply {
    let mut client = Client::connect(address);
    client.send("POST", path, "", body);
    client.reply()
}

/// The value of a sample of `/metrics`, named with a part of its labels.
pub(super) fn metric(address: SocketAddr, name: &str, label: &str) -> f64 {
    let text = get(address, "/metrics").body;
    let line = text
        .lines()
        .find(|l| l.starts_with(&format!("{name}{{")) && l.contains(label));
    let line = line.unwrap_or_else(|| panic!("{name} {label} is not in\n{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Asks until the answer is `expected`.
pub(super) fn until<T: PartialEq + std::fmt::Debug>(expected: &T, mut ask: impl FnMut() -> T) {
    let end = Instant::now() + LIMIT;
    loop {
        let answer = ask();
        if answer == *expected {
            return;
        }
        assert!(Instant::now() < end, "{answer:?} never became {expected:?}");
    }
}
