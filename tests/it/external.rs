//! Integration tests: external.
