//! Replicas behind a router, in virtual time.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::batching::{Batching, QueueOrder};
use super::cost::CostModel;
use super::replica::Replica;
use super::router::{Choice, Router, RouterConfig};
use super::{Observer, PrefixTable, Request, Source, Time};

/// One replica: its scheduler, its memory and its pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineConfig {
    /// Which requests an iteration holds.
    pub batching: Batching,
    /// Order of the waiting requests.
    pub queue: QueueOrder,
    /// Most requests admitted at once; a pipeline of `p` stages runs up to `p` batches of a `p`-th each.
    pub batch_size_cap: u32,
    /// Pipeline stages.
    pub pipeline_stages: u32,
    /// KV cache, in blocks.
    pub blocks: u32,
    /// Tokens of a KV block.
    pub block_tokens: u32,
    /// Share of the blocks that admission leaves free, `vllm` and `sarathi` only.
    pub watermark: f64,
    /// Tokens that `vllm_v1` allocates beyond those needed, whenever it allocates.
    pub preallocate_tokens: u32,
    /// Whether blocks are kept after their request and shared by their hashes, `vllm_v1` only.
    pub prefix_caching: bool,
    /// Whose rules hold.
    #[serde(default)]
    pub rules: Rules,
    /// Longest request, prompt and response; longer ones are refused. `orca` and `faster_transformer` set room for it
    /// aside for each request.
    pub max_model_len: u32,
}

/// Whose rules hold, where Vidur does what no engine would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rules {
    /// Those of an engine.
    #[default]
    Engine,
    /// Vidur's, for comparison with its runs. A request that is preempted amid its prefill computes anew what it had
    /// computed, and the rest of its prompt counts among the response. `faster_transformer` gets back the room of those
    /// only that were in the last iteration of their batch.
    Vidur,
}

/// A cluster of equal replicas.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// How many.
    pub replicas: u32,
    /// Who gets a request.
    pub router: RouterConfig,
    /// What each is like.
    pub engine: EngineConfig,
    /// The replica of each request by its number, instead of the router's choice: a recorded run, played again.
    pub replay: Option<Arc<[u32]>>,
    /// How long an iteration takes.
    pub cost: Arc<dyn CostModel>,
    /// Seeds the ties of the router.
    pub seed: u64,
    /// Coefficient of variation of an iteration's duration; zero is none. Each is then multiplied by a lognormal factor of
    /// mean one, and nothing is skipped.
    pub noise: f64,
    /// One iteration at a time, where many equal ones would be taken at once. The result is the same.
    pub stepwise: bool,
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Requests that arrived.
    pub arrived: u64,
    /// Requests that ended.
    pub completed: u64,
    /// Requests that could never be served: longer than `max_model_len`, or than the whole KV cache.
    pub refused: u64,
    /// Preemptions.
    pub restarts: u64,
    /// Iterations, those of every pipeline stage counted.
    pub iterations: u64,
    /// The end of the last iteration.
    pub end: Time,
    /// Tokens computed, prompts and responses, and what was computed again.
    pub tokens: u64,
    /// Pairs of query and key attended over.
    pub pairs: u64,
    /// Prompt tokens found in the prefix cache.
    pub cached_tokens: u64,
    /// Time that stages worked, all of them together.
    pub busy: Time,
    /// The part of it whose cost was an extrapolation.
    pub extrapolated: Time,
    /// Time-weighted mean of the KV blocks in use, over replicas and up to `end`, as a share of all.
    pub kv_mean: f64,
    /// Most KV blocks in use on one replica, as a share of all.
    pub kv_peak: f64,
}

/// Runs a cluster until its source has no more and all is served, or until `limit`; what is then unfinished is in
/// [`Totals::arrived`] but not in [`Totals::completed`].
///
/// A configuration that cannot work (no replica, a pipeline of no stages) is for [`EngineConfig::check`] to refuse.
pub fn simulate<O: Observer>(
    config: &ClusterConfig,
    source: &mut dyn Source,
    prefixes: &Arc<PrefixTable>,
    limit: Time,
    observer: &mut O,
) -> Totals {
    let mut cluster = Cluster {
        config,
        router: Router::new(&config.router, config.replicas, config.seed),
        replicas: (0..config.replicas)
            .map(|number| Replica::new(number, config, prefixes))
            .collect(),
        loads: Vec::new(),
        totals: Totals::default(),
    };
    if source.closed_loop() {
        cluster.run_closed(source, limit, observer);
    } else {
        cluster.run_open(source, limit, observer);
    }
    cluster.totals()
}

/// A cluster in motion.
struct Cluster<'a> {
    config: &'a ClusterConfig,
    router: Router,
    replicas: Vec<Replica>,
    loads: Vec<super::router::Load>,
    totals: Totals,
}

impl Cluster<'_> {
    /// Arrivals that depend on nothing: replicas go their ways between them.
    fn run_open<O: Observer>(&mut self, source: &mut dyn Source, limit: Time, observer: &mut O) {
        while source.peek().is_some_and(|at| at < limit)
            && let Some(request) = source.next()
        {
            self.arrive(request, observer);
        }
        self.settle(limit, observer);
    }

    /// Brings all replicas to `limit`.
    fn settle<O: Observer>(&mut self, limit: Time, observer: &mut O) {
        for replica in &mut self.replicas {
            replica.settle(limit, observer);
        }
    }

    /// Arrivals that follow completions: one boundary after the other, in the order of time over all replicas.
    fn run_closed<O: Observer>(&mut self, source: &mut dyn Source, limit: Time, observer: &mut O) {
        let mut observer = Feedback {
            observer,
            ended: Vec::new(),
        };
        loop {
            let arrival = source.peek().unwrap_or(Time::MAX);
            let next = self
                .replicas
                .iter()
                .enumerate()
                .map(|(i, r)| (r.next_at(), i))
                .min();
            let (boundary, index) = next.unwrap_or((Time::MAX, 0));
            if arrival.min(boundary) >= limit {
                return self.settle(limit, &mut observer);
            }
            if arrival <= boundary {
                if let Some(request) = source.next() {
                    self.arrive(request, &mut observer);
                }
            } else {
                self.replicas[index].step(boundary, &mut observer);
            }
            for (id, at) in observer.ended.drain(..) {
                source.completed(id, at);
            }
        }
    }

    /// A request reaches the router.
    fn arrive<O: Observer>(&mut self, request: Request, observer: &mut O) {
        let at = request.arrival;
        self.totals.arrived += 1;
        if !self.config.engine.fits(&request) {
            self.totals.refused += 1;
            return;
        }
        let choice = match &self.config.replay {
            Some(replicas) => Choice {
                replica: replicas[request.id as usize],
                uncached_tokens: request.input_tokens,
            },
            None => self.route(&request, observer),
        };
        let replica = &mut self.replicas[choice.replica as usize];
        replica.advance(at, observer);
        replica.offer(at, request, choice.uncached_tokens);
    }

    fn route<O: Observer>(&mut self, request: &Request, observer: &mut O) -> Choice {
        let (looks, caches) = (
            self.config.router.reads_loads(),
            self.config.router.reads_caches(),
        );
        if looks {
            for replica in &mut self.replicas {
                if caches {
                    replica.settle(request.arrival, observer);
                } else {
                    replica.advance(request.arrival, observer);
                }
            }
            self.loads.clear();
            self.loads.extend(self.replicas.iter().map(Replica::load));
        }
        let replicas = &self.replicas;
        let mut in_cache = |replica: u32| replicas[replica as usize].cached_tokens(request);
        self.router.route(request, &self.loads, &mut in_cache)
    }

    fn totals(mut self) -> Totals {
        let parts: Vec<Totals> = self.replicas.iter().map(|r| r.totals().clone()).collect();
        let end = parts.iter().map(|t| t.end).max().unwrap_or_default();
        let mut area = 0;
        let mut peak = 0;
        for (replica, part) in self.replicas.iter_mut().zip(&parts) {
            let (used, most) = replica.memory(end);
            area += used;
            peak = peak.max(most);
            self.totals.add(part);
        }
        self.totals.end = end;
        let blocks = f64::from(self.config.engine.blocks);
        let room = blocks * f64::from(self.config.replicas) * end.as_ps() as f64;
        self.totals.kv_mean = if room > 0.0 { area as f64 / room } else { 0.0 };
        self.totals.kv_peak = f64::from(peak) / blocks;
        self.totals
    }
}

impl Totals {
    /// Adds the counts of a replica.
    fn add(&mut self, part: &Totals) {
        self.completed += part.completed;
        self.refused += part.refused;
        self.restarts += part.restarts;
        self.iterations += part.iterations;
        self.tokens += part.tokens;
        self.pairs += part.pairs;
        self.cached_tokens += part.cached_tokens;
        self.busy += part.busy;
        self.extrapolated += part.extrapolated;
    }
}

/// An observer that also notes completions for a closed-loop source.
struct Feedback<'a, O> {
    observer: &'a mut O,
    ended: Vec<(u64, Time)>,
}

impl<O: Observer> Observer for Feedback<'_, O> {
    const ITERATIONS: bool = O::ITERATIONS;
    const TOKENS: bool = O::TOKENS;

    fn request(&mut self, record: &super::Record) {
        self.ended.push((record.id, record.completed));
        self.observer.request(record);
    }

    fn iteration(&mut self, iteration: &super::Iteration) {
        self.observer.iteration(iteration);
    }

    fn gaps(&mut self, gap: Time, count: u64) {
        self.observer.gaps(gap, count);
    }

    fn token(&mut self, request: u64, at: Time) {
        self.observer.token(request, at);
    }
}

impl EngineConfig {
    /// Whether a request could ever be served.
    fn fits(&self, request: &Request) -> bool {
        let total = u64::from(request.input_tokens) + u64::from(request.output_tokens);
        request.input_tokens > 0
            && request.output_tokens > 0
            && total <= u64::from(self.max_model_len)
            && total.div_ceil(u64::from(self.block_tokens)) <= u64::from(self.blocks)
    }

    /// Checks that the parts go together.
    ///
    /// # Errors
    /// Names the field, and what to write instead.
    pub fn check(&self) -> Result<(), EngineError> {
        let fail = |text: String| Err(EngineError(text));
        for (name, value) in [
            ("batch_size_cap", self.batch_size_cap),
            ("pipeline_stages", self.pipeline_stages),
            ("blocks", self.blocks),
            ("block_tokens", self.block_tokens),
            ("max_model_len", self.max_model_len),
        ] {
            if value == 0 {
                return fail(format!("{name} is 0; it must be at least 1"));
            }
        }
        if !(0.0..1.0).contains(&self.watermark) {
            return fail(format!(
                "watermark is {}; it must be from 0 to below 1",
                self.watermark
            ));
        }
        if self.batch_size_cap < self.pipeline_stages {
            return fail(format!(
                "batch_size_cap is {}, less than the {} pipeline stages that share it",
                self.batch_size_cap, self.pipeline_stages
            ));
        }
        let (chunk, single_stage) = match self.batching {
            Batching::Vllm { max_tokens_in_batch } => (max_tokens_in_batch, false),
            Batching::VllmV1 { chunk_size } => (chunk_size, true),
            Batching::Sarathi { chunk_size } => (chunk_size, false),
            Batching::Orca {} | Batching::FasterTransformer {} => (1, false),
            Batching::Lightllm {
                max_tokens_in_batch, ..
            } => (max_tokens_in_batch, true),
        };
        if chunk == 0 {
            return fail("the scheduler's chunk or batch holds 0 tokens; it must be at least 1".to_owned());
        }
        if single_stage && self.pipeline_stages > 1 {
            return fail(format!(
                "the scheduler has no pipeline parallelism; write pipeline_parallel: 1 instead of {}, or another scheduler",
                self.pipeline_stages
            ));
        }
        if self.prefix_caching && !matches!(self.batching, Batching::VllmV1 { .. }) {
            return fail("prefix_caching needs the scheduler vllm_v1".to_owned());
        }
        Ok(())
    }
}

/// The error of an engine that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EngineError(String);
