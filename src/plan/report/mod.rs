//! The plan as it is written: the older format's report, and what it lacked: intervals, what binds, where each number comes
//! from, what was left out and why.

mod advice;
mod html;
mod invariants;
mod misses;
mod options;
mod plots;
mod text;
mod words;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use statrs::function::erf::erfc;

pub use html::page;
pub use invariants::broken;
pub use misses::Miss;
pub use text::summary;

use super::answer::{Answer, Candidate};
use super::bench::{Bench, observed};
use super::capacity::Status;
use super::config::Config;
use super::launch::Launch;
use super::money::{BreakEven, break_even};
use super::prices::{Price, Prices};
use super::request::{LatencyBound, PlanRequest, name_of};

/// What a report tells beside the answer.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// When it was written, RFC 3339.
    pub timestamp: String,
    /// The profile, as it was named.
    pub input_profile: String,
    /// The model, by its name in the catalog.
    pub model_name: String,
    /// The GPU that was profiled.
    pub profiling_hardware: Option<String>,
    /// What GPUs cost.
    pub prices: Option<Prices>,
    /// Seconds that the search took.
    pub seconds: f64,
    /// What was assumed.
    pub notes: Vec<String>,
    /// What is doubtful.
    pub warnings: Vec<String>,
}

/// Everything that a report is made of.
pub struct Report<'a> {
    /// What is asked, and how it was simulated.
    pub bench: &'a Bench<'a>,
    /// What came out.
    pub answer: &'a Answer,
    /// The rest.
    pub facts: &'a Facts,
}

impl Report<'_> {
    fn request(&self) -> &PlanRequest {
        self.bench.request()
    }

    /// The recommendation.
    pub fn best(&self) -> Option<&Candidate> {
        self.answer.best.map(|best| &self.answer.candidates[best])
    }

    /// The bound of a name of [`Self::binding`].
    fn bound_name(bound: &LatencyBound) -> String {
        bound
            .key
            .trim_start_matches("max_")
            .trim_end_matches("_ms")
            .to_owned()
    }

    /// What breaks first beyond the reported rate.
    pub fn binding(&self, candidate: &Candidate) -> String {
        candidate
            .capacity
            .binding
            .map_or("load".to_owned(), |i| Self::bound_name(&self.bench.bounds()[i]))
    }

    /// The prices of the GPUs that are told of, each with the list that it is from.
    fn prices(&self) -> Option<Value> {
        let prices = self.facts.prices.as_ref()?;
        let all = &self.answer.candidates;
        let used = |gpu: &str| all.iter().any(|c| c.config.gpu_type == gpu);
        let gpus: BTreeMap<&String, &Price> = prices.gpus.iter().filter(|(gpu, _)| used(gpu)).collect();
        Some(json!({
            "date": prices.date, "currency": prices.currency, "source": prices.source, "gpus": gpus,
        }))
    }

    /// From which list the price of a configuration is, with its date.
    pub fn price_source(&self, candidate: &Candidate) -> Option<&str> {
        candidate.cost?;
        let prices = self.facts.prices.as_ref()?;
        let price = prices.gpus.get(&candidate.config.gpu_type)?;
        Some(&price.source)
    }

    /// What is doubtful, in the inputs and in the command that starts the recommendation.
    pub fn warnings(&self) -> Vec<String> {
        let launch = self.launch().map_or(Vec::new(), |launch| launch.warnings);
        self.facts.warnings.iter().cloned().chain(launch).collect()
    }

    /// The report as JSON.
    pub fn json(&self) -> Value {
        let best = self.best().map(|best| {
            let mut told = config_json(&best.config);
            told["performance"] = performance(best);
            told["cost"] = cost_json(best);
            told["cost"]["price_source"] = json!(self.price_source(best));
            told["slo_compliance"] = self.compliance(best);
            told["memory"] = self.memory(best);
            told["probability_demand_served"] = json!(self.probability(best));
            told["latency_at_demand_ms"] = json!(best.latency_at_demand.map(|s| 1e3 * s));
            if let Some(sensitivity) = &self.answer.sensitivity {
                told["bottleneck"] = json!(sensitivity.bottleneck);
                told["shadow_prices"] = json!(sensitivity.shadow_prices);
                told["one_replica_lost"] = json!(sensitivity.one_replica_lost);
            }
            told["ten_percent_more_budget"] = json!(self.richer().map(|richer| json!({
                "config": config_json(&richer.config), "max_qps": richer.capacity.qps,
                "cost_per_hour": richer.cost.map(|cost| cost.cost_per_hour),
            })));
            told["break_even_prices"] = json!(self.break_even());
            self.add_doubt(best, &mut told);
            told
        });
        let front: Vec<Value> = self
            .front()
            .iter()
            .map(|(id, c)| {
                let mut told = self.short(c);
                told["config_id"] = json!(id);
                told["gpu_type"] = json!(c.config.gpu_type);
                told["total_gpus"] = json!(c.config.total_gpus);
                told["config"] = config_json(&c.config);
                told["on_frontier"] = json!(c.place);
                told
            })
            .collect();
        let all: Vec<Value> = self
            .answer
            .candidates
            .iter()
            .enumerate()
            .map(|(id, c)| {
                let mut told = self.short(c);
                told["config_id"] = json!(id);
                told["config"] = config_json(&c.config);
                told["metrics"] = performance(c);
                told["slo_compliance"] = self.compliance(c);
                told["on_frontier"] = json!(c.place);
                told
            })
            .collect();
        let facts = self.facts;
        json!({
            "timestamp": facts.timestamp,
            "input_profile": facts.input_profile,
            "model_name": facts.model_name,
            "profiling_hardware": facts.profiling_hardware,
            "calibrated": self.bench.times().are_calibrated(),
            "prices": self.prices(),
            "demand_qps": self.request().demand().map(|demand| demand.qps),
            "needed_qps": self.request().needed_qps(),
            "objective": self.request().objective,
            "best_configuration": best,
            "pareto_frontier": front,
            "all_candidates": all,
            "dropped": self.answer.dropped,
            "nearest_misses": self.misses().iter().map(|miss| json!({
                "config": config_json(&miss.config), "max_qps": miss.max_qps, "lacks": miss.lacks,
                "would_cost_per_hour": miss.would_cost_per_hour,
            })).collect::<Vec<_>>(),
            "alternatives": {
                "budget": self.budget().map(|c| self.option(c)), "premium": self.premium().map(|c| self.option(c)),
            },
            "launch": self.launch(),
            "advice": advice::all(self),
            "notes": facts.notes,
            "warnings": self.warnings(),
            "text": summary(self),
            "summary": {
                "num_configs_evaluated": self.answer.candidates.len(),
                "num_configs_meeting_slos": self.answer.candidates.iter().filter(|c| c.capacity.qps > 0.0).count(),
                "num_configs_serving_demand": self.answer.candidates.iter().filter(|c| c.serves).count(),
                "num_configs_dropped": self.answer.dropped.len(),
                "total_simulation_time_s": facts.seconds,
                "simulations": self.answer.spent.simulations,
                "simulations_reused": self.answer.spent.reused,
                "simulated_requests": self.answer.spent.requests,
                "recommendation": self.recommendation(),
            },
        })
    }

    /// What both lists of candidates tell.
    fn short(&self, candidate: &Candidate) -> Value {
        let mut told = json!({
            "max_qps": candidate.capacity.qps,
            "cost_per_hour": candidate.cost.map(|cost| cost.cost_per_hour),
            "qps_per_dollar": candidate.cost.map(|cost| cost.qps_per_dollar),
            "serves_demand": candidate.serves,
            "latency_at_demand_ms": candidate.latency_at_demand.map(|s| 1e3 * s),
        });
        self.add_doubt(candidate, &mut told);
        told
    }

    /// How sure it is, and what binds.
    fn add_doubt(&self, candidate: &Candidate, told: &mut Value) {
        let capacity = &candidate.capacity;
        let origin = capacity.trust.origin.name();
        let finite = |range: [f64; 2]| range.map(|end| end.is_finite().then_some(end));
        told["interval"] = json!(finite(capacity.interval));
        told["simulated_interval"] = json!(finite(capacity.simulated));
        told["status"] = json!(capacity.status);
        told["binding_slo"] = json!(self.binding(candidate));
        told["searched_on"] = json!({
            "seeds": capacity.seeds,
            "as_it_is": candidate.is_refined() || candidate.config.num_replicas == 1,
        });
        let list = self.price_source(candidate);
        let money = list.map(|list| format!("price list ({list})"));
        let both = list.map(|list| format!("price list ({list}), {origin}"));
        told["labels"] = json!({
            "max_qps": origin, "performance": origin, "memory": "datasheet", "cost_per_hour": money,
            "cost_per_1k_requests": both, "cost_per_1m_output_tokens": both, "qps_per_dollar": both,
            "shadow_prices": origin, "one_replica_lost": origin,
        });
    }

    fn option(&self, candidate: &Candidate) -> Value {
        let mut told = self.short(candidate);
        told["config"] = config_json(&candidate.config);
        told
    }

    /// What a GPU holds, and how much of that was needed at the reported rate.
    fn memory(&self, candidate: &Candidate) -> Value {
        let Ok(deployed) = self.bench.build(&candidate.config) else {
            // It was simulated, so it can be built.
            return Value::Null;
        };
        let fit = &deployed.cluster.memory;
        let gib = |bytes: f64| bytes / f64::from(1 << 30);
        let kv = candidate.capacity.at.summary.kv;
        let engine = &deployed.cluster.config.engine;
        json!({
            "gpu_gib": gib(deployed.cluster.gpu.memory_bytes()),
            "weights_gib_per_gpu": gib(fit.weight_bytes),
            "kv_cache_gib_per_gpu": gib(fit.kv_bytes),
            "kv_cache_tokens_per_replica": u64::from(engine.blocks) * u64::from(engine.block_tokens),
            "kv_headroom": 1.0 - kv.peak,
            "requests_at_once_per_replica": self.bench.most_at_once(&deployed),
        })
    }

    /// That the true capacity is at least the demand, by the doubt about iteration times and the seeds.
    pub fn probability(&self, candidate: &Candidate) -> Option<f64> {
        let demand = self.request().demand()?.qps;
        let capacity = &candidate.capacity;
        let [low, high] = capacity.simulated;
        let seeds = (high / low).ln() / (2.0 * 1.96);
        let sd = capacity
            .trust
            .doubt
            .hypot(if seeds.is_finite() { seeds } else { 0.0 });
        (capacity.qps > 0.0).then(|| 0.5 * erfc((demand / capacity.qps).ln() / sd / std::f64::consts::SQRT_2))
    }

    /// At which prices other GPUs would cost as much as the best.
    pub fn break_even(&self) -> Vec<BreakEven> {
        let best = self.best();
        best.map_or(Vec::new(), |best| break_even(best, &self.answer.candidates))
    }

    /// How to start the recommendation.
    pub fn launch(&self) -> Option<Launch> {
        self.best().map(|best| Launch::of(self.bench, best))
    }

    /// Bound by bound what was seen at the reported rate.
    fn compliance(&self, candidate: &Candidate) -> Value {
        let at = &candidate.capacity.at;
        let feasible = candidate.capacity.status != Status::Infeasible;
        let mut told = json!({"meets_all_slos": feasible && at.holds()});
        let mut slos = Vec::new();
        for (bound, margin) in self.bench.bounds().iter().zip(&at.margins) {
            let key = match bound.latency {
                super::request::Latency::Ttft => "ttft_slo_met",
                super::request::Latency::Tbt => "tbt_slo_met",
                super::request::Latency::E2e => "latency_slo_met",
                super::request::Latency::SchedulingDelay => "scheduling_delay_slo_met",
            };
            told[key] = json!(feasible && *margin >= 0.0);
            slos.push(json!({
                "slo": Self::bound_name(bound),
                "bound_ms": 1e3 * bound.limit_s,
                "observed_ms": observed(bound, &at.summary).map(|s| 1e3 * s),
                "margin": 1.0 - (-margin).exp(),
            }));
        }
        told["slos"] = json!(slos);
        told
    }

    /// One sentence.
    pub fn recommendation(&self) -> String {
        let Some(best) = self.best() else {
            return self.misses().first().map_or_else(
                || "No configuration was worth simulating: what was dropped says why, and what would do".to_owned(),
                |miss| {
                    let needed = self.request().needed_qps();
                    format!(
                        "No configuration bears {} requests a second within all bounds; the nearest is {}, which {}",
                        words::number(needed),
                        miss.config.name(),
                        miss.lacks
                    )
                },
            );
        };
        format!(
            "Use {} (x{}) with the {} scheduler: {}",
            best.config.gpu_type,
            best.config.total_gpus,
            name_of(best.config.scheduler),
            match self.request().objective {
                super::request::Objective::Cost if best.cost.is_some() =>
                    "the least cost that serves the demand within all bounds",
                super::request::Objective::Cost => "the fewest GPUs that serve the demand within all bounds",
                super::request::Objective::QpsPerDollar =>
                    "the most requests for what it costs, of what serves the demand",
                super::request::Objective::Latency => "the least latency at the demand",
                super::request::Objective::ThroughputPerGpu =>
                    "the most requests for a GPU, of what serves the demand",
            }
        )
    }
}

fn config_json(config: &Config) -> Value {
    let mut told = json!(config);
    told["batching"] = json!(config.scheduler);
    told
}

/// What was seen at the reported rate, in the older format's units.
fn performance(candidate: &Candidate) -> Value {
    let summary = &candidate.capacity.at.summary;
    let ms = |seconds: Option<f64>| seconds.map(|s| 1e3 * s);
    let (e2e, ttft, tbt) = (&summary.e2e_s, &summary.ttft_s, &summary.tbt_s);
    json!({
        "max_sustainable_qps": candidate.capacity.qps,
        "p50_latency_ms": ms(e2e.as_ref().map(|q| q.p50)),
        "p95_latency_ms": ms(e2e.as_ref().map(|q| q.p95)),
        "p99_latency_ms": ms(e2e.as_ref().map(|q| q.p99)),
        "mean_latency_ms": ms(e2e.as_ref().map(|q| q.mean)),
        "p95_ttft_ms": ms(ttft.as_ref().map(|q| q.p95)),
        "p99_tbt_ms": ms(tbt.as_ref().map(|q| q.p99)),
        "mean_mfu": summary.mfu,
        "mean_memory_util": summary.kv.mean,
        "peak_memory_util": summary.kv.peak,
        "output_tokens_per_s": summary.throughput.output_tokens_per_s,
        "requests": summary.requests.completed,
        "extrapolated_share": summary.extrapolated,
    })
}

fn cost_json(candidate: &Candidate) -> Value {
    let gpus = f64::from(candidate.config.total_gpus);
    let qps = candidate.capacity.qps;
    let mut told = candidate.cost.map_or_else(
        || json!({"cost_per_hour": null, "cost_per_1k_requests": null, "qps_per_dollar": null}),
        |cost| json!(cost),
    );
    told["gpu_hours_per_hour"] = json!(gpus);
    told["gpu_hours_per_1k_requests"] = json!((qps > 0.0).then(|| gpus / (3.6 * qps)));
    told
}
