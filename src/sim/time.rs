//! Virtual time.

use std::ops::{Add, AddAssign, Mul, Sub};

use serde::{Deserialize, Serialize};

/// A virtual instant since the start of the simulation, or a span between two: whole picoseconds. The range is 213
/// days; arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(u64);

impl Time {
    /// The start of the simulation.
    pub const ZERO: Self = Self(0);
    /// The end of time.
    pub const MAX: Self = Self(u64::MAX);

    /// From picoseconds.
    #[inline]
    pub const fn from_ps(ps: u64) -> Self {
        Self(ps)
    }

    /// From nanoseconds.
    #[inline]
    pub const fn from_ns(ns: u64) -> Self {
        Self(ns.saturating_mul(1_000))
    }

    /// From microseconds, rounded to a picosecond; negative and not-a-number are zero.
    #[inline]
    pub fn from_us(us: f64) -> Self {
        Self((us * 1e6).round() as u64)
    }

    /// From seconds, rounded to a picosecond; negative and not-a-number are zero.
    #[inline]
    pub fn from_seconds(seconds: f64) -> Self {
        Self((seconds * 1e12).round() as u64)
    }

    /// Picoseconds.
    #[inline]
    pub const fn as_ps(self) -> u64 {
        self.0
    }

    /// Whole nanoseconds, rounded up: an event is never reported before it happens.
    #[inline]
    pub const fn as_ns(self) -> u64 {
        self.0.div_ceil(1_000)
    }

    /// Seconds.
    #[inline]
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e12
    }
}

impl Add for Time {
    type Output = Self;
    #[inline]
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Time {
    #[inline]
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Time {
    type Output = Self;
    #[inline]
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Mul<u32> for Time {
    type Output = Self;
    #[inline]
    fn mul(self, times: u32) -> Self {
        Self(self.0.saturating_mul(u64::from(times)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_agree() {
        assert_eq!(Time::from_us(1.5), Time::from_ns(1_500));
        assert_eq!(Time::from_seconds(2.0), Time::from_ps(2_000_000_000_000));
        assert_eq!(Time::from_ps(1_001).as_ns(), 2);
        assert_eq!(Time::from_us(-1.0), Time::ZERO);
        assert_eq!(Time::from_ns(1) - Time::from_ns(2), Time::ZERO);
        assert_eq!(Time::MAX + Time::from_ns(1), Time::MAX);
    }
}
