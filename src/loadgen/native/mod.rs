//! The native load generator.
