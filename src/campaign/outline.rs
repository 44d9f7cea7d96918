//! What a run is going to do, before it does it: `mst run --dry-run`.

use super::{Target, Trials, rules};
use crate::loadgen::{LoadGenError, LoadGenerator};
use crate::search::{Goal, Probe, StagesConfig};
use crate::settings::{Experiment, Settings};
use crate::trial::LoadGenSpec;
use crate::units::Rate;
use crate::workload::PromptSource;

/// The plan of one pair.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Outline {
    /// The pair.
    pub pair: String,
    /// Where the search begins.
    pub start: Rate,
    /// Rates of the ramp while nothing fails, the first six.
    pub ramp: Vec<Rate>,
    /// The threshold in words.
    pub stop: String,
    /// Trials that are likely.
    pub likely_trials: u32,
    /// Most trials.
    pub most_trials: u32,
    /// Hours of load and cool-down if all of them are run in full.
    pub most_hours: f64,
}

/// Outlines the search of a pair.
pub fn outline(settings: &Settings, experiment: &Experiment) -> Outline {
    let StagesConfig {
        start,
        multiplier,
        limit,
        stop,
    } = rules::config(settings, experiment);
    let mut ramp = vec![start];
    while ramp.len() < 6 {
        let last = ramp[ramp.len() - 1];
        ramp.push(Rate::per_minute(last.as_per_minute() * multiplier).rounded());
    }
    let trial_s =
        settings.duration.as_secs_f64() + settings.drain.as_secs_f64() + settings.cooldown.as_secs_f64();
    Outline {
        pair: experiment.name.clone(),
        start,
        ramp,
        stop: format!("until M - m is within {}", stop.in_words()),
        likely_trials: rules::search(settings, experiment).left().likely,
        most_trials: limit,
        most_hours: f64::from(limit) * trial_s / 3600.0,
    }
}

/// The commands of a first trial, as they would be run, without contacting anybody.
///
/// # Errors
/// When the load generator cannot express the trial.
pub fn example_commands(
    settings: &Settings,
    loadgen: &dyn LoadGenerator,
) -> Result<Vec<String>, LoadGenError> {
    let Some(experiment) = settings.experiments.first() else {
        return Ok(Vec::new());
    };
    let target = Target::unopened(settings);
    let loadgen_spec = LoadGenSpec {
        name: loadgen.name().to_owned(),
        version: String::new(),
        options: Vec::new(),
    };
    let trials = Trials::new(settings, &target, loadgen_spec, PromptSource::Builtin);
    let probe = Probe {
        rate: experiment.start,
        stage: 1,
        attempt: 0,
        pooled: false,
        goal: Goal::default(),
        duration_s: None,
    };
    let dir = tempfile::tempdir()?;
    let commands = loadgen.prepare(&trials.job(&trials.spec(experiment, &probe)), dir.path())?;
    let shown = |argv: &[std::ffi::OsString]| {
        let words: Vec<String> = argv
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        words
            .join(" ")
            .replace(&*dir.path().to_string_lossy(), "<staging folder>")
    };
    Ok(commands.iter().map(|command| shown(&command.argv)).collect())
}
