//! From settings to the search, the criterion and the load generator that they name.

use crate::criterion::Criterion;
use crate::criterion::drift::Drift;
use crate::criterion::plateau::Plateau;
use crate::criterion::welch::Welch;
use crate::search::{Adaptive, AdaptiveConfig, Prior, Search, Stages, StagesConfig, StagesLegacy};
use crate::settings::{Evaluation, Experiment, ExperimentType, LoadGenChoice, SearchKind, Settings};
use crate::store::generations::folder_name;
use crate::store::tables::Layout;
use crate::workload::PromptSource;
use crate::workload::prompts::{PromptError, digest_of_file};

/// Where the search of an experiment begins and when it ends.
pub(super) fn config(settings: &Settings, experiment: &Experiment) -> StagesConfig {
    StagesConfig {
        start: experiment.start,
        multiplier: settings.multiplier,
        stop: settings.stop,
        limit: settings.iteration_limit,
    }
}

/// The search of an experiment.
pub(super) fn search(settings: &Settings, experiment: &Experiment) -> Box<dyn Search> {
    let config = config(settings, experiment);
    match settings.search {
        SearchKind::Stages => Box::new(Stages::new(config)),
        SearchKind::StagesLegacy => Box::new(StagesLegacy::new(config)),
        SearchKind::Adaptive => Box::new(adaptive(settings, experiment, None, true)),
    }
}

/// The adaptive search of an experiment that has seen nothing.
pub(super) fn adaptive(
    settings: &Settings,
    experiment: &Experiment,
    prior: Option<Prior>,
    confirm: bool,
) -> Adaptive {
    Adaptive::new(AdaptiveConfig {
        start: experiment.start,
        duration_s: settings.duration.as_secs_f64(),
        stop: settings.stop,
        limit: settings.iteration_limit,
        budget_s: settings.budget.map(|budget| budget.as_secs_f64()),
        prior,
        confirm,
    })
}

/// The criterion.
pub(super) fn criterion(settings: &Settings) -> Box<dyn Criterion> {
    let (relative, absolute) = settings.plateau;
    let success = settings.success_rate_percent;
    match (settings.experiment_type, settings.search, settings.evaluation) {
        (ExperimentType::Mit, SearchKind::StagesLegacy, _) => {
            Box::new(Plateau::legacy(relative, absolute, success))
        }
        (ExperimentType::Mit, SearchKind::Stages | SearchKind::Adaptive, _) => {
            Box::new(Plateau::new(success))
        }
        (ExperimentType::Mst, _, Evaluation::Drift) => Box::new(Drift::new(success)),
        (ExperimentType::Mst, _, Evaluation::Welch) => Box::new(Welch {
            filter_buffer_s: settings.filter_buffer_s,
            success_rate_percent: success,
        }),
    }
}

/// The name of the folder that holds an experiment's trials, as `RESULTS_LAYOUT` spells it.
pub fn folder(settings: &Settings, experiment: &Experiment) -> String {
    match settings.layout {
        Layout::Mst => experiment.name.clone(),
        // Mixes of many profiles have a name that ends in a digest: in full it is longer than file systems take.
        older => Some(folder_name(&experiment.classes, older))
            .filter(|name| name.len() <= 200)
            .unwrap_or_else(|| experiment.name.clone()),
    }
}

/// The search's name in files.
pub fn search_name(settings: &Settings) -> &'static str {
    match settings.search {
        SearchKind::Stages => "stages",
        SearchKind::StagesLegacy => "stages-legacy",
        SearchKind::Adaptive => "adaptive",
    }
}

/// The criterion's name in files.
pub fn criterion_name(settings: &Settings) -> &'static str {
    criterion(settings).name()
}

/// `MST` or `MIT`.
pub(super) fn experiment_type(settings: &Settings) -> &'static str {
    match settings.experiment_type {
        ExperimentType::Mst => "MST",
        ExperimentType::Mit => "MIT",
    }
}

/// Whether every request opens a new connection.
pub(super) fn fresh_connections(settings: &Settings) -> bool {
    matches!(
        settings.loadgen,
        LoadGenChoice::Native {
            fresh_connections: true
        }
    )
}

/// The criterion whose ruling is shown beside: welch beside drift, drift beside all others.
pub(super) fn other_criterion(settings: &Settings) -> Box<dyn Criterion> {
    let success = settings.success_rate_percent;
    match (settings.experiment_type, settings.evaluation) {
        (ExperimentType::Mst, Evaluation::Drift) => Box::new(Welch {
            filter_buffer_s: settings.filter_buffer_s,
            success_rate_percent: success,
        }),
        _ => Box::new(Drift::new(success)),
    }
}

/// Where prompts come from; a file is named by its content.
///
/// # Errors
/// When the file cannot be read.
pub fn prompt_source(settings: &Settings) -> Result<PromptSource, PromptError> {
    match &settings.prompts_file {
        None => Ok(PromptSource::Builtin),
        Some(path) => Ok(PromptSource::File {
            digest: digest_of_file(path)?,
        }),
    }
}
