//! Asks the results folder before it asks the runner inside: resume, and "the same runs judged otherwise", are this.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Judged, Trial, TrialError, TrialRunner, Watch};
use crate::search::Probe;
use crate::store::Manifest;
use crate::trial::{Measurement, TrialSpec};

/// Reads the measurement of a stored trial from its folder.
pub type Reader<'a> = &'a dyn Fn(&Path, &Manifest) -> Result<Measurement, TrialError>;

/// A runner with a memory.
pub struct Memo<'a, R> {
    inner: R,
    stored: BTreeMap<String, (PathBuf, Manifest)>,
    read: Reader<'a>,
    full_length_only: bool,
}

impl<'a, R: TrialRunner> Memo<'a, R> {
    /// A memory of `stored` trials in front of `inner`. With `full_length_only`, trials that were ended early are
    /// measured again.
    pub fn new(
        inner: R,
        stored: BTreeMap<String, (PathBuf, Manifest)>,
        read: Reader<'a>,
        full_length_only: bool,
    ) -> Self {
        Self {
            inner,
            stored,
            read,
            full_length_only,
        }
    }
}

impl<R: TrialRunner> TrialRunner for Memo<'_, R> {
    fn run(&mut self, spec: &TrialSpec, probe: &Probe, watch: &mut dyn Watch) -> Result<Trial, TrialError> {
        let id = spec.id();
        if let Some((folder, manifest)) = self.stored.get(id.as_str())
            && manifest.client.void.is_none()
            && !(self.full_length_only && manifest.stopped_early)
        {
            match (self.read)(folder, manifest) {
                Ok(measurement) => {
                    return Ok(Trial {
                        id,
                        measurement,
                        folder: folder.clone(),
                        reused: true,
                    });
                }
                Err(error) => watch.note(&format!("a stored trial is damaged and measured again: {error}")),
            }
        }
        self.inner.run(spec, probe, watch)
    }

    fn settle(&mut self, trial: &Trial, judged: &Judged<'_>) -> Result<PathBuf, TrialError> {
        // Also for a reused trial: it may still lie in staging, complete but not moved when its driver was killed.
        self.inner.settle(trial, judged)
    }
}
