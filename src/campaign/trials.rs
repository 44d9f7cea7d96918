//! From a probe to the trial that it asks for, and from a trial to the job of a load generator.

use super::{Target, rules};
use crate::loadgen::{Limits, PromptEncoding, TrialJob};
use crate::search::Probe;
use crate::settings::{Experiment, Settings};
use crate::trial::{LoadGenSpec, TargetSpec, TrialSpec};
use crate::workload::{PromptSource, PromptSpec, WorkloadSpec, seeds};

/// What the trials of a run have in common.
pub struct Trials<'a> {
    settings: &'a Settings,
    target: &'a Target,
    loadgen: LoadGenSpec,
    prompts: PromptSource,
}

impl<'a> Trials<'a> {
    /// The trials of these settings on this target.
    pub fn new(
        settings: &'a Settings,
        target: &'a Target,
        mut loadgen: LoadGenSpec,
        prompts: PromptSource,
    ) -> Self {
        let encoding = match target.encoding {
            PromptEncoding::TokenIds { .. } => "token-ids",
            PromptEncoding::Tokenizer { .. } => "tokenizer",
            PromptEncoding::Calibrated { .. } => "calibrated",
        };
        loadgen
            .options
            .push(("prompt_encoding".to_owned(), encoding.to_owned()));
        Self {
            settings,
            target,
            loadgen,
            prompts,
        }
    }

    /// The trial that a probe asks for. Its seed depends on what is asked, not on what was run before.
    pub fn spec(&self, experiment: &Experiment, probe: &Probe) -> TrialSpec {
        let rate = probe.rate.as_per_minute().to_string();
        TrialSpec {
            target: TargetSpec {
                label: self.target.label.clone(),
                model: self.target.model().to_owned(),
                api: self.settings.api.path().to_owned(),
            },
            workload: WorkloadSpec {
                classes: experiment.classes.clone(),
                arrival: self.settings.arrival,
                prompts: PromptSpec {
                    source: self.prompts.clone(),
                    unique_prefix: self.settings.unique_prompts,
                },
                lengths: None,
            },
            rate: probe.rate,
            duration_s: probe.duration_s.unwrap_or(self.settings.duration.as_secs_f64()),
            loadgen: self.loadgen.clone(),
            seed: seeds::derive(
                self.settings.seed,
                &[&experiment.name, &rate, &probe.attempt.to_string()],
            ),
            attempt: probe.attempt,
        }
    }

    /// The job of a trial.
    pub fn job(&self, spec: &TrialSpec) -> TrialJob {
        job(self.settings, self.target, spec)
    }
}

/// The job of a trial of an endpoint, by its settings.
pub fn job(settings: &Settings, target: &Target, spec: &TrialSpec) -> TrialJob {
    TrialJob {
        spec: spec.clone(),
        endpoint: target.endpoint(),
        limits: Limits {
            request_s: settings.request_timeout.as_secs_f64(),
            ttft_s: settings.ttft_timeout.as_secs_f64(),
            tpot_s: settings.tpot_timeout.as_secs_f64(),
            drain_s: settings.drain.as_secs_f64(),
        },
        encoding: target.encoding.clone(),
        prompts_file: settings.prompts_file.clone(),
        lengths: Vec::new(),
        fresh_connections: rules::fresh_connections(settings),
        results_json: settings.results_json,
    }
}
