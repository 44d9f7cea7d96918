//! From a file to outcomes: every system on every workload, simulated ones side by side, endpoints one after the other.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::bench::{Bench, Found};
use super::file::{Failures, File, Rule, Side, System, Workload};
use super::live::{Endpoint, EndpointProblem};
use super::outcome::{Combination, Outcome, Trouble};
use super::requests::Requests;
use super::simulated::Simulated;
use crate::deployment::{BuiltCluster, DeploymentError, Library, Places};
use crate::explore::pool;
use crate::report::{Event, Observer};
use crate::runner::{TrialError, TrialRunner};
use crate::slo::objective::Objective;
use crate::slo::prefill::PrefillCurve;
use crate::store::{Store, StoreError};
use crate::trial::TrialSpec;
use crate::units::Rate;

/// How a file is carried out.
pub struct Conduct<'a> {
    /// The file.
    pub file: &'a File,
    /// The folder that it lies in: paths in it are looked for there first.
    pub base: PathBuf,
    /// Which side of the systems is loaded, in place of the file's word.
    pub side: Option<Side>,
    /// Where results go.
    pub store: &'a Store,
    /// Most simulations side by side.
    pub threads: usize,
    /// The process environment.
    pub environment: Vec<(String, String)>,
    /// Reads the profile of a system's prompts.
    pub profile: &'a (dyn Fn(&Path) -> Result<PrefillCurve, String> + Sync),
    /// Whether everything is to stop now.
    pub interrupted: &'a (dyn Fn() -> bool + Sync),
    /// Told of every outcome.
    pub told: &'a (dyn Fn(&Outcome) + Sync),
}

/// Why nothing was searched at all.
#[derive(Debug, thiserror::Error)]
pub enum ConductError {
    /// The file, or something that it names.
    #[error("{0}")]
    Input(String),
    /// An endpoint does not answer.
    #[error("{0}")]
    Unreachable(String),
    /// The results folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A system with everything that its searches need.
struct Ready<'a> {
    system: &'a System,
    side: Side,
    /// Simulated: the cluster, or why it cannot be.
    built: Option<Result<BuiltCluster, String>>,
    curve: Option<PrefillCurve>,
}

/// One system on one workload.
struct Task<'a> {
    ready: &'a Ready<'a>,
    workload: &'a Workload,
    requests: Requests,
}

/// A search that broke off, and what was known by then.
struct Broken {
    error: Box<TrialError>,
    so_far: Option<Box<Found>>,
}

impl Broken {
    fn new(error: TrialError, so_far: Option<Found>) -> Self {
        Self {
            error: Box::new(error),
            so_far: so_far.map(Box::new),
        }
    }
}

/// Sees nothing.
struct Blind;

impl Observer for Blind {
    fn see(&mut self, _event: &Event) {}
}

impl Conduct<'_> {
    /// Carries the file out; `observer` sees the events of live trials. Outcomes are in the order of systems, workloads and
    /// objectives.
    ///
    /// # Errors
    /// When nothing can be searched.
    pub fn run(&self, observer: &mut dyn Observer) -> Result<Vec<Outcome>, ConductError> {
        let file = self.file;
        let end = file.limits.total().map(|total| Instant::now() + total);
        let systems = self.systems()?;
        let mut tasks = Vec::new();
        for ready in &systems {
            let longest = ready
                .built
                .as_ref()
                .and_then(|built| built.as_ref().ok())
                .map(|built| built.config.engine.max_model_len);
            for workload in &file.workloads {
                let requests = Requests::of(&workload.value, &self.base, file.seed, longest)
                    .map_err(ConductError::Input)?;
                tasks.push(Task {
                    ready,
                    workload: &workload.value,
                    requests,
                });
            }
        }
        let (live, simulated): (Vec<&Task<'_>>, Vec<&Task<'_>>) =
            tasks.iter().partition(|task| task.ready.side == Side::Endpoint);
        let over = || (self.interrupted)() || end.is_some_and(|end| Instant::now() >= end);
        let mut outcomes: Vec<Outcome> =
            pool::run(self.threads, &simulated, |task| self.simulate(task, &over))
                .into_iter()
                .flatten()
                .collect();
        for task in live {
            outcomes.extend(self.load(task, end, &over, observer)?);
        }
        let place = |outcome: &Outcome| {
            let at =
                |name: &str, mut names: Box<dyn Iterator<Item = &str> + '_>| names.position(|n| n == name);
            let of = &outcome.combination;
            (
                at(
                    &of.system,
                    Box::new(file.systems.iter().map(|s| s.value.name.as_str())),
                ),
                at(
                    &of.workload,
                    Box::new(file.workloads.iter().map(|w| w.value.name.as_str())),
                ),
                at(
                    &of.slo,
                    Box::new(file.slos.iter().filter_map(|s| s.value.name.as_deref())),
                ),
            )
        };
        outcomes.sort_by_key(|outcome| place(outcome));
        Ok(outcomes)
    }

    /// The systems, built as far as they are simulated.
    fn systems(&self) -> Result<Vec<Ready<'_>>, ConductError> {
        let located = |path: &PathBuf| {
            let beside = self.base.join(path);
            if beside.exists() { beside } else { path.clone() }
        };
        let library = Library::open(Places {
            catalog: self.file.catalog.iter().map(located).collect(),
            profiles: self.file.profiles.iter().map(located).collect(),
        })
        .map_err(|e| ConductError::Input(e.to_string()))?;
        let mut systems = Vec::new();
        for entry in &self.file.systems {
            let system = &entry.value;
            let side = system.side(self.side.or(self.file.target));
            let built = match (side, &system.deployment) {
                (Side::Simulator, Some(deployment)) => match deployment.cluster(&library, self.file.seed) {
                    Ok(built) => Some(Ok(built)),
                    // What does not fit is an answer about this system; anything else is a mistake in the file.
                    Err(error @ DeploymentError::DoesNotFit(_)) => Some(Err(error.to_string())),
                    Err(error) => {
                        return Err(ConductError::Input(format!("systems, {}: {error}", system.name)));
                    }
                },
                _ => None,
            };
            let missing = match side {
                Side::Simulator => system.deployment.is_none(),
                Side::Endpoint => system.endpoint.is_none(),
            };
            if missing {
                return Err(ConductError::Input(format!(
                    "systems, {}: it has no {}",
                    system.name,
                    if side == Side::Simulator {
                        "deployment to simulate"
                    } else {
                        "endpoint"
                    }
                )));
            }
            let curve = match &system.prefill_profile {
                Some(path) => Some((self.profile)(&located(path)).map_err(ConductError::Input)?),
                None => None,
            };
            if curve.is_none() && self.file.objectives().iter().any(|(_, o)| o.needs_profile()) {
                return Err(ConductError::Input(no_profile(system)));
            }
            systems.push(Ready {
                system,
                side,
                built,
                curve,
            });
        }
        Ok(systems)
    }

    fn combination(&self, task: &Task<'_>, slo: &str) -> Combination {
        let origin = match &task.ready.built {
            Some(Ok(built)) => format!("simulator, {}", built.origin.label),
            Some(Err(_)) => "simulator".to_owned(),
            None => "endpoint".to_owned(),
        };
        Combination {
            system: task.ready.system.name.clone(),
            workload: task.workload.name.clone(),
            slo: slo.to_owned(),
            rule: self.file.search.rule,
            origin,
            gpus: task.ready.system.gpus(),
        }
    }

    /// The objectives of a task that are not left out.
    fn objectives(&self, task: &Task<'_>) -> Vec<(String, Objective)> {
        let (system, workload) = (&task.ready.system.name, &task.workload.name);
        let mut all = self.file.objectives();
        all.retain(|(slo, _)| !self.file.skips(system, workload, slo));
        all
    }

    fn bench<'b>(
        &'b self,
        task: &Task<'_>,
        target: crate::trial::TargetSpec,
        loadgen: crate::trial::LoadGenSpec,
        limit_s: Option<f64>,
    ) -> Bench<'b> {
        let (system, workload) = (&task.ready.system.name, &task.workload.name);
        let mut family = TrialSpec {
            target: target.clone(),
            workload: task.requests.spec.clone(),
            rate: Rate::per_minute(0.0),
            duration_s: 0.0,
            loadgen: loadgen.clone(),
            seed: 0,
            attempt: 0,
        };
        if let Some(longest) = task.requests.longest_s {
            let option = ("max_duration_s".to_owned(), longest.to_string());
            family.loadgen.options.push(option);
        }
        Bench {
            name: format!("{system}/{workload}"),
            pair: Bench::folder(system, workload, &family, task.requests.count),
            store: self.store,
            requests: task.requests.clone(),
            target,
            loadgen,
            seed: self.file.seed,
            limit_s,
            failures: self.file.failures == Failures::Count,
            // The published rules know nothing of it.
            sustained: self
                .file
                .sustained
                .unwrap_or(self.file.search.rule == Rule::Adaptive),
            curve: task.ready.curve.clone(),
            raw: None,
        }
    }

    fn limit_s(&self) -> Option<f64> {
        self.file.limits.trial().map(|limit| limit.as_secs_f64())
    }

    /// One simulated system on one workload, an objective after the other.
    fn simulate(&self, task: &Task<'_>, over: &(dyn Fn() -> bool + Sync)) -> Vec<Outcome> {
        let objectives = self.objectives(task);
        let built = match &task.ready.built {
            Some(Ok(built)) => built,
            Some(Err(why)) => {
                let failed = |(slo, _): &(String, Objective)| {
                    let outcome =
                        Outcome::failed(self.combination(task, slo), Trouble::Infeasible, why.clone());
                    (self.told)(&outcome);
                    outcome
                };
                return objectives.iter().map(failed).collect();
            }
            None => return Vec::new(),
        };
        let model = task.ready.system.deployment.as_ref().map_or("", |d| &d.model);
        let limit_s = self.limit_s();
        let bench = self.bench(
            task,
            Simulated::target(built, model),
            Simulated::loadgen(limit_s),
            limit_s,
        );
        let leased = bench.lease();
        let mut outcomes = Vec::new();
        for (slo, objective) in &objectives {
            if let Err(error) = &leased {
                outcomes.push(Outcome::failed(
                    self.combination(task, slo),
                    Trouble::Runner,
                    error.to_string(),
                ));
                continue;
            }
            let runner = Simulated::new(&bench, built);
            let found = self.search(&bench, task, objective, runner, &mut Blind, over);
            let mut outcome = self.outcome(task, slo, &bench, found);
            outcome.notes.extend(built.origin.notes.iter().cloned());
            (self.told)(&outcome);
            outcomes.push(outcome);
        }
        outcomes
    }

    /// One endpoint under one workload, an objective after the other.
    fn load(
        &self,
        task: &Task<'_>,
        end: Option<Instant>,
        over: &dyn Fn() -> bool,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Outcome>, ConductError> {
        let Some(entry) = &task.ready.system.endpoint else {
            return Ok(Vec::new());
        };
        let endpoint =
            Endpoint::open(entry, self.store.root(), &self.environment, over).map_err(|error| {
                let told = format!("systems, {}: {error}", task.ready.system.name);
                match error {
                    EndpointProblem::Input(_) => ConductError::Input(told),
                    EndpointProblem::Unreachable(_) => ConductError::Unreachable(told),
                }
            })?;
        for note in &endpoint.notes {
            observer.see(&Event::Note { text: note.clone() });
        }
        let objectives = self.objectives(task);
        for (slo, objective) in &objectives {
            endpoint
                .suits(task.workload, &task.requests, objective)
                .map_err(|why| ConductError::Input(format!("slos, {slo}: {why}")))?;
        }
        let limit_s = self.limit_s();
        let raw = |folder: &Path, spec: &TrialSpec| endpoint.read(folder, spec);
        let mut bench = self.bench(task, endpoint.target(), endpoint.loadgen(limit_s), limit_s);
        bench.raw = Some(&raw);
        let mut outcomes = Vec::new();
        for (slo, objective) in &objectives {
            let found = endpoint.run(&bench, end, |runner| {
                Ok(self.search(&bench, task, objective, runner, observer, over))
            });
            let found = found.unwrap_or_else(|error| Err(Broken::new(error, None)));
            let outcome = self.outcome(task, slo, &bench, found);
            (self.told)(&outcome);
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    fn search(
        &self,
        bench: &Bench<'_>,
        task: &Task<'_>,
        objective: &Objective,
        runner: impl TrialRunner,
        observer: &mut dyn Observer,
        over: &dyn Fn() -> bool,
    ) -> Result<Found, Broken> {
        let rule = &self.file.search;
        let start = task.workload.start_qps.unwrap_or(rule.start_qps);
        bench
            .search(objective, rule, start, runner, observer, over)
            .map_err(|error| Broken::new(error, bench.so_far(objective, rule, start, &mut Blind)))
    }

    /// An outcome; where a search broke off, with what was known by then.
    fn outcome(
        &self,
        task: &Task<'_>,
        slo: &str,
        bench: &Bench<'_>,
        found: Result<Found, Broken>,
    ) -> Outcome {
        let combination = self.combination(task, slo);
        match found {
            Ok(found) => Outcome::of(combination, bench, &found),
            Err(broken) => {
                let Broken { error, so_far } = broken;
                let rule = self.file.search.rule;
                let trouble = match error.as_ref() {
                    TrialError::Interrupted | TrialError::NoTimeLeft(_) => Trouble::Stopped,
                    TrialError::Endpoint(_) => Trouble::Unreachable,
                    _ => Trouble::Runner,
                };
                let told = match (error.as_ref(), (self.interrupted)()) {
                    (TrialError::Interrupted, false) => "the time limit of the whole was reached".to_owned(),
                    _ => error.to_string(),
                };
                match so_far.filter(|_| rule != Rule::Rates) {
                    Some(found) => Outcome {
                        error: Some(told),
                        trouble: Some(trouble),
                        ..Outcome::of(combination, bench, &found)
                    },
                    None => Outcome::failed(combination, trouble, told),
                }
            }
        }
    }
}

/// What to do about a missing prefill profile.
fn no_profile(system: &System) -> String {
    let url = system
        .endpoint
        .as_ref()
        .and_then(|endpoint| endpoint.url.as_deref());
    let command = match url {
        Some(url) => format!("mst profile prefill --url {url} --output prefill.json"),
        None => "mst profile prefill --output prefill.json".to_owned(),
    };
    format!(
        "systems, {}: deadlines of first tokens are predicted from the prompt's length, and there is no profile of that; run\n  \
         {command}\nand write prefill_profile: prefill.json, or pass --profile-dir; or give first_deadline, in seconds",
        system.name
    )
}
