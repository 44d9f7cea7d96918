//! What goes wrong with a server over time: stalls, slow starts, heat, and neighbours.
//!
//! A speed that changes for the whole cluster at once needs no change of the simulator: it runs in work time, the integral
//! of the speed, into which arrivals are mapped and from which results are mapped back. That is exact.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::Lengths;
use super::server::ServerError;
use crate::workload::seeds;

/// Periodic stalls, of a garbage collection or a checkpoint: the server does nothing for a while. Where in the period a
/// trial begins is random.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stalls {
    /// Seconds from the start of one to the start of the next.
    pub every_s: f64,
    /// Seconds that each takes.
    pub for_s: f64,
}

/// A slow start after idle, at the start of every trial.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowStart {
    /// Seconds that it takes.
    pub for_s: f64,
    /// Speed meanwhile; 1 is full speed.
    pub speed: f64,
}

/// A slow-down by heat: the speed falls evenly, in steps of a second, from full speed at the start of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlowDown {
    /// Speed at its end and from then on; 1 is full speed.
    pub to_speed: f64,
    /// Seconds that it takes.
    pub over_s: f64,
}

/// A second load on the same cluster that comes and goes: Poisson arrivals while it is there. It is no part of what a trial
/// measures. Where in its period a trial begins is random.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Neighbour {
    /// Requests a minute while it is there.
    pub per_minute: f64,
    /// Their lengths.
    pub lengths: Lengths,
    /// Seconds that it is there.
    pub on_s: f64,
    /// Seconds that it is away; 0: it is always there.
    pub off_s: f64,
}

impl SlowDown {
    /// Speed so many seconds after the start.
    pub(super) fn speed(&self, at_s: f64) -> f64 {
        let share = if at_s < self.over_s {
            at_s / self.over_s
        } else {
            1.0
        };
        1.0 - (1.0 - self.to_speed) * share
    }
}

impl Stalls {
    /// Speed on average.
    pub(super) fn mean_speed(&self) -> f64 {
        1.0 - self.for_s / self.every_s
    }
}

impl Neighbour {
    /// Seconds of a period.
    pub(super) fn period_s(&self) -> f64 {
        self.on_s + self.off_s
    }

    /// Its arrivals up to `horizon_s`, in seconds.
    pub(super) fn arrivals(&self, seed: u64, horizon_s: f64) -> Vec<f64> {
        let mut rng = seeds::stream(seed, "neighbour");
        let mut begin = -rng.random::<f64>() * self.period_s();
        let gap = 60.0 / self.per_minute;
        let mut times = Vec::new();
        while begin < horizon_s {
            let end = if self.off_s > 0.0 {
                begin + self.on_s
            } else {
                horizon_s
            };
            let mut at = begin.max(0.0);
            loop {
                at -= gap * (1.0 - rng.random::<f64>()).ln();
                if at >= end.min(horizon_s) {
                    break;
                }
                times.push(at);
            }
            begin = end + self.off_s;
        }
        times
    }
}

/// Refuses what does not do.
pub(super) fn check(
    stalls: Option<Stalls>,
    start: Option<SlowStart>,
    heat: Option<SlowDown>,
    neighbour: Option<&Neighbour>,
) -> Result<(), ServerError> {
    let fail = |key, problem: String| Err(ServerError::value(key, problem));
    let seconds = |s: f64| (0.0..=1e6).contains(&s);
    let speed = |s: f64| (0.01..=100.0).contains(&s);
    if let Some(stalls) = stalls
        && !(stalls.every_s >= 0.1
            && seconds(stalls.every_s)
            && (0.0..0.99 * stalls.every_s).contains(&stalls.for_s))
    {
        return fail(
            "stalls",
            format!(
                "{} s every {} s do not do; write every_s of at least 0.1 and a shorter for_s",
                stalls.for_s, stalls.every_s
            ),
        );
    }
    if let Some(start) = start
        && !(seconds(start.for_s) && speed(start.speed))
    {
        let problem = "write for_s in seconds and a speed from 0.01 on, 1 for full speed";
        return fail("slow_start", problem.to_owned());
    }
    if let Some(heat) = heat
        && !(seconds(heat.over_s) && speed(heat.to_speed))
    {
        let problem = "write over_s in seconds and to_speed from 0.01 on, 1 for full speed";
        return fail("slow_down", problem.to_owned());
    }
    if let Some(n) = neighbour
        && !(n.per_minute > 0.0
            && n.per_minute <= 1e7
            && n.on_s >= 0.1
            && seconds(n.on_s)
            && seconds(n.off_s))
    {
        let problem = "write per_minute above 0, on_s of at least 0.1 seconds, and off_s";
        return fail("neighbour", problem.to_owned());
    }
    Ok(())
}

/// Work time against time: pieces of constant speed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Warp {
    /// Where pieces begin, in seconds; the first at zero.
    starts: Vec<f64>,
    /// Work done until then, in seconds at full speed.
    work: Vec<f64>,
    speeds: Vec<f64>,
}

impl Warp {
    /// The speed of a trial up to `horizon_s`; it stays what it is after that. `None` where it is always 1.
    pub(super) fn new(
        stalls: Option<Stalls>,
        start: Option<SlowStart>,
        heat: Option<SlowDown>,
        seed: u64,
        horizon_s: f64,
    ) -> Option<Self> {
        if stalls.is_none() && start.is_none() && heat.is_none() {
            return None;
        }
        let phase = stalls.map_or(0.0, |s| seeds::stream(seed, "stalls").random::<f64>() * s.every_s);
        let mut starts = vec![0.0];
        starts.extend(start.map(|s| s.for_s));
        if let Some(heat) = heat {
            let steps = heat.over_s.min(horizon_s).ceil() as u32;
            starts.extend((1..=steps).map(|second| f64::from(second).min(heat.over_s)));
        }
        if let Some(stalls) = stalls {
            let mut at = phase - stalls.every_s;
            while at < horizon_s {
                starts.extend([at, at + stalls.for_s]);
                at += stalls.every_s;
            }
        }
        starts.retain(|at| *at >= 0.0);
        starts.sort_by(f64::total_cmp);
        starts.dedup();
        let pace = |at: f64| {
            let stalled = |s: Stalls| (at - phase).rem_euclid(s.every_s) < s.for_s;
            let slow = |s: SlowStart| if at < s.for_s { s.speed } else { 1.0 };
            if stalls.is_some_and(stalled) {
                0.0
            } else {
                start.map_or(1.0, slow) * heat.map_or(1.0, |s| s.speed(at))
            }
        };
        let mut speeds: Vec<f64> = starts
            .windows(2)
            .map(|w| pace(f64::midpoint(w[0], w[1])))
            .collect();
        // Never without an end, should the last piece be a stall.
        let last = starts[starts.len() - 1];
        speeds.push(Some(pace(last + 1e-9)).filter(|s| *s > 0.0).unwrap_or(1.0));
        let mut done = 0.0;
        let work = (0..starts.len())
            .map(|i| {
                if i > 0 {
                    done += speeds[i - 1] * (starts[i] - starts[i - 1]);
                }
                done
            })
            .collect();
        Some(Self { starts, work, speeds })
    }

    /// Work time at a time, both in seconds.
    pub(super) fn work(&self, at: f64) -> f64 {
        let piece = self.starts.partition_point(|start| *start <= at).max(1) - 1;
        self.work[piece] + self.speeds[piece] * (at - self.starts[piece])
    }

    /// The first time at which so much work is done, both in seconds.
    pub(super) fn time(&self, work: f64) -> f64 {
        let piece = self.work.partition_point(|done| *done < work).max(1) - 1;
        let more = work - self.work[piece];
        if more <= 0.0 {
            return self.starts[piece];
        }
        self.starts[piece] + more / self.speeds[piece]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STALLS: Stalls = Stalls {
        every_s: 30.0,
        for_s: 1.5,
    };
    const START: SlowStart = SlowStart {
        for_s: 40.0,
        speed: 0.5,
    };
    const HEAT: SlowDown = SlowDown {
        to_speed: 0.8,
        over_s: 600.0,
    };

    proptest! {
        /// There and back: the first time at which the work of a time is done is that time, or the start of the stall that
        /// it lies in.
        #[test]
        fn times_come_back(at in 0.0f64..2_000.0, seed in 0u64..50, which in 1usize..8) {
            let warp = Warp::new(
                (which & 1 > 0).then_some(STALLS),
                (which & 2 > 0).then_some(START),
                (which & 4 > 0).then_some(HEAT),
                seed,
                2_100.0,
            ).unwrap();
            let back = warp.time(warp.work(at));
            prop_assert!(back <= at + 1e-6);
            let stall = if which & 1 > 0 { STALLS.for_s } else { 0.0 };
            prop_assert!(at - back <= stall + 1e-6);
            prop_assert!((warp.work(back) - warp.work(at)).abs() < 1e-6);
        }

        /// Held against a sum over small steps.
        #[test]
        fn work_is_the_integral_of_the_speed(seed in 0u64..50) {
            let warp = Warp::new(Some(STALLS), Some(START), Some(HEAT), seed, 1_000.0).unwrap();
            let phase = seeds::stream(seed, "stalls").random::<f64>() * STALLS.every_s;
            let step = 0.01;
            let mut work = 0.0;
            for i in 0..90_000 {
                let at = (f64::from(i) + 0.5) * step;
                let stalled = (at - phase).rem_euclid(STALLS.every_s) < STALLS.for_s;
                let warm = if at < 40.0 { 0.5 } else { 1.0 };
                let heat = 1.0 - 0.2 * (at / 600.0).min(1.0);
                work += if stalled { 0.0 } else { warm * heat * step };
            }
            prop_assert!((warp.work(900.0) - work).abs() < 0.2, "{} {work}", warp.work(900.0));
        }
    }

    #[test]
    fn a_server_that_is_always_as_fast_needs_no_warp() {
        assert_eq!(Warp::new(None, None, None, 1, 100.0), None);
        let hot = SlowDown {
            to_speed: 0.5,
            over_s: 0.0,
        };
        let warp = Warp::new(None, None, Some(hot), 1, 100.0).unwrap();
        assert!((warp.work(80.0) - 40.0).abs() < 1e-9);
        assert!((warp.time(1_000.0) - 2_000.0).abs() < 1e-9);
    }

    #[test]
    fn a_neighbour_comes_and_goes() {
        let neighbour: Neighbour = serde_saphyr::from_str(
            "
per_minute: 600
on_s: 60
off_s: 30
lengths: {input: {distribution: fixed, tokens: 8}, output: {distribution: fixed, tokens: 8}}
",
        )
        .unwrap();
        let times = neighbour.arrivals(3, 90_000.0);
        assert!(times.is_sorted() && times.iter().all(|t| (0.0..90_000.0).contains(t)));
        assert!(
            (times.len() as f64 / 600_000.0 - 1.0).abs() < 0.01,
            "{}",
            times.len()
        );
        let longest = times.windows(2).map(|w| w[1] - w[0]).fold(0.0, f64::max);
        assert!((30.0..33.0).contains(&longest), "{longest}");
        let always = Neighbour {
            off_s: 0.0,
            ..neighbour
        };
        let times = always.arrivals(3, 9_000.0);
        assert!(
            (times.len() as f64 / 90_000.0 - 1.0).abs() < 0.02,
            "{}",
            times.len()
        );
    }
}
