//! Many searches in one run: the pairs and mixes of the settings, one after the other, on one target.

mod files;
mod outline;
mod rules;
mod target;

pub use outline::{Outline, outline};
pub use target::{Target, TargetError};

use std::path::Path;

use crate::capacity::{self, Capacity};
use crate::executor::local::Local;
use crate::loadgen::{Limits, LoadGenerator, TrialJob};
use crate::report::{Event, Observer};
use crate::runner::TrialError;
use crate::runner::live::{Live, Setup};
use crate::runner::memo::Memo;
use crate::search::Probe;
use crate::settings::{Experiment, Settings};
use crate::store::manifest::{EvidenceLine, SCHEMA};
use crate::store::{CapacityFile, Lease, Store, layout, write_json};
use crate::trial::{LoadGenSpec, TargetSpec, TrialSpec};
use crate::units::Rate;
use crate::workload::{PromptSource, PromptSpec, WorkloadSpec, seeds};

/// Everything that the pairs of a run share.
pub struct Campaign<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// What is loaded.
    pub target: &'a Target,
    /// By which program.
    pub loadgen: &'a dyn LoadGenerator,
    /// Its identity.
    pub loadgen_spec: LoadGenSpec,
    /// Where prompts come from.
    pub prompts: PromptSource,
    /// Where results go.
    pub store: &'a Store,
    /// Whether stored trials are ignored.
    pub fresh: bool,
    /// Whether everything is to stop now.
    pub interrupted: &'a dyn Fn() -> bool,
}

/// The answer of a pair.
#[derive(Clone, Debug)]
pub struct PairAnswer {
    /// The pair.
    pub pair: String,
    /// The answer and its evidence.
    pub capacity: Capacity,
    /// The truth, where the endpoint is the embedded one.
    pub true_capacity: Option<Rate>,
}

impl Campaign<'_> {
    /// Searches one pair, under its lease, and writes its `capacity.json`.
    ///
    /// # Errors
    /// Trouble that is not the service's answer; everything measured so far is stored.
    pub fn run_pair(
        &self,
        place: (usize, usize),
        experiment: &Experiment,
        observer: &mut dyn Observer,
    ) -> Result<PairAnswer, TrialError> {
        let pair = &experiment.name;
        let folder = self.store.pair(pair);
        let lease = Lease::take(&folder)?;
        self.store.sweep(pair)?;
        let stored = if self.fresh { std::collections::BTreeMap::new() } else { self.store.trials(pair)? };
        observer.see(&Event::PairStarted {
            pair: pair.clone(),
            index: place.0,
            count: place.1,
            stored: stored.len(),
        });
        let criterion = rules::criterion(self.settings);
        let mut search = rules::search(self.settings, experiment);
        let job = |spec: &TrialSpec| self.job(spec);
        let manifest = |spec: &TrialSpec, probe: &Probe, measured: &_| {
            files::manifest(self, experiment, spec, probe, measured)
        };
        let write = |folder: &Path, manifest: &_, trial: &_, judged: &_| {
            files::write(self, experiment, folder, manifest, trial, judged)
        };
        let live = Live::new(Setup {
            store: self.store,
            lease: &lease,
            loadgen: self.loadgen,
            executor: &Local,
            job: &job,
            manifest: &manifest,
            files: &write,
            alive: &|| self.target.alive(),
            retries: self.settings.retries,
        });
        let read = |folder: &Path, spec: &TrialSpec| Ok(self.loadgen.read(&self.job(spec), folder)?);
        let mut runner = Memo::new(live, stored, &read, criterion.needs_full_length());
        let capacity = capacity::find(
            search.as_mut(),
            criterion.as_ref(),
            &mut runner,
            &capacity::Experiment {
                pair,
                spec: &|probe| self.spec(experiment, probe),
                cooldown_s: self.settings.cooldown.as_secs_f64(),
                interrupted: self.interrupted,
            },
            observer,
        )?;
        lease.check()?;
        let answer = PairAnswer {
            pair: pair.clone(),
            true_capacity: self.target.true_capacity(&experiment.classes),
            capacity,
        };
        write_json(&folder.join(layout::CAPACITY), &self.capacity_file(&answer))?;
        files::finish(self, &answer)?;
        observer.see(&Event::PairDone {
            pair: pair.clone(),
            answer: answer.capacity.answer.clone(),
            trials: answer.capacity.evidence.len() as u32,
            reused: answer.capacity.evidence.iter().filter(|e| e.reused).count() as u32,
        });
        Ok(answer)
    }

    /// The trial that a probe asks for. Its seed depends on what is asked, not on what was run before.
    pub fn spec(&self, experiment: &Experiment, probe: &Probe) -> TrialSpec {
        let rate = probe.rate.as_per_minute().to_string();
        TrialSpec {
            target: TargetSpec {
                label: self.target.label.clone(),
                model: self.target.endpoint.model.clone(),
                api: self.target.endpoint.api.path().to_owned(),
            },
            workload: WorkloadSpec {
                classes: experiment.classes.clone(),
                arrival: self.settings.arrival,
                prompts: PromptSpec {
                    source: self.prompts.clone(),
                    unique_prefix: self.settings.unique_prompts,
                },
            },
            rate: probe.rate,
            duration_s: self.settings.duration.as_secs_f64(),
            loadgen: self.loadgen_spec.clone(),
            seed: seeds::derive(self.settings.seed, &[&experiment.name, &rate, &probe.attempt.to_string()]),
            attempt: probe.attempt,
        }
    }

    /// The job of a trial.
    pub fn job(&self, spec: &TrialSpec) -> TrialJob {
        let settings = self.settings;
        TrialJob {
            spec: spec.clone(),
            endpoint: self.target.endpoint.clone(),
            limits: Limits {
                request_s: settings.request_timeout.as_secs_f64(),
                ttft_s: settings.ttft_timeout.as_secs_f64(),
                tpot_s: settings.tpot_timeout.as_secs_f64(),
                drain_s: settings.drain.as_secs_f64(),
            },
            encoding: self.target.encoding.clone(),
            prompts_file: settings.prompts_file.clone(),
            fresh_connections: rules::fresh_connections(settings),
            results_json: settings.results_json,
        }
    }

    /// The content of `capacity.json`. It names no times and no folders, so that a resumed search writes the same.
    fn capacity_file(&self, answer: &PairAnswer) -> CapacityFile {
        CapacityFile {
            schema: SCHEMA,
            pair: answer.pair.clone(),
            experiment_type: rules::experiment_type(self.settings).to_owned(),
            evaluation: rules::criterion(self.settings).name().to_owned(),
            search: rules::search_name(self.settings).to_owned(),
            answer: answer.capacity.answer.clone(),
            load_seconds: answer.capacity.load_seconds(),
            true_capacity: answer.true_capacity,
            evidence: answer
                .capacity
                .evidence
                .iter()
                .map(|e| EvidenceLine {
                    id: e.id.to_string(),
                    rate: e.probe.rate,
                    offered: e.offered,
                    stage: e.probe.stage,
                    attempt: e.probe.attempt,
                    ruling: e.verdict.ruling,
                    margin: e.verdict.margin,
                })
                .collect(),
        }
    }
}
