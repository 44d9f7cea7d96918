//! The native load generator.

mod event;
mod sse;
mod tally;
