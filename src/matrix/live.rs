//! Trials of a live endpoint.

use std::path::Path;
use std::time::{Duration, Instant};

use super::bench::Bench;
use super::file::{EndpointEntry, Workload};
use super::requests::Requests;
use crate::campaign::{self, Home, Target, TargetError};
use crate::endpoint::BaseUrl;
use crate::executor::local::Local;
use crate::loadgen::{API_KEY_VARIABLE, LoadGenerator, ResultsJson, TrialJob};
use crate::runner::live::{Live, Setup};
use crate::runner::{Judged, Trial, TrialError, TrialRunner};
use crate::search::Probe;
use crate::server::ServerError;
use crate::settings::{self, LoadGenChoice, ServerSettings, Settings, Sources};
use crate::slo::objective::Objective;
use crate::store::{Manifest, layout, measured, write_json};
use crate::trial::{LoadGenSpec, Measurement, TargetSpec, TrialSpec};
use crate::workload::Lengths;

/// What the settings of an endpoint say: how it is loaded, before anybody is asked.
pub(super) struct Loader {
    settings: Settings,
    loadgen: Box<dyn LoadGenerator>,
    spec: LoadGenSpec,
}

/// An endpoint and the program that loads it.
pub(super) struct Endpoint<'a> {
    settings: &'a Settings,
    loadgen: &'a dyn LoadGenerator,
    spec: &'a LoadGenSpec,
    target: Target,
}

/// Why an endpoint cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum EndpointProblem {
    /// What was asked of it makes no sense.
    #[error("{0}")]
    Input(String),
    /// It does not answer as it should.
    #[error("{0}")]
    Unreachable(String),
    /// A server of ours that cannot be had.
    #[error("{0}")]
    Server(String),
    /// Asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Loader {
    /// Reads the settings of an endpoint. `environment` is the process environment.
    ///
    /// # Errors
    /// When a setting is wrong.
    pub(super) fn of(
        entry: &EndpointEntry,
        results: &Path,
        environment: &[(String, String)],
    ) -> Result<Self, EndpointProblem> {
        let mut flags: Vec<(String, String)> = entry.settings.clone().into_iter().collect();
        // Also where it is empty: the file decides what is loaded, not the environment.
        flags.push(("URL".to_owned(), entry.url.clone().unwrap_or_default()));
        flags.push(("RESULTS_DIR".to_owned(), results.display().to_string()));
        for key in entry.settings.keys() {
            if settings::find_key(key).is_none() {
                return Err(EndpointProblem::Input(format!(
                    "endpoint, settings: `{key}` is not a setting; `mst config` lists them"
                )));
            }
        }
        let sources = Sources {
            env_file: None,
            environment: environment.to_vec(),
            flags,
        };
        let loaded = settings::load(&sources).map_err(|e| EndpointProblem::Input(e.to_string()))?;
        let mut settings = loaded.settings;
        if let (None, None, Some(url)) = (&settings.target_label, &settings.server, &settings.url) {
            // The name of the system tells servers of one host apart; the port of one may be another one each time.
            let url: BaseUrl = url.parse().map_err(|e| EndpointProblem::Input(format!("{e}")))?;
            settings.target_label = Some(url.without_port());
        }
        let (loadgen, spec) =
            campaign::load_generator(&settings).map_err(|e| EndpointProblem::Input(e.to_string()))?;
        Ok(Self {
            settings,
            loadgen,
            spec,
        })
    }

    /// The settings.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The model server that is ours.
    pub(super) fn server(&self) -> Option<&ServerSettings> {
        self.settings.server.as_ref()
    }

    /// Starts the server that is ours, in its home, and asks the endpoint what it serves.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) fn open(
        &self,
        home: Option<&Home<'_>>,
        interrupted: &dyn Fn() -> bool,
        note: &mut dyn FnMut(&str),
    ) -> Result<Endpoint<'_>, EndpointProblem> {
        let is_ours = self.settings.server.is_some();
        let target = Target::open(&self.settings, home, interrupted, note).map_err(|error| match error {
            TargetError::Server(ServerError::Interrupted) => EndpointProblem::Interrupted,
            TargetError::Server(ServerError::Unusable(why)) => EndpointProblem::Input(why),
            error if is_ours => EndpointProblem::Server(error.to_string()),
            error => EndpointProblem::Unreachable(error.to_string()),
        })?;
        for text in &target.notes {
            note(text);
        }
        Ok(self.endpoint(target))
    }

    /// What can be said of the endpoint while nobody is asked; `stored` are the models of the trials that are stored of it.
    ///
    /// # Errors
    /// When that does not tell which model is meant.
    pub(super) fn unopened(&self, stored: &[String]) -> Result<Endpoint<'_>, EndpointProblem> {
        let mut settings = self.settings.clone();
        if settings.server.is_none() && settings.url.is_none() {
            // The embedded server is a part of this process.
            return self.open(None, &|| false, &mut |_| {});
        }
        if settings.model.is_none() {
            if stored.len() > 1 {
                return Err(EndpointProblem::Input(format!(
                    "trials of {} are stored; say which is meant: settings: {{MODEL: ...}}",
                    stored.join(" and ")
                )));
            }
            settings.model = stored.first().cloned();
        }
        Ok(self.endpoint(Target::unopened(&settings)))
    }

    /// Names the endpoint in the identity of a trial, where nobody has to be asked for it.
    pub(super) fn label(&self) -> String {
        Target::label_of(&self.settings)
    }

    fn endpoint(&self, target: Target) -> Endpoint<'_> {
        Endpoint {
            settings: &self.settings,
            loadgen: self.loadgen.as_ref(),
            spec: &self.spec,
            target,
        }
    }

    /// Whether its load generator can send a workload, and tells what an objective looks at.
    ///
    /// # Errors
    /// What it cannot do, and what can.
    pub(super) fn suits(
        &self,
        workload: &Workload,
        requests: &Requests,
        objective: &Objective,
    ) -> Result<(), String> {
        let name = self.loadgen.name();
        if !requests.is_pair() && !matches!(self.settings.loadgen, LoadGenChoice::Native { .. }) {
            return Err(format!(
                "workloads, {}: {name} cannot send lengths one by one, nor a mix; use LOADGEN=native, or a workload of `tokens`",
                workload.name
            ));
        }
        if objective.needs_delays() {
            return Err(
                "an objective on the wait for the first iteration (scheduling_delay) cannot be judged from outside the \
                 server; bound ttft instead, or use the simulator"
                    .to_owned(),
            );
        }
        if objective.needs_token_times() && !self.loadgen.capabilities().token_times {
            return Err(format!(
                "{name} does not tell the times of single tokens, which the objective needs; bound tpot instead of tbt, or use \
                 LOADGEN=native"
            ));
        }
        Ok(())
    }
}

impl Endpoint<'_> {
    /// Where it is, where that was given.
    pub(super) fn url(&self) -> Option<String> {
        let given = self.settings.url.is_some() && self.settings.server.is_none();
        given.then(|| self.target.url())
    }

    /// Names it in the identity of a trial.
    pub(super) fn target(&self) -> TargetSpec {
        TargetSpec {
            label: self.target.label.clone(),
            model: self.target.model().to_owned(),
            api: self.settings.api.path().to_owned(),
        }
    }

    /// Names the load generator, with everything that changes what it measures.
    pub(super) fn loadgen(&self, limit_s: Option<f64>) -> LoadGenSpec {
        let mut spec = self.spec.clone();
        let drain = self.settings.drain.as_secs_f64();
        spec.options.push(("drain_s".to_owned(), drain.to_string()));
        if let Some(limit) = limit_s {
            spec.options.push(("trial_limit_s".to_owned(), limit.to_string()));
        }
        spec
    }

    /// Runs `with` with a runner of live trials; none begins that would not end by the deadline, or that does not fit. The
    /// bench's folder is leased meanwhile.
    ///
    /// # Errors
    /// When the folder cannot be leased or written; and what `with` returns.
    pub(super) fn run<R>(
        &self,
        bench: &Bench<'_>,
        deadline: Option<Instant>,
        fits: &dyn Fn(Duration) -> Result<(), String>,
        with: impl FnOnce(&mut dyn TrialRunner) -> Result<R, TrialError>,
    ) -> Result<R, TrialError> {
        let lease = bench.lease()?;
        let job = |spec: &TrialSpec| self.job(spec, bench.requests.lengths(spec.seed));
        let slurm_job_id = std::env::var("SLURM_JOB_ID").ok();
        // A server of ours that was started again may be elsewhere.
        let manifest = |spec: &TrialSpec, probe: &Probe, measured: &Measurement| Manifest {
            server: self.target.server_facts(),
            ..bench.manifest(spec, probe, measured, &self.target.url(), slurm_job_id.as_deref())
        };
        let files = |folder: &Path, _: &Manifest, trial: &Trial, judged: &Judged<'_>| {
            measured::write(&folder.join(measured::FILE_NAME), &trial.measurement)?;
            Ok(write_json(&folder.join(layout::VERDICT), judged.verdict)?)
        };
        let key = self.settings.api_key.as_ref();
        let secrets: Vec<(String, String)> = key
            .map(|key| (API_KEY_VARIABLE.to_owned(), key.expose().to_owned()))
            .into_iter()
            .collect();
        let time_left = |seconds: f64| {
            let load = Duration::from_secs_f64(seconds.min(1e6));
            if deadline.is_some_and(|end| Instant::now() + load > end) {
                return Err("the next trial would go beyond the limit of the whole".to_owned());
            }
            fits(load + self.settings.drain)
        };
        let mut live = Live::new(Setup {
            store: bench.store,
            lease: &lease,
            loadgen: self.loadgen,
            executor: &Local,
            job: &job,
            manifest: &manifest,
            files: &files,
            service: &self.target,
            time_left: &time_left,
            secrets: &secrets,
            retries: self.settings.retries,
            token_times: true,
            metrics: self.target.metrics(),
        });
        with(&mut live)
    }

    /// Reads what the load generator left of a trial.
    pub(super) fn read(&self, folder: &Path, spec: &TrialSpec) -> Result<Measurement, TrialError> {
        let job = self.job(spec, Vec::new());
        let mut measurement = self.loadgen.read(&job, folder)?;
        measurement.tokens = self.loadgen.token_times(&job, folder)?;
        Ok(measurement)
    }

    fn job(&self, spec: &TrialSpec, lengths: Vec<Lengths>) -> TrialJob {
        TrialJob {
            lengths,
            results_json: ResultsJson::Off,
            ..campaign::job(self.settings, &self.target, spec)
        }
    }
}
