//! Scalar values. Every error says what is wrong and what to write.

use std::time::Duration;

use super::StopRule;

/// Longest duration that is not taken for a slip of the pen: 30 days.
const LONGEST_S: f64 = 30.0 * 86_400.0;

/// A duration of any length up to 30 days: `1800`, `1800s`, `30m`, `1.5h`, `1h 30m`.
///
/// A number with one of s, m, h, d in either case is read first, as the older driver did, so that `30M` means minutes;
/// everything else is humantime's grammar.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("`{text}` is not a duration; write for example 30s, 30m, 1h 30m or a number of seconds");
    let (number, factor) = match text.chars().last() {
        Some('s' | 'S') => (&text[..text.len() - 1], 1.0),
        Some('m' | 'M') => (&text[..text.len() - 1], 60.0),
        Some('h' | 'H') => (&text[..text.len() - 1], 3600.0),
        Some('d' | 'D') => (&text[..text.len() - 1], 86_400.0),
        _ => (text, 1.0),
    };
    let seconds = match number.trim().parse::<f64>() {
        Ok(value) => value * factor,
        Err(_) => humantime::parse_duration(text)
            .map_err(|_| wrong())?
            .as_secs_f64(),
    };
    if !seconds.is_finite() || seconds < 0.0 {
        return Err(wrong());
    }
    if seconds > LONGEST_S {
        return Err("it is longer than 30 days; write a shorter duration".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// A duration above zero.
pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("it must be longer than zero".to_owned()),
        some => Ok(some),
    }
}

/// A duration of whole seconds.
pub(super) fn whole_seconds(text: &str) -> Result<i64, String> {
    let value = duration(text)?;
    if value.subsec_nanos() == 0 {
        Ok(value.as_secs() as i64)
    } else {
        Err("only whole seconds are possible".to_owned())
    }
}

/// A switch, as the older program spelled it.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "y" | "on" => Ok(true),
        "0" | "false" | "no" | "n" | "off" => Ok(false),
        _ => Err("it is neither true nor false".to_owned()),
    }
}

/// One of several words, in either case.
pub(super) fn one_of<T: Copy>(choices: &[(&str, T)], text: &str) -> Result<T, String> {
    let word = text.to_ascii_lowercase();
    choices
        .iter()
        .find(|(name, _)| *name == word)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let nearest = names
                .iter()
                .find(|name| strsim::damerau_levenshtein(name, &word) <= 2 && word.len() > 2);
            let hint = nearest.map_or(String::new(), |name| format!("; did you mean {name}?"));
            format!("`{text}` is not one of {}{hint}", names.join(", "))
        })
}

/// A finite number within bounds, both included.
pub(super) fn number(text: &str, low: f64, high: f64) -> Result<f64, String> {
    let value: f64 = text
        .parse()
        .ok()
        .filter(|v: &f64| v.is_finite())
        .ok_or_else(|| format!("`{text}` is not a number"))?;
    if (low..=high).contains(&value) {
        Ok(value)
    } else if high == f64::INFINITY {
        Err(format!("it must be at least {low}"))
    } else {
        Err(format!("it must lie between {low} and {high}"))
    }
}

/// A whole number of at least `low`.
pub(super) fn whole(text: &str, low: u32) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(value) if value >= low => Ok(value),
        Ok(_) => Err(format!("it must be at least {low}")),
        Err(_) => Err(format!("`{text}` is not a whole number of at least {low}")),
    }
}

/// How the search ends: by `THRESHOLD_TYPE`, where it is set, else by the size of the number.
pub(super) fn stop_threshold(text: &str, absolute: Option<bool>) -> Result<StopRule, String> {
    let value = number(text, 0.0, f64::INFINITY)?;
    if value == 0.0 {
        return Err("a bracket never shrinks to nothing; write for example 0.05 or 10".to_owned());
    }
    match absolute {
        Some(false) if value >= 1.0 => {
            Err("a fraction is below 1; write for example 0.05, or set THRESHOLD_TYPE=absolute".to_owned())
        }
        Some(true) => Ok(StopRule::Absolute(value)),
        None if value >= 1.0 => Ok(StopRule::Absolute(value)),
        Some(false) | None => Ok(StopRule::Relative(value)),
    }
}

/// Splits a command into words: blanks separate, quotes hold together, a backslash takes the next character as it is.
/// A JSON array of strings is taken as it stands. No shell is involved.
pub(super) fn words(text: &str) -> Result<Vec<String>, String> {
    if text.starts_with('[') {
        let words: Vec<String> = serde_json::from_str(text)
            .map_err(|_| "it begins with [ and is not a JSON array of strings".to_owned())?;
        return if words.is_empty() {
            Err("it names no program".to_owned())
        } else {
            Ok(words)
        };
    }
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => {
                let next = chars.next().ok_or("it ends with a backslash; remove that")?;
                word.get_or_insert_default().push(next);
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if let Some(open) = quote {
        return Err(format!("a {open} is not closed"));
    }
    words.extend(word);
    if words.is_empty() {
        return Err("it names no program".to_owned());
    }
    Ok(words)
}

/// `ours=theirs` pairs.
pub(super) fn columns(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut columns: Vec<(String, String)> = Vec::new();
    for (index, item) in text.split(',').enumerate() {
        let position = index + 1;
        let (ours, theirs) = item
            .split_once('=')
            .map(|(a, b)| (a.trim(), b.trim()))
            .filter(|(a, b)| !a.is_empty() && !b.is_empty())
            .ok_or_else(|| format!("item {position} `{}` is not OURS=THEIRS", item.trim()))?;
        if columns.iter().any(|(known, _)| known == ours) {
            return Err(format!("item {position} names {ours} a second time"));
        }
        columns.push((ours.to_owned(), theirs.to_owned()));
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("1800", 1800.0),
            ("1800s", 1800.0),
            ("30m", 1800.0),
            ("30M", 1800.0),
            ("1.5H", 5400.0),
            ("1h30m", 5400.0),
            ("1h 30m", 5400.0),
            ("500ms", 0.5),
            ("2days", 172_800.0),
            ("0", 0.0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        for bad in [
            "",
            "s",
            "-1s",
            "nan",
            "inf",
            "1e300d",
            "5 parsecs",
            "\u{fc}",
            "31d",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn thresholds_are_read_by_size_unless_told() {
        use StopRule::{Absolute, Relative};
        assert_eq!(stop_threshold("10", None), Ok(Absolute(10.0)));
        assert_eq!(stop_threshold("1", None), Ok(Absolute(1.0)));
        assert_eq!(stop_threshold("0.05", None), Ok(Relative(0.05)));
        assert_eq!(stop_threshold("0.5", Some(true)), Ok(Absolute(0.5)));
        assert!(stop_threshold("10", Some(false)).is_err());
        assert!(stop_threshold("0", None).is_err());
    }

    #[test]
    fn commands_are_split_without_a_shell() {
        let split = |text| words(text).unwrap();
        assert_eq!(
            split("a  b 'c d' \"e 'f\" g\\ h ''"),
            ["a", "b", "c d", "e 'f", "g h", ""]
        );
        assert_eq!(split("[\"a b\", \"c\"]"), ["a b", "c"]);
        for bad in ["", " ", "a 'b", "a\\", "[1]", "[]"] {
            assert!(words(bad).is_err(), "{bad}");
        }
    }
}
