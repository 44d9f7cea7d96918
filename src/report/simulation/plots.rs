//! The plots of a run.

use super::chart::{Chart, Line};
use super::gather::{Arrivals, Gather};
use super::spread::Spread;
use super::timeline::Timeline;
use crate::sim::cluster::{ClusterConfig, Totals};
use crate::sim::{Source, Time};

/// Distributions under Vidur's names, and curves over time.
pub fn plots<const ITERATIONS: bool, S: Source>(
    config: &ClusterConfig,
    totals: &Totals,
    gather: &mut Gather<ITERATIONS>,
    arrivals: &mut Arrivals<S>,
) -> Vec<Chart> {
    let mut charts = vec![
        distribution("prefill_e2e_time", "Time to first token", &gather.ttft),
        distribution(
            "decode_token_execution_plus_preemption_time",
            "Time between tokens",
            &gather.tbt,
        ),
        distribution(
            "decode_time_execution_plus_preemption_normalized",
            "Decode time per output token",
            &gather.decode_normalized,
        ),
        distribution("request_e2e_time", "End-to-end time", &gather.e2e),
        distribution(
            "request_scheduling_delay",
            "Scheduling delay",
            &gather.scheduling_delay,
        ),
    ];
    if ITERATIONS {
        let replicas = f64::from(config.replicas);
        let blocks = f64::from(config.engine.blocks) * replicas;
        let over = |line: &Timeline, scale: f64| scaled(line, totals.end, scale);
        charts.push(Chart {
            name: "batch_size",
            title: "Batch size, mean of the replicas".to_owned(),
            x: "time_s",
            y: "sequences",
            lines: vec![Line {
                name: "batch_size".to_owned(),
                points: over(&gather.batch_size, replicas),
            }],
        });
        charts.push(Chart {
            name: "kv_use",
            title: "KV cache in use, mean of the replicas".to_owned(),
            x: "time_s",
            y: "share",
            lines: vec![Line {
                name: "kv_use".to_owned(),
                points: over(&gather.kv_blocks, blocks),
            }],
        });
        charts.push(Chart {
            name: "queue",
            title: "Waiting requests, all replicas".to_owned(),
            x: "time_s",
            y: "requests",
            lines: vec![Line {
                name: "waiting".to_owned(),
                points: over(&gather.waiting, 1.0),
            }],
        });
    }
    arrivals.timeline.align(&mut gather.completions);
    charts.push(backlog(&arrivals.timeline, &gather.completions));
    charts
}

fn distribution(name: &'static str, title: &str, spread: &Spread) -> Chart {
    Chart {
        name,
        title: format!("{title}, cumulative distribution"),
        x: "seconds",
        y: "share",
        lines: vec![Line {
            name: "cdf".to_owned(),
            points: spread.curve(),
        }],
    }
}

fn scaled(line: &Timeline, end: Time, scale: f64) -> Vec<(f64, f64)> {
    let means = line.means(end);
    means.into_iter().map(|(at, value)| (at, value / scale)).collect()
}

/// Requests in the system.
fn backlog(arrivals: &Timeline, completions: &Timeline) -> Chart {
    let bins = arrivals.sums().len().max(completions.sums().len());
    let at = |line: &Timeline, i: usize| line.sums().get(i).copied().unwrap_or(0.0);
    let mut open = 0.0;
    let points = (0..bins).map(|i| {
        open += at(arrivals, i) - at(completions, i);
        ((i + 1) as f64 * arrivals.step_s(), open)
    });
    Chart {
        name: "backlog",
        title: "Requests in the system".to_owned(),
        x: "time_s",
        y: "requests",
        lines: vec![Line {
            name: "backlog".to_owned(),
            points: points.collect(),
        }],
    }
}
