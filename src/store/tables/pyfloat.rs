//! Numbers as Python writes them.

use std::fmt;

/// A float as Python's `repr` writes it: the shortest text that reads back as the same number, with `.0` when whole,
/// with an exponent of at least two digits from 1e16 on and below 1e-4.
#[derive(Clone, Copy, Debug)]
pub struct PyFloat(pub f64);

impl fmt::Display for PyFloat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_nan() {
            return f.write_str("nan");
        }
        if self.0.is_infinite() {
            return f.write_str(if self.0 > 0.0 { "inf" } else { "-inf" });
        }
        // Rust's debug form has the same digits and the same limits, but writes the exponent its own way.
        let text = format!("{:?}", self.0);
        match text.split_once('e') {
            None => f.write_str(&text),
            Some((digits, exponent)) => {
                let digits = digits.strip_suffix(".0").unwrap_or(digits);
                let (sign, exponent) = match exponent.strip_prefix('-') {
                    Some(negative) => ('-', negative),
                    None => ('+', exponent),
                };
                write!(f, "{digits}e{sign}{exponent:0>2}")
            }
        }
    }
}

/// A truth value as Python writes it.
#[derive(Clone, Copy, Debug)]
pub struct PyBool(pub bool);

impl fmt::Display for PyBool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { "True" } else { "False" })
    }
}

/// A statistic as the older `results.csv` writes it: whole numbers without a point, else six decimals without trailing
/// zeros.
#[derive(Clone, Copy, Debug)]
pub struct Short(pub f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:.6}", self.0);
        let text = text.trim_end_matches('0').trim_end_matches('.');
        f.write_str(if text == "-0" { "0" } else { text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_pythons() {
        // Pairs from Python 3.11.
        for (value, text) in [
            (100.0, "100.0"),
            (91.191_709_844_559_58, "91.19170984455958"),
            (0.000_256, "0.000256"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.25e22, "1.25e+22"),
            (1e-300, "1e-300"),
            (-0.0, "-0.0"),
        ] {
            assert_eq!(PyFloat(value).to_string(), text);
        }
        assert_eq!(Short(14.678_756_47).to_string(), "14.678756");
        assert_eq!(Short(16.0).to_string(), "16");
        assert_eq!(Short(-0.000_000_1).to_string(), "0");
    }
}
