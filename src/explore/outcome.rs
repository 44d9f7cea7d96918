//! What was found, as rows in a fixed order: the same bytes however often the exploration was interrupted.

use serde::Serialize;

use super::cell_search::Found;
use super::explorer::{Answer, Exploration, Fate, per_gpu, quantity};
use super::file::SearchFor;
use super::grid::{Cell, Excluded, Grid};
use super::ledger::SIMULATOR;
use super::probe::{Point, Probed};
use crate::search::Status;
use crate::slo::{Judgement, SloConfig};

/// One objective in one cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The cell's hash, as in `cells.jsonl` and `runs/`.
    pub cell: String,
    /// Model.
    pub model: String,
    /// Trace.
    pub trace: String,
    /// Objective.
    pub slo: String,
    /// GPU.
    pub device: String,
    /// Kind of node.
    pub network_device: String,
    /// Router with its parameters.
    pub router: String,
    /// Order of the waiting requests.
    pub queue: String,
    /// Batch policy with its parameters.
    pub scheduler: String,
    /// GPUs that share each layer.
    pub tp: u32,
    /// Pipeline stages.
    pub pp: u32,
    /// Most requests at once, a pipeline stage.
    pub batch_size: u32,
    /// Place of its entry in `search_configs`, from 1.
    pub search: usize,
    /// What was searched.
    pub search_for: SearchFor,
    /// `bracketed`, `lower-bound-only`, `infeasible`, `holds`, `fails`, `pruned`, `refused`, `unfinished`, `elsewhere`.
    pub status: &'static str,
    /// Replicas at the answer.
    pub replicas: Option<u32>,
    /// Requests per second at the answer, on seed 0.
    pub qps: Option<f64>,
    /// The nearest rate, or number of replicas, that does not keep the objective.
    pub beyond: Option<f64>,
    /// Seeds with an answer.
    pub seeds: usize,
    /// What was searched for: mean over the seeds.
    pub mean: Option<f64>,
    /// Least over the seeds.
    pub min: Option<f64>,
    /// Most over the seeds.
    pub max: Option<f64>,
    /// GPUs of the cluster at the answer.
    pub gpus: Option<u32>,
    /// Requests per second and GPU, mean over the seeds.
    pub qps_per_gpu: Option<f64>,
    /// The metric that decides.
    pub binding: Option<&'static str>,
    /// Its quantile divided by its bound, at the answer.
    pub binding_ratio: Option<f64>,
    /// One bound: the quantile. Several: the share of requests that keep the objective.
    pub measured: Option<f64>,
    /// Room left: a share of the bound, or of the requests.
    pub margin: Option<f64>,
    /// Latencies at the answer, seconds.
    pub ttft_p50: Option<f64>,
    /// 99th percentile.
    pub ttft_p99: Option<f64>,
    /// Median.
    pub tpot_p50: Option<f64>,
    /// 99th percentile.
    pub tpot_p99: Option<f64>,
    /// Median.
    pub e2e_p50: Option<f64>,
    /// 99th percentile.
    pub e2e_p99: Option<f64>,
    /// Share of the prompt tokens that were found in the prefix cache.
    pub cached_share: Option<f64>,
    /// Preemptions.
    pub restarts: Option<u64>,
    /// Where iteration times come from.
    pub cost: String,
    /// Share of the working time whose cost was an extrapolation.
    pub extrapolated_share: Option<f64>,
    /// Requests of a probe.
    pub requests: Option<u64>,
    /// Why the search ended, or did not begin.
    pub reason: String,
}

/// All that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// Version of the simulator.
    pub simulator: &'static str,
    /// Whether every search came to its end.
    pub complete: bool,
    /// The best configuration for each model, trace and objective, by requests per second and GPU.
    pub best: Vec<Row>,
    /// Every cell and objective.
    pub rows: Vec<Row>,
    /// Combinations of the grid that are not searched.
    pub excluded: Vec<Excluded>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

impl Outcome {
    /// From an exploration.
    pub fn of(grid: &Grid, exploration: &Exploration) -> Self {
        let mut rows = Vec::new();
        let mut notes: Vec<String> = Vec::new();
        for (cell, outcome) in grid.cells.iter().zip(&exploration.cells) {
            for (slo, fate) in grid.slos.iter().zip(&outcome.fates) {
                let mut new = match fate {
                    Fate::Searched(_) if cell.search.search_for == SearchFor::Isoqps => {
                        given(cell, slo, &outcome.probes)
                    }
                    _ => vec![row(cell, &slo.name, fate)],
                };
                for row in &mut new {
                    if let Ok(facts) = &outcome.facts {
                        row.cost.clone_from(&facts.cost);
                        row.requests = Some(facts.requests);
                    }
                }
                rows.append(&mut new);
            }
            let new = outcome.facts.iter().flat_map(|facts| &facts.notes);
            for note in new {
                if !notes.contains(note) {
                    notes.push(note.clone());
                }
            }
        }
        Self {
            simulator: SIMULATOR,
            complete: exploration.complete,
            best: best(&rows),
            rows,
            excluded: grid.excluded.clone(),
            notes,
        }
    }

    /// The rows as CSV.
    ///
    /// # Errors
    /// When a row cannot be written.
    pub fn csv(&self) -> Result<Vec<u8>, csv::Error> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for row in &self.rows {
            writer.serialize(row)?;
        }
        writer
            .into_inner()
            .map_err(|error| csv::Error::from(error.into_error()))
    }
}

/// The row with the most requests per second and GPU for each model, trace, objective and search; of equal ones the first.
fn best(rows: &[Row]) -> Vec<Row> {
    let mut best: Vec<&Row> = Vec::new();
    let key = |row: &Row| (row.model.clone(), row.trace.clone(), row.slo.clone(), row.search);
    for row in rows {
        let value = if row.status == "fails" {
            None
        } else {
            row.qps_per_gpu
        };
        match best.iter_mut().find(|known| key(known) == key(row)) {
            None => best.push(row),
            Some(known) if known.status == "fails" || value > known.qps_per_gpu => *known = row,
            Some(_) => {}
        }
    }
    best.into_iter().cloned().collect()
}

fn row(cell: &Cell, slo: &str, fate: &Fate) -> Row {
    let d = &cell.deployment;
    let mut row = Row {
        cell: cell.hash.clone(),
        model: cell.model.clone(),
        trace: cell.trace.clone(),
        slo: slo.to_owned(),
        device: d.device.clone(),
        network_device: d.network_device.clone().unwrap_or_default(),
        router: cell.router.clone(),
        queue: cell.queue.clone(),
        scheduler: cell.scheduler.clone(),
        tp: d.tensor_parallel,
        pp: d.pipeline_parallel,
        batch_size: cell.batch_size,
        search: cell.search.entry + 1,
        search_for: cell.search.search_for,
        status: "unfinished",
        replicas: None,
        qps: None,
        beyond: None,
        seeds: 0,
        mean: None,
        min: None,
        max: None,
        gpus: None,
        qps_per_gpu: None,
        binding: None,
        binding_ratio: None,
        measured: None,
        margin: None,
        ttft_p50: None,
        ttft_p99: None,
        tpot_p50: None,
        tpot_p99: None,
        e2e_p50: None,
        e2e_p99: None,
        cached_share: None,
        restarts: None,
        cost: String::new(),
        extrapolated_share: None,
        requests: None,
        reason: String::new(),
    };
    match fate {
        Fate::Searched(answer) => fill(&mut row, cell, answer),
        Fate::Infeasible(why) => (row.status, row.reason) = ("infeasible", why.clone()),
        Fate::Pruned(why) => (row.status, row.reason) = ("pruned", why.clone()),
        Fate::Refused(why) => (row.status, row.reason) = ("refused", why.clone()),
        Fate::Unfinished => {}
        Fate::Elsewhere => row.status = "elsewhere",
    }
    row
}

fn fill(row: &mut Row, cell: &Cell, answer: &Answer) {
    let found = &answer.found;
    row.status = match found.status {
        Status::Bracketed => "bracketed",
        Status::LowerBoundOnly => "lower-bound-only",
        Status::UpperBoundOnly => "infeasible",
        Status::Estimated | Status::Undecided => "unfinished",
    };
    row.reason.clone_from(&found.reason);
    row.beyond = found.beyond.map(|point| quantity(cell, point));
    if let Some(best) = found.best {
        row.replicas = Some(best.replicas);
        row.qps = Some(best.qps);
        row.gpus = Some(best.replicas * cell.deployment.tensor_parallel * cell.deployment.pipeline_parallel);
    }
    let points: Vec<Point> = answer.by_seed.iter().flatten().copied().collect();
    let mean = |of: &dyn Fn(Point) -> f64| {
        let sum: f64 = points.iter().map(|point| of(*point)).sum();
        (!points.is_empty()).then(|| sum / points.len() as f64)
    };
    row.seeds = points.len();
    row.mean = mean(&|point| quantity(cell, point));
    row.qps_per_gpu = mean(&|point| per_gpu(cell, point));
    row.min = points.iter().map(|p| quantity(cell, *p)).reduce(f64::min);
    row.max = points.iter().map(|p| quantity(cell, *p)).reduce(f64::max);
    fill_judged(row, answer.judgement.as_ref(), answer.probed.as_ref());
}

/// A row for each given rate.
fn given(cell: &Cell, slo: &SloConfig, probes: &[(Point, Probed)]) -> Vec<Row> {
    let rows = probes
        .iter()
        .filter(|(point, _)| point.seed == 0)
        .map(|(point, probed)| {
            let judgement = probed.judgements.get(&slo.key());
            let holds = judgement.is_some_and(|j| j.pass);
            let found = Found {
                status: Status::Bracketed,
                best: Some(*point),
                beyond: None,
                reason: "a given rate".to_owned(),
            };
            let mut row = row(
                cell,
                &slo.name,
                &Fate::Searched(Box::new(Answer {
                    by_seed: vec![Some(*point)],
                    judgement: judgement.cloned(),
                    probed: Some(probed.clone()),
                    found,
                })),
            );
            row.status = if holds { "holds" } else { "fails" };
            row
        });
    rows.collect()
}

fn fill_judged(row: &mut Row, judgement: Option<&Judgement>, probed: Option<&Probed>) {
    if let Some(judgement) = judgement {
        row.binding = Some(judgement.binding.name());
        row.binding_ratio = judgement.binding_ratio;
        row.measured = judgement.measured;
        row.margin = judgement.margin;
    }
    if let Some(probed) = probed {
        let latency = |name: &str| probed.latency.get(name).copied();
        row.ttft_p50 = latency("ttft_p50");
        row.ttft_p99 = latency("ttft_p99");
        row.tpot_p50 = latency("tpot_p50");
        row.tpot_p99 = latency("tpot_p99");
        row.e2e_p50 = latency("e2e_p50");
        row.e2e_p99 = latency("e2e_p99");
        row.cached_share = Some(probed.cached_share);
        row.restarts = Some(probed.restarts);
        row.extrapolated_share = Some(probed.extrapolated_share);
    }
}
