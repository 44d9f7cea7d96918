//! When a bracket is narrow enough.

use crate::units::Plain;

/// The width at which a search ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StopRule {
    /// M - m in requests per minute.
    Absolute(f64),
    /// M - m as a fraction of M.
    Relative(f64),
}

impl StopRule {
    /// Whether the bracket from `m` to `big_m` (requests per minute) is narrow enough.
    pub fn is_met(self, m: f64, big_m: f64) -> bool {
        match self {
            Self::Absolute(width) => big_m - m <= width,
            Self::Relative(fraction) => big_m - m <= big_m * fraction,
        }
    }

    /// The widest bracket that is narrow enough around `rate`, requests per minute.
    pub(super) fn width(self, rate: f64) -> f64 {
        match self {
            Self::Absolute(width) => width,
            Self::Relative(fraction) => rate * fraction,
        }
    }

    /// In words, before a bracket is known.
    pub fn in_words(self) -> String {
        match self {
            Self::Absolute(width) => format!("{} req/min", Plain(width)),
            Self::Relative(fraction) => format!("{} % of M", Plain(fraction * 100.0)),
        }
    }

    /// In words, for the bracket that ends at `big_m`.
    pub fn describe(self, big_m: f64) -> String {
        match self {
            Self::Absolute(_) => self.in_words(),
            Self::Relative(fraction) => {
                format!(
                    "{} % of M ({} req/min)",
                    Plain(fraction * 100.0),
                    Plain(big_m * fraction)
                )
            }
        }
    }
}
