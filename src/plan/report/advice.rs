//! The rules of thumb of the older planner's guide, each with what this plan has to say to it.

use super::Report;
use super::words::number;
use crate::plan::answer::Candidate;
use crate::plan::request::{Latency, name_of};
use crate::plan::sensitivity::Shadow;

/// Objectives that are common: name, P95 of the time to the first token, P99 of the time between tokens, in milliseconds.
const PRESETS: [(&str, f64, f64); 3] = [
    ("interactive chat", 1_000.0, 100.0),
    ("document generation", 2_000.0, 200.0),
    ("batch processing", 5_000.0, 500.0),
];

/// Requests a second for a dollar an hour that the guide calls typical, and the GPUs that it says so of.
const TYPICAL: [(&str, f64, f64, &str); 3] = [
    ("A10", 5.0, 10.0, "budget GPUs"),
    ("A100", 3.0, 5.0, "mid-tier GPUs"),
    ("H100", 2.0, 4.0, "premium GPUs"),
];

/// All that applies.
pub(super) fn all(report: &Report<'_>) -> Vec<String> {
    match report.best() {
        Some(best) => [
            utilization(report, best),
            Some(memory(report, best)),
            dollars(best),
            presets(best),
            cheaper(report, best),
            more(report, best),
        ]
        .into_iter()
        .flatten()
        .collect(),
        None => infeasible(report),
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

/// What a tenth more of something buys, as the sensitivities name it.
fn shadow<'a>(report: &'a Report<'_>, what: &str) -> Option<&'a Shadow> {
    let all = &report.answer.sensitivity.as_ref()?.shadow_prices;
    all.iter().find(|shadow| shadow.what.ends_with(what))
}

fn utilization(report: &Report<'_>, best: &Candidate) -> Option<String> {
    let mfu = best.capacity.at.summary.mfu?;
    let band = if mfu < 0.5 {
        "below 50 %: larger batches or another scheduler may help"
    } else if mfu <= 0.7 {
        "50 to 70 %: good where the load varies"
    } else if mfu <= 1.0 {
        "above 70 %: excellent, but near its limits"
    } else {
        "more than the datasheet's peak: the times that were measured are faster than that, see the warnings"
    };
    let batch = shadow(report, "max_batch_size").map_or(String::new(), |batch| {
        format!("; here 10 % more max_batch_size buys {}", percent(batch.gain))
    });
    let scheduler = best_of(report, |c| {
        c.config.scheduler != best.config.scheduler && same_gpus(c, best)
    })
    .map_or(String::new(), |other| {
        format!(
            ", and {} bears {:.3} QPS on the same GPUs in place of {:.3}",
            name_of(other.config.scheduler),
            other.capacity.qps,
            best.capacity.qps
        )
    });
    Some(format!("MFU is {}, {band}{batch}{scheduler}", percent(mfu)))
}

fn memory(report: &Report<'_>, best: &Candidate) -> String {
    let used = best.capacity.at.summary.kv.peak;
    let band = if used < 0.6 {
        "below 60 %: smaller GPUs might do"
    } else if used <= 0.85 {
        "60 to 85 %: healthy"
    } else {
        "above 85 %: requests may be preempted, a smaller batch avoids it"
    };
    let kv = shadow(report, "KV cache").map_or(String::new(), |kv| {
        format!("; here 10 % more KV cache buys {}", percent(kv.gain))
    });
    format!("at most {} of the KV cache is used, {band}{kv}", percent(used))
}

fn dollars(best: &Candidate) -> Option<String> {
    let cost = best.cost?;
    let name = &best.config.gpu_type;
    let typical = TYPICAL.iter().rev().find(|(gpu, ..)| name.starts_with(gpu))?;
    let (_, low, high, class) = typical;
    Some(format!(
        "{:.2} QPS for an hour's unit of money; the older guide calls {low} to {high} typical of {class}, of a model, lengths and prices that it does not name",
        cost.qps_per_dollar
    ))
}

fn presets(best: &Candidate) -> Option<String> {
    let summary = &best.capacity.at.summary;
    let (ttft, tbt) = (1e3 * summary.ttft_s?.p95, 1e3 * summary.tbt_s?.p99);
    let kept = PRESETS
        .iter()
        .filter(|(_, most_ttft, most_tbt)| ttft < *most_ttft && tbt < *most_tbt);
    let kept: Vec<&str> = kept.map(|(name, ..)| *name).collect();
    Some(if kept.is_empty() {
        format!(
            "TTFT P95 of {ttft:.0} ms and TBT P99 of {tbt:.0} ms keep none of the guide's presets (batch processing: 5000 and 500 ms)"
        )
    } else {
        format!(
            "TTFT P95 of {ttft:.0} ms and TBT P99 of {tbt:.0} ms keep the guide's presets for {}",
            kept.join(", ")
        )
    })
}

/// The guide's list for high costs: smaller GPUs, less parallelism, other batches, spot prices.
fn cheaper(report: &Report<'_>, best: &Candidate) -> Option<String> {
    let cost = best.cost?;
    let serving = |keep: &dyn Fn(&Candidate) -> bool| {
        let all = report.answer.candidates.iter().filter(|c| c.serves && keep(c));
        all.min_by(|a, b| a.price().total_cmp(&b.price()))
    };
    let told = |what: &str, other: Option<&Candidate>| {
        other.map_or_else(
            || format!("{what}: none serves the demand"),
            |other| {
                format!(
                    "{what}: {:.2} an hour at least ({})",
                    other.price(),
                    other.config.name()
                )
            },
        )
    };
    let config = &best.config;
    let gpus = serving(&|c| c.config.gpu_type != config.gpu_type);
    let parallel = serving(&|c| {
        c.config.gpu_type == config.gpu_type && c.config.num_gpus_per_replica < config.num_gpus_per_replica
    });
    let mut parts = vec![told("other GPUs", gpus)];
    if config.num_gpus_per_replica > 1 {
        parts.push(told("fewer GPUs a replica", parallel));
    }
    parts.push(format!(
        "at the lowest price known: {:.2} an hour",
        cost.cost_per_hour_interval[0]
    ));
    Some(format!(
        "it costs {:.2} an hour; {}",
        cost.cost_per_hour,
        parts.join("; ")
    ))
}

/// The guide's list for low estimates: batch sizes, profile, scheduler, more replicas.
fn more(report: &Report<'_>, best: &Candidate) -> Option<String> {
    let sensitivity = report.answer.sensitivity.as_ref()?;
    let binds = match &sensitivity.bottleneck {
        Some(what) => format!("most is bought by {what}"),
        None => "a tenth more of anything buys nothing: latency does not come from load".to_owned(),
    };
    let origin = best.capacity.trust.origin.name();
    let most = best_of(report, |c| c.capacity.qps > best.capacity.qps);
    let most = most.map_or(String::new(), |most| {
        format!(
            "; the most that was found is {:.3} QPS of {}",
            most.capacity.qps,
            most.config.name()
        )
    });
    Some(format!(
        "to serve more: {binds}{most}; times are `{origin}`, a calibration would narrow the interval"
    ))
}

/// The guide's list for plans without an answer: objectives, GPUs, replicas, demand.
fn infeasible(report: &Report<'_>) -> Vec<String> {
    let candidates = &report.answer.candidates;
    let mut all = Vec::new();
    let bounds = report.bench.bounds().iter().enumerate();
    let names: Vec<&str> = bounds
        .filter(|(i, bound)| {
            let wide = matches!(bound.latency, Latency::Ttft | Latency::Tbt | Latency::E2e);
            wide && candidates.iter().any(|c| c.capacity.binding == Some(*i))
        })
        .map(|(_, bound)| bound.key)
        .collect();
    if !names.is_empty() {
        all.push(format!("objectives that bind: {}; relax these", names.join(", ")));
    }
    let most = best_of(report, |_| true);
    if let Some(most) = most.filter(|most| most.capacity.qps > 0.0) {
        let (replicas, hour) = report.would_do(most);
        all.push(format!(
            "more replicas: {replicas:.0} of {} would bear what is needed{}",
            most.config.with_replicas(1).name(),
            hour.map_or(String::new(), |hour| format!(", {}", report.at_cost(hour)))
        ));
        let headroom = 1.0 + report.request().headroom;
        all.push(format!(
            "less demand: {} QPS can be served with the headroom",
            number(most.capacity.simulated[0] / headroom)
        ));
    }
    let asked = &report.request().config_space.gpu_types;
    all.push(format!(
        "other GPUs: {} were looked at; add more powerful ones to gpu_types",
        if asked.is_empty() {
            "only the profile's".to_owned()
        } else {
            asked.join(", ")
        }
    ));
    all
}

fn best_of<'a>(report: &'a Report<'_>, keep: impl Fn(&Candidate) -> bool) -> Option<&'a Candidate> {
    let all = report.answer.candidates.iter().filter(|c| keep(c));
    all.max_by(|a, b| a.capacity.qps.total_cmp(&b.capacity.qps))
}

fn same_gpus(a: &Candidate, b: &Candidate) -> bool {
    a.config.gpu_type == b.config.gpu_type && a.config.total_gpus == b.config.total_gpus
}
