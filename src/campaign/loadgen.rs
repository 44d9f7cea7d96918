//! From settings to the load generator that they name.

use std::path::Path;

use crate::loadgen::command::CommandGenerator;
use crate::loadgen::fmperf::Fmperf;
use crate::loadgen::native::Native;
use crate::loadgen::{LoadGenError, LoadGenerator};
use crate::settings::{LoadGenChoice, Settings};
