//! Which of their columns holds which of our values.

use std::fmt;

/// Our names.
pub const COLUMNS: [&str; 8] = [
    "intended",
    "sent",
    "first_token",
    "done",
    "input_tokens",
    "output_tokens",
    "ok",
    "error",
];

/// The unit of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Unit {
    const ALL: [(&'static str, Self); 4] = [
        ("s", Self::Seconds),
        ("ms", Self::Milliseconds),
        ("us", Self::Microseconds),
        ("ns", Self::Nanoseconds),
    ];

    /// Decimal digits between this unit and a nanosecond.
    fn digits(self) -> usize {
        match self {
            Self::Seconds => 9,
            Self::Milliseconds => 6,
            Self::Microseconds => 3,
            Self::Nanoseconds => 0,
        }
    }

    /// A decimal number in this unit as nanoseconds. Exact for plain decimals: a time of day in nanoseconds does not fit
    /// a float.
    pub(super) fn parse(self, text: &str) -> Option<i64> {
        let text = text.trim();
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        if !plain(whole) || !plain(fraction) {
            // Exponents, and words such as nan, which are not times.
            let value = text.parse::<f64>().ok()? * 10f64.powi(self.digits() as i32);
            return (value.abs() < i64::MAX as f64).then_some(value.round() as i64);
        }
        let kept = &fraction[..fraction.len().min(self.digits())];
        let scaled = format!("{whole}{kept:0<width$}", width = self.digits());
        let value: i64 = scaled.parse().ok()?;
        Some(if negative { -value } else { value })
    }
}

/// A column with a time in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TimeColumn {
    pub(super) name: String,
    pub(super) unit: Unit,
    /// Whether it counts from the send time (`+` before the name) rather than from one origin for all.
    pub(super) after_sent: bool,
}

/// The whole mapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) intended: Option<TimeColumn>,
    pub(super) sent: Option<TimeColumn>,
    pub(super) first_token: Option<TimeColumn>,
    pub(super) done: Option<TimeColumn>,
    pub(super) input_tokens: Option<String>,
    pub(super) output_tokens: Option<String>,
    pub(super) ok: Option<String>,
    pub(super) error: Option<String>,
}

/// The error of a column mapping.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ColumnsError(String);

impl Columns {
    /// Names that some row must have: all but the error's, which may never occur.
    pub(super) fn expected(&self) -> Vec<&str> {
        let times = [&self.intended, &self.sent, &self.first_token, &self.done];
        let others = [&self.input_tokens, &self.output_tokens, &self.ok];
        times
            .into_iter()
            .flatten()
            .map(|c| c.name.as_str())
            .chain(others.into_iter().flatten().map(String::as_str))
            .collect()
    }

    /// From pairs of our name and `theirs`, `theirs:unit` or `+theirs:unit`.
    pub(super) fn parse(pairs: &[(String, String)]) -> Result<Self, ColumnsError> {
        let mut columns = Self::default();
        for (ours, theirs) in pairs {
            let (ours, theirs) = (ours.trim(), theirs.trim());
            if theirs.trim_start_matches('+').is_empty() {
                return Err(ColumnsError(format!(
                    "column {ours}= names no column of the output"
                )));
            }
            let twice = match ours {
                "intended" => columns.intended.replace(time(ours, theirs)?).is_some(),
                "sent" => columns.sent.replace(time(ours, theirs)?).is_some(),
                "first_token" => columns.first_token.replace(time(ours, theirs)?).is_some(),
                "done" => columns.done.replace(time(ours, theirs)?).is_some(),
                "input_tokens" => columns.input_tokens.replace(theirs.to_owned()).is_some(),
                "output_tokens" => columns.output_tokens.replace(theirs.to_owned()).is_some(),
                "ok" => columns.ok.replace(theirs.to_owned()).is_some(),
                "error" => columns.error.replace(theirs.to_owned()).is_some(),
                _ => {
                    return Err(ColumnsError(format!(
                        "`{ours}` is not a column that can be read; there are {}",
                        COLUMNS.join(", ")
                    )));
                }
            };
            if twice {
                return Err(ColumnsError(format!("column {ours} is given twice")));
            }
        }
        if columns.sent.is_none() && columns.intended.is_none() {
            return Err(ColumnsError(
                "no column tells when a request was sent; write for example sent=start:s (or intended=…)"
                    .to_owned(),
            ));
        }
        if columns.done.is_none() {
            return Err(ColumnsError(
                "no column tells when a request ended; write for example done=end:s, or done=+latency:ms"
                    .to_owned(),
            ));
        }
        Ok(columns)
    }
}

/// Checks a mapping of our names to theirs.
///
/// # Errors
/// When a name of ours does not exist, is given twice, or a needed one is missing.
pub fn check(pairs: &[(String, String)]) -> Result<(), ColumnsError> {
    Columns::parse(pairs).map(|_| ())
}

fn time(ours: &str, theirs: &str) -> Result<TimeColumn, ColumnsError> {
    let (after_sent, theirs) = match theirs.strip_prefix('+') {
        Some(rest) => (true, rest),
        None => (false, theirs),
    };
    if after_sent && matches!(ours, "sent" | "intended") {
        return Err(ColumnsError(format!(
            "{ours}=+… makes no sense: + counts from the send time"
        )));
    }
    let (name, unit) = theirs
        .rsplit_once(':')
        .and_then(|(name, unit)| {
            let known = Unit::ALL.iter().find(|(text, _)| *text == unit)?;
            Some((name, known.1))
        })
        .unwrap_or((theirs, Unit::Seconds));
    Ok(TimeColumn {
        name: name.to_owned(),
        unit,
        after_sent,
    })
}

impl fmt::Display for TimeColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Columns, ColumnsError> {
        let pairs: Vec<(String, String)> = text
            .split(',')
            .map(|p| p.split_once('=').unwrap())
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .collect();
        Columns::parse(&pairs)
    }

    #[test]
    fn times_are_exact() {
        assert_eq!(
            Unit::Seconds.parse("1795357646.144292948"),
            Some(1_795_357_646_144_292_948)
        );
        assert_eq!(Unit::Seconds.parse("1.5"), Some(1_500_000_000));
        assert_eq!(Unit::Milliseconds.parse("-0.0000019"), Some(-1));
        assert_eq!(
            Unit::Nanoseconds.parse("1795357646144292948"),
            Some(1_795_357_646_144_292_948)
        );
        assert_eq!(Unit::Microseconds.parse(".25"), Some(250));
        assert_eq!(Unit::Milliseconds.parse("1e3"), Some(1_000_000_000));
        for bad in ["", ".", "x", "nan", "inf", "1.2.3", "99999999999999999999"] {
            assert_eq!(Unit::Seconds.parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn mappings_are_read() {
        let columns = parse("sent=start:ms,done=+latency,ok=fine,output_tokens=n:out").unwrap();
        assert_eq!(columns.sent.unwrap().unit, Unit::Milliseconds);
        let done = columns.done.unwrap();
        assert!(done.after_sent && done.unit == Unit::Seconds && done.name == "latency");
        assert_eq!(columns.output_tokens.as_deref(), Some("n:out"));
    }

    #[test]
    fn mistakes_say_what_is_missing() {
        for (text, expected) in [
            ("sent=a,done=b,finish=c", "there are intended, sent"),
            ("done=b", "when a request was sent"),
            ("sent=b", "when a request ended"),
            ("sent=a,sent=b,done=c", "given twice"),
            ("sent=+a,done=c", "makes no sense"),
            ("sent=,done=c", "names no column"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
