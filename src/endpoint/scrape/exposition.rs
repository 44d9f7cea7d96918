//! The text format of Prometheus, version 0.0.4, and what of `OpenMetrics` 1.0 looks alike: one sample a line, comments
//! after `#`. <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::borrow::Cow;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    /// Name of the metric, a histogram's with `_bucket`, `_sum` or `_count`.
    pub name: &'a str,
    /// Names and values of the labels.
    pub labels: Vec<(&'a str, Cow<'a, str>)>,
    /// The value; may be NaN or infinite.
    pub value: f64,
    /// When it was taken, as written (milliseconds since 1970; seconds in `OpenMetrics`).
    pub timestamp: Option<f64>,
}

impl Sample<'_> {
    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        let found = self.labels.iter().find(|(label, _)| *label == name);
        found.map(|(_, value)| &**value)
    }
}

/// The samples of a page. Lines that are none are passed over: a page may hold what is not known yet.
pub fn samples(page: &str) -> impl Iterator<Item = Sample<'_>> {
    page.lines().filter_map(sample)
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let line = line.trim_matches([' ', '\t', '\r']);
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line.find([' ', '\t', '{'])?;
    let (name, rest) = line.split_at(end);
    if !is_name(name) {
        return None;
    }
    let rest = rest.trim_start_matches([' ', '\t']);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (Vec::new(), rest),
    };
    let mut words = rest.split([' ', '\t']).filter(|word| !word.is_empty());
    let value = number(words.next()?)?;
    let timestamp = match words.next() {
        // OpenMetrics sets exemplars after a `#`.
        Some(word) if word != "#" => Some(number(word)?),
        _ => None,
    };
    Some(Sample {
        name,
        labels,
        value,
        timestamp,
    })
}

fn is_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | ':');
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

/// Go's spellings: `NaN`, `+Inf`, `-Inf`, and decimal numbers.
fn number(word: &str) -> Option<f64> {
    match word {
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        _ if word.ends_with(|c: char| c.is_ascii_digit() || c == '.') => word.parse().ok(),
        _ => None,
    }
}

type Labels<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// Labels up to the closing brace, and what follows it.
fn labels(mut rest: &str) -> Option<(Labels<'_>, &str)> {
    let blank = [' ', '\t'];
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start_matches(blank);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((found, after));
        }
        let (name, after) = rest.split_once('=')?;
        let inside = after.trim_start_matches(blank).strip_prefix('"')?;
        let (value, after) = quoted(inside)?;
        found.push((name.trim_end_matches(blank), value));
        rest = after.trim_start_matches(blank);
        // A comma may stand after the last one, too.
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return None,
        }
    }
}

/// A value up to its closing quote, and what follows that. `\\`, `\"` and `\n` stand for what cannot be written.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let special = text.find(['"', '\\'])?;
    if text.as_bytes()[special] == b'"' {
        return Some((Cow::Borrowed(&text[..special]), &text[special + 1..]));
    }
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((Cow::Owned(value), &text[at + 1..])),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                escaped @ ('\\' | '"') => value.push(escaped),
                // Not an escape: both stand for themselves.
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(line: &str) -> Option<Sample<'_>> {
        samples(line).next()
    }

    #[test]
    fn the_forms_of_a_line_are_read() {
        for (line, name, labels, value, timestamp) in [
            ("a 1", "a", vec![], 1.0, None),
            ("  a:b_c\t-2.5e3  \r", "a:b_c", vec![], -2500.0, None),
            (
                "http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000",
                "http_requests_total",
                vec![("method", "post"), ("code", "200")],
                1027.0,
                Some(1_395_066_363_000.0),
            ),
            (
                "f{ path = \"C:\\\\DIR\\\\F.TXT\" , error=\"no \\\"F\\n\\\" {,}\", } 1.458255915e9",
                "f",
                vec![("path", "C:\\DIR\\F.TXT"), ("error", "no \"F\n\" {,}")],
                1.458_255_915e9,
                None,
            ),
            (
                "empty{} +Inf -3982045",
                "empty",
                vec![],
                f64::INFINITY,
                Some(-3_982_045.0),
            ),
            (
                "o{le=\"1\"} 5 # {id=\"x\"} 0.5",
                "o",
                vec![("le", "1")],
                5.0,
                None,
            ),
            ("m -Inf", "m", vec![], f64::NEG_INFINITY, None),
        ] {
            let sample = one(line).unwrap_or_else(|| panic!("{line}"));
            let read: Vec<(&str, &str)> = sample.labels.iter().map(|(n, v)| (*n, &**v)).collect();
            assert_eq!((sample.name, read), (name, labels), "{line}");
            assert_eq!((sample.value, sample.timestamp), (value, timestamp), "{line}");
        }
        assert!(one("a NaN").unwrap().value.is_nan());
    }

    #[test]
    fn other_lines_are_passed_over() {
        for line in [
            "",
            "# HELP a b 3",
            "# a comment 3",
            "<html>",
            "9a 1",
            "a",
            "a one",
            "a{b=\"c\" 1",
            "a{b=c} 1",
            "a{b=\"c\"d=\"e\"} 1",
            "a{b=\"c} 1",
            "a infinity",
            "a 1 x",
        ] {
            assert_eq!(one(line), None, "{line}");
        }
        let page = "# TYPE a gauge\na 1\nnonsense\nb{c=\"d\"} 2\n";
        assert_eq!(samples(page).map(|s| s.name).collect::<Vec<_>>(), ["a", "b"]);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(page in "[ -~\n\\\\\"{}=,é]{0,200}") {
            let _ = samples(&page).count();
        }

        #[test]
        fn label_values_come_back(value in "\\PC{0,40}") {
            let written = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let line = format!("a{{b=\"{written}\"}} 1");
            // Other line ends than \n are no part of a line.
            prop_assume!(line.lines().count() == 1);
            let sample = one(&line).unwrap();
            prop_assert_eq!(sample.label("b"), Some(value.as_str()));
        }
    }
}
