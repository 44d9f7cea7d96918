//! Trials in virtual time for the one loop that joins search, runner and criterion.

use std::path::PathBuf;

use super::{Load, Server};
use crate::runner::{Judged, Trial, TrialError, TrialRunner, Watch};
use crate::search::Probe;
use crate::trial::TrialSpec;

/// Most requests of a trial: a search that asks for more has lost its way.
const MOST: usize = 5_000_000;

/// Carries trials out against a server in virtual time; nothing is stored.
pub struct Virtual<'a> {
    server: &'a Server,
}

impl<'a> Virtual<'a> {
    /// A runner against `server`.
    pub fn new(server: &'a Server) -> Self {
        Self { server }
    }
}

impl TrialRunner for Virtual<'_> {
    fn run(&mut self, spec: &TrialSpec, _probe: &Probe, watch: &mut dyn Watch) -> Result<Trial, TrialError> {
        if watch.is_interrupted() {
            return Err(TrialError::Interrupted);
        }
        let count = spec.workload.arrival.count(spec.rate, spec.duration_s);
        if count > MOST {
            let (rate, seconds) = (spec.rate, spec.duration_s);
            return Err(TrialError::ClientTooSlow(format!(
                "{count} requests, {rate} for {seconds} s, are more than the {MOST} that a trial here may have"
            )));
        }
        let load = Load {
            rate: spec.rate,
            duration_s: spec.duration_s,
            arrival: spec.workload.arrival,
            seed: spec.seed,
        };
        let measurement = self.server.trial(&load, &mut |progress| watch.observe(progress));
        Ok(Trial {
            id: spec.id(),
            measurement,
            folder: PathBuf::new(),
            reused: false,
        })
    }

    fn settle(&mut self, trial: &Trial, _judged: &Judged<'_>) -> Result<PathBuf, TrialError> {
        Ok(trial.folder.clone())
    }
}
