//! Memory as Slurm writes it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount of memory, whole megabytes; 0 means all of a node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory(u64);

impl Memory {
    /// So many megabytes.
    pub const fn megabytes(count: u64) -> Self {
        Self(count)
    }

    /// So many gigabytes.
    pub const fn gigabytes(count: u64) -> Self {
        Self(count * 1024)
    }

    /// Reads `4G`, `500M`, `1T`, `4096` (megabytes), `0`.
    ///
    /// # Errors
    /// What to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not an amount of memory; write for example 32G or 500M");
        let (number, factor) = match text.to_ascii_uppercase().chars().last() {
            Some('M') => (&text[..text.len() - 1], 1),
            Some('G') => (&text[..text.len() - 1], 1024),
            Some('T') => (&text[..text.len() - 1], 1024 * 1024),
            _ => (text, 1),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        number.checked_mul(factor).map(Self).ok_or_else(wrong)
    }

    /// What two need on one node; all of it where one of them wants that.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        if self.0 == 0 || other.0 == 0 {
            Self(0)
        } else {
            Self(self.0.saturating_add(other.0))
        }
    }

    /// What is enough for either.
    #[must_use]
    pub fn or_more(self, other: Self) -> Self {
        if self.0 == 0 || other.0 == 0 {
            Self(0)
        } else {
            Self(self.0.max(other.0))
        }
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0 => f.write_str("0"),
            megabytes if megabytes % 1024 == 0 => write!(f, "{}G", megabytes / 1024),
            megabytes => write!(f, "{megabytes}M"),
        }
    }
}

impl Serialize for Memory {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Memory {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_added_and_printed() {
        for (text, printed) in [
            ("4G", "4G"),
            ("4096", "4G"),
            ("500m", "500M"),
            ("1T", "1024G"),
            ("0", "0"),
        ] {
            assert_eq!(Memory::parse(text).unwrap().to_string(), printed, "{text}");
        }
        for text in [
            "",
            "G",
            "4GB",
            "-1",
            "1.5G",
            "99999999999999999999",
            "18446744073709551615T",
            "4\u{20ac}",
        ] {
            assert!(Memory::parse(text).is_err(), "{text}");
        }
        let (small, large) = (Memory::megabytes(500), Memory::gigabytes(4));
        assert_eq!(small.plus(large).to_string(), "4596M");
        assert_eq!(small.or_more(large), large);
        assert_eq!(small.plus(Memory::megabytes(0)).to_string(), "0");
        assert_eq!(Memory::megabytes(0).or_more(large).to_string(), "0");
    }
}
