//! Integration tests: criteria.
