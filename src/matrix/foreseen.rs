//! What a described service lets expect of a system, before the first trial: the same search on the simulator, of which nothing
//! is stored.

use std::path::PathBuf;

use super::bench::{Begin, Bench, margins};
use super::file::{Rule, SearchRule};
use super::simulated::measured;
use crate::capacity::{self, Experiment};
use crate::deployment::BuiltCluster;
use crate::plan::foreseen::Foreseen;
use crate::report::Observers;
use crate::runner::{Judged, Trial, TrialError, TrialRunner, Watch};
use crate::search::{Margins, Prior, Probe};
use crate::slo::objective::Objective;
use crate::trial::TrialSpec;

/// Simulates, and keeps nothing.
struct Passing<'a> {
    bench: &'a Bench<'a>,
    built: &'a BuiltCluster,
}

impl TrialRunner for Passing<'_> {
    fn run(&mut self, spec: &TrialSpec, _probe: &Probe, _watch: &mut dyn Watch) -> Result<Trial, TrialError> {
        Ok(Trial {
            id: spec.id(),
            measurement: measured(self.bench, self.built, spec),
            folder: PathBuf::new(),
            reused: false,
        })
    }

    fn settle(&mut self, trial: &Trial, _judged: &Judged<'_>) -> Result<PathBuf, TrialError> {
        Ok(trial.folder.clone())
    }
}

/// What the simulator finds for an objective; nothing where it finds none.
pub(super) fn expected(
    foreseen: &Foreseen,
    bench: &Bench<'_>,
    objective: &Objective,
    rule: &SearchRule,
    start_qps: f64,
    interrupted: &dyn Fn() -> bool,
) -> Option<Prior> {
    let begin = Begin {
        qps: start_qps,
        expected: None,
    };
    let mut search = Margins::new(margins(rule, begin));
    let found = capacity::find(
        &mut search,
        &bench.criterion(objective),
        &mut Passing {
            bench,
            built: &foreseen.cluster,
        },
        &Experiment {
            pair: &bench.name,
            spec: &|probe| bench.spec(probe, Rule::Adaptive),
            decided: &|_| None,
            cooldown_s: 0.0,
            interrupted,
        },
        &mut Observers::default(),
    );
    let answer = found.ok()?.answer;
    answer.low?;
    answer.high?;
    Some(foreseen.around(answer.rate?))
}
