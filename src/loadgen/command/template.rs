//! The command line as a template: words with placeholders. No shell is involved.

use std::fmt::Write as _;

/// What may stand in braces.
pub const PLACEHOLDERS: [&str; 16] = [
    "url",
    "base_url",
    "api_path",
    "model",
    "rate_per_second",
    "rate_per_minute",
    "duration_s",
    "count",
    "input_tokens",
    "input_tokens_min",
    "input_tokens_max",
    "output_tokens",
    "output_tokens_min",
    "output_tokens_max",
    "seed",
    "dir",
];

/// The error of reading a template.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// There is no word in it.
    #[error("the command is empty")]
    Empty,
    /// A quote is not closed.
    #[error("the quote {quote} that opens at character {at} is not closed")]
    Quote {
        /// The quote.
        quote: char,
        /// Its place, from 1.
        at: usize,
    },
    /// It ends with a backslash.
    #[error("the command ends with a backslash that escapes nothing")]
    Escape,
    /// A placeholder that does not exist.
    #[error(
        "{{{name}}} is not a placeholder; there are {}; write {{{{ and }}}} for braces",
        list()
    )]
    Unknown {
        /// What stands in the braces.
        name: String,
    },
    /// A brace without its partner.
    #[error("`{word}` has a single brace; write {{{{ and }}}} for braces that are not a placeholder's")]
    Brace {
        /// The word.
        word: String,
    },
}

fn list() -> String {
    PLACEHOLDERS.map(|p| format!("{{{p}}}")).join(", ")
}

/// Splits a line into words at blanks. Single quotes keep everything, double quotes all but `\"` and `\\`, a backslash
/// outside quotes keeps the next character. Nothing is expanded.
///
/// # Errors
/// When it is empty or a quote is open.
pub fn split(line: &str) -> Result<Vec<String>, TemplateError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line.chars().enumerate().peekable();
    while let Some((at, c)) = rest.next() {
        match c {
            '\'' | '"' => {
                let text = word.get_or_insert_default();
                loop {
                    let (_, inner) = rest.next().ok_or(TemplateError::Quote { quote: c, at: at + 1 })?;
                    match inner {
                        _ if inner == c => break,
                        '\\' if c == '"' && matches!(rest.peek(), Some((_, '"' | '\\'))) => {
                            text.extend(rest.next().map(|(_, escaped)| escaped));
                        }
                        _ => text.push(inner),
                    }
                }
            }
            '\\' => {
                let (_, escaped) = rest.next().ok_or(TemplateError::Escape)?;
                word.get_or_insert_default().push(escaped);
            }
            _ if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    if words.is_empty() {
        return Err(TemplateError::Empty);
    }
    Ok(words)
}

/// Replaces the placeholders of one word by `value` of their names.
pub(super) fn fill<E: From<TemplateError>>(
    word: &str,
    mut value: impl FnMut(&str) -> Result<String, E>,
) -> Result<String, E> {
    let brace = || TemplateError::Brace {
        word: word.to_owned(),
    };
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        let tail = &rest[at..];
        if let Some(after) = tail.strip_prefix("{{") {
            out.push('{');
            rest = after;
        } else if let Some(after) = tail.strip_prefix("}}") {
            out.push('}');
            rest = after;
        } else if let Some(inner) = tail.strip_prefix('{') {
            let (name, after) = inner.split_once('}').ok_or_else(brace)?;
            if !PLACEHOLDERS.contains(&name) {
                return Err(TemplateError::Unknown {
                    name: name.to_owned(),
                }
                .into());
            }
            write!(out, "{}", value(name)?).expect("writing to a string cannot fail");
            rest = after;
        } else {
            return Err(brace().into());
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Checks the placeholders of all words.
///
/// # Errors
/// At the first word with a placeholder that does not exist.
pub fn check(words: &[String]) -> Result<(), TemplateError> {
    if words.is_empty() {
        return Err(TemplateError::Empty);
    }
    for word in words {
        fill::<TemplateError>(word, |_| Ok(String::new()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_split_like_a_shell_without_expanding() {
        for (line, expected) in [
            ("a b  c", vec!["a", "b", "c"]),
            ("  'a b' \"c d\"e ", vec!["a b", "c de"]),
            (r#"a\ b "\"x\\\n" '\'"#, vec!["a b", r#""x\\n"#, r"\"]),
            ("'' \"\"", vec!["", ""]),
            ("$HOME *.csv ~ `x`", vec!["$HOME", "*.csv", "~", "`x`"]),
        ] {
            assert_eq!(split(line).unwrap(), expected, "{line}");
        }
        assert_eq!(split(" "), Err(TemplateError::Empty));
        assert_eq!(split("a 'b"), Err(TemplateError::Quote { quote: '\'', at: 3 }));
        assert_eq!(split("a\\"), Err(TemplateError::Escape));
    }

    #[test]
    fn placeholders_are_strict() {
        let value = |name: &str| Ok::<_, TemplateError>(format!("<{name}>"));
        assert_eq!(fill("--x={seed}/{dir}", value).unwrap(), "--x=<seed>/<dir>");
        assert_eq!(fill("{{\"a\": {count}}}", value).unwrap(), "{\"a\": <count>}");
        assert!(matches!(fill("{a", value), Err(TemplateError::Brace { .. })));
        assert!(matches!(fill("a}", value), Err(TemplateError::Brace { .. })));
        let error = check(&["{rates}".to_owned()]).unwrap_err().to_string();
        assert!(
            error.starts_with("{rates} is not a placeholder") && error.contains("{rate_per_second}"),
            "{error}"
        );
    }
}
