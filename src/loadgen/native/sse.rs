//! Server-sent events, split at any byte.

use memchr::memchr2;

/// What an event's lines were called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// `data:`.
    Data,
    /// `error:`, or `data:` under `event: error`; some servers report failures this way.
    Error,
}

/// Finds events in a stream that arrives in arbitrary pieces. Lines end in LF, CRLF or CR; comments and unknown fields
/// are skipped; several `data:` lines of one event are joined by LF.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    /// The content of the event so far, where it is not one whole line of the present piece.
    data: Vec<u8>,
    has_data: bool,
    is_error: bool,
    /// The last piece ended in CR: a leading LF belongs to it.
    after_cr: bool,
}

/// An event whose single line lies whole in the present piece: it is handed over without a copy.
type Whole<'a> = Option<&'a [u8]>;

impl Scanner {
    /// Takes the next piece and hands over every event that it completes.
    pub(super) fn feed(&mut self, mut piece: &[u8], mut on_event: impl FnMut(Field, &[u8])) {
        let mut whole: Whole<'_> = None;
        while !piece.is_empty() {
            if self.after_cr {
                self.after_cr = false;
                if piece[0] == b'\n' {
                    piece = &piece[1..];
                    continue;
                }
            }
            let Some(end) = memchr2(b'\n', b'\r', piece) else {
                self.partial.extend_from_slice(piece);
                break;
            };
            let line = &piece[..end];
            self.after_cr = piece[end] == b'\r';
            piece = &piece[end + 1..];
            if self.partial.is_empty() {
                self.line(line, &mut whole, &mut on_event);
            } else {
                let mut joined = std::mem::take(&mut self.partial);
                joined.extend_from_slice(line);
                // The joined line does not outlive this step, so what it holds is copied.
                let mut held: Whole<'_> = whole.take();
                self.line_copied(&joined, &mut held, &mut on_event);
                joined.clear();
                self.partial = joined;
            }
        }
        self.keep(&mut whole);
    }

    /// The stream is over: an event without its closing blank line still counts.
    pub(super) fn finish(&mut self, mut on_event: impl FnMut(Field, &[u8])) {
        let rest = std::mem::take(&mut self.partial);
        let mut whole = None;
        self.line_copied(&rest, &mut whole, &mut on_event);
        if self.has_data {
            on_event(self.field(), &self.data);
        }
        *self = Self::default();
    }

    fn field(&self) -> Field {
        if self.is_error { Field::Error } else { Field::Data }
    }

    fn line<'a>(&mut self, line: &'a [u8], whole: &mut Whole<'a>, on_event: &mut impl FnMut(Field, &[u8])) {
        if line.is_empty() {
            if let Some(data) = whole.take() {
                on_event(self.field(), data);
            } else if self.has_data {
                on_event(self.field(), &self.data);
                self.data.clear();
            }
            self.has_data = false;
            self.is_error = false;
            return;
        }
        let (name, value) = match memchr::memchr(b':', line) {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &line[line.len()..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" | b"error" => {
                self.is_error |= name == b"error";
                if !self.has_data && whole.is_none() {
                    *whole = Some(value);
                } else {
                    self.keep(whole);
                    self.data.push(b'\n');
                    self.data.extend_from_slice(value);
                }
            }
            b"event" => self.is_error |= value == b"error",
            _ => {}
        }
    }

    /// [`Scanner::line`] for a line that will not stay where it is.
    fn line_copied(&mut self, line: &[u8], held: &mut Whole<'_>, on_event: &mut impl FnMut(Field, &[u8])) {
        let mut whole = *held;
        self.line(line, &mut whole, on_event);
        self.keep(&mut whole);
        *held = None;
    }

    /// Copies a whole line aside, because its piece goes away or another line joins it.
    fn keep(&mut self, whole: &mut Whole<'_>) {
        if let Some(data) = whole.take() {
            self.data.clear();
            self.data.extend_from_slice(data);
            self.has_data = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn events(pieces: &[&[u8]]) -> Vec<(Field, Vec<u8>)> {
        let mut scanner = Scanner::default();
        let mut found = Vec::new();
        for piece in pieces {
            scanner.feed(piece, |field, data| found.push((field, data.to_vec())));
        }
        scanner.finish(|field, data| found.push((field, data.to_vec())));
        found
    }

    fn data(pieces: &[&[u8]]) -> Vec<String> {
        let text = |(_, data)| String::from_utf8(data).unwrap();
        events(pieces).into_iter().map(text).collect()
    }

    #[test]
    fn every_form_of_an_event_is_understood() {
        for (stream, expected) in [
            ("data: a\n\ndata: b\n\n", vec!["a", "b"]),
            ("data: a\r\n\r\ndata:b\r\n\r\n", vec!["a", "b"]),
            ("data: a\r\rdata: b\r\r", vec!["a", "b"]),
            (": ping\n\ndata: a\ndata: b\n\n", vec!["a\nb"]),
            ("id: 4\nretry: 1\ndata: {}\n\n\n\n", vec!["{}"]),
            ("data: [DONE]", vec!["[DONE]"]),
            ("data\n\n", vec![""]),
            ("", vec![]),
        ] {
            assert_eq!(data(&[stream.as_bytes()]), expected, "{stream:?}");
        }
    }

    #[test]
    fn errors_are_told_apart() {
        let found = events(&[b"event: error\ndata: x\n\nerror: y\n\ndata: z\n\n"]);
        let fields: Vec<Field> = found.iter().map(|(field, _)| *field).collect();
        assert_eq!(fields, [Field::Error, Field::Error, Field::Data]);
    }

    proptest! {
        #[test]
        fn splits_do_not_matter(
            lines in prop::collection::vec("(data:|data: |: |error: |event: error|id: )?[a-z{}\": ]{0,12}", 0..20),
            ends in prop::collection::vec(0..3usize, 20),
            blanks in prop::collection::vec(any::<bool>(), 20),
            cuts in prop::collection::vec(0..400usize, 0..30),
        ) {
            let mut stream = String::new();
            for (index, line) in lines.iter().enumerate() {
                let end = ["\n", "\r\n", "\r"][ends[index]];
                stream.push_str(line);
                stream.push_str(end);
                if blanks[index] {
                    stream.push_str(end);
                }
            }
            let bytes = stream.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            prop_assert_eq!(events(&pieces), events(&[bytes]));
        }
    }
}
