//! A JSON reader for the common case: it says `None` where it is not sure, and the general decoder takes over.

/// How deep values may be nested before the general decoder takes over.
const DEPTH: u32 = 32;

/// A place in a window of a document that is known to be UTF-8.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of `bytes`.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The byte under the cursor.
    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Skips white space.
    fn space(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// Steps over `byte`, with white space before it.
    pub(super) fn eat(&mut self, byte: u8) -> Option<()> {
        if self.byte() != Some(byte) {
            self.space();
            if self.byte() != Some(byte) {
                return None;
            }
        }
        self.at += 1;
        Some(())
    }

    /// The first byte of the next value or sign, white space skipped.
    pub(super) fn next(&mut self) -> Option<u8> {
        self.space();
        self.byte()
    }

    /// Steps over the separator before an entry, if `more` and there is one: `,` leads to the next, `close` ends.
    pub(super) fn entry(&mut self, first: &mut bool, close: u8) -> Option<bool> {
        let byte = self.next()?;
        if byte == close {
            self.at += 1;
            return Some(false);
        }
        if !std::mem::take(first) {
            if byte != b',' {
                return None;
            }
            self.at += 1;
            self.space();
        }
        Some(true)
    }

    /// A key with its colon; `None` when it has escapes.
    pub(super) fn key(&mut self) -> Option<&'a [u8]> {
        let key = self.plain_string()?;
        self.eat(b':')?;
        self.space();
        Some(key)
    }

    /// A string without escapes.
    pub(super) fn plain_string(&mut self) -> Option<&'a [u8]> {
        if self.byte()? != b'"' {
            return None;
        }
        let start = self.at + 1;
        let mut end = start;
        loop {
            match *self.bytes.get(end)? {
                b'"' => break,
                b'\\' | 0..=0x1f => return None,
                _ => end += 1,
            }
        }
        self.at = end + 1;
        Some(&self.bytes[start..end])
    }

    /// A string without escapes as text.
    pub(super) fn plain_text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.plain_string()?).ok()
    }

    /// Any string; says how many characters it has (surrogate pairs are one).
    pub(super) fn skip_string(&mut self) -> Option<u32> {
        if self.byte()? != b'"' {
            return None;
        }
        self.at += 1;
        let mut characters = 0;
        loop {
            match self.byte()? {
                b'"' => {
                    self.at += 1;
                    return Some(characters);
                }
                b'\\' => {
                    let low_surrogate = self.escape()?;
                    characters += u32::from(!low_surrogate);
                }
                0..=0x1f => return None,
                // Continuation bytes belong to the character before.
                byte => {
                    self.at += 1;
                    characters += u32::from(byte & 0xc0 != 0x80);
                }
            }
        }
    }

    /// An escape sequence; says whether it is the second half of a surrogate pair.
    fn escape(&mut self) -> Option<bool> {
        match *self.bytes.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.at += 2;
                Some(false)
            }
            b'u' => {
                let digits = self.bytes.get(self.at + 2..self.at + 6)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                self.at += 6;
                Some(matches!(digits, [b'd' | b'D', b'c'..=b'f' | b'C'..=b'F', ..]))
            }
            _ => None,
        }
    }

    /// A number as text; a digit, point or sign after it means that the window may end inside it.
    pub(super) fn number(&mut self) -> Option<&'a str> {
        let start = self.at;
        let mut end = start + usize::from(self.byte()? == b'-');
        let digits = |from: usize| {
            let count = self.bytes[from..]
                .iter()
                .take_while(|b| b.is_ascii_digit())
                .count();
            (count > 0).then_some(from + count)
        };
        let whole = digits(end)?;
        if self.bytes[end] == b'0' && whole > end + 1 {
            return None;
        }
        end = whole;
        if self.bytes.get(end) == Some(&b'.') {
            end = digits(end + 1)?;
        }
        if matches!(self.bytes.get(end), Some(b'e' | b'E')) {
            end += 1;
            end += usize::from(matches!(self.bytes.get(end)?, b'+' | b'-'));
            end = digits(end)?;
        }
        // At the edge of the window the number may go on.
        self.bytes.get(end)?;
        let text = std::str::from_utf8(&self.bytes[start..end]).ok()?;
        self.at = end;
        Some(text)
    }

    /// A whole number.
    pub(super) fn integer(&mut self) -> Option<i64> {
        let negative = self.byte()? == b'-';
        let start = self.at + usize::from(negative);
        let mut value: i64 = 0;
        let mut end = start;
        while let digit @ b'0'..=b'9' = *self.bytes.get(end)? {
            value = value.checked_mul(10)?.checked_add(i64::from(digit - b'0'))?;
            end += 1;
        }
        let leading_zero = self.bytes[start] == b'0' && end > start + 1;
        if end == start || leading_zero || matches!(self.bytes[end], b'.' | b'e' | b'E') {
            return None;
        }
        self.at = end;
        Some(if negative { -value } else { value })
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self) -> Option<bool> {
        if self.word(b"true") {
            Some(true)
        } else {
            self.word(b"false").then_some(false)
        }
    }

    /// Steps over `null` if it is there.
    pub(super) fn null(&mut self) -> bool {
        self.word(b"null")
    }

    fn word(&mut self, word: &[u8]) -> bool {
        let there = self.bytes[self.at..].starts_with(word);
        self.at += if there { word.len() } else { 0 };
        there
    }

    /// Any value.
    pub(super) fn skip(&mut self) -> Option<()> {
        self.skip_nested(0)
    }

    fn skip_nested(&mut self, depth: u32) -> Option<()> {
        if depth > DEPTH {
            return None;
        }
        match self.next()? {
            b'"' => self.skip_string().map(drop),
            b't' | b'f' => self.boolean().map(drop),
            b'n' => self.null().then_some(()),
            b'{' => {
                self.at += 1;
                let mut first = true;
                while self.entry(&mut first, b'}')? {
                    self.skip_string()?;
                    self.eat(b':')?;
                    self.skip_nested(depth + 1)?;
                }
                Some(())
            }
            b'[' => {
                self.at += 1;
                let mut first = true;
                while self.entry(&mut first, b']')? {
                    self.skip_nested(depth + 1)?;
                }
                Some(())
            }
            _ => self.number().map(drop),
        }
    }
}
