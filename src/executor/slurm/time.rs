//! Time limits as people and Slurm write them.

use std::time::Duration;

/// Longest limit that is not taken for a slip of the pen: a year.
const LONGEST_S: f64 = 366.0 * 86_400.0;

/// Reads a time limit: Slurm's `1-12:00:00`, `24:00:00`, `90:00` (minutes and seconds), `2-12` (days and hours), or
/// `24h`, `90m`, `1h 30m`. A number alone is refused: Slurm means minutes by it, the settings of this program seconds.
///
/// # Errors
/// What is wrong, and what to write.
pub fn parse_limit(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let wrong =
        || format!("`{text}` is not a time limit; write for example 24:00:00, 2-00:00:00, 90m or 24h");
    if text.chars().all(|c| c.is_ascii_digit()) && !text.is_empty() {
        return Err(format!(
            "`{text}` may mean minutes or seconds; write {text}m or {text}s"
        ));
    }
    let seconds = if text.contains(':') || text.contains('-') {
        clock(text).ok_or_else(wrong)?
    } else {
        humantime::parse_duration(&text.to_ascii_lowercase())
            .map_err(|_| wrong())?
            .as_secs_f64()
    };
    if seconds <= 0.0 {
        return Err("a time limit is longer than zero".to_owned());
    }
    if seconds > LONGEST_S {
        return Err("it is longer than a year; write a shorter limit".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Slurm's forms with a colon or days. Without days two fields are minutes and seconds, with days hours and minutes.
fn clock(text: &str) -> Option<f64> {
    let (days, clock) = match text.split_once('-') {
        Some((days, clock)) => (Some(days.parse::<u32>().ok()?), clock),
        None => (None, text),
    };
    let fields: Vec<u32> = clock
        .split(':')
        .map(|field| field.parse().ok())
        .collect::<Option<_>>()?;
    let units: &[u32] = match (days.is_some(), fields.len()) {
        (true, 1..=3) | (false, 3) => &[3600, 60, 1],
        (false, 2) => &[60, 1],
        _ => return None,
    };
    let within: f64 = fields
        .iter()
        .zip(units)
        .map(|(field, unit)| f64::from(*field) * f64::from(*unit))
        .sum();
    Some(f64::from(days.unwrap_or(0)) * 86_400.0 + within)
}

/// A time limit as Slurm reads it, rounded up to whole seconds: `1-12:00:00`, `24:00:00` is `1-00:00:00`.
pub fn limit(duration: Duration) -> String {
    let seconds = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    if days == 0 {
        clock
    } else {
        format!("{days}-{clock}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_slurm_reads_them() {
        for (text, seconds) in [
            ("24:00:00", 86_400),
            ("90:00", 5_400),
            ("1-12", 129_600),
            ("1-12:30", 131_400),
            ("1-00:00:01", 86_401),
            ("90m", 5_400),
            ("24H", 86_400),
            ("1h 30m", 5_400),
            ("2d", 172_800),
            ("45s", 45),
        ] {
            assert_eq!(parse_limit(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_unclear_is_refused() {
        for (text, fragment) in [
            ("60", "write 60m or 60s"),
            ("", "not a time limit"),
            ("soon", "not a time limit"),
            ("1:2:3:4", "not a time limit"),
            ("1-", "not a time limit"),
            ("-1:00", "not a time limit"),
            ("0:00", "longer than zero"),
            ("400d", "longer than a year"),
            ("99999999-00", "longer than a year"),
        ] {
            let error = parse_limit(text).unwrap_err();
            assert!(error.contains(fragment), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_printed_is_read_back(seconds in 1_u64..30_000_000) {
            let duration = Duration::from_secs(seconds);
            proptest::prop_assert_eq!(parse_limit(&limit(duration)), Ok(duration));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = parse_limit(&text);
        }
    }
}
