//! Numbers for people.

/// Four digits.
pub(super) fn number(value: f64) -> String {
    if !value.is_finite() {
        return "no limit".to_owned();
    }
    format!("{value:.*}", decimals(value, 4))
}

/// Three digits, and no less than the value: for a bound that is to hold.
pub(super) fn rounded_up(value: f64) -> String {
    let digits = decimals(value, 3);
    let unit = 10f64.powi(digits as i32);
    // What is exact but for its last bits is not raised.
    format!("{:.*}", digits, (value * unit - 1e-9).ceil() / unit)
}

/// Behind the point, for so many digits.
fn decimals(value: f64, digits: i32) -> usize {
    if value == 0.0 {
        return 0;
    }
    (digits - 1 - value.abs().log10().floor() as i32).max(0) as usize
}

/// A probability: never more certain than a simulation can be.
pub(super) fn probability(value: f64) -> String {
    if value >= 0.999 {
        "over 99.9 %".to_owned()
    } else if value < 0.001 {
        "below 0.1 %".to_owned()
    } else if (0.01..0.99).contains(&value) {
        format!("{:.0} %", 100.0 * value)
    } else {
        format!("{:.1} %", 100.0 * value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_certain_numbers_are_not_rounded_away() {
        assert_eq!(
            [0.0024, 12.0, 123_456.0, 0.0].map(number),
            ["0.002400", "12.00", "123456", "0"]
        );
        assert_eq!(number(f64::INFINITY), "no limit");
        assert_eq!(
            [8.301, 8.3, 1234.2, 0.0123].map(rounded_up),
            ["8.31", "8.30", "1235", "0.0123"]
        );
        assert_eq!(
            [0.9992, 0.9951, 0.62, 0.004, 0.0].map(probability),
            ["over 99.9 %", "99.5 %", "62 %", "0.4 %", "below 0.1 %"]
        );
    }
}
