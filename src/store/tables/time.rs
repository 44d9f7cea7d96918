//! Times of day as the tables write them; all are UTC.

use chrono::{DateTime, NaiveDateTime};

/// The year 2100: what is later is no time of a trial, and arithmetic on what is earlier is safe.
const LATEST_NS: i64 = 4_102_444_800_000_000_000;

/// `20261122T142725`, as in `output.csv` up to March 2026. The fraction is dropped.
pub(super) fn compact(ns: i64) -> String {
    format(ns, "%Y%m%dT%H%M%S")
}

/// `2026-11-22 14:27:25`, as in the halves up to March 2026. The fraction is dropped.
pub(super) fn spaced(ns: i64) -> String {
    format(ns, "%Y-%m-%d %H:%M:%S")
}

/// `2026-11-22T14:27:25.123Z`, as in the latest form. What is below a millisecond is dropped.
pub(super) fn iso(ns: i64) -> String {
    format(ns, "%Y-%m-%dT%H:%M:%S%.3fZ")
}

fn format(ns: i64, pattern: &str) -> String {
    DateTime::from_timestamp_nanos(ns).format(pattern).to_string()
}

/// Reads any of these, and ISO times with another fraction or an offset, as nanoseconds since 1970.
pub(super) fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let naive = |pattern: &str| {
        let time = NaiveDateTime::parse_from_str(text, pattern).ok()?;
        time.and_utc().timestamp_nanos_opt()
    };
    let found = match text.len() {
        15 => naive("%Y%m%dT%H%M%S"),
        19 => naive("%Y-%m-%d %H:%M:%S").or_else(|| naive("%Y-%m-%dT%H:%M:%S")),
        _ => DateTime::parse_from_rfc3339(&text.replacen(' ', "T", 1))
            .ok()
            .and_then(|t| t.timestamp_nanos_opt())
            .or_else(|| naive("%Y-%m-%dT%H:%M:%S%.f"))
            .or_else(|| naive("%Y-%m-%d %H:%M:%S%.f")),
    };
    found.filter(|ns| (0..=LATEST_NS).contains(ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(ns: i64) -> i64 {
        ns.div_euclid(1_000_000_000)
    }

    #[test]
    fn every_form_is_read_again() {
        let ns = 1_795_357_645_999_292_948;
        assert_eq!(compact(ns), "20261122T142725");
        assert_eq!(spaced(ns), "2026-11-22 14:27:25");
        assert_eq!(iso(ns), "2026-11-22T14:27:25.999Z");
        assert_eq!(parse(&compact(ns)).map(second), Some(second(ns)));
        assert_eq!(parse(&spaced(ns)).map(second), Some(second(ns)));
        assert_eq!(parse(&iso(ns)), Some(ns / 1_000_000 * 1_000_000));
        assert_eq!(parse("2026-11-22T14:27:25.999+00:00"), parse(&iso(ns)));
        assert_eq!(parse("2026-11-22 14:27:25.999"), parse(&iso(ns)));
        for bad in [
            "",
            "today",
            "20261322T142725",
            "2026-11-22",
            "2200-01-01 00:00:00",
            "1960-01-01 00:00:00",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
