//! Searches that run no trial: what is stored has to do.

use std::path::PathBuf;

use super::bench::Bench;
use crate::runner::{Judged, Trial, TrialError, TrialRunner, Watch};
use crate::search::Probe;
use crate::store::{Store, StoreError};
use crate::trial::TrialSpec;

/// Runs nothing.
pub(super) struct Stored;

impl TrialRunner for Stored {
    fn run(&mut self, spec: &TrialSpec, _probe: &Probe, _watch: &mut dyn Watch) -> Result<Trial, TrialError> {
        Err(TrialError::NotStored(spec.rate))
    }

    fn settle(&mut self, trial: &Trial, _judged: &Judged<'_>) -> Result<PathBuf, TrialError> {
        Ok(trial.folder.clone())
    }
}

/// The models that stored trials of a system on a workload were of, whose target has this label: sorted, each once.
pub(super) fn models(
    store: &Store,
    system: &str,
    workload: &str,
    label: &str,
) -> Result<Vec<String>, StoreError> {
    let mut models = Vec::new();
    let prefix = Bench::prefix(system, workload);
    for entry in fs_err::read_dir(store.root())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with(&prefix) {
            continue;
        }
        // What cannot be read is told by the search.
        for (_, manifest) in store.trials(&name).unwrap_or_default().into_values() {
            if manifest.spec.target.label == label {
                models.push(manifest.spec.target.model);
            }
        }
    }
    models.sort();
    models.dedup();
    Ok(models)
}
