//! The searches of one endpoint: its server is up for all of them.

use std::path::Path;
use std::time::Instant;

use super::home::Hosted;
use super::input::{Task, unusable};
use super::{Broken, Conduct, ConductError, Found, Outcome, Trouble};
use crate::matrix::bench::Bench;
use crate::matrix::live::{Endpoint, EndpointProblem, Loader};
use crate::matrix::stored::{Stored, models};
use crate::report::{Event, Observer};
use crate::runner::TrialRunner;
use crate::trial::TrialSpec;

/// Hears what there is to know, and nothing of trials.
struct Notes<'a>(&'a mut dyn Observer);

impl Observer for Notes<'_> {
    fn see(&mut self, event: &Event) {
        if matches!(event, Event::Note { .. }) {
            self.0.see(event);
        }
    }
}

/// Which trials there are.
#[derive(Clone, Copy)]
enum Trials {
    /// Stored ones and those to come.
    All,
    /// Stored ones only.
    Stored,
}

impl Conduct<'_> {
    /// One endpoint, a workload after the other. A model server of ours is started before its first trial, and ended with the
    /// last; where everything is stored, none is.
    pub(super) fn load(
        &self,
        tasks: &[&Task<'_>],
        end: Option<Instant>,
        over: &dyn Fn() -> bool,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Outcome>, ConductError> {
        let (Some(task), Some(loader)) = (tasks.first(), self.input.loader(tasks, self.store.root())?) else {
            return Ok(Vec::new());
        };
        let system = task.ready.system;
        let judged = (self.stored || loader.server().is_some())
            .then(|| self.judge(&loader, tasks, over, observer))
            .transpose()?;
        match judged {
            Some(judged) if self.stored || judged.iter().all(|outcome| outcome.error.is_none()) => {
                judged.iter().for_each(self.told);
                return Ok(judged);
            }
            _ => {}
        }
        let hosted = match loader.server() {
            Some(_) => Some(
                Hosted::begin(loader.settings(), self, tasks)
                    .map_err(|error| ConductError::Input(format!("systems, {}: {error}", system.name)))?,
            ),
            None => None,
        };
        let home = hosted.as_ref().map(Hosted::home);
        let over = || over() || hosted.as_ref().is_some_and(Hosted::must_stop);
        let mut note = |text: &str| {
            let text = text.to_owned();
            observer.see(&Event::Note { text });
        };
        let outcomes = match loader.open(home.as_ref(), &over, &mut note) {
            Ok(endpoint) => {
                let mut outcomes = Vec::new();
                for task in tasks {
                    outcomes.extend(self.searches(&endpoint, task, end, Trials::All, &over, observer));
                }
                outcomes
            }
            Err(problem @ EndpointProblem::Input(_)) => return Err(unusable(system, &problem)),
            Err(problem) => {
                let known = self.judge(&loader, tasks, &over, observer).unwrap_or_default();
                self.unserved(tasks, &known, &problem)
            }
        };
        if let Some(Err(error)) = hosted.as_ref().map(|hosted| hosted.end(&outcomes)) {
            // The answers are safe all the same.
            let text = error.to_string();
            observer.see(&Event::Note { text });
        }
        Ok(outcomes)
    }

    /// What is stored of an endpoint, judged. Nobody is asked for anything.
    fn judge(
        &self,
        loader: &Loader,
        tasks: &[&Task<'_>],
        over: &dyn Fn() -> bool,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Outcome>, ConductError> {
        let mut outcomes = Vec::new();
        for task in tasks {
            let (system, workload) = (&task.ready.system.name, &task.workload.name);
            let stored = models(self.store, system, workload, &loader.label())?;
            let endpoint = loader
                .unopened(&stored)
                .map_err(|problem| unusable(task.ready.system, &problem))?;
            outcomes.extend(self.searches(
                &endpoint,
                task,
                None,
                Trials::Stored,
                over,
                &mut Notes(&mut *observer),
            ));
        }
        Ok(outcomes)
    }

    /// One endpoint under one workload, an objective after the other.
    fn searches(
        &self,
        endpoint: &Endpoint<'_>,
        task: &Task<'_>,
        end: Option<Instant>,
        trials: Trials,
        over: &dyn Fn() -> bool,
        observer: &mut dyn Observer,
    ) -> Vec<Outcome> {
        let limit_s = self.limit_s();
        let raw = |folder: &Path, spec: &TrialSpec| endpoint.read(folder, spec);
        let mut bench: Bench<'_> = self.bench(task, endpoint.target(), endpoint.loadgen(limit_s), limit_s);
        bench.raw = Some(&raw);
        bench.url = endpoint.url();
        let mut outcomes = Vec::new();
        for (slo, objective) in &task.objectives {
            let mut search =
                |runner: &mut dyn TrialRunner| self.search(&bench, task, objective, runner, observer, over);
            let found: Result<Found, Broken> = match trials {
                Trials::Stored => search(&mut Stored),
                Trials::All => endpoint
                    .run(&bench, end, self.time_left, |runner| Ok(search(runner)))
                    .unwrap_or_else(|error| Err(Broken::new(error, None))),
            };
            let mut outcome = self.outcome(task, slo, &bench, found);
            outcome.notes.extend(task.profile_notes(objective));
            if matches!(trials, Trials::All) {
                (self.told)(&outcome);
            }
            outcomes.push(outcome);
        }
        outcomes
    }

    /// What is said of the searches of a system that cannot be had: what stored trials tell. Other systems are searched all
    /// the same.
    fn unserved(&self, tasks: &[&Task<'_>], known: &[Outcome], problem: &EndpointProblem) -> Vec<Outcome> {
        let (trouble, why) = match problem {
            EndpointProblem::Interrupted => (Trouble::Stopped, self.why_stopped()),
            problem => (Trouble::Unreachable, problem.to_string()),
        };
        let mut outcomes = Vec::new();
        for task in tasks {
            for (slo, _) in &task.objectives {
                let combination = self.combination(task, slo);
                let outcome = match known.iter().find(|known| known.combination == combination) {
                    Some(whole) if whole.error.is_none() => whole.clone(),
                    Some(part) => Outcome {
                        error: Some(why.clone()),
                        trouble: Some(trouble),
                        ..part.clone()
                    },
                    None => Outcome::failed(combination, trouble, why.clone()),
                };
                (self.told)(&outcome);
                outcomes.push(outcome);
            }
        }
        outcomes
    }
}
