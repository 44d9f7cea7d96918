//! Capacity by a formula.

use super::{AffineEngine, Server};
use crate::sim::router::RouterConfig;

/// Capacity at a speed, 1 for full speed, in requests a second, and how it comes about; `None` where there is no formula.
///
/// With the batch always full an iteration takes `t0 + t1 B` and what its prompts take, and gives a token to each of `B`
/// sequences. A request of `L` tokens is in `L` of them: it costs `w = L (t0 + t1 B) / B + p I` seconds of an engine,
/// whatever the others are. `R` engines keep up as long as the requests of a second cost less than `R` seconds; so the
/// capacity is `R / w`, for any distribution of lengths and any noise of mean one (renewal-reward), and less what a
/// neighbour costs, `(R - n v) / w`, with `n` its requests a second and `v` the cost of each. A slower cluster has fewer
/// engine seconds.
pub(super) fn capacity(server: &Server, speed: f64) -> Option<(f64, String)> {
    let engine = server.affine.as_deref()?;
    let even = matches!(
        server.cluster.router,
        RouterConfig::RoundRobin
            | RouterConfig::Random
            | RouterConfig::Lor
            | RouterConfig::LorWaiting
            | RouterConfig::Lop
    );
    if engine.kv_tokens.is_some() || engine.chunk_tokens.is_some() || !even {
        return None;
    }
    // Engine seconds a second.
    let replicas = speed * f64::from(server.cluster.replicas);
    let [input, output] = server.mean_tokens;
    let own = cost(engine, input + uncached(server, engine), output);
    let neighbour = server.spec.neighbour.as_ref().zip(server.neighbour.as_ref());
    let theirs = neighbour.map_or(0.0, |(neighbour, lengths)| {
        let present = neighbour.on_s / neighbour.period_s();
        let [input, output] = [lengths[0].mean(), lengths[1].mean()];
        neighbour.per_minute / 60.0 * present * cost(engine, input, output)
    });
    let formula = if neighbour.is_some() {
        "closed form (R - n v) / w, with w and v the engine seconds that a request of ours and of the neighbour costs and R those that there are"
    } else {
        "closed form R (B / L) / (t0 + t1 B + p I B / L), with the batch always full"
    };
    Some((((replicas - theirs) / own).max(0.0), formula.to_owned()))
}

/// Engine seconds that a request costs.
fn cost(engine: &AffineEngine, input: f64, output: f64) -> f64 {
    let batch = f64::from(engine.batch);
    let step_ms = engine.step_ms + engine.step_ms_per_sequence * batch;
    (output * step_ms / batch + engine.prefill_ms_per_token * input) / 1e3
}

/// Tokens of the shared prefix that are computed for each request: with prefix caching, once all are in the cache, only
/// those behind the last whole block.
fn uncached(server: &Server, engine: &AffineEngine) -> f64 {
    server.spec.prefixes.map_or(0.0, |prefixes| {
        f64::from(if engine.prefix_caching {
            prefixes.tokens % engine.block_tokens
        } else {
            prefixes.tokens
        })
    })
}
