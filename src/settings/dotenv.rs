//! Reads a `.env` file line by line, so that every problem has a line number.
//!
//! dotenvy decodes quotes and escapes; its own errors carry no line, it refuses unquoted blanks and it substitutes
//! `$NAME`, also from the process environment. Each line is therefore brought into a form that it takes as meant:
//! `$` is literal, blanks need no quotes, and ` # text` after a value is a comment.

/// One `KEY=value` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    /// Line number, from 1.
    pub(super) line: usize,
    /// The name, without `export`.
    pub(super) key: String,
    /// The decoded value.
    pub(super) value: String,
}

/// A line that cannot be read: its number, its text as far as it can be shown, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    pub(super) line: usize,
    pub(super) text: String,
    pub(super) problem: String,
}

/// All assignments in order, duplicates included, and all lines that cannot be read.
pub(super) fn read(bytes: &[u8]) -> (Vec<Assignment>, Vec<BadLine>) {
    let mut good = Vec::new();
    let mut bad = Vec::new();
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        let problem = "the file is UTF-16; save it as UTF-8".to_owned();
        bad.push(BadLine {
            line: 1,
            text: String::new(),
            problem,
        });
        return (good, bad);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    for (index, raw) in bytes.split(|&b| b == b'\n').enumerate() {
        let line = index + 1;
        let parsed = std::str::from_utf8(raw)
            .map_err(|e| {
                let at = e.valid_up_to() + 1;
                format!("byte {at} of the line is not UTF-8; save the file as UTF-8")
            })
            .and_then(parse_line);
        match parsed {
            Ok(Some((key, value))) => good.push(Assignment { line, key, value }),
            Ok(None) => {}
            Err(problem) => bad.push(BadLine {
                line,
                text: key_of(&String::from_utf8_lossy(raw)),
                problem,
            }),
        }
    }
    (good, bad)
}

/// What may be shown of a bad line: its key, since the value may be a secret.
fn key_of(raw: &str) -> String {
    raw.split_once('=')
        .map(|(key, _)| key.trim().to_owned())
        .unwrap_or_default()
}

/// Key and value of a line; `None` for blanks and comments.
fn parse_line(raw: &str) -> Result<Option<(String, String)>, String> {
    let line = raw.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    if line.contains('\0') {
        return Err("the line holds a NUL byte; this is not a text file".to_owned());
    }
    let (left, right) = line
        .split_once('=')
        .ok_or("the line has no `=`; write KEY=value, or begin it with # to make it a comment")?;
    let left = left.trim();
    let key = match left.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim(),
        _ => left,
    };
    check_key(key)?;
    let value = decode(key, right.trim())?;
    Ok(Some((key.to_owned(), value)))
}

fn check_key(key: &str) -> Result<(), String> {
    if key.is_empty() {
        return Err("there is no key before the `=`; write KEY=value".to_owned());
    }
    let starts_well = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts_well && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Ok(());
    }
    Err("the key may hold only letters, digits and `_`, and does not begin with a digit".to_owned())
}

/// The value behind the `=`, decoded.
fn decode(key: &str, text: &str) -> Result<String, String> {
    let quoted = match text.chars().next() {
        None | Some('#') => return Ok(String::new()),
        Some('"') => double_quoted(text)?,
        Some('\'') => single_quoted(text)?,
        Some(_) => quote(without_comment(text)),
    };
    let line = format!("{key}={quoted}\n");
    match dotenvy::from_read_iter(line.as_bytes()).next() {
        Some(Ok((_, value))) => Ok(value),
        Some(Err(_)) | None => Err("the value cannot be read; put it in double quotes".to_owned()),
    }
}

/// An unquoted value up to a `#` that follows a blank.
fn without_comment(text: &str) -> &str {
    let mut previous_blank = false;
    for (at, c) in text.char_indices() {
        if c == '#' && previous_blank {
            return text[..at].trim_end();
        }
        previous_blank = c.is_whitespace();
    }
    text
}

/// Puts literal text in double quotes as dotenvy reads them back.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        if matches!(c, '\\' | '"' | '$') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// A value in double quotes: escapes are kept for dotenvy, `$` is made literal.
fn double_quoted(text: &str) -> Result<String, String> {
    let mut quoted = String::from("\"");
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                quoted.push('"');
                return nothing_after(&text[at + 1..]).map(|()| quoted);
            }
            '$' => quoted.push_str("\\$"),
            '\\' => match chars.next() {
                Some((_, 't')) => quoted.push('\t'),
                Some((_, 'r')) => quoted.push('\r'),
                Some((_, known @ ('\\' | '\'' | '"' | 'n'))) => quoted.extend(['\\', known]),
                // Python's reader leaves an unknown escape as it is.
                Some((_, '$')) => quoted.push_str("\\\\\\$"),
                Some((_, other)) => quoted.extend(['\\', '\\', other]),
                None => break,
            },
            other => quoted.push(other),
        }
    }
    Err(not_closed('"'))
}

/// A value in single quotes, where only `\'` and `\\` are escapes.
fn single_quoted(text: &str) -> Result<String, String> {
    let mut literal = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' => return nothing_after(&text[at + 1..]).map(|()| quote(&literal)),
            '\\' => match chars.next() {
                Some((_, known @ ('\\' | '\''))) => literal.push(known),
                Some((_, other)) => literal.extend(['\\', other]),
                None => break,
            },
            other => literal.push(other),
        }
    }
    Err(not_closed('\''))
}

fn not_closed(quote: char) -> String {
    format!("the value opens with {quote} and is not closed on this line; close it, or leave the quote out")
}

fn nothing_after(rest: &str) -> Result<(), String> {
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with('#') {
        Ok(())
    } else {
        Err("there is text after the closing quote; put the whole value in quotes".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(line: &str) -> String {
        let (good, bad) = read(line.as_bytes());
        assert_eq!(bad, []);
        good.into_iter().next().unwrap().value
    }

    #[test]
    fn values_read_as_python_dotenv_reads_them() {
        for (line, expected) in [
            ("K=v", "v"),
            (" K = v ", "v"),
            ("K=a b  c", "a b  c"),
            ("K=v # c", "v"),
            ("K=v#c", "v#c"),
            ("K=v\t#c", "v"),
            ("K= # c", ""),
            ("K=", ""),
            ("export K=v", "v"),
            ("export\tK=v", "v"),
            ("K=v\r", "v"),
            ("K=\"a # b\" # c", "a # b"),
            ("K='a # b'#c", "a # b"),
            ("K=\"a\\nb\"", "a\nb"),
            ("K=\"a\\tb\\d\"", "a\tb\\d"),
            ("K='a\\nb'", "a\\nb"),
            ("K='it\\'s'", "it's"),
            ("K=it's", "it's"),
            ("K=a\"b", "a\"b"),
            ("K=C:\\dir\\new", "C:\\dir\\new"),
            ("K=$HOME/${PATH}", "$HOME/${PATH}"),
            ("K=\"$HOME ${PATH} \\$X\"", "$HOME ${PATH} \\$X"),
            ("K='$HOME'", "$HOME"),
            ("K=a=b", "a=b"),
            ("K=[(1:1,0.5)],[(2:2,1)]", "[(1:1,0.5)],[(2:2,1)]"),
            ("K=\u{fc}ber", "\u{fc}ber"),
            ("\u{feff}K=v", "v"),
        ] {
            assert_eq!(value(line), expected, "{line}");
        }
    }

    #[test]
    fn lines_are_numbered_and_nothing_is_skipped() {
        let text = b"# c\n\nA=1\nno equals\n=x\n9A=1\nB=\"open\nC='a' b\nD=\xff\nE=\0\nF=6";
        let (good, bad) = read(text);
        let lines: Vec<usize> = good.iter().map(|a| a.line).collect();
        assert_eq!(lines, [3, 11]);
        let lines: Vec<usize> = bad.iter().map(|b| b.line).collect();
        assert_eq!(lines, [4, 5, 6, 7, 8, 9, 10]);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = read(&bytes);
        }

        #[test]
        fn single_quotes_hold_any_text(text in "[^\n\0]*") {
            let escaped = text.replace('\\', "\\\\").replace('\'', "\\'");
            proptest::prop_assert_eq!(value(&format!("K='{escaped}'")), text);
        }

        #[test]
        fn unquoted_text_is_literal(text in "[a-zA-Z$\\\\{}\"'/: ]*") {
            let text = format!("x{text}");
            proptest::prop_assert_eq!(value(&format!("K={text}")), text.trim());
        }
    }
}
