//! Integration tests: the embedded endpoint over real HTTP on loopback, and `mst serve`.

mod client;
mod command;
mod load;
mod shapes;

use mst::endpoint::embedded::{EmbeddedConfig, EmbeddedServer};
use mst::sim::affine::ReplicaConfig;

/// A server with this replica.
fn start(replica: ReplicaConfig) -> EmbeddedServer {
    start_with(replica, |_| ())
}

fn start_with(replica: ReplicaConfig, change: impl FnOnce(&mut EmbeddedConfig)) -> EmbeddedServer {
    let mut config = EmbeddedConfig {
        replica,
        model: "test-model".to_owned(),
        ..EmbeddedConfig::default()
    };
    change(&mut config);
    EmbeddedServer::start(config).unwrap()
}

/// Steps of exactly `step_us`, whatever the batch and the prompts.
fn steady(batch_cap: u32, step_us: f64) -> ReplicaConfig {
    ReplicaConfig {
        batch_cap,
        step_base_us: step_us,
        step_per_seq_us: 0.0,
        prefill_us_per_token: 0.0,
        prefill_base_us: 0.0,
        ..ReplicaConfig::default()
    }
}

/// So fast that tests of shapes do not wait.
fn fast() -> ReplicaConfig {
    steady(8, 100.0)
}

/// So slow that nothing ends during a test.
fn slow(batch_cap: u32) -> ReplicaConfig {
    steady(batch_cap, 6e7)
}
