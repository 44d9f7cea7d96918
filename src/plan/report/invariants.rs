//! What must hold of every report, whatever was asked. One that breaks any of it is a bug and is not written.

use super::Report;
use crate::plan::answer::Candidate;
use crate::plan::capacity::Status;
use crate::plan::frontier::Place;
use crate::plan::times::Origin;

/// Relative error of sums of rounded numbers.
const ROUNDING: f64 = 1e-9;
/// By how much a mean without the first requests may exceed that with them.
const WARMED: f64 = 0.12;
/// How far quantiles of one and the same run may contradict one another: their sketches are that fine.
const SKETCH: f64 = 0.02;

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= ROUNDING * a.abs().max(b.abs()).max(1e-12)
}

/// Rules that a report breaks, as sentences.
pub fn broken(report: &Report<'_>) -> Vec<String> {
    let mut all = Vec::new();
    for candidate in &report.answer.candidates {
        let name = candidate.config.name();
        all.extend(
            of_candidate(report, candidate)
                .into_iter()
                .map(|rule| format!("{name}: {rule}")),
        );
    }
    if let Some(best) = report.best() {
        if !best.serves {
            all.push("the best does not serve the demand".to_owned());
        }
        if !best.capacity.at.holds() {
            all.push("the best breaks a bound at the rate that is reported".to_owned());
        }
        // What costs less, has no more GPUs and bears more was searched as the best was: then it would be the best.
        let beaten = report.answer.candidates.iter().find(|c| {
            c.serves && c.is_refined() && c.price() < best.price() && c.capacity.qps > best.capacity.qps
        });
        if let Some(better) = beaten
            && report.request().objective != crate::plan::request::Objective::Latency
        {
            all.push(format!(
                "{} costs less than the best and bears more",
                better.config.name()
            ));
        }
    }
    let front = report.front();
    for (i, candidate) in report.answer.candidates.iter().enumerate() {
        if candidate.place == Place::Surely && !front.iter().any(|(on, _)| *on == i) {
            all.push(format!(
                "{} is beaten by nothing, and not on the frontier",
                candidate.config.name()
            ));
        }
    }
    for option in [report.budget(), report.premium()].into_iter().flatten() {
        if !front.iter().any(|(_, on)| std::ptr::eq(*on, option)) {
            all.push(format!(
                "{} is told as an option and is not on the frontier",
                option.config.name()
            ));
        }
        if let Some(better) = report.better_than(option) {
            all.push(format!(
                "{} is told as an option, and {} costs no more and bears no less",
                option.config.name(),
                better.config.name()
            ));
        }
    }
    all
}

fn of_candidate(report: &Report<'_>, candidate: &Candidate) -> Vec<&'static str> {
    let mut all = Vec::new();
    let (config, capacity) = (&candidate.config, &candidate.capacity);
    let mut rule = |holds: bool, rule: &'static str| {
        if !holds {
            all.push(rule);
        }
    };
    rule(
        config.num_gpus_per_replica == config.tensor_parallel * config.pipeline_parallel
            && config.total_gpus == config.num_gpus_per_replica * config.num_replicas,
        "its GPUs are not those of its layout",
    );
    let [low, high] = capacity.interval;
    let [seen_low, seen_high] = capacity.simulated;
    rule(
        low <= seen_low && seen_low <= capacity.qps && capacity.qps <= seen_high && seen_high <= high,
        "its intervals do not hold its capacity",
    );
    rule(
        (capacity.status == Status::Infeasible) == (capacity.qps <= 0.0),
        "it bears nothing, or it is infeasible, and not both",
    );
    if let Some(cost) = candidate.cost {
        let prices = report.facts.prices.as_ref();
        let price = prices.and_then(|prices| prices.gpus.get(&config.gpu_type));
        let [low, high] = cost.cost_per_hour_interval;
        rule(
            low <= cost.cost_per_hour && cost.cost_per_hour <= high,
            "what it costs is outside of its interval",
        );
        rule(
            cost.cost_per_hour > 0.0 && near(cost.qps_per_dollar * cost.cost_per_hour, capacity.qps),
            "requests a dollar are not requests by cost",
        );
        if let Some(per_1k) = cost.cost_per_1k_requests {
            rule(
                near(per_1k, cost.cost_per_hour / (3.6 * capacity.qps)),
                "a thousand requests cost something else than the hour by the rate",
            );
        }
        rule(
            price.is_some_and(|price| near(price.default * f64::from(config.total_gpus), cost.cost_per_hour)),
            "cost is not price times GPUs",
        );
    }
    if capacity.status == Status::Infeasible {
        return all;
    }
    let summary = &capacity.at.summary;
    if let (Some(ttft), Some(e2e), Some(tpot)) = (&summary.ttft_s, &summary.e2e_s, &summary.tpot_s) {
        rule(
            ttft.p95 <= e2e.p95 * (1.0 + SKETCH),
            "the first token comes after the last at P95",
        );
        // Summed over requests the last token comes at the first plus the gaps; of one token there are none.
        rule(
            e2e.mean * (1.0 + SKETCH) >= ttft.mean && tpot.mean >= 0.0,
            "the first token comes after the last in the mean",
        );
        // Little's law of those that run, over the whole simulation; the first tenth of them is left out of the times.
        let delay = summary.scheduling_delay_s.as_ref().map_or(0.0, |q| q.mean);
        let running = summary.throughput.requests_per_s * (e2e.mean - delay);
        let replicas = if candidate.is_refined() {
            config.num_replicas
        } else {
            1
        };
        let most = config.max_batch_size * config.pipeline_parallel * replicas;
        rule(
            running <= f64::from(most) * (1.0 + WARMED),
            "more requests run than batches hold",
        );
    }
    rule(
        capacity.at.margins.len() == report.bench.bounds().len(),
        "not every bound was judged",
    );
    rule(capacity.at.holds(), "a bound is broken at the reported rate");
    if let Some(mfu) = summary.mfu {
        // What was measured may be faster than the datasheet; then the profile says so.
        let most = if capacity.trust.origin == Origin::Datasheet {
            1.0
        } else {
            f64::MAX
        };
        rule((0.0..=most).contains(&mfu), "MFU is no share");
    }
    rule(
        (0.0..=1.0).contains(&summary.kv.mean),
        "memory in use is no share",
    );
    all
}
