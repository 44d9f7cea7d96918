//! The plan for people to read.

use std::fmt::Write;

use super::Report;
use super::words::{number, probability};
use crate::plan::answer::Candidate;
use crate::plan::bench::observed;
use crate::plan::launch::Launch;
use crate::plan::request::{Latency, name_of};

/// Width of rules.
const RULE: &str = "━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━";
const BOX: &str = "===============================================";

/// The summary.
pub fn summary(report: &Report<'_>) -> String {
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = write(report, &mut text);
    text
}

fn write(report: &Report<'_>, to: &mut String) -> std::fmt::Result {
    let facts = report.facts;
    let on = facts
        .profiling_hardware
        .as_deref()
        .map_or(String::new(), |gpu| format!(" on {gpu}"));
    writeln!(
        to,
        "{BOX}\n   CAPACITY PLANNING REPORT\n   Model: {}{on}",
        facts.model_name
    )?;
    writeln!(to, "   Date: {}\n{BOX}\n", facts.timestamp)?;
    match report.best() {
        Some(best) => recommended(report, best, to)?,
        None => nothing(report, to)?,
    }
    options(report, to)?;
    section(to, "RECOMMENDATION")?;
    writeln!(to, "{}.", report.recommendation())?;
    if let (Some(budget), Some(below)) = (report.budget(), report.budget_serves_below()) {
        writeln!(
            to,
            "For a demand of up to {} requests a second, headroom kept, {} (x{}) does.",
            number(below),
            budget.config.gpu_type,
            budget.config.total_gpus
        )?;
    }
    let spent = report.answer.spent;
    writeln!(
        to,
        "\nSearched {} configurations, {} dropped before: {} simulations of {} requests in {:.1} s, {} of them known.",
        report.answer.candidates.len(),
        report.answer.dropped.len(),
        spent.simulations,
        spent.requests,
        facts.seconds,
        spent.reused
    )?;
    let advice = super::advice::all(report);
    for (word, lines) in [
        ("hint", &advice),
        ("note", &facts.notes),
        ("warning", &report.warnings()),
    ] {
        for line in lines {
            writeln!(to, "{word}: {line}")?;
        }
    }
    Ok(())
}

fn section(to: &mut String, title: &str) -> std::fmt::Result {
    writeln!(to, "{title}\n{RULE}")
}

fn recommended(report: &Report<'_>, best: &Candidate, to: &mut String) -> std::fmt::Result {
    let (config, capacity) = (&best.config, &best.capacity);
    section(to, "RECOMMENDED CONFIGURATION")?;
    let s = if config.num_replicas == 1 { "" } else { "s" };
    writeln!(to, "Hardware:\n  GPU Type:         {}", config.gpu_type)?;
    writeln!(
        to,
        "  Total GPUs:       {} ({} replica{s} × {} GPUs each)",
        config.total_gpus, config.num_replicas, config.num_gpus_per_replica
    )?;
    writeln!(
        to,
        "  Parallelism:      TP={}, PP={}\n",
        config.tensor_parallel, config.pipeline_parallel
    )?;
    writeln!(
        to,
        "Software:\n  Scheduler:        {}\n  Max Batch Size:   {}\n",
        name_of(config.scheduler),
        config.max_batch_size
    )?;
    section(to, "PERFORMANCE ESTIMATES")?;
    let [low, high] = capacity.interval;
    writeln!(
        to,
        "Throughput:         {} QPS (requests/second), {} to {} with the doubt of `{}`",
        number(capacity.qps),
        number(low),
        number(high),
        capacity.trust.origin.name()
    )?;
    writeln!(
        to,
        "Needed:             {} QPS, headroom included; {} binds",
        number(report.request().needed_qps()),
        report.binding(best)
    )?;
    let summary = &capacity.at.summary;
    if let Some(e2e) = &summary.e2e_s {
        writeln!(to, "Latency (P95):      {:.1} ms", 1e3 * e2e.p95)?;
    }
    if let (Some(seconds), Some(demand)) = (best.latency_at_demand, report.request().demand()) {
        writeln!(
            to,
            "At the demand:      {:.1} ms (P95, {} QPS), by which it was chosen",
            1e3 * seconds,
            number(demand.qps)
        )?;
    }
    for (bound, margin) in report.bench.bounds().iter().zip(&capacity.at.margins) {
        let name = match bound.latency {
            Latency::Ttft => "TTFT",
            Latency::Tbt => "TBT",
            Latency::E2e => "Latency",
            Latency::SchedulingDelay => "Delay",
        };
        let name = format!("{name} (P{:.0}):", 100.0 * bound.quantile);
        let mark = if *margin >= 0.0 { '✓' } else { '✗' };
        writeln!(
            to,
            "{name:<19} {:.1} ms {mark} (target: <{:.0}ms)",
            1e3 * observed(bound, summary).unwrap_or(f64::INFINITY),
            1e3 * bound.limit_s
        )?;
    }
    let mfu = summary
        .mfu
        .map_or("?".to_owned(), |mfu| format!("{:.0}%", 100.0 * mfu));
    writeln!(
        to,
        "Resource Util:      {mfu} MFU, {:.0}% of the KV cache in the mean, {:.0}% at most\n",
        100.0 * summary.kv.mean,
        100.0 * summary.kv.peak
    )?;
    costs(report, best, to)?;
    depends(report, best, to)?;
    if let Some(started) = report.launch() {
        launch(&started, to)?;
    }
    let met = capacity.at.holds();
    let word = if met {
        "✓ ALL SLOS MET"
    } else {
        "✗ NOT ALL SLOS MET"
    };
    writeln!(to, "SLO COMPLIANCE:     {word}\n")
}

fn costs(report: &Report<'_>, best: &Candidate, to: &mut String) -> std::fmt::Result {
    section(to, "COST ANALYSIS")?;
    if let (Some(cost), Some(prices)) = (&best.cost, &report.facts.prices) {
        let (list, currency) = (
            report.price_source(best).unwrap_or(&prices.source),
            &prices.currency,
        );
        let [low, high] = cost.cost_per_hour_interval;
        writeln!(
            to,
            "Hourly Cost:        {:.2} {currency}/hour ({low:.2} to {high:.2}; price list: {list})",
            cost.cost_per_hour
        )?;
        if let (Some(per_1k), Some(per_1m)) = (cost.cost_per_1k_requests, cost.cost_per_1m_output_tokens) {
            writeln!(to, "Cost per 1K Req:    {per_1k:.4} {currency}")?;
            writeln!(to, "Cost per 1M Tokens: {per_1m:.4} {currency} (output)")?;
        }
        writeln!(to, "QPS per {currency}:        {:.2}\n", cost.qps_per_dollar)
    } else {
        writeln!(to, "GPU-hours an hour:  {} (no prices)\n", best.config.total_gpus)
    }
}

fn launch(launch: &Launch, to: &mut String) -> std::fmt::Result {
    section(to, "LAUNCH")?;
    writeln!(to, "{}", launch.command)?;
    for note in &launch.notes {
        writeln!(to, "note: {note}")?;
    }
    let cost = launch.verification;
    writeln!(
        to,
        "A verification costs at most {:.1} GPU-hours: {} trials of {} requests.\n",
        cost.gpu_hours, cost.trials, cost.requests
    )
}

/// What the capacity depends on, and what is left when a replica is lost.
fn depends(report: &Report<'_>, best: &Candidate, to: &mut String) -> std::fmt::Result {
    let Some(sensitivity) = &report.answer.sensitivity else {
        return Ok(());
    };
    section(to, "WHAT IT DEPENDS ON")?;
    if let Some(share) = report.probability(best) {
        let demand = report.request().demand().map_or(0.0, |demand| demand.qps);
        writeln!(
            to,
            "The demand of {} QPS is served with a probability of {}, by the doubt about iteration times.",
            number(demand),
            probability(share)
        )?;
    }
    for shadow in &sensitivity.shadow_prices {
        let worth = shadow
            .worth_per_hour
            .filter(|worth| *worth > 0.0)
            .map_or(String::new(), |worth| {
                format!(", as much as {worth:.2} an hour of this")
            });
        writeln!(
            to,
            "{:<31} {:+.1} % of capacity{worth}",
            shadow.what,
            100.0 * shadow.gain
        )?;
    }
    if let Some(richer) = report.richer() {
        writeln!(
            to,
            "{:<31} {} QPS of {}",
            "10 % more budget",
            number(richer.capacity.qps),
            richer.config.name()
        )?;
    }
    for other in report.break_even() {
        let at = match (other.per_gpu_hour, other.now_per_gpu_hour) {
            (Some(at), Some(now)) => format!("at {at:.2} a GPU-hour (now {now:.2})"),
            _ => format!(
                "where a GPU-hour of it counts {:.2} of {}",
                other.times_the_best, best.config.gpu_type
            ),
        };
        let what = format!("break-even of {}", other.gpu_type);
        writeln!(to, "{what:<31} {at}: {}", other.config)?;
    }
    let lost = sensitivity.one_replica_lost;
    let word = if lost.serves_demand {
        "the demand is still served, without headroom".to_owned()
    } else {
        format!(
            "the demand is not served; {} replicas would survive it",
            lost.replicas_needed
        )
    };
    writeln!(
        to,
        "{:<31} {} QPS: {word}\n",
        "one replica less",
        number(lost.max_qps)
    )
}

fn nothing(report: &Report<'_>, to: &mut String) -> std::fmt::Result {
    section(to, "NO CONFIGURATION SERVES THE DEMAND")?;
    for miss in report.misses() {
        writeln!(to, "{}: {}", miss.config.name(), miss.lacks)?;
    }
    let mut reasons: Vec<(&str, usize)> = Vec::new();
    for dropped in &report.answer.dropped {
        match reasons.iter_mut().find(|(known, _)| *known == dropped.reason) {
            Some((_, count)) => *count += 1,
            None => reasons.push((&dropped.reason, 1)),
        }
    }
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (reason, count) in reasons.iter().take(5) {
        writeln!(to, "{count} dropped: {reason}")?;
    }
    writeln!(to)
}

fn options(report: &Report<'_>, to: &mut String) -> std::fmt::Result {
    let all = [
        ("Budget Option", report.budget()),
        ("Premium Option", report.premium()),
    ];
    if all.iter().all(|(_, option)| option.is_none()) {
        return Ok(());
    }
    section(to, "ALTERNATIVE CONFIGURATIONS")?;
    for (name, option) in all {
        let Some(option) = option else { continue };
        let cost = option.cost.map_or(String::new(), |cost| {
            format!(
                " @ {:.2}/hr ({:.2} QPS per hour's cost)",
                cost.cost_per_hour, cost.qps_per_dollar
            )
        });
        writeln!(
            to,
            "{name}:\n  {}: {} QPS{cost}\n",
            option.config.name(),
            number(option.capacity.qps)
        )?;
    }
    Ok(())
}
