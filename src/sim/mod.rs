//! A virtual-time replica of an inference server. Pure.
