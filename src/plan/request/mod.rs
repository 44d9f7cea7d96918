//! What `mst plan` is asked: workload, constraints, space of configurations, simulation; profile.
//!
//! [`PlanRequest`] is read from one or several YAML files, in the nested or the flat form; [`ProfileFolder`] from what
//! a profiler wrote, or from a model's `config.json`.

mod constraints;
mod error;
mod file;
mod lengths;
mod listed;
mod profile;
mod scheduler;
mod space;
mod workload;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::sim::catalog::Catalog;

pub use constraints::{Constraints, Latency, LatencyBound};
pub use error::RequestError;
pub(super) use error::text;
pub use profile::{Fitted, Hardware, Metadata, ModelMemory, ProfileEntry, ProfileFolder, Wanted};
pub use scheduler::name_of;
pub use space::{ConfigSpace, DroppedLayout, Layout};
pub use workload::{PlanLengths, PlanWorkload, TraceFacts};

/// What is asked of a plan. Written as JSON it can be read again as a request, and is equal then.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanRequest {
    /// The requests that are to be served.
    pub workload: PlanWorkload,
    /// What must hold.
    pub constraints: Constraints,
    /// What may be rented.
    pub config_space: ConfigSpace,
    /// How it is simulated.
    pub simulation: Simulation,
    /// Requests a second that are to be served, where the request says it: see [`PlanRequest::demand`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub demand_qps: Option<f64>,
    /// Share of the demand that is kept in reserve: capacity must reach the demand times one more than this. Default 0.2.
    pub headroom: f64,
    /// What the best configuration is best at. Default: cost.
    pub objective: Objective,
    /// The model, by its name in the catalog or the path of a `config.json`, where there is no profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What was assumed, and what to know about the request.
    #[serde(skip)]
    pub notes: Vec<String>,
}

/// What the best configuration is best at, among those that keep the constraints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// Least cost for the demand with its headroom; GPU-hours where there are no prices.
    #[default]
    Cost,
    /// Most requests a second for each unit of money an hour.
    QpsPerDollar,
    /// Least latency at the demand.
    Latency,
    /// Most requests a second for each GPU.
    ThroughputPerGpu,
}

/// How a configuration is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Simulation {
    /// Seconds of arrivals at each rate. Default 600.
    pub duration: f64,
    /// Seconds at the start that do not count. Default 60.
    pub warmup_duration: f64,
    /// Seed of arrivals and lengths. Default 42.
    pub random_seed: u64,
}

impl Default for Simulation {
    fn default() -> Self {
        Self {
            duration: 600.0,
            warmup_duration: 60.0,
            random_seed: 42,
        }
    }
}

/// How much is to be served.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Demand {
    /// Requests a second.
    pub qps: f64,
    /// The key that says so: `demand_qps`, `min_qps`, `arrival_rate_range` or `trace_file`.
    pub from: &'static str,
}

/// Share of the demand that is kept in reserve where nothing is said.
pub(crate) const HEADROOM: f64 = 0.2;

impl PlanRequest {
    /// Reads a request from files; of what several say the last counts: constraints, space and simulation key by key, the
    /// workload as a whole. Each may be nested (`workload:`, `constraints:`, ...) or flat (`arrival_rate_range`,
    /// `prompt_length`, ..., `max_ttft_p95_ms`, ...). A `.csv` or `.jsonl` file, packed or not, is a trace of requests in
    /// place of a workload. GPUs are looked up in the catalog.
    ///
    /// # Errors
    /// When a file cannot be read, has unknown keys or wrong values, or the whole does not say how much is to be served;
    /// with file, line and what to write.
    pub fn read<P: AsRef<Path>>(files: &[P], catalog: &Catalog) -> Result<Self, RequestError> {
        let mut parts = file::Parts::default();
        for path in files {
            parts.add_file(path.as_ref())?;
        }
        let last = files.last().map_or(Path::new(""), AsRef::as_ref);
        parts.finish(last, catalog)
    }

    /// Reads a request from one text; `path` is for messages and for files that it names.
    ///
    /// # Errors
    /// As [`PlanRequest::read`].
    pub fn parse(text: &str, path: &Path, catalog: &Catalog) -> Result<Self, RequestError> {
        let mut parts = file::Parts::default();
        parts.add_text(text, path)?;
        parts.finish(path, catalog)
    }

    /// How much is to be served: `demand_qps`, else `min_qps`, else the lower end of `arrival_rate_range`, else the rate
    /// of the recorded trace.
    pub fn demand(&self) -> Option<Demand> {
        let PlanWorkload {
            arrival_rate_range: range,
            lengths,
            ..
        } = &self.workload;
        let found = [
            (self.demand_qps, "demand_qps"),
            (self.constraints.min_qps, "min_qps"),
            (range.map(|r| r[0]), "arrival_rate_range"),
            (lengths.recorded_qps(), "trace_file"),
        ];
        let found = found.into_iter().find_map(|(qps, from)| Some((qps?, from)));
        found.map(|(qps, from)| Demand { qps, from })
    }

    /// Requests a second that a configuration must be able to bear: the demand with its headroom, and no less than
    /// `min_qps`. Zero where no demand is known.
    pub fn needed_qps(&self) -> f64 {
        let demand = self.demand().map_or(0.0, |d| d.qps * (1.0 + self.headroom));
        demand.max(self.constraints.min_qps.unwrap_or(0.0))
    }

    /// Up to how many requests a second capacity is searched: `max_qps`, else the upper end of `arrival_rate_range`, but
    /// no less than what is needed. `None` where neither is given: then there is no ceiling.
    pub fn ceiling_qps(&self) -> Option<f64> {
        let upper = self.workload.arrival_rate_range.map(|range| range[1]);
        let asked = self.workload.max_qps.or(upper)?;
        Some(asked.max(self.needed_qps()))
    }

    /// What an objective needs.
    ///
    /// # Errors
    /// When it needs a demand and none is known: what to write.
    pub fn check(&self) -> Result<(), String> {
        let needs = matches!(self.objective, Objective::Cost | Objective::Latency);
        if needs && self.demand().is_none() {
            return Err(
                "how much is to be served is not said; write demand_qps, min_qps or arrival_rate_range, or \
                 objective: qps_per_dollar"
                    .to_owned(),
            );
        }
        Ok(())
    }
}
