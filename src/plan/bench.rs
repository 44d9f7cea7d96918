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
use crate::sim::cost::BatchShape;
use crate::sim::cost::memory::DoesNotFit;
use crate::sim::router::RouterConfig;

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
    /// Whether everything is kept: the load is served, and every bound holds.
    pub fn holds(&self) -> bool {
        self.is_served() && self.margins.iter().all(|margin| *margin >= 0.0)
    }

    /// Whether the load is served.
    pub fn is_served(&self) -> bool {
        let requests = self.summary.requests;
        self.summary.state != State::Overloaded && requests.completed == requests.arrived
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
        let workload = request.workload.at(1.0, request.simulation.duration);
        Ok(Self {
            workload: workload.open(Path::new(""), longest, request.simulation.random_seed)?,
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

    /// Mean tokens of a prompt and of a response.
    pub fn mean_tokens(&self) -> (f64, f64) {
        self.request.workload.lengths.mean_tokens()
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
            "{SIMULATOR} {} {:?} {} {:?} {} {} {}",
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

    /// Simulates a cluster at a rate, in requests a second, with so many requests, or fewer where they would take longer
    /// than a simulation is to last.
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
        let key = Key::new(&deployed.digest, qps, seed, requests);
        let summary = match self.ledger.find(&key) {
            Some(known) => known,
            None => self.simulate(deployed, qps, seed, requests, key)?,
        };
        let margins = self.bounds.iter().map(|bound| {
            let value = observed(bound, &summary).unwrap_or(f64::INFINITY);
            (bound.limit_s / value.max(1e-9)).ln()
        });
        Ok(Probed {
            qps,
            margins: margins.collect(),
            summary,
        })
    }

    fn simulate(
        &self,
        deployed: &Deployed,
        qps: f64,
        seed: u64,
        requests: u64,
        key: Key,
    ) -> Result<Summary, DeploymentError> {
        let mut cluster = deployed.cluster.clone();
        cluster.config.seed += seed;
        let (source, prefixes) = self.workload.again(qps, requests, seed)?;
        let simulation = &self.request.simulation;
        // As large a share of a run that its requests end before its time.
        let seconds = simulation.duration.min(requests as f64 / qps);
        let warm = Time::from_seconds(seconds * simulation.warmup_duration / simulation.duration);
        let summary = run::summary(&cluster, source, &prefixes, warm);
        self.ledger.add(key, &summary);
        Ok(summary)
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

    /// Requests of mean length that a replica can hold at once, by its KV cache and its batch.
    pub fn most_at_once(&self, deployed: &Deployed) -> f64 {
        let engine = &deployed.cluster.config.engine;
        let (prompt, response) = self.mean_tokens();
        let held = (prompt + response / 2.0).max(1.0);
        let fits = f64::from(engine.blocks) * f64::from(engine.block_tokens) / held;
        fits.min(f64::from(engine.batch_size_cap))
    }
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
