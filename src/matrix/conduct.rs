//! From a file to outcomes: every system on every workload, simulated ones side by side, endpoints one after the other.

mod home;
mod input;
mod load;
mod profile;

use std::time::{Duration, Instant};

pub use input::{Input, Job, Jobs};

use input::Task;

use super::bench::{Begin, Bench, Broken, Found};
use super::file::{Failures, Rule, Side};
use super::foreseen;
use super::outcome::{Combination, Outcome, Trouble};
use super::simulated::Simulated;
use super::stored::Stored;
use crate::plan::foreseen::Foreseen;
use crate::pool;
use crate::report::{Event, Observer};
use crate::runner::{TrialError, TrialRunner};
use crate::search::Prior;
use crate::slo::objective::Objective;
use crate::store::{Store, StoreError};
use crate::trial::TrialSpec;
use crate::units::Rate;

/// How a file is carried out.
pub struct Conduct<'a> {
    /// What is searched.
    pub input: Input<'a>,
    /// Where results go.
    pub store: &'a Store,
    /// Most simulations side by side.
    pub threads: usize,
    /// Whether no trial is run: what is stored is judged, and that is all.
    pub stored: bool,
    /// Whether a live trial that takes so long, with its drain, still ends in time; an error says why not.
    pub time_left: &'a (dyn Fn(Duration) -> Result<(), String> + Sync),
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

/// What was expected, in words.
fn told(foreseen: &Foreseen, expected: Option<Prior>) -> String {
    let file = foreseen.file.display();
    expected.map_or_else(
        || format!("prior: the simulator finds no capacity with {file}: nothing was expected"),
        |prior| {
            let [capacity, low, high] = [prior.capacity, prior.low, prior.high].map(Rate::as_per_second);
            format!("prior: {file} let expect {capacity:.3} requests a second, {low:.3} to {high:.3}")
        },
    )
}

/// Keeps what there is to know, for the outcome: simulations run side by side, and say nothing meanwhile.
#[derive(Default)]
struct Heard(Vec<String>);

impl Observer for Heard {
    fn see(&mut self, event: &Event) {
        if let Event::Note { text } = event {
            self.0.push(text.clone());
        }
    }
}

impl Conduct<'_> {
    /// Carries the file out; `observer` sees the events of live trials. Outcomes are in the order of systems, workloads and
    /// objectives.
    ///
    /// # Errors
    /// When nothing can be searched.
    pub fn run(&self, observer: &mut dyn Observer) -> Result<Vec<Outcome>, ConductError> {
        let file = self.input.file;
        let end = file.limits.total().map(|total| Instant::now() + total);
        let systems = self.input.systems()?;
        let tasks = self.input.tasks(&systems)?;
        let (live, simulated): (Vec<&Task<'_>>, Vec<&Task<'_>>) =
            tasks.iter().partition(|task| task.ready.side == Side::Endpoint);
        let over = || (self.interrupted)() || end.is_some_and(|end| Instant::now() >= end);
        let mut outcomes: Vec<Outcome> =
            pool::run(self.threads, &simulated, |task| self.simulate(task, &over))
                .into_iter()
                .flatten()
                .collect();
        for of_one in live.chunk_by(|a, b| std::ptr::eq(a.ready, b.ready)) {
            outcomes.extend(self.load(of_one, end, &over, observer)?);
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
            rule: self.input.file.search.rule,
            origin,
            gpus: task.ready.system.gpus(),
            limits: (&self.input.file.limits).into(),
        }
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
            seed: self.input.file.seed,
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
            seed: self.input.file.seed,
            limit_s,
            failures: self.input.file.failures == Failures::Count,
            // The published rules know nothing of it.
            sustained: self
                .input
                .file
                .sustained
                .unwrap_or(self.input.file.search.rule == Rule::Adaptive),
            url: None,
            curve: task.ready.curve.clone(),
            raw: None,
        }
    }

    fn limit_s(&self) -> Option<f64> {
        self.input.file.limits.trial().map(|limit| limit.as_secs_f64())
    }

    /// One simulated system on one workload, an objective after the other.
    fn simulate(&self, task: &Task<'_>, over: &(dyn Fn() -> bool + Sync)) -> Vec<Outcome> {
        let objectives = &task.objectives;
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
        // Judging writes nothing, and may happen while others measure.
        let leased = (!self.stored).then(|| bench.lease()).transpose();
        let mut outcomes = Vec::new();
        for (slo, objective) in objectives {
            if let Err(error) = &leased {
                outcomes.push(Outcome::failed(
                    self.combination(task, slo),
                    Trouble::Stopped,
                    error.to_string(),
                ));
                continue;
            }
            let mut simulated = Simulated::new(&bench, built);
            let runner: &mut dyn TrialRunner = if self.stored { &mut Stored } else { &mut simulated };
            let mut heard = Heard::default();
            let found = self.search(&bench, task, objective, runner, &mut heard, over);
            let mut outcome = self.outcome(task, slo, &bench, found);
            outcome.notes.append(&mut heard.0);
            outcome.notes.extend(built.origin.notes.iter().cloned());
            outcome.notes.extend(task.profile_notes(objective));
            (self.told)(&outcome);
            outcomes.push(outcome);
        }
        outcomes
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
        let rule = &self.input.file.search;
        let qps = task.workload.start_qps.unwrap_or(rule.start_qps);
        let foreseen = task.ready.foreseen.as_ref();
        let begin = Begin {
            qps,
            expected: foreseen.and_then(|f| foreseen::expected(f, bench, objective, rule, qps, over)),
        };
        let mut found = bench.search(objective, rule, begin, runner, observer, over);
        if let (Ok(found), Some(foreseen)) = (&mut found, foreseen) {
            found.expected = Some(told(foreseen, begin.expected));
        }
        found
    }

    /// Why a search was stopped.
    fn why_stopped(&self) -> String {
        if (self.interrupted)() {
            TrialError::Interrupted.to_string()
        } else if self.input.file.limits.total.is_some() {
            "the time limit of the whole was reached".to_owned()
        } else {
            "it was cancelled".to_owned()
        }
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
                let rule = self.input.file.search.rule;
                let trouble = match error.as_ref() {
                    TrialError::Interrupted
                    | TrialError::NoTimeLeft(_)
                    | TrialError::NotStored(_)
                    | TrialError::Lease(_) => Trouble::Stopped,
                    TrialError::Endpoint(_) => Trouble::Unreachable,
                    _ => Trouble::Runner,
                };
                let told = match error.as_ref() {
                    TrialError::Interrupted => self.why_stopped(),
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
