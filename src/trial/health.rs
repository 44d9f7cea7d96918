//! Whether the client kept its own schedule.

use serde::{Deserialize, Serialize};

/// What a load generator tells about itself. A trial whose client did not keep its schedule says nothing about the
/// service and is void.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClientHealth {
    /// Median send lateness, milliseconds.
    pub lateness_p50_ms: Option<f64>,
    /// 99th percentile of send lateness, milliseconds.
    pub lateness_p99_ms: Option<f64>,
    /// Largest send lateness, milliseconds.
    pub lateness_max_ms: Option<f64>,
    /// 99th percentile of the delay from the kernel's receive stamp to our read, milliseconds.
    pub receive_lag_p99_ms: Option<f64>,
    /// CPU seconds of the client over the seconds of the trial.
    pub cpu_share: Option<f64>,
    /// Whether token times are the kernel's.
    pub kernel_timestamps: bool,
    /// Why the trial is void, where it is.
    pub void: Option<String>,
}
