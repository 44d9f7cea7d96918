//! What a run came to.

use serde::{Deserialize, Serialize};

use super::gather::{Arrivals, Gather};
use super::spread::{Quantiles, Spread};
use super::state::State;
use crate::sim::Source;
use crate::sim::cluster::{ClusterConfig, Totals};
use crate::trial::Estimate;

/// The summary of a run: `summary.json`. Times are seconds of virtual time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Requests.
    pub requests: Counts,
    /// Iterations, those of every pipeline stage counted.
    pub iterations: u64,
    /// From zero to the end of the last iteration.
    pub virtual_s: f64,
    /// What was served a second.
    pub throughput: Throughput,
    /// Time to first token.
    pub ttft_s: Option<Quantiles>,
    /// Time per output token after the first, of responses with more than one.
    pub tpot_s: Option<Quantiles>,
    /// Time between two tokens of a request.
    pub tbt_s: Option<Quantiles>,
    /// From arrival to the last token.
    pub e2e_s: Option<Quantiles>,
    /// From arrival to the first iteration.
    pub scheduling_delay_s: Option<Quantiles>,
    /// Whether the cluster kept up.
    pub state: State,
    /// Share of the load that was not served, by the growth of the backlog while requests came.
    pub drift: Option<Estimate>,
    /// Model FLOPs utilisation; `None` where the model or the GPU is not known.
    pub mfu: Option<f64>,
    /// Share of the time that the pipeline stages worked.
    pub busy: f64,
    /// KV cache.
    pub kv: KvUse,
    /// Share of the prompt tokens that the prefix cache held.
    pub prefix_hits: f64,
    /// Share of the working time that is extrapolated: outside of what was profiled.
    pub extrapolated: f64,
    /// Where iteration times come from: `profile`, `roofline`, `fitted`, `tables`.
    pub cost: String,
    /// Why, and what to know about it.
    pub notes: Vec<String>,
}

/// How many requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Arrived.
    pub arrived: u64,
    /// Ended.
    pub completed: u64,
    /// Neither ended nor refused when the run was over.
    pub unfinished: u64,
    /// Longer than a request may be, or than the whole KV cache.
    pub refused: u64,
    /// Preemptions.
    pub restarts: u64,
}

/// What was served a second, from zero to the end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// Requests.
    pub requests_per_s: f64,
    /// Prompt tokens.
    pub input_tokens_per_s: f64,
    /// Output tokens.
    pub output_tokens_per_s: f64,
}

/// The KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct KvUse {
    /// Blocks of a replica.
    pub blocks: u32,
    /// Tokens of a block.
    pub block_tokens: u32,
    /// Mean share in use, over time and replicas.
    pub mean: f64,
    /// Largest share in use on a replica.
    pub peak: f64,
}

/// What a run does not know of itself.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Model FLOPs utilisation.
    pub mfu: Option<f64>,
    /// Where iteration times come from.
    pub cost: String,
    /// Why, and what to know about it.
    pub notes: Vec<String>,
}

impl Summary {
    /// Of a run that has ended.
    pub fn of<const ITERATIONS: bool, S: Source>(
        config: &ClusterConfig,
        totals: &Totals,
        gather: &mut Gather<ITERATIONS>,
        arrivals: &mut Arrivals<S>,
        facts: Facts,
    ) -> Self {
        let seconds = totals.end.as_seconds();
        let per = |count: f64, of: f64| if of > 0.0 { count / of } else { 0.0 };
        let waited = per(gather.scheduling_delay.mean(), gather.e2e.mean());
        let (state, drift) = State::of(
            &mut arrivals.timeline,
            &mut gather.completions,
            arrivals.last,
            waited,
        );
        let stages = f64::from(config.replicas) * f64::from(config.engine.pipeline_stages);
        let told = |spread: &Spread| spread.quantiles();
        Self {
            requests: Counts {
                arrived: totals.arrived,
                completed: totals.completed,
                unfinished: totals.arrived - totals.completed - totals.refused,
                refused: totals.refused,
                restarts: totals.restarts,
            },
            iterations: totals.iterations,
            virtual_s: seconds,
            throughput: Throughput {
                requests_per_s: per(totals.completed as f64, seconds),
                input_tokens_per_s: per(gather.input_tokens as f64, seconds),
                output_tokens_per_s: per(gather.output_tokens as f64, seconds),
            },
            ttft_s: told(&gather.ttft),
            tpot_s: told(&gather.tpot),
            tbt_s: told(&gather.tbt),
            e2e_s: told(&gather.e2e),
            scheduling_delay_s: told(&gather.scheduling_delay),
            state,
            drift,
            mfu: facts.mfu,
            busy: per(totals.busy.as_seconds(), seconds * stages),
            kv: KvUse {
                blocks: config.engine.blocks,
                block_tokens: config.engine.block_tokens,
                mean: totals.kv_mean,
                peak: totals.kv_peak,
            },
            prefix_hits: per(totals.cached_tokens as f64, gather.input_tokens as f64),
            extrapolated: per(totals.extrapolated.as_seconds(), totals.busy.as_seconds()),
            cost: facts.cost,
            notes: facts.notes,
        }
    }
}
