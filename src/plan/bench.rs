//! Simulates a configuration at a rate.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;

use super::config::Config;
use super::ledger::{Key, Ledger};
use super::request::{Latency, LatencyBound, PlanLengths, PlanRequest};
use super::times::{Times, Trust};
use super::vary::Vary;
use crate::deployment::run;
use crate::deployment::{BuiltCluster, CostSource, Deployment, DeploymentError, Library, OpenWorkload};
use crate::explore::ledger::SIMULATOR;
use crate::report::simulation::{Quantiles, State, Summary};
use crate::sim::Time;
use crate::sim::batching::Batching;
use crate::sim::cost::BatchShape;
use crate::sim::cost::memory::DoesNotFit;
use crate::sim::router::RouterConfig;
use crate::workload::Gaps;

/// Fewest requests that count, of a simulation at any rate, and of those that come one at a time.
const FEWEST: f64 = 200.0;
const ALONE: u64 = 400;
/// Requests a second that come one at a time: none takes as long as ten thousand seconds.
const ALONE_QPS: f64 = 1e-4;
/// How often the requests in flight are replaced while a simulation lasts, at least: fewer, and batches that fill look like
/// a backlog that grows.
const TURNS: f64 = 8.0;
/// How often while nothing counts yet.
const FILLING: f64 = 1.5;
/// Share of the load that a run may leave behind where requests waited and its backlog is not told from a steady one.
const MOST_BEHIND: f64 = 0.05;
/// How far beyond the bound of full batches no rate can hold.
const HOPELESS: f64 = 1.5;
/// Requests of which mean lengths are taken.
const SAMPLE: u64 = 10_000;
/// How runs are laid out: what was simulated otherwise is not known from before.
const LAYOUT: u32 = 2;

/// One simulation.
#[derive(Clone, Debug)]
pub struct Probed {
    /// Requests a second.
    pub qps: f64,
    /// What came out.
    pub summary: Summary,
    /// Logarithm of bound over observed value, for each bound of the request.
    pub margins: Vec<f64>,
}

impl Probed {
    /// Whether requests that come one at a time are served, and every bound holds. What they leave behind cannot grow.
    pub fn is_possible(&self) -> bool {
        self.is_complete() && self.margins.iter().all(|margin| *margin >= 0.0)
    }

    /// Whether every request was served in the end.
    pub fn is_complete(&self) -> bool {
        let requests = self.summary.requests;
        requests.completed == requests.arrived
    }

    /// Whether everything is kept: the load is served, and every bound holds.
    pub fn holds(&self) -> bool {
        self.is_served() && self.margins.iter().all(|margin| *margin >= 0.0)
    }

    /// Whether the load is served.
    pub fn is_served(&self) -> bool {
        let keeps_up = match self.summary.state {
            State::Stable => true,
            State::Overloaded => false,
            State::Backlogged => self.summary.drift.is_some_and(|drift| drift.value < MOST_BEHIND),
        };
        keeps_up && self.is_complete()
    }

    /// The bound that is nearest, or broken most; `None`: the load itself.
    pub fn binding(&self) -> Option<usize> {
        if !self.is_served() {
            return None;
        }
        (0..self.margins.len()).min_by(|a, b| self.margins[*a].total_cmp(&self.margins[*b]))
    }
}

/// The observed value of a bound, in seconds.
pub fn observed(bound: &LatencyBound, summary: &Summary) -> Option<f64> {
    let of = match bound.latency {
        Latency::Ttft => &summary.ttft_s,
        Latency::Tbt => &summary.tbt_s,
        Latency::E2e => &summary.e2e_s,
        Latency::SchedulingDelay => &summary.scheduling_delay_s,
    };
    let at = |quantiles: &Quantiles| {
        if bound.quantile < 0.97 {
            quantiles.p95
        } else {
            quantiles.p99
        }
    };
    of.as_ref().map(at)
}

/// Logarithm of bound over observed value.
fn margin(bound: &LatencyBound, summary: &Summary) -> f64 {
    let value = match observed(bound, summary) {
        Some(value) => value,
        // Responses of one token have no gaps, and none too long.
        None if bound.latency == Latency::Tbt && summary.requests.completed > 0 => 0.0,
        None => f64::INFINITY,
    };
    (bound.limit_s / value.max(1e-9)).ln()
}

/// A configuration that can be simulated.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// The cluster.
    pub cluster: BuiltCluster,
    /// How far its simulations are to be trusted.
    pub trust: Trust,
    /// Of everything that decides what comes out, but rate, seed and number of requests.
    digest: String,
}

/// Everything that the simulations of one request share.
pub struct Bench<'a> {
    request: &'a PlanRequest,
    bounds: Vec<LatencyBound>,
    model: String,
    library: &'a Library,
    times: Times,
    reserved_bytes: f64,
    workload: OpenWorkload,
    workload_digest: String,
    mean_tokens: (f64, f64),
    ledger: Ledger,
    built: Mutex<HashMap<String, Arc<Deployed>>>,
}

impl<'a> Bench<'a> {
    /// Opens the workload. The model is a name of the catalog; `reserved_bytes` of a GPU are neither for weights nor for KV
    /// cache, where that is known and more than what is estimated. What the ledger has is not simulated again.
    ///
    /// # Errors
    /// When the workload cannot be used.
    pub fn new(
        request: &'a PlanRequest,
        model: &str,
        library: &'a Library,
        times: Times,
        reserved_bytes: f64,
        ledger: Ledger,
    ) -> Result<Self, DeploymentError> {
        let longest = Deployment::new(model, "").max_model_len;
        let mut workload = request.workload.at(1.0, request.simulation.duration);
        // How many there are is said for each simulation.
        (workload.duration, workload.num_requests) = (None, Some(1));
        let workload = workload.open(Path::new(""), longest, request.simulation.random_seed)?;
        Ok(Self {
            mean_tokens: mean_tokens(&workload)?,
            workload,
            workload_digest: digest_of(request)?,
            ledger,
            bounds: request.constraints.bounds(),
            request,
            model: model.to_owned(),
            library,
            times,
            reserved_bytes,
            built: Mutex::default(),
        })
    }

    /// What is asked.
    pub fn request(&self) -> &PlanRequest {
        self.request
    }

    /// The model, by its name in the catalog.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// What is known of iteration times.
    pub fn times(&self) -> &Times {
        &self.times
    }

    /// The bounds on latencies, in the order of [`Probed::margins`].
    pub fn bounds(&self) -> &[LatencyBound] {
        &self.bounds
    }

    /// What was simulated before.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// No higher rate is tried, requests a second.
    pub fn ceiling(&self) -> f64 {
        self.request.ceiling_qps().unwrap_or(f64::INFINITY)
    }

    /// Mean tokens of a prompt and of a response, as they are simulated.
    pub fn mean_tokens(&self) -> (f64, f64) {
        self.mean_tokens
    }

    /// A configuration as a cluster.
    ///
    /// # Errors
    /// When the model does not fit there, or cannot lie so.
    pub fn build(&self, config: &Config) -> Result<Arc<Deployed>, DeploymentError> {
        let key = format!("{config:?}");
        if let Some(known) = self.lock().get(&key) {
            return Ok(Arc::clone(known));
        }
        let deployed = Arc::new(self.varied(config, None)?);
        self.lock().insert(key, Arc::clone(&deployed));
        Ok(deployed)
    }

    /// A configuration as a cluster, with more of something.
    ///
    /// # Errors
    /// As [`Self::build`].
    pub fn varied(&self, config: &Config, vary: Option<Vary>) -> Result<Deployed, DeploymentError> {
        let mut deployment = self.deployment(config);
        if let Some(vary) = vary {
            vary.deployment(&mut deployment);
        }
        let mut cluster = deployment.cluster(self.library, self.request.simulation.random_seed)?;
        self.reserve(&mut cluster)?;
        if let Some(vary) = vary {
            vary.cluster(&mut cluster);
        }
        let trust = self.times.apply(&mut cluster, config, &deployment)?;
        let config = &cluster.config;
        let all = format!(
            "{SIMULATOR} {LAYOUT} {} {:?} {} {:?} {} {} {}",
            cluster.fingerprint(),
            config.engine,
            config.replicas,
            config.router,
            config.noise,
            config.seed,
            self.workload_digest
        );
        let digest = blake3::hash(all.as_bytes()).to_hex()[..32].to_owned();
        Ok(Deployed {
            cluster,
            trust,
            digest,
        })
    }

    /// A configuration as the simulator's files describe it.
    pub fn deployment(&self, config: &Config) -> Deployment {
        let mut deployment = Deployment::new(&self.model, &config.gpu_type);
        deployment.tensor_parallel = config.tensor_parallel;
        deployment.pipeline_parallel = config.pipeline_parallel;
        deployment.replicas = config.num_replicas;
        deployment.batch_size_cap = config.max_batch_size;
        deployment.router = RouterConfig::Lor;
        deployment.batching = config.scheduler;
        if let Batching::Orca {} | Batching::FasterTransformer {} = config.scheduler {
            // They set room aside for the longest request.
            let context = self
                .library
                .catalog()
                .model(&self.model)
                .map_or(0, |model| model.max_context);
            let longest = self.request.workload.lengths.longest().ceil() as u32;
            deployment.max_model_len = deployment.max_model_len.min(context.max(longest));
        }
        deployment.cost = CostSource::Roofline;
        deployment
    }

    /// Takes away what is known to be reserved beyond what was estimated.
    fn reserve(&self, cluster: &mut BuiltCluster) -> Result<(), DeploymentError> {
        let memory = &mut cluster.memory;
        let usable = memory.terms.iter().find(|term| term.name == "usable share");
        let usable = usable.map_or(0.0, |term| term.bytes);
        let beyond = self.reserved_bytes - (usable - memory.weight_bytes - memory.kv_bytes);
        if beyond <= 0.0 {
            return Ok(());
        }
        memory.kv_bytes -= beyond;
        let block = memory.kv_bytes_per_token * f64::from(memory.block_tokens);
        memory.blocks = (memory.kv_bytes / block).floor().max(0.0) as u32;
        if memory.blocks == 0 {
            let why = format!(
                "{} does not fit on {}: {:.1} GB of activations and buffers, which the profiler found, leave nothing for the KV cache",
                self.model,
                cluster.gpu.name,
                self.reserved_bytes / 1e9
            );
            return Err(DoesNotFit(why).into());
        }
        cluster.config.engine.blocks = memory.blocks;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Deployed>>> {
        self.built.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Simulates a cluster at a rate, in requests a second, with so many requests: fewer where they would take longer than a
    /// simulation is to last, more where too few would count, or come and go while batches fill.
    ///
    /// # Errors
    /// When it cannot be simulated.
    pub fn probe(
        &self,
        deployed: &Deployed,
        qps: f64,
        seed: u64,
        requests: u64,
    ) -> Result<Probed, DeploymentError> {
        let (count, warm) = self.layout(self.in_flight(deployed, qps), qps, requests);
        self.simulated(deployed, &self.workload, qps, [seed, seed, count], warm)
    }

    /// Simulates a cluster with requests one at a time: what no rate can better.
    ///
    /// # Errors
    /// When it cannot be simulated.
    pub fn alone(&self, deployed: &Deployed) -> Result<Probed, DeploymentError> {
        let apart = self.workload.arriving(Gaps::Constant);
        self.simulated(deployed, &apart, ALONE_QPS, [0, u64::MAX, ALONE], Time::ZERO)
    }

    /// How many requests are simulated at a rate where so many are in flight, and from when on they count.
    fn layout(&self, in_flight: f64, qps: f64, requests: u64) -> (u64, Time) {
        let simulation = &self.request.simulation;
        let share = simulation.warmup_duration / simulation.duration;
        let fill = FILLING * in_flight;
        let least = (FEWEST / (1.0 - share) + fill).max(TURNS * in_flight);
        let most = (simulation.duration * qps).max(least);
        let count = (requests as f64).clamp(least, most).ceil();
        (count as u64, Time::from_seconds((share * count).max(fill) / qps))
    }

    /// With a seed, that by which it is known again, and so many requests.
    fn simulated(
        &self,
        deployed: &Deployed,
        workload: &OpenWorkload,
        qps: f64,
        [seed, known_by, count]: [u64; 3],
        warm: Time,
    ) -> Result<Probed, DeploymentError> {
        let key = Key::new(&deployed.digest, qps, known_by, count);
        let summary = if let Some(known) = self.ledger.find(&key) {
            known
        } else {
            let mut cluster = deployed.cluster.clone();
            cluster.config.seed = cluster.config.seed.wrapping_add(seed);
            let (source, prefixes) = workload.again(qps, count, seed)?;
            let summary = run::summary(&cluster, source, &prefixes, warm);
            self.ledger.add(key, &summary);
            summary
        };
        Ok(Probed {
            qps,
            margins: self.bounds.iter().map(|bound| margin(bound, &summary)).collect(),
            summary,
        })
    }

    /// Requests a second that a cluster would bear if its batches were always full: where a search begins.
    pub fn guess(&self, deployed: &Deployed) -> f64 {
        let config = &deployed.cluster.config;
        let (prompt, response) = self.mean_tokens();
        let held = (prompt + response / 2.0).max(1.0);
        let batch = self.most_at_once(deployed).max(1.0) as u32;
        let mut decode = BatchShape::default();
        decode.add_decodes(batch, (f64::from(batch) * held) as u64);
        let mut prefill = BatchShape::default();
        prefill.add_prefill(0, prompt.max(1.0) as u32, true);
        let seconds = |shape: &BatchShape| config.cost.stage(shape, true).total.as_seconds();
        let request = seconds(&prefill) + response * seconds(&decode) / f64::from(batch);
        f64::from(config.replicas) / request.max(1e-9)
    }

    /// Requests a second that a cluster cannot bear, whatever comes.
    pub fn limit(&self, deployed: &Deployed) -> f64 {
        HOPELESS * self.guess(deployed)
    }

    /// Most requests that are in flight at a rate, by Little's law: a request takes no longer than with full batches.
    fn in_flight(&self, deployed: &Deployed, qps: f64) -> f64 {
        let config = &deployed.cluster.config;
        let stages = f64::from(config.engine.pipeline_stages);
        let most = self.most_at_once(deployed).max(1.0) * stages * f64::from(config.replicas);
        most * (qps / self.guess(deployed)).min(1.0)
    }

    /// Requests of mean length that a replica can hold at once, by its KV cache and its batch.
    pub fn most_at_once(&self, deployed: &Deployed) -> f64 {
        let engine = &deployed.cluster.config.engine;
        let (prompt, response) = self.mean_tokens();
        let held = (prompt + response / 2.0).max(1.0);
        let fits = f64::from(engine.blocks) * f64::from(engine.block_tokens) / held;
        fits.min(f64::from(engine.batch_size_cap))
    }
}

/// Mean tokens of a prompt and of a response of the first requests.
fn mean_tokens(workload: &OpenWorkload) -> Result<(f64, f64), DeploymentError> {
    let (mut source, _) = workload.again(1.0, SAMPLE, 0)?;
    let (mut count, mut prompt, mut response) = (0.0_f64, 0.0, 0.0);
    while let Some(request) = source.next() {
        count += 1.0;
        prompt += f64::from(request.input_tokens);
        response += f64::from(request.output_tokens);
    }
    Ok((prompt / count.max(1.0), response / count.max(1.0)))
}

/// Of the workload and how it is simulated; of a trace its content.
fn digest_of(request: &PlanRequest) -> Result<String, DeploymentError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(
        json!([request.workload, request.simulation])
            .to_string()
            .as_bytes(),
    );
    if let PlanLengths::Recorded { trace_file, .. } = &request.workload.lengths {
        let content = fs_err::read(trace_file)
            .map_err(|error| DeploymentError::value("trace_file", error.to_string()))?;
        hasher.update(&content);
    }
    Ok(hasher.finalize().to_hex()[..32].to_owned())
}
