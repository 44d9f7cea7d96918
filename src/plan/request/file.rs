//! The files of a request, nested or flat, and how several become one.

use std::path::Path;

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::constraints::{Constraints, ConstraintsEntry, above_zero};
use super::error::{RequestError, Wrong, line, text};
use super::lengths::LengthEntry;
use super::space::{SpaceEntry, SpaceParts};
use super::workload::{PatternEntry, PlanWorkload, RangeEntry, WorkloadEntry, of_trace};
use super::{HEADROOM, Objective, PlanRequest, Simulation};
use crate::sim::catalog::Catalog;

/// A file as it stands: the four parts, or the keys of workload and constraints without their heads.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RequestFile {
    workload: Option<Spanned<WorkloadEntry>>,
    constraints: Option<Spanned<ConstraintsEntry>>,
    config_space: Option<SpaceEntry>,
    simulation: Option<SimulationEntry>,
    demand_qps: Option<Spanned<f64>>,
    headroom: Option<Spanned<f64>>,
    objective: Option<Objective>,
    model: Option<Spanned<String>>,
    arrival_rate_range: Option<Spanned<RangeEntry>>,
    max_qps: Option<Spanned<f64>>,
    prompt_length: Option<Spanned<LengthEntry>>,
    #[serde(alias = "decode_length")]
    output_length: Option<Spanned<LengthEntry>>,
    pattern: Option<Spanned<PatternEntry>>,
    trace_file: Option<Spanned<std::path::PathBuf>>,
    max_ttft_p95_ms: Option<Spanned<f64>>,
    max_tbt_p99_ms: Option<Spanned<f64>>,
    max_latency_p99_ms: Option<Spanned<f64>>,
    max_cost_per_hour: Option<Spanned<f64>>,
    min_qps: Option<Spanned<f64>>,
    slo_threshold_ms: Option<Spanned<f64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SimulationEntry {
    duration: Option<Spanned<f64>>,
    warmup_duration: Option<Spanned<f64>>,
    random_seed: Option<u64>,
}

/// What the files so far say.
#[derive(Debug, Default)]
pub(super) struct Parts {
    workload: Option<PlanWorkload>,
    /// What the last workload left open.
    workload_notes: Vec<String>,
    constraints: Constraints,
    space: SpaceParts,
    /// Where the GPUs are named.
    space_file: Option<std::path::PathBuf>,
    duration: Option<f64>,
    /// With its place.
    warmup: Option<(f64, std::path::PathBuf, Option<u64>)>,
    seed: Option<u64>,
    demand_qps: Option<f64>,
    headroom: Option<f64>,
    objective: Option<Objective>,
    model: Option<String>,
}

impl Parts {
    /// Reads a file: a trace by its ending, else YAML.
    pub(super) fn add_file(&mut self, path: &Path) -> Result<(), RequestError> {
        let name = path.to_string_lossy().to_lowercase();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        if [".csv", ".jsonl", ".ndjson"]
            .iter()
            .any(|ending| name.ends_with(ending))
        {
            let mut notes = Vec::new();
            let workload = of_trace(path, &mut notes);
            // The message of a trace begins with its name and line.
            let shown = format!("{}:", path.display());
            self.workload = Some(workload.map_err(|why| {
                let why = why
                    .strip_prefix(&shown)
                    .map_or(why.as_str(), str::trim_start)
                    .to_owned();
                match why.split_once(':').map(|(number, rest)| (number.parse(), rest)) {
                    Some((Ok(line), rest)) => RequestError::new(path, Some(line), rest.trim_start()),
                    _ => RequestError::new(path, None, why),
                }
            })?);
            self.workload_notes = notes;
            return Ok(());
        }
        self.add_text(&text(path)?, path)
    }

    /// Reads the text of a YAML file.
    pub(super) fn add_text(&mut self, text: &str, path: &Path) -> Result<(), RequestError> {
        let at = |(line, problem): Wrong| RequestError::new(path, line, problem);
        // An empty file says nothing, rather than null.
        let bare = text
            .lines()
            .all(|l| l.trim().is_empty() || l.trim_start().starts_with('#'));
        if bare {
            return Err(at((
                None,
                "the file says nothing; write workload:, constraints: or config_space:".to_owned(),
            )));
        }
        let file: RequestFile =
            serde_saphyr::from_str(text).map_err(|e| RequestError::yaml(path, text, &e))?;
        self.add(file, path).map_err(at)
    }

    fn add(&mut self, file: RequestFile, path: &Path) -> Result<(), Wrong> {
        let flat = WorkloadEntry {
            arrival_rate_range: file.arrival_rate_range,
            max_qps: file.max_qps,
            prompt_length: file.prompt_length,
            output_length: file.output_length,
            pattern: file.pattern,
            trace_file: file.trace_file,
        };
        let flat_constraints = ConstraintsEntry {
            max_ttft_p95_ms: file.max_ttft_p95_ms,
            max_tbt_p99_ms: file.max_tbt_p99_ms,
            max_latency_p99_ms: file.max_latency_p99_ms,
            max_cost_per_hour: file.max_cost_per_hour,
            min_qps: file.min_qps,
            slo_threshold_ms: file.slo_threshold_ms,
        }
        .check()?;
        let both = |key: &str, at| {
            let problem = format!(
                "{key}: some of its keys stand here and some outside; write all of them in one place"
            );
            Err((at, problem))
        };
        let mut notes = Vec::new();
        let workload = match &file.workload {
            Some(nested) if flat.is_given() => return both("workload", line(nested)),
            Some(nested) => Some(&nested.value),
            None => flat.is_given().then_some(&flat),
        };
        if let Some(workload) = workload {
            self.workload = Some(workload.check(path, &mut notes)?);
            self.workload_notes = notes;
        }
        if let Some(nested) = &file.constraints {
            if flat_constraints != Constraints::default() {
                return both("constraints", line(nested));
            }
            self.constraints.override_by(&nested.value.check()?);
        }
        self.constraints.override_by(&flat_constraints);
        if let Some(space) = file.config_space {
            self.space_file = Some(path.to_owned());
            self.space.add(space)?;
        }
        if let Some(simulation) = file.simulation {
            self.simulation(&simulation, path)?;
        }
        let demand = above_zero("demand_qps", "requests a second", file.demand_qps.as_ref())?;
        self.demand_qps = demand.or(self.demand_qps);
        if let Some(headroom) = &file.headroom {
            if !(headroom.value >= 0.0 && headroom.value.is_finite()) {
                let problem = format!(
                    "headroom: {} does not do; write a share as 0.2, or 0 for none",
                    headroom.value
                );
                return Err((line(headroom), problem));
            }
            self.headroom = Some(headroom.value);
        }
        self.objective = file.objective.or(self.objective);
        if let Some(model) = &file.model {
            if model.value.trim().is_empty() {
                let problem = "model: it is empty; write a name of the catalog or the path of a config.json";
                return Err((line(model), problem.to_owned()));
            }
            self.model = Some(model.value.clone());
        }
        Ok(())
    }

    fn simulation(&mut self, entry: &SimulationEntry, path: &Path) -> Result<(), Wrong> {
        let duration = above_zero("simulation.duration", "seconds", entry.duration.as_ref())?;
        self.duration = duration.or(self.duration);
        if let Some(warmup) = &entry.warmup_duration {
            if !(warmup.value >= 0.0 && warmup.value.is_finite()) {
                let problem = format!(
                    "simulation.warmup_duration: {} does not do; write seconds, 0 or more",
                    warmup.value
                );
                return Err((line(warmup), problem));
            }
            self.warmup = Some((warmup.value, path.to_owned(), line(warmup)));
        }
        self.seed = entry.random_seed.or(self.seed);
        Ok(())
    }

    /// The whole; `last` is the file that a lack is told of.
    pub(super) fn finish(self, last: &Path, catalog: &Catalog) -> Result<PlanRequest, RequestError> {
        let mut notes = self.workload_notes;
        let Some(workload) = self.workload else {
            let problem = "no workload is described; write arrival_rate_range, prompt_length and output_length, or \
                           trace_file, below workload:";
            return Err(RequestError::new(last, None, problem));
        };
        let space_file = self.space_file.as_deref().unwrap_or(last);
        let config_space = self
            .space
            .finish(catalog, &mut notes)
            .map_err(|(line, problem)| RequestError::new(space_file, line, problem))?;
        let default = Simulation::default();
        let duration = self.duration.unwrap_or(default.duration);
        // A short run keeps the proportion of the defaults.
        let share = default.warmup_duration / default.duration;
        let (warmup, path, line) = match &self.warmup {
            Some((warmup, path, line)) => (*warmup, path.as_path(), *line),
            None => (default.warmup_duration.min(share * duration), last, None),
        };
        if warmup >= duration {
            let problem = format!(
                "simulation.warmup_duration: {warmup} s leave nothing of a duration of {duration} s; lengthen duration"
            );
            return Err(RequestError::new(path, line, problem));
        }
        let request = PlanRequest {
            workload,
            constraints: self.constraints,
            config_space,
            simulation: Simulation {
                duration,
                warmup_duration: warmup,
                random_seed: self.seed.unwrap_or(default.random_seed),
            },
            demand_qps: self.demand_qps,
            headroom: self.headroom.unwrap_or(HEADROOM),
            objective: self.objective.unwrap_or_default(),
            model: self.model,
            notes,
        };
        request
            .check()
            .map_err(|why| RequestError::new(last, None, why))?;
        Ok(request)
    }
}
