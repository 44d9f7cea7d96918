//! What a server can sustain, found apart from any search.
//!
//! The capacity is the rate beyond which the backlog grows without bound in very long runs; where a server refuses, the
//! highest rate at which the wanted share of the requests succeeds besides; but while a bounded queue fills, the backlog grows, so
//! one that takes long to fill is none. A slow start passes and does not count; a
//! slow-down counts as it is after `duration_s` of load. Stalls, and a neighbour whose period is shorter than `duration_s`,
//! count on average, for what they leave undone is made up for in between; with a longer period the neighbour is taken to be
//! there.

use std::sync::Arc;

use super::truth_run::{at_rate, saturated};
use super::{Server, ServerSpec, SlowDown, truth_formula};
use crate::units::Rate;

/// What a server can sustain.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    /// The rate beyond which its backlog grows without bound, or too many requests fail.
    pub capacity: Rate,
    /// How it was found, in a sentence.
    pub method: String,
    /// Standard error of the rate divided by the rate, or where it was bisected how far the bisections lie from their mean;
    /// zero for a closed form.
    pub relative_error: f64,
}

/// Requests of the shortest and the longest saturated run.
const SATURATED: [f64; 2] = [40_000.0, 400_000.0];
/// Wanted relative standard error of a saturated run.
const PRECISE: f64 = 0.0012;
/// A bisection ends with a bracket as wide as this, relative.
const BRACKET: f64 = 0.003;

/// The rate that a server can just sustain, for trials of `duration_s`.
pub fn true_capacity(server: &Server, duration_s: f64) -> Truth {
    let mut settled = server.settled(duration_s);
    let base = unrefused(&settled);
    let wanted = settled.spec.success_rate_percent / 100.0;
    let unbounded = settled.spec.queue_limit.is_some_and(|limit| {
        let overload = base.rate * (1.0 / wanted - 1.0);
        f64::from(limit) / (overload / 2.0) > duration_s / 2.0
    });
    if unbounded {
        settled = settled.with(ServerSpec {
            queue_limit: None,
            ..(*settled.spec).clone()
        });
    }
    let spec = &settled.spec;
    let (candidate, method) = match (spec.queue_limit, spec.rate_limit) {
        (None, None) if base.relative_error == 0.0 => return base.truth(),
        (Some(_), _) => (by_success(&settled, base.rate / wanted, wanted), REFUSES),
        (None, Some(limit)) if limit.per_minute / 60.0 < base.rate => {
            let first = limit.per_minute / 60.0 / wanted;
            (by_success(&settled, first, wanted), REFUSES)
        }
        (None, _) => (base.rate, base.method.as_str()),
    };
    checked(
        &settled,
        &Base {
            rate: candidate,
            method: method.to_owned(),
            relative_error: base
                .relative_error
                .max(if method == REFUSES { 5e-4 } else { 0.0 }),
        },
        wanted,
    )
}

const REFUSES: &str = "rate at which the wanted share succeeds, by long runs at fixed rates";

/// A capacity that is not checked yet, in requests a second.
struct Base {
    rate: f64,
    method: String,
    relative_error: f64,
}

impl Base {
    fn truth(self) -> Truth {
        Truth {
            capacity: Rate::per_second(self.rate),
            method: self.method,
            relative_error: self.relative_error,
        }
    }
}

impl Server {
    /// The server as it is in the long run, see the head of this file.
    fn settled(&self, duration_s: f64) -> Self {
        let mut spec = ServerSpec {
            slow_start: None,
            jitter_ms: 0.0,
            ..(*self.spec).clone()
        };
        spec.slow_down = spec.slow_down.map(|heat| SlowDown {
            to_speed: heat.speed(duration_s),
            over_s: 0.0,
        });
        if let Some(neighbour) = spec.neighbour.as_mut().filter(|n| n.period_s() >= duration_s) {
            neighbour.off_s = 0.0;
        }
        self.with(spec)
    }

    fn with(&self, spec: ServerSpec) -> Self {
        Self {
            neighbour: self.neighbour.clone().filter(|_| spec.neighbour.is_some()),
            spec: Arc::new(spec),
            ..self.clone()
        }
    }

    /// The server alone, at full speed, which refuses nobody.
    fn bare(&self) -> Self {
        self.with(ServerSpec {
            stalls: None,
            slow_down: None,
            neighbour: None,
            rate_limit: None,
            queue_limit: None,
            ..(*self.spec).clone()
        })
    }

    /// Its speed on average.
    fn mean_speed(&self) -> f64 {
        let stalls = self.spec.stalls.map_or(1.0, |s| s.mean_speed());
        stalls * self.spec.slow_down.map_or(1.0, |s| s.to_speed)
    }
}

/// What the server could do if it refused nobody.
fn unrefused(settled: &Server) -> Base {
    let speed = settled.mean_speed();
    let slowed = |method: String| {
        if (speed - 1.0).abs() < 1e-9 {
            method
        } else {
            format!("{method}, times the mean speed {speed:.4}")
        }
    };
    if let Some((rate, method)) = truth_formula::capacity(settled, speed) {
        return Base {
            rate,
            method: slowed(method),
            relative_error: 0.0,
        };
    }
    let bare = settled.bare();
    let (mut rate, relative_error) = precise(&bare);
    if let (Some(neighbour), Some(lengths)) = (&settled.spec.neighbour, &settled.neighbour) {
        // A first guess, to be bisected: as if both took turns.
        let theirs = Server {
            mean_tokens: [lengths[0].mean(), lengths[1].mean()],
            lengths: (**lengths).clone(),
            ..bare
        };
        let alone = saturated(&theirs, SATURATED[0]).0 * speed;
        let present = neighbour.on_s / neighbour.period_s();
        rate *= (1.0 - neighbour.per_minute / 60.0 * present / alone).max(0.05);
    }
    Base {
        rate: rate * speed,
        method: slowed("completion rate of a long saturated run".to_owned()),
        relative_error,
    }
}

/// A saturated run as long as its precision asks.
fn precise(bare: &Server) -> (f64, f64) {
    let mut count = SATURATED[0];
    loop {
        let (rate, error) = saturated(bare, count);
        if error <= PRECISE || count >= SATURATED[1] {
            return (rate, error);
        }
        // Errors shrink with the square root.
        count = (count * (1.2 * error / PRECISE).powi(2).clamp(1.5, 8.0)).min(SATURATED[1]);
    }
}

/// Requests of a run at a fixed rate: many times those that are under way at once.
fn enough(server: &Server) -> f64 {
    let room = f64::from(server.cluster.engine.batch_size_cap) * f64::from(server.cluster.replicas);
    (200.0 * room).clamp(60_000.0, 200_000.0)
}

/// The rate at which a share `wanted` of the requests succeeds, where more load does not make the server do more.
fn by_success(server: &Server, first: f64, wanted: f64) -> f64 {
    let mut rate = first;
    for _ in 0..6 {
        let step = at_rate(server, rate, enough(server), 0).success / wanted;
        rate *= step;
        if (step - 1.0).abs() < 5e-4 {
            break;
        }
    }
    rate
}

/// Looks just below and just above; where that contradicts what was found, bisects.
fn checked(server: &Server, found: &Base, wanted: f64) -> Truth {
    let count = enough(server);
    let keeps_up = |rate: f64, round| at_rate(server, rate, count, round).keeps_up(wanted);
    let (low, high) = (0.99 * found.rate, 1.01 * found.rate);
    if keeps_up(low, 0) && !keeps_up(high, 0) {
        return Truth {
            capacity: Rate::per_second(found.rate),
            method: format!(
                "{}; in long runs it keeps up at 0.99 of it and not at 1.01",
                found.method
            ),
            relative_error: found.relative_error,
        };
    }
    // Where more load makes the server do less, it is chance when it falls: so several times.
    let rounds: Vec<f64> = (1..=ROUNDS)
        .map(|round| bisect(found.rate, |rate| keeps_up(rate, round)))
        .collect();
    let capacity = rounds.iter().sum::<f64>() / rounds.len() as f64;
    let most = rounds
        .iter()
        .map(|rate| (rate / capacity - 1.0).abs())
        .fold(0.0, f64::max);
    Truth {
        capacity: Rate::per_second(capacity),
        method: format!(
            "bisected {ROUNDS} times by runs of {count:.0} requests at fixed rates ({} gives {:.4} of it)",
            found.method,
            found.rate / capacity
        ),
        relative_error: most.max(BRACKET / 2.0),
    }
}

/// How often a bisection is made.
const ROUNDS: u32 = 3;

/// The rate up to which a server keeps up, looked for from `first` on.
fn bisect(first: f64, keeps_up: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (first, 1.03 * first);
    if keeps_up(low) {
        while high < 10.0 * first && keeps_up(high) {
            (low, high) = (high, 1.03 * high);
        }
    } else {
        (low, high) = (0.97 * first, first);
        while low > 0.1 * first && !keeps_up(low) {
            (low, high) = (0.97 * low, low);
        }
    }
    while high / low > 1.0 + BRACKET {
        let middle = f64::midpoint(low, high);
        if keeps_up(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

#[cfg(test)]
mod tests;
