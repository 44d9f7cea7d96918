//! Quantities that must not be mixed up: request rates, token counts and token ranges.
//!
//! `.env` files speak of requests per minute, clusters and papers of requests per second. [`Rate`] is the
//! only type that holds either, so that the two cannot be confused.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A request rate. Stored, serialised and printed in requests per minute.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rate(f64);

impl Rate {
    /// A rate in requests per minute.
    pub const fn per_minute(value: f64) -> Self {
        Self(value)
    }

    /// A rate in requests per second.
    pub const fn per_second(value: f64) -> Self {
        Self(value * 60.0)
    }

    /// Requests per minute.
    pub const fn as_per_minute(self) -> f64 {
        self.0
    }

    /// Requests per second.
    pub const fn as_per_second(self) -> f64 {
        self.0 / 60.0
    }

    /// Rounded to four significant digits: what a search proposes, so that a resumed search proposes it again.
    #[must_use]
    pub fn rounded(self) -> Self {
        Self(round_significant(self.0, 4))
    }

    /// Requests per second, rounded to four significant digits.
    pub fn rounded_per_second(self) -> f64 {
        round_significant(self.as_per_second(), 4)
    }

    /// How many requests this rate sends in `seconds`; at least one.
    pub fn count_in(self, seconds: f64) -> usize {
        (self.as_per_second() * seconds).round().max(1.0) as usize
    }
}

/// Rounds to `digits` significant decimal digits.
fn round_significant(value: f64, digits: i32) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let exponent = value.abs().log10().floor() as i32;
    let shift = digits - 1 - exponent;
    // Dividing by a power of ten keeps short decimals exact where multiplying by its inverse would not.
    if shift >= 0 {
        let factor = 10f64.powi(shift);
        (value * factor).round() / factor
    } else {
        let factor = 10f64.powi(-shift);
        (value / factor).round() * factor
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} req/min", Plain(self.0))
    }
}

/// The error of parsing a [`Rate`].
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("`{0}` is not a request rate; write for example `300`, `300/min` or `5/s`")]
pub struct RateError(String);

impl FromStr for Rate {
    type Err = RateError;

    /// Accepts `300` and `300/min` (requests per minute) and `5/s` (requests per second).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || RateError(text.to_owned());
        let trimmed = text.trim();
        let (number, make): (&str, fn(f64) -> Rate) = match trimmed.split_once('/') {
            None => (trimmed, Rate::per_minute),
            Some((n, unit)) => match unit.trim() {
                "min" | "m" | "minute" => (n, Rate::per_minute),
                "s" | "sec" | "second" => (n, Rate::per_second),
                _ => return Err(error()),
            },
        };
        let value: f64 = number.trim().parse().map_err(|_| error())?;
        if !value.is_finite() || value <= 0.0 {
            return Err(error());
        }
        Ok(make(value))
    }
}

/// Prints a number without a trailing `.0` and with at most three decimals.
#[derive(Clone, Copy)]
pub struct Plain(pub f64);

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.3}", self.0);
        let text = text.trim_end_matches('0').trim_end_matches('.');
        f.write_str(if text == "-0" { "0" } else { text })
    }
}

/// An inclusive range of token counts; a single length has `min == max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TokenRange {
    /// Smallest length. Zero is read as one when a length is drawn.
    pub min: u32,
    /// Largest length, at least one.
    pub max: u32,
}

impl TokenRange {
    /// The range that holds one length only.
    pub const fn exactly(length: u32) -> Self {
        Self {
            min: length,
            max: length,
        }
    }

    /// The smallest length that is really drawn.
    pub fn lowest(self) -> u32 {
        self.min.max(1)
    }

    /// The mean of a uniform draw.
    pub fn mean(self) -> f64 {
        f64::midpoint(f64::from(self.lowest()), f64::from(self.max))
    }

    /// Whether `length` lies inside.
    pub fn contains(self, length: u32) -> bool {
        (self.lowest()..=self.max).contains(&length)
    }
}

impl fmt::Display for TokenRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max {
            write!(f, "{}", self.min)
        } else {
            write!(f, "{}-{}", self.min, self.max)
        }
    }
}

/// Input and output lengths of one class of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TokenPair {
    /// Prompt length in tokens.
    pub input: TokenRange,
    /// Response length in tokens.
    pub output: TokenRange,
}

impl TokenPair {
    /// The folder name of the pair: `128_128`, `100-200_0-100`.
    pub fn folder_name(self) -> String {
        format!("{}_{}", self.input, self.output)
    }
}

impl fmt::Display for TokenPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.input, self.output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_keep_their_unit() {
        assert_eq!(Rate::per_second(2.0).as_per_minute(), 120.0);
        assert_eq!("5/s".parse::<Rate>().unwrap(), Rate::per_minute(300.0));
        assert_eq!("300".parse::<Rate>().unwrap().to_string(), "300 req/min");
        for bad in ["", "0", "-3", "nan", "5/h", "x"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn rounding_keeps_four_digits() {
        for (raw, expected) in [
            (1234.56, 1235.0),
            (37.256_78, 37.26),
            (123_456.0, 123_500.0),
            (0.123_456, 0.1235),
        ] {
            assert_eq!(Rate::per_minute(raw).rounded().as_per_minute(), expected);
        }
    }

    #[test]
    fn pairs_name_their_folder() {
        let pair = TokenPair {
            input: TokenRange { min: 100, max: 200 },
            output: TokenRange { min: 0, max: 100 },
        };
        assert_eq!(pair.folder_name(), "100-200_0-100");
        assert_eq!(pair.output.lowest(), 1);
    }
}
