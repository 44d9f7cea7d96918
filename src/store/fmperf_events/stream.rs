//! A window that slides over a JSON document: bytes in, positions out.

use std::io::{ErrorKind, Read};
use std::path::Path;

use serde::de::DeserializeOwned;

use super::EventsError;

/// Size of the window to begin with: it stays in a core's cache.
const WINDOW: usize = 256 * 1024;
/// The longest value that is held as a whole.
const LONGEST: usize = 64 * 1024 * 1024;

/// A sliding window over a document.
pub(super) struct Stream<'p, R> {
    source: R,
    path: &'p Path,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are filled.
    filled: usize,
    /// Bytes of the buffer that were consumed.
    at: usize,
    /// Bytes of the buffer that are known to be UTF-8.
    checked: usize,
    /// Position of the buffer's first byte in the document.
    base: u64,
    /// Line ends before the buffer's first byte.
    lines: u64,
    ended: bool,
}

impl<'p, R: Read> Stream<'p, R> {
    /// A window at the start of `source`.
    pub(super) fn new(source: R, path: &'p Path) -> Self {
        Self {
            source,
            path,
            buffer: vec![0; WINDOW],
            filled: 0,
            at: 0,
            checked: 0,
            base: 0,
            lines: 0,
            ended: false,
        }
    }

    /// What is in the window and not consumed.
    pub(super) fn window(&self) -> &[u8] {
        &self.buffer[self.at..self.filled]
    }

    /// Consumes `count` bytes of the window.
    pub(super) fn advance(&mut self, count: usize) {
        self.at += count;
        debug_assert!(self.at <= self.filled);
    }

    /// The next byte that is not white space, without consuming it; `None` at the end.
    pub(super) fn peek(&mut self) -> Result<Option<u8>, EventsError> {
        loop {
            while let Some(&byte) = self.buffer[..self.filled].get(self.at) {
                if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                    return Ok(Some(byte));
                }
                self.at += 1;
            }
            if !self.refill()? {
                return Ok(None);
            }
        }
    }

    /// As [`Self::peek`], but the document must not end here.
    pub(super) fn require(&mut self, within: &'static str) -> Result<u8, EventsError> {
        self.peek()?.ok_or_else(|| self.truncated(within))
    }

    /// Length of the value at the start of the window; the whole value is in the window afterwards.
    pub(super) fn value_length(&mut self, within: &'static str) -> Result<usize, EventsError> {
        let mut extent = Extent::default();
        loop {
            if let Some(length) = extent.scan(&self.buffer[self.at..self.filled]) {
                return Ok(length);
            }
            if self.filled - self.at > LONGEST {
                return Err(self.malformed("a value is longer than 64 MiB"));
            }
            if !self.refill()? {
                // A number is only ended by what follows it.
                return extent.at_end().ok_or_else(|| self.truncated(within));
            }
        }
    }

    /// Decodes the value of `length` bytes at the start of the window.
    pub(super) fn decode<T: DeserializeOwned>(&self, length: usize) -> Result<T, EventsError> {
        let value = &self.window()[..length];
        serde_json::from_slice(value).map_err(|error| {
            // The decoder's own line and column become a position in the document.
            let line_start = match error.line() {
                0 | 1 => 0,
                line => memchr::memchr_iter(b'\n', value)
                    .nth(line - 2)
                    .map_or(0, |n| n + 1),
            };
            let place = (line_start + error.column().saturating_sub(1)).min(length);
            let text = error.to_string();
            let why = text.split(" at line ").next().unwrap_or(&text);
            self.malformed_at(self.at + place, why)
        })
    }

    /// Reads more; `false` at the end of the document.
    fn refill(&mut self) -> Result<bool, EventsError> {
        if self.ended {
            return Ok(false);
        }
        if self.at > 0 {
            self.lines += memchr::memchr_iter(b'\n', &self.buffer[..self.at]).count() as u64;
            self.buffer.copy_within(self.at..self.filled, 0);
            self.filled -= self.at;
            self.checked = self.checked.saturating_sub(self.at);
            self.base += self.at as u64;
            self.at = 0;
        }
        if self.filled == self.buffer.len() {
            self.buffer.resize(2 * self.buffer.len(), 0);
        }
        let count = loop {
            match self.source.read(&mut self.buffer[self.filled..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Err(self.truncated("the compressed data"));
                }
                Err(source) => {
                    return Err(EventsError::Io {
                        path: self.path.to_owned(),
                        source,
                    });
                }
                Ok(count) => break count,
            }
        };
        self.filled += count;
        self.ended = count == 0;
        self.check_utf8()?;
        Ok(count > 0)
    }

    /// Checks what is new in the window; a character that is not complete yet is left for the next time.
    fn check_utf8(&mut self) -> Result<(), EventsError> {
        match std::str::from_utf8(&self.buffer[self.checked..self.filled]) {
            Ok(_) => self.checked = self.filled,
            Err(error) => {
                self.checked += error.valid_up_to();
                if error.error_len().is_some() || self.ended {
                    let (offset, line) = self.position(self.checked);
                    return Err(EventsError::NotUtf8 {
                        path: self.path.to_owned(),
                        offset,
                        line,
                    });
                }
            }
        }
        Ok(())
    }

    /// Position in the document and line of an index of the buffer.
    fn position(&self, index: usize) -> (u64, u64) {
        let before = memchr::memchr_iter(b'\n', &self.buffer[..index]).count() as u64;
        (self.base + index as u64, self.lines + before + 1)
    }

    /// The error of a document without anything in it.
    pub(super) fn empty(&self) -> EventsError {
        EventsError::Empty {
            path: self.path.to_owned(),
        }
    }

    /// The error of a document that ends too soon.
    fn truncated(&self, within: &'static str) -> EventsError {
        let (offset, line) = self.position(self.filled);
        EventsError::Truncated {
            path: self.path.to_owned(),
            offset,
            line,
            within,
        }
    }

    /// An error at the start of the window.
    pub(super) fn malformed(&self, why: &str) -> EventsError {
        self.malformed_at(self.at, why)
    }

    fn malformed_at(&self, index: usize, why: &str) -> EventsError {
        let (offset, line) = self.position(index);
        EventsError::Malformed {
            path: self.path.to_owned(),
            offset,
            line,
            why: why.to_owned(),
        }
    }
}

/// Finds where a value ends, bit by bit; whether it is well-formed inside is the decoder's business.
#[derive(Default)]
struct Extent {
    scanned: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
    scalar: bool,
}

impl Extent {
    /// Goes on in `bytes`, which begin with the value; its length once that is known.
    fn scan(&mut self, bytes: &[u8]) -> Option<usize> {
        while let Some(&byte) = bytes.get(self.scanned) {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                if !self.in_string && self.depth == 0 {
                    return Some(self.scanned + 1);
                }
            } else {
                match byte {
                    b'"' if !self.scalar => self.in_string = true,
                    b'{' | b'[' if !self.scalar => self.depth += 1,
                    b'}' | b']' if self.depth > 0 => {
                        self.depth -= 1;
                        if self.depth == 0 {
                            return Some(self.scanned + 1);
                        }
                    }
                    b',' | b'}' | b']' | b':' | b' ' | b'\n' | b'\r' | b'\t' if self.depth == 0 => {
                        return Some(self.scanned);
                    }
                    _ if self.depth == 0 => self.scalar = true,
                    _ => {}
                }
            }
            self.scanned += 1;
        }
        None
    }

    /// The length when the document ends here: only a number or a word can end so.
    fn at_end(&self) -> Option<usize> {
        (self.scalar && self.scanned > 0).then_some(self.scanned)
    }
}
