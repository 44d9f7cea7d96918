//! Integration tests: criteria.
#![expect(clippy::unwrap_used, reason = "in a test a panic is a failure")]

mod calibration;
mod joined;
mod legacy;
mod simulated;
mod tails;
