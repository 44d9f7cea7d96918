//! Until true capacities are computed: the closed form of a batch-limited engine.

use super::Server;
use crate::units::Rate;

/// What a server can sustain.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// The capacity.
    pub capacity: Rate,
    /// How it was computed.
    pub method: String,
    /// How exact it is, as a share.
    pub relative_error: f64,
}

/// The closed form.
pub fn true_capacity(server: &Server, _duration_s: f64) -> Truth {
    let engine = server.affine.as_ref().expect("an engine given by numbers");
    let (b, l, i) = (
        f64::from(engine.batch),
        server.lengths[1].mean(),
        server.lengths[0].mean(),
    );
    let ms = engine.step_ms + engine.step_ms_per_sequence * b + engine.prefill_ms_per_token * i * b / l;
    let n = f64::from(server.cluster.replicas);
    Truth {
        capacity: Rate::per_second(n * 1e3 * b / l / ms),
        method: "closed form".to_owned(),
        relative_error: 0.0,
    }
}

impl Server {
    /// Whether its capacity does not change over time.
    pub fn is_stationary(&self) -> bool {
        true
    }
}
