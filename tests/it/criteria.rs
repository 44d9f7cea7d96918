//! Integration tests: criteria.

mod calibration;
mod simulated;
