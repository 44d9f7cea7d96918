//! Integration tests: criteria.

mod calibration;
mod joined;
mod legacy;
mod simulated;
mod tails;
