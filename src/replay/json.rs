//! JSON as Python writes it: with `Infinity` and `NaN`, which are not JSON.

use serde_json::{Number, Value};

/// Reads a text.
///
/// # Errors
/// What is wrong, with line and column.
pub(super) fn parse(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(&quoted(text))
}

/// The text with bare `Infinity`, `-Infinity` and `NaN` as strings.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_string = false;
    while let Some(c) = rest.chars().next() {
        let word = ["-Infinity", "Infinity", "NaN"]
            .into_iter()
            .find(|word| !in_string && rest.starts_with(word));
        if let Some(word) = word {
            out.extend(['"'].into_iter().chain(word.chars()).chain(['"']));
            rest = &rest[word.len()..];
            continue;
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
        if in_string && c == '\\' {
            if let Some(escaped) = rest.chars().next() {
                out.push(escaped);
                rest = &rest[escaped.len_utf8()..];
            }
        } else if c == '"' {
            in_string = !in_string;
        }
    }
    out
}

/// A number, the infinite ones and NaN too.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            "NaN" => Some(f64::NAN),
            _ => None,
        },
        _ => None,
    }
}

/// A number as [`number`] reads it.
pub(super) fn value(number: f64) -> Value {
    Number::from_f64(number).map_or_else(
        || {
            let word = if number.is_nan() {
                "NaN"
            } else if number > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            };
            Value::String(word.to_owned())
        },
        Value::Number,
    )
}

/// Several numbers.
pub(super) fn values(numbers: impl IntoIterator<Item = f64>) -> Value {
    numbers.into_iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_writes_is_read() {
        let read = parse(r#"{"a": [Infinity, -Infinity, NaN, 1], "NaN \" NaN": "Infinity or NaN"}"#).unwrap();
        let numbers: Vec<f64> = read["a"].as_array().unwrap().iter().filter_map(number).collect();
        assert_eq!(numbers[..2], [f64::INFINITY, f64::NEG_INFINITY]);
        assert!(numbers[2].is_nan() && numbers[3] == 1.0);
        assert_eq!(read["NaN \" NaN"], "Infinity or NaN");
        assert!(parse("{\"a\": }").is_err());
        for n in [f64::INFINITY, f64::NEG_INFINITY, 0.1] {
            assert_eq!(number(&value(n)), Some(n));
        }
    }
}
