//! The HTTP side: model discovery and health of a real endpoint, and the embedded simulated endpoint.

pub mod embedded;
