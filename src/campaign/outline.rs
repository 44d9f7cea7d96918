//! What a run is going to do, before it does it: `mst run --dry-run`.

use super::neighbours::is_confirmed;
use super::{Target, Trials, ideal, rules};
use crate::loadgen::{LoadGenError, LoadGenerator};
use crate::search::{Goal, MOST_LOAD, Probe, StagesConfig};
use crate::settings::{Experiment, SearchKind, Settings};
use crate::trial::LoadGenSpec;
use crate::units::Rate;
use crate::workload::PromptSource;

/// Factor of the adaptive search's first probes.
const ADAPTIVE_RAMP: f64 = 4.0;
/// The first rate of an adaptive search is guessed to be this share of the capacity.
const FIRST: f64 = 0.05;

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
    /// Hours of load and cool-down that are likely, where the search has trials of very different lengths: of the same search
    /// against a service with twenty times the first rate as its capacity, if no trial ends early and nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub likely_hours: Option<f64>,
}

/// Outlines the search of a pair.
pub fn outline(settings: &Settings, experiment: &Experiment) -> Outline {
    let StagesConfig {
        start,
        multiplier,
        limit,
        stop,
    } = rules::config(settings, experiment);
    let adaptive = settings.search == SearchKind::Adaptive;
    let likely = adaptive.then(|| likely(settings, experiment));
    let likely_trials = likely.map_or_else(
        || rules::search(settings, experiment).left().likely,
        |load| load.trials,
    );
    let full_s = settings.duration.as_secs_f64();
    let pause_s = settings.drain.as_secs_f64() + settings.cooldown.as_secs_f64();
    let budget_s = settings
        .budget
        .map_or(f64::INFINITY, |budget| budget.as_secs_f64());
    let hours = |load_s: f64, trials: u32| (load_s.min(budget_s) + f64::from(trials) * pause_s) / 3600.0;
    let most_full = if adaptive {
        f64::from(limit).min(MOST_LOAD)
    } else {
        f64::from(limit)
    };
    let (width, end, factor) = if adaptive {
        ("the 95 % interval", "of its upper end", ADAPTIVE_RAMP)
    } else {
        ("M - m", "of M", multiplier)
    };
    let mut ramp = vec![start];
    while ramp.len() < 6 {
        let last = ramp[ramp.len() - 1];
        ramp.push(Rate::per_minute(last.as_per_minute() * factor).rounded());
    }
    Outline {
        pair: experiment.name.clone(),
        start,
        ramp,
        stop: format!("until {width} is within {}", stop.in_words().replace("of M", end)),
        likely_trials,
        most_trials: limit,
        most_hours: hours(most_full * full_s, limit),
        likely_hours: likely.map(|load| hours(load.seconds, load.trials)),
    }
}

/// What the adaptive search of a pair takes against a well-behaved service.
fn likely(settings: &Settings, experiment: &Experiment) -> ideal::Load {
    let confirm = is_confirmed(settings, experiment);
    let mut search = rules::adaptive(settings, experiment, None, confirm);
    let capacity = Rate::per_minute(experiment.start.as_per_minute() / FIRST);
    ideal::load(&mut search, capacity, settings.duration.as_secs_f64())
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
