//! All searches of a grid, on all cores, with the same result whatever the order.
//!
//! Cells of one cluster and one `search_configs` entry form a group, those of a group that differ in the router alone a
//! family. The first cell of a group is searched first, then the first of every family, then the others: each begins
//! where its forerunner's answer was, and is left out when a bound shows that it cannot reach the best of those before.
//! Last, the answers that are near the best of their group are searched again on further seeds.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::cell_search::{CellSearch, Found, Halt, Means};
use super::file::SearchFor;
use super::grid::{Cell, Grid};
use super::ledger::LedgerError;
use super::probe::{Facts, Limit, Point, Probed};
use crate::pool;
use crate::search::Status;
use crate::slo::{Judgement, SloConfig};

/// How a grid is explored.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Threads.
    pub threads: usize,
    /// Whether cells that cannot be the best are left out.
    pub prune: bool,
    /// Answers within this share of the best of their group are searched on further seeds; 1 is all.
    pub contenders: f64,
    /// Which part of how many, from zero.
    pub part: (usize, usize),
}

/// Is told how far an exploration is.
pub trait Watcher: Sync {
    /// A stage begins, with so many cells.
    fn stage(&self, name: &str, cells: usize);
    /// A cell of the stage has ended; so many probes were simulated for it.
    fn cell(&self, label: &str, simulated: usize);
}

/// What became of an objective in a cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// It was searched.
    Searched(Box<Answer>),
    /// No rate is possible, and why; nothing was simulated.
    Infeasible(String),
    /// It cannot be the best of its group, and why; nothing was simulated.
    Pruned(String),
    /// The cell cannot be simulated, and why.
    Refused(String),
    /// It was stopped before its end.
    Unfinished,
    /// It belongs to another part.
    Elsewhere,
}

impl Fate {
    /// The answer of a search.
    pub fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Searched(answer) => Some(answer),
            _ => None,
        }
    }
}

/// An answer with its evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The search on seed 0.
    pub found: Found,
    /// The judgement at the best point.
    pub judgement: Option<Judgement>,
    /// The probe at the best point.
    pub probed: Option<Probed>,
    /// The best points on all seeds that were searched, in order of the seeds.
    pub by_seed: Vec<Option<Point>>,
}

/// A cell and what became of it.
#[derive(Clone, Debug)]
pub struct CellOutcome {
    /// What is known of the cell.
    pub facts: Result<Facts, String>,
    /// By objective.
    pub fates: Vec<Fate>,
    /// Every probe that was asked for, in a fixed order.
    pub probes: Vec<(Point, Probed)>,
}

/// The cells of a grid, in its order.
#[derive(Clone, Debug)]
pub struct Exploration {
    /// By cell.
    pub cells: Vec<CellOutcome>,
    /// Whether everything was searched to its end.
    pub complete: bool,
    /// Probes that were simulated now.
    pub simulated: usize,
}

struct Task<'a> {
    place: usize,
    cell: &'a Cell,
    facts: Result<Facts, String>,
    group: usize,
    family: usize,
    level: usize,
    mine: bool,
    state: Mutex<State<'a>>,
}

struct State<'a> {
    search: Option<CellSearch<'a>>,
    fates: Vec<Fate>,
    simulated: usize,
}

/// By group and objective: the most requests per second and GPU.
type Best = BTreeMap<(usize, usize), f64>;

/// Searches all cells.
///
/// # Errors
/// When the ledger cannot be written.
pub fn explore(
    grid: &Grid,
    plan: &Plan,
    means: &Means<'_>,
    watcher: &dyn Watcher,
) -> Result<Exploration, LedgerError> {
    let tasks = tasks(grid, plan, means);
    let explorer = Explorer {
        slos: &grid.slos,
        plan,
        means,
        watcher,
        tasks: &tasks,
        trouble: Mutex::new(None),
    };
    let mut best = Best::new();
    for (level, name) in ["first of each group", "first of each family", "others"]
        .iter()
        .enumerate()
    {
        let now: Vec<&Task<'_>> = tasks
            .iter()
            .filter(|t| t.level == level && t.facts.is_ok())
            .collect();
        explorer.stage(name, &now, |task| explorer.search(task, &best));
        Explorer::raise(&mut best, &now);
    }
    if means.rules.seeds > 1 {
        let now: Vec<&Task<'_>> = tasks
            .iter()
            .filter(|task| explorer.contends(task, &best))
            .collect();
        explorer.stage("further seeds", &now, |task| explorer.seeds(task, &best));
    }
    let trouble = explorer
        .trouble
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = trouble {
        return Err(error);
    }
    Ok(gather(tasks, grid))
}

fn tasks<'a>(grid: &'a Grid, plan: &Plan, means: &Means<'_>) -> Vec<Task<'a>> {
    let mut groups: Vec<String> = Vec::new();
    let mut families: Vec<String> = Vec::new();
    let facts = pool::run(plan.threads, &grid.cells, |cell| means.evaluator.facts(cell));
    let mut tasks: Vec<Task<'a>> = Vec::new();
    for (place, (cell, facts)) in grid.cells.iter().zip(facts).enumerate() {
        let d = &cell.deployment;
        let group = format!("{} {} {:?}", cell.search.entry, d.device, d.network_device);
        let family = format!(
            "{group} {} {} {} {} {}",
            d.tensor_parallel, d.pipeline_parallel, cell.batch_size, cell.queue, cell.scheduler
        );
        // A cell that cannot run leads nobody.
        let (group, heads) = index(&mut groups, group, facts.is_ok());
        let (family, leads) = index(&mut families, family, facts.is_ok());
        tasks.push(Task {
            place,
            cell,
            group,
            family,
            level: if heads { 0 } else { 2 - usize::from(leads) },
            mine: family % plan.part.1 == plan.part.0,
            state: Mutex::new(State {
                search: None,
                fates: vec![Fate::Elsewhere; grid.slos.len()],
                simulated: 0,
            }),
            facts,
        });
    }
    // What leads a group that a part has a share of is searched by that part too.
    let shared: Vec<usize> = tasks.iter().filter(|t| t.mine).map(|t| t.group).collect();
    tasks.retain(|t| t.mine || t.level < 2 && shared.contains(&t.group));
    for task in &mut tasks {
        let fate = match &task.facts {
            Err(why) => Fate::Refused(why.clone()),
            Ok(_) => Fate::Unfinished,
        };
        task.lock().fates.fill(fate);
    }
    tasks
}

/// The place of a name, and whether it is the first that counts.
fn index(names: &mut Vec<String>, name: String, counts: bool) -> (usize, bool) {
    match names.iter().position(|known| *known == name) {
        Some(at) => (at, false),
        None if counts => {
            names.push(name);
            (names.len() - 1, true)
        }
        None => (names.len(), false),
    }
}

impl<'a> Task<'a> {
    fn lock(&self) -> std::sync::MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests per second and GPU of a point.
    fn per_gpu(&self, point: Point) -> f64 {
        per_gpu(self.cell, point)
    }
}

/// Requests per second and GPU of a point of a cell.
pub fn per_gpu(cell: &Cell, point: Point) -> f64 {
    let d = &cell.deployment;
    point.qps / f64::from(point.replicas * d.tensor_parallel * d.pipeline_parallel)
}

struct Explorer<'a, 'b> {
    slos: &'a [SloConfig],
    plan: &'b Plan,
    means: &'b Means<'a>,
    watcher: &'b dyn Watcher,
    tasks: &'b [Task<'a>],
    trouble: Mutex<Option<LedgerError>>,
}

impl<'a> Explorer<'a, '_> {
    fn stage(&self, name: &str, tasks: &[&Task<'a>], work: impl Fn(&Task<'a>) -> Result<(), Halt> + Sync) {
        if tasks.is_empty() {
            return;
        }
        self.watcher.stage(name, tasks.len());
        pool::run(self.plan.threads, tasks, |task| {
            let before = task.lock().simulated;
            match work(task) {
                Ok(()) | Err(Halt::Stopped) => {}
                Err(Halt::Failed(why)) => {
                    for fate in task
                        .lock()
                        .fates
                        .iter_mut()
                        .filter(|fate| **fate == Fate::Unfinished)
                    {
                        *fate = Fate::Refused(why.clone());
                    }
                }
                Err(Halt::Ledger(error)) => {
                    self.trouble
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .get_or_insert(error);
                }
            }
            let mut state = task.lock();
            state.simulated = state.search.as_ref().map_or(0, CellSearch::simulated);
            self.watcher.cell(&task.cell.label(), state.simulated - before);
        });
    }

    /// The searches of a cell on seed 0.
    fn search(&self, task: &Task<'a>, best: &Best) -> Result<(), Halt> {
        let Ok(facts) = &task.facts else { return Ok(()) };
        let mut state = task.lock();
        let mut search = CellSearch::new(task.cell, facts, self.slos, self.means);
        let mut result = Ok(());
        for slo in 0..self.slos.len() {
            if let Some(fate) = self.hopeless(task, slo, best) {
                state.fates[slo] = fate;
                continue;
            }
            match search.search(slo, 0, self.guess(task, slo)) {
                Ok(found) => state.fates[slo] = answer(&mut search, &self.slos[slo], found)?,
                Err(halt) => {
                    result = Err(halt);
                    break;
                }
            }
        }
        state.search = Some(search);
        result
    }

    /// Whether a bound shows that a search would be in vain.
    fn hopeless(&self, task: &Task<'a>, slo: usize, best: &Best) -> Option<Fate> {
        if !self.plan.prune || task.cell.search.search_for == SearchFor::Isoqps {
            return None;
        }
        match self.means.evaluator.limit(task.cell, &self.slos[slo]) {
            Limit::Infeasible(why) => Some(Fate::Infeasible(why)),
            Limit::Below(qps, why) if task.cell.search.search_for == SearchFor::Qps => {
                if qps < self.means.rules.min_qps {
                    return Some(Fate::Infeasible(why));
                }
                let replicas = task.cell.deployment.replicas;
                let most = task.per_gpu(Point {
                    replicas,
                    qps,
                    seed: 0,
                });
                let reached = *best.get(&(task.group, slo))?;
                (most < reached).then(|| {
                    Fate::Pruned(format!(
                        "at most {most:.4} QPS/GPU, below the {reached:.4} of another cell: {why}"
                    ))
                })
            }
            _ => None,
        }
    }

    /// Where the answer is likely to be: where it was for the first of the family, or of the group if its GPUs are the
    /// same.
    fn guess(&self, task: &Task<'a>, slo: usize) -> Option<f64> {
        let same = |other: &&Task<'a>| {
            let (a, b) = (&task.cell.deployment, &other.cell.deployment);
            other.group == task.group
                && other.level < task.level
                && (a.tensor_parallel, a.pipeline_parallel) == (b.tensor_parallel, b.pipeline_parallel)
        };
        let before: Vec<&Task<'a>> = self.tasks.iter().filter(same).collect();
        let nearest = before
            .iter()
            .find(|t| t.family == task.family)
            .or(before.first())?;
        let best = nearest.lock().fates[slo].answer()?.found.best?;
        Some(quantity(task.cell, best))
    }

    /// Raises the best by the answers of some cells.
    fn raise(best: &mut Best, tasks: &[&Task<'a>]) {
        for task in tasks {
            for (slo, fate) in task.lock().fates.iter().enumerate() {
                if let Some(point) = fate.answer().and_then(|answer| answer.found.best) {
                    let value = task.per_gpu(point);
                    let most = best.entry((task.group, slo)).or_insert(value);
                    *most = most.max(value);
                }
            }
        }
    }

    /// Whether an answer is near the best of its group.
    fn near(&self, task: &Task<'a>, slo: usize, fate: &Fate, best: &Best) -> bool {
        let Some(found) = fate.answer().map(|answer| &answer.found) else {
            return false;
        };
        let Some(point) = found.best else { return false };
        let most = best.get(&(task.group, slo)).copied().unwrap_or(0.0);
        found.status == Status::Bracketed
            && task.cell.search.search_for != SearchFor::Isoqps
            && task.per_gpu(point) >= (1.0 - self.plan.contenders) * most
    }

    fn contends(&self, task: &Task<'a>, best: &Best) -> bool {
        let state = task.lock();
        state
            .fates
            .iter()
            .enumerate()
            .any(|(slo, fate)| self.near(task, slo, fate, best))
    }

    /// The searches on further seeds, from the answer on seed 0.
    fn seeds(&self, task: &Task<'a>, best: &Best) -> Result<(), Halt> {
        let mut state = task.lock();
        let State {
            search: Some(search),
            fates,
            ..
        } = &mut *state
        else {
            return Ok(());
        };
        for (slo, fate) in fates.iter_mut().enumerate() {
            if !self.near(task, slo, fate, best) {
                continue;
            }
            let Fate::Searched(answer) = fate else { continue };
            let guess = answer.found.best.map(|point| quantity(task.cell, point));
            for seed in 1..self.means.rules.seeds {
                match search.search(slo, seed, guess) {
                    Ok(found) => answer.by_seed.push(found.best),
                    Err(halt) => {
                        *fate = Fate::Unfinished;
                        return Err(halt);
                    }
                }
            }
        }
        Ok(())
    }
}

/// What is searched for, at a point.
pub fn quantity(cell: &Cell, point: Point) -> f64 {
    match cell.search.search_for {
        SearchFor::NumReplicas => f64::from(point.replicas),
        SearchFor::Qps | SearchFor::Isoqps => point.qps,
    }
}

fn answer(search: &mut CellSearch<'_>, slo: &SloConfig, found: Found) -> Result<Fate, Halt> {
    let probed = match found.best {
        Some(point) => Some(search.ask(point)?.clone()),
        None => None,
    };
    Ok(Fate::Searched(Box::new(Answer {
        judgement: probed
            .as_ref()
            .and_then(|p| p.judgements.get(&slo.key()).cloned()),
        probed,
        by_seed: vec![found.best],
        found,
    })))
}

fn gather(tasks: Vec<Task<'_>>, grid: &Grid) -> Exploration {
    let elsewhere = CellOutcome {
        facts: Err("another part".to_owned()),
        fates: vec![Fate::Elsewhere; grid.slos.len()],
        probes: Vec::new(),
    };
    let mut cells = vec![elsewhere; grid.cells.len()];
    let (mut complete, mut simulated) = (true, 0);
    for task in tasks {
        let state = task.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        complete &= !state.fates.contains(&Fate::Unfinished);
        simulated += state.simulated;
        cells[task.place] = CellOutcome {
            facts: task.facts,
            fates: state.fates,
            probes: state
                .search
                .map_or(Vec::new(), |search| search.asked().cloned().collect()),
        };
    }
    Exploration {
        cells,
        complete,
        simulated,
    }
}
