//! A server: a cluster, its requests, and what goes wrong.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::gate::RateLimit;
use super::server_engine::AffineEngine;
use super::weather::{self, Neighbour, SlowDown, SlowStart, Stalls};
use crate::deployment::{Deployment, DeploymentError, Library};
use crate::sim::PrefixTable;
use crate::sim::cluster::ClusterConfig;
use crate::sim::router::RouterConfig;
use crate::sim::source::RequestLengths;
use crate::units::{TokenPair, TokenRange};
use crate::workload::{TokenDistribution, TokenSampler};

/// A server as a file describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSpec {
    /// Its name, unique in a panel.
    pub name: String,
    /// A small engine given by numbers. Either this or `deployment`.
    #[serde(default)]
    pub engine: Option<AffineEngine>,
    /// A cluster as `mst simulate` describes it. Either this or `engine`.
    #[serde(default)]
    pub deployment: Option<Deployment>,
    /// Engines behind the router. With `engine` only; default 1.
    #[serde(default)]
    pub replicas: Option<u32>,
    /// Which engine a request goes to. With `engine` only; default `round_robin`.
    #[serde(default)]
    pub router: Option<RouterConfig>,
    /// Coefficient of variation of an iteration's duration. With `engine` only; default 0.
    #[serde(default)]
    pub noise: Option<f64>,
    /// Lengths of its requests. Either this or `grid`.
    #[serde(default)]
    pub lengths: Option<Lengths>,
    /// Token pairs in place of `lengths`: each input with each output.
    #[serde(default)]
    pub grid: Option<Grid>,
    /// Prefixes that requests share.
    #[serde(default)]
    pub prefixes: Option<Prefixes>,
    /// Periodic stalls.
    #[serde(default)]
    pub stalls: Option<Stalls>,
    /// A slow start after idle.
    #[serde(default)]
    pub slow_start: Option<SlowStart>,
    /// A slow-down by heat.
    #[serde(default)]
    pub slow_down: Option<SlowDown>,
    /// A second load that comes and goes.
    #[serde(default)]
    pub neighbour: Option<Neighbour>,
    /// A rate limiter.
    #[serde(default)]
    pub rate_limit: Option<RateLimit>,
    /// Most requests in the cluster, waiting and running; one more is refused with status 503. Default: no limit.
    #[serde(default)]
    pub queue_limit: Option<u32>,
    /// Mean milliseconds by which the client sends late, exponentially distributed. Default 0.
    #[serde(default)]
    pub jitter_ms: f64,
    /// Share of the requests that must succeed, in percent. Default 95.
    #[serde(default = "success_rate")]
    pub success_rate_percent: f64,
    /// Seconds for which a trial waits for answers after its last request. Default 120.
    #[serde(default = "drain")]
    pub drain_s: f64,
}

const fn success_rate() -> f64 {
    95.0
}

const fn drain() -> f64 {
    120.0
}

/// Lengths of requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lengths {
    /// Prompts; what a shared prefix adds is not counted here.
    pub input: TokenDistribution,
    /// Responses.
    pub output: TokenDistribution,
}

/// Token pairs: each input with each output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// Prompt lengths.
    pub input: Vec<u32>,
    /// Response lengths.
    pub output: Vec<u32>,
}

/// Prefixes that requests share: each begins with one of them, and each is as likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prefixes {
    /// How many there are.
    pub count: u32,
    /// Tokens of each, before the request's own prompt.
    pub tokens: u32,
}

/// Why a server cannot be.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum ServerError {
    /// A value that does not do.
    #[error("{key}: {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong, and what to write.
        problem: String,
    },
    /// Its deployment.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
}

impl ServerError {
    /// A value that does not do.
    pub(super) fn value(key: &'static str, problem: impl Into<String>) -> Self {
        Self::Value {
            key,
            problem: problem.into(),
        }
    }
}

/// A server that trials can be made of. Cheap to clone, and to share between threads.
#[derive(Clone, Debug)]
pub struct Server {
    pub(super) spec: Arc<ServerSpec>,
    pub(super) name: String,
    pub(super) cluster: ClusterConfig,
    /// The engine given by numbers, where it is one.
    pub(super) affine: Option<Arc<AffineEngine>>,
    pub(super) lengths: [TokenSampler; 2],
    /// Mean prompt, without a shared prefix, and mean response.
    pub(super) mean_tokens: [f64; 2],
    /// Lengths of the neighbour's requests.
    pub(super) neighbour: Option<Arc<[TokenSampler; 2]>>,
    pub(super) prefixes: Arc<PrefixTable>,
    pub(super) pairs: Arc<[TokenPair]>,
}

impl Server {
    /// The server that a file describes, with the models, GPUs and profiles of a library.
    ///
    /// # Errors
    /// When parts contradict each other or a value does not do.
    pub fn new(spec: ServerSpec, library: &Library) -> Result<Self, ServerError> {
        let affine = spec.engine.clone().map(Arc::new);
        let cluster = cluster(&spec, affine.as_ref(), library)?;
        let pairs = pairs(&spec)?;
        let lengths = match (&spec.lengths, pairs.first()) {
            (Some(lengths), None) => lengths.clone(),
            (None, Some(pair)) => fixed(*pair),
            (Some(_), Some(_)) => {
                return Err(ServerError::value(
                    "grid",
                    "it stands in place of `lengths`; remove one",
                ));
            }
            (None, None) => {
                let problem = "a server needs `lengths: {input: {...}, output: {...}}` or a `grid`";
                return Err(ServerError::value("name", problem));
            }
        };
        let prefixes = prefix_table(&spec, &cluster)?;
        let lengths = samplers(&lengths)?;
        let neighbour = spec
            .neighbour
            .as_ref()
            .map(|n| samplers(&n.lengths))
            .transpose()?;
        let server = Self {
            name: spec.name.clone(),
            mean_tokens: [lengths[0].mean(), lengths[1].mean()],
            lengths,
            neighbour: neighbour.map(Arc::new),
            spec: Arc::new(spec),
            cluster,
            affine,
            prefixes: Arc::new(prefixes),
            pairs: pairs.into(),
        };
        server.check()?;
        Ok(server)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Share of the requests that must succeed, in percent.
    pub fn success_rate_percent(&self) -> f64 {
        self.spec.success_rate_percent
    }

    /// Lengths of its requests, of the first pair where it has a grid. What a shared prefix adds is not counted.
    pub(super) fn request_lengths(&self) -> Option<RequestLengths> {
        let first = self.pairs.first().map(|pair| fixed(*pair));
        let Lengths { input, output } = self.spec.lengths.clone().or(first)?;
        Some(RequestLengths::Separate { input, output })
    }

    /// The token pairs of its grid; none where the file has lengths.
    pub fn pairs(&self) -> &[TokenPair] {
        &self.pairs
    }

    /// The server with requests of one token pair, for a cell of its grid.
    ///
    /// # Panics
    /// When a length is zero, which no pair of a grid has.
    #[must_use]
    pub fn at(&self, pair: TokenPair) -> Self {
        let lengths = samplers(&fixed(pair)).expect("a pair has lengths above zero");
        Self {
            name: format!("{} {pair}", self.name),
            mean_tokens: [lengths[0].mean(), lengths[1].mean()],
            lengths,
            ..self.clone()
        }
    }

    /// Whether its capacity does not change over time: no stalls, no neighbour that comes and goes, no slow-down. A slow
    /// start passes.
    pub fn is_stationary(&self) -> bool {
        let neighbour = self.spec.neighbour.as_ref();
        self.spec.stalls.is_none()
            && self.spec.slow_down.is_none()
            && neighbour.is_none_or(|n| n.off_s == 0.0)
    }

    /// Tokens of its longest prompt and response.
    fn longest(&self) -> [u64; 2] {
        let prefix = u64::from(self.spec.prefixes.map_or(0, |p| p.tokens));
        let cells = self.pairs.iter().map(|p| [p.input.max, p.output.max]);
        let mut lengths = [self.lengths[0].max(), self.lengths[1].max()];
        if let Some(theirs) = &self.neighbour {
            lengths = [0, 1].map(|i| lengths[i].max(theirs[i].max()));
        }
        let [input, output] = cells.fold(lengths, |most, cell| [most[0].max(cell[0]), most[1].max(cell[1])]);
        [u64::from(input) + prefix, u64::from(output)]
    }

    /// What the types do not show.
    fn check(&self) -> Result<(), ServerError> {
        let [input, output] = self.longest();
        let engine = &self.cluster.engine;
        let room = u64::from(engine.blocks) * u64::from(engine.block_tokens);
        let most = room.min(u64::from(engine.max_model_len));
        if input + output > most {
            let problem = format!(
                "requests of up to {input} + {output} tokens do not fit the {most} that the engine has room for; write a \
                 smaller `max` of the lengths, or more room"
            );
            return Err(ServerError::value("lengths", problem));
        }
        let spec = &self.spec;
        weather::check(
            spec.stalls,
            spec.slow_start,
            spec.slow_down,
            spec.neighbour.as_ref(),
        )?;
        spec.rate_limit.map_or(Ok(()), RateLimit::check)?;
        if spec.queue_limit == Some(0) {
            let problem = "0 lets nothing in; write at least 1, or leave the key out";
            return Err(ServerError::value("queue_limit", problem));
        }
        if !(0.0..=60_000.0).contains(&spec.jitter_ms) {
            let problem = format!(
                "{} does not do; write milliseconds from 0 to a minute",
                spec.jitter_ms
            );
            return Err(ServerError::value("jitter_ms", problem));
        }
        let share = self.spec.success_rate_percent;
        if !(share > 0.0 && share <= 100.0) {
            let problem = format!("{share} does not do; write a percentage above 0, at most 100");
            return Err(ServerError::value("success_rate_percent", problem));
        }
        let drain = self.spec.drain_s;
        if !(0.0..=86_400.0).contains(&drain) {
            let problem = format!("{drain} does not do; write seconds from 0 to a day");
            return Err(ServerError::value("drain_s", problem));
        }
        Ok(())
    }
}

/// Lengths of a token pair.
fn fixed(pair: TokenPair) -> Lengths {
    let of = |range: TokenRange| TokenDistribution::Uniform {
        min: range.lowest(),
        max: range.max,
    };
    Lengths {
        input: of(pair.input),
        output: of(pair.output),
    }
}

fn samplers(lengths: &Lengths) -> Result<[TokenSampler; 2], ServerError> {
    let sampler = |key, lengths: &TokenDistribution| {
        lengths
            .sampler()
            .map_err(|error| ServerError::value(key, error.to_string()))
    };
    Ok([
        sampler("lengths.input", &lengths.input)?,
        sampler("lengths.output", &lengths.output)?,
    ])
}

fn cluster(
    spec: &ServerSpec,
    affine: Option<&Arc<AffineEngine>>,
    library: &Library,
) -> Result<ClusterConfig, ServerError> {
    let engine = match (affine, &spec.deployment) {
        (Some(engine), None) => engine,
        (None, Some(deployment)) => {
            for (key, given) in [
                ("replicas", spec.replicas.is_some()),
                ("router", spec.router.is_some()),
                ("noise", spec.noise.is_some()),
            ] {
                if given {
                    return Err(ServerError::value(key, "write it within `deployment`"));
                }
            }
            return Ok(deployment.cluster(library, 0)?.config);
        }
        _ => {
            return Err(ServerError::value(
                "name",
                "a server needs either `engine` or `deployment`",
            ));
        }
    };
    if let Some((key, problem)) = engine.problem() {
        return Err(ServerError::value(key, problem));
    }
    let replicas = spec.replicas.unwrap_or(1);
    if !(1..=4096).contains(&replicas) {
        let problem = format!("{replicas} does not do; write a number from 1 to 4096");
        return Err(ServerError::value("replicas", problem));
    }
    let noise = spec.noise.unwrap_or(0.0);
    if !(0.0..=2.0).contains(&noise) {
        let problem = format!("{noise} is not a coefficient of variation; write a number from 0 to 2");
        return Err(ServerError::value("noise", problem));
    }
    Ok(ClusterConfig {
        replicas,
        router: spec.router.unwrap_or_default(),
        engine: engine.engine(),
        replay: None,
        cost: Arc::<AffineEngine>::clone(engine),
        seed: 0,
        noise,
        stepwise: false,
    })
}

fn pairs(spec: &ServerSpec) -> Result<Vec<TokenPair>, ServerError> {
    let Some(grid) = &spec.grid else {
        return Ok(Vec::new());
    };
    let mut pairs = Vec::new();
    for &input in &grid.input {
        for &output in &grid.output {
            if input == 0 || output == 0 {
                return Err(ServerError::value("grid", "write lengths of at least 1"));
            }
            pairs.push(TokenPair {
                input: TokenRange::exactly(input),
                output: TokenRange::exactly(output),
            });
        }
    }
    if pairs.is_empty() {
        return Err(ServerError::value(
            "grid",
            "write at least one input and one output length",
        ));
    }
    Ok(pairs)
}

/// The hashes of the shared prefixes, one after the other.
fn prefix_table(spec: &ServerSpec, cluster: &ClusterConfig) -> Result<PrefixTable, ServerError> {
    let Some(Prefixes { count, tokens }) = spec.prefixes else {
        return Ok(PrefixTable::default());
    };
    let block = cluster.engine.block_tokens;
    let hashes = u64::from(count) * u64::from(tokens / block);
    if count == 0 || tokens < block || hashes > 1 << 24 {
        let problem = format!(
            "{count} prefixes of {tokens} tokens do not do; write at least one prefix of at least a block of {block} tokens, \
             and at most 16777216 blocks together"
        );
        return Err(ServerError::value("prefixes", problem));
    }
    Ok(PrefixTable {
        hashes: (0..hashes as u32).collect(),
        distinct: hashes as u32,
        tokens_per_hash: block,
    })
}
