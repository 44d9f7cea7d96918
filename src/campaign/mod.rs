//! Many searches in one run: the pairs and mixes of the settings, one after the other, on one target.

mod adaptive;
mod files;
mod home;
mod ideal;
mod loadgen;
mod neighbours;
mod outline;
mod progress;
mod rules;
mod savings;
mod target;
mod trials;

pub use home::{Home, executor};
pub use loadgen::load_generator;
pub use neighbours::order;
pub use outline::{Outline, example_commands, outline};
pub use progress::ProgressFile;
pub use rules::{criterion_name, folder, prompt_source, search_name};
pub use savings::savings;
pub use target::{Target, TargetError};
pub use trials::{Trials, job};

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::capacity::{self, Capacity};
use crate::executor::Executor;
use crate::loadgen::{API_KEY_VARIABLE, LoadGenerator};
use crate::plan::foreseen::Foreseen;
use crate::report::curve::{Curve, Point};
use crate::report::{Event, Observer, answer_line, words};
use crate::runner::live::{Live, Setup};
use crate::runner::memo::Memo;
use crate::runner::{Judged, Trial, TrialError};
use crate::search::{Answer, Prior, Probe};
use crate::settings::{Experiment, SearchKind, Settings};
use crate::store::capacity::{CAPACITY_SCHEMA, EvidenceLine};
use crate::store::{
    CapacityFile, Conditions, Incarnation, Lease, LeaseError, Manifest, Store, layout, write_json,
};
use crate::trial::TrialSpec;
use crate::units::Rate;

/// Pause between two looks at a lease that somebody else holds, seconds.
const LEASE_LOOK_S: f64 = 1.0;

/// How long an earlier incarnation may take to notice and to end its load, seconds: some heartbeats.
const SUPERSEDED_S: f64 = 6.0;

/// Everything that the pairs of a run share.
pub struct Campaign<'a> {
    /// The settings.
    pub settings: &'a Settings,
    /// What is loaded.
    pub target: &'a Target,
    /// By which program.
    pub loadgen: &'a dyn LoadGenerator,
    /// Where that runs.
    pub executor: &'a dyn Executor,
    /// What its trials are.
    pub trials: Trials<'a>,
    /// Where results go.
    pub store: &'a Store,
    /// A simulated deployment that lets expect what the service can do.
    pub foreseen: Option<&'a Foreseen>,
    /// Whether stored trials are ignored.
    pub fresh: bool,
    /// The pairs that have an answer of this run.
    pub answered: RefCell<BTreeSet<String>>,
    /// Whether a pair that another process works on is waited for.
    pub wait: bool,
    /// Which start of which run this is.
    pub incarnation: Incarnation,
    /// `SLURM_JOB_ID`, where there is one.
    pub slurm_job_id: Option<String>,
    /// Whether a trial that sends requests for so many seconds still fits before the job's end; an error says why not.
    pub time_left: &'a dyn Fn(f64) -> Result<(), String>,
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
    /// What other pairs let expect before the first trial.
    pub prior: Option<Prior>,
    /// What its trials have in common.
    pub conditions: Conditions,
    /// The answer in a sentence, where the search is adaptive.
    pub words: Option<String>,
}

impl PairAnswer {
    /// All trials on one picture.
    fn curve(&self) -> Curve {
        let found = &self.capacity.answer;
        let points = self.capacity.evidence.iter().map(|e| Point {
            offered: e.offered,
            drift: e.verdict.margin.filter(|_| e.verdict.criterion == "drift"),
            ruling: e.verdict.ruling,
        });
        Curve {
            title: self.words.as_ref().map_or_else(
                || {
                    answer_line(
                        &self.pair,
                        &Answer {
                            reason: String::new(),
                            ..found.clone()
                        },
                    )
                    .trim_end_matches("; ")
                    .to_owned()
                },
                |words| format!("{}: {words}", self.pair),
            ),
            points: points.collect(),
            rate: found.rate,
            low: found.low,
            high: found.high,
        }
    }
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
        let name = rules::folder(self.settings, experiment);
        let folder = self.store.pair(&name);
        let lease = self.lease(&folder, observer)?;
        self.store.sweep(&name)?;
        let stored = if self.fresh {
            BTreeMap::new()
        } else {
            self.store.trials(&name)?
        };
        observer.see(&Event::PairStarted {
            pair: pair.clone(),
            index: place.0,
            count: place.1,
            stored: stored.len(),
        });
        let conditions = self.conditions(experiment);
        let (capacity, prior) =
            self.search_pair(experiment, &folder, &conditions, (&lease, stored), observer)?;
        lease.check()?;
        let words = self.words(&capacity);
        let answer = PairAnswer {
            pair: pair.clone(),
            true_capacity: self.target.true_capacity(&experiment.classes),
            capacity,
            prior,
            conditions,
            words,
        };
        self.write_answer(&folder, &answer)?;
        self.answered.borrow_mut().insert(pair.clone());
        observer.see(&Event::PairDone {
            pair: pair.clone(),
            answer: answer.capacity.answer.clone(),
            words: answer.words.clone(),
            trials: answer.capacity.evidence.len() as u32,
            reused: answer.capacity.evidence.iter().filter(|e| e.reused).count() as u32,
        });
        Ok(answer)
    }

    /// Searches a pair, and returns what was believed of it before the first trial as well.
    fn search_pair(
        &self,
        experiment: &Experiment,
        folder: &Path,
        conditions: &Conditions,
        (lease, stored): (&Lease, BTreeMap<String, (PathBuf, Manifest)>),
        observer: &mut dyn Observer,
    ) -> Result<(Capacity, Option<Prior>), TrialError> {
        let criterion = rules::criterion(self.settings);
        let job = |spec: &TrialSpec| self.trials.job(spec);
        let place = Cell::new(None);
        let manifest = |spec: &TrialSpec, probe: &Probe, measured: &_| {
            files::manifest(self, experiment, spec, (probe, place.get()), measured)
        };
        let write = |folder: &Path, manifest: &Manifest, trial: &Trial, judged: &Judged<'_>| {
            files::write(self, folder, manifest, trial, judged)
        };
        let key = self.settings.api_key.as_ref();
        let secrets: Vec<_> = key
            .map(|key| (API_KEY_VARIABLE.to_owned(), key.expose().to_owned()))
            .into_iter()
            .collect();
        let live = Live::new(Setup {
            store: self.store,
            lease,
            loadgen: self.loadgen,
            executor: self.executor,
            job: &job,
            manifest: &manifest,
            files: &write,
            service: self.target,
            time_left: self.time_left,
            metrics: self.target.metrics(),
            secrets: &secrets,
            retries: self.settings.retries,
            token_times: false,
        });
        let read = |folder: &Path, spec: &TrialSpec| Ok(self.loadgen.read(&self.trials.job(spec), folder)?);
        let of_stored = |folder: &Path, manifest: &Manifest| read(folder, &manifest.spec);
        if self.settings.search == SearchKind::Adaptive {
            let begun = self.begin(experiment, folder, conditions.clone())?;
            let search = adaptive::Pair {
                campaign: self,
                experiment,
                criterion: criterion.as_ref(),
                read: &read,
                begun: &begun,
                place: &place,
            };
            let mut runner = live;
            Ok((search.find(stored, &mut runner, observer)?, begun.prior))
        } else {
            let mut runner = Memo::new(live, stored, &of_stored, criterion.needs_full_length());
            let found = capacity::find(
                rules::search(self.settings, experiment).as_mut(),
                criterion.as_ref(),
                &mut runner,
                &capacity::Experiment {
                    pair: &experiment.name,
                    spec: &|probe| self.trials.spec(experiment, probe),
                    decided: &|_| None,
                    cooldown_s: self.settings.cooldown.as_secs_f64(),
                    interrupted: self.interrupted,
                },
                observer,
            )?;
            Ok((found, None))
        }
    }

    /// Writes the answer into the folder of its pair, with its picture.
    fn write_answer(&self, folder: &Path, answer: &PairAnswer) -> Result<(), TrialError> {
        write_json(&folder.join(layout::CAPACITY), &self.capacity_file(answer))?;
        // A picture that cannot be drawn or written costs itself only.
        if let Ok(svg) = answer.curve().svg() {
            let _ = fs_err::write(folder.join(layout::CURVE), svg);
        }
        files::finish(answer)
    }

    /// The answer of an adaptive search in a sentence.
    fn words(&self, capacity: &Capacity) -> Option<String> {
        let rulings = capacity.evidence.iter().map(|e| (e.offered, e.verdict.ruling));
        let failed = words::lowest_failed(&capacity.answer, rulings);
        (self.settings.search == SearchKind::Adaptive).then(|| words::sentence(&capacity.answer, failed))
    }

    /// Takes the lease of a pair, waiting for it if that was asked for.
    fn lease(&self, folder: &Path, observer: &mut dyn Observer) -> Result<Lease, TrialError> {
        let mut told = false;
        loop {
            match Lease::take_as(folder, &self.incarnation) {
                Err(LeaseError::Held { path, host, pid }) if self.wait => {
                    if !told {
                        let path = path.display();
                        observer.see(&Event::Note {
                            text: format!("{path} is in use by process {pid} on {host}; waiting for it"),
                        });
                        told = true;
                    }
                    capacity::pause(LEASE_LOOK_S, self.interrupted);
                    if (self.interrupted)() {
                        return Err(TrialError::Interrupted);
                    }
                }
                taken => {
                    let lease = taken?;
                    if lease.superseded_another() {
                        let text =
                            "an earlier job of this run still works on this pair; giving it time to notice";
                        observer.see(&Event::Note {
                            text: text.to_owned(),
                        });
                        capacity::pause(SUPERSEDED_S, self.interrupted);
                    }
                    return Ok(lease);
                }
            }
        }
    }

    /// The content of `capacity.json`. It names no times and no folders, so that a resumed search writes the same.
    fn capacity_file(&self, answer: &PairAnswer) -> CapacityFile {
        CapacityFile {
            schema: CAPACITY_SCHEMA,
            pair: answer.pair.clone(),
            experiment_type: rules::experiment_type(self.settings).to_owned(),
            evaluation: rules::criterion_name(self.settings).to_owned(),
            duration_s: Some(self.settings.duration.as_secs_f64()),
            success_rate_percent: Some(self.settings.success_rate_percent),
            search: rules::search_name(self.settings).to_owned(),
            answer: answer.capacity.answer.clone(),
            load_seconds: answer.capacity.load_seconds(),
            true_capacity: answer.true_capacity,
            conditions: Some(answer.conditions.clone()),
            prior: answer.prior,
            evidence: answer
                .capacity
                .evidence
                .iter()
                .map(|e| EvidenceLine {
                    id: e.id.to_string(),
                    rate: e.probe.rate,
                    offered: e.offered,
                    load_s: Some(e.load_s),
                    stage: e.probe.stage,
                    attempt: e.probe.attempt,
                    ruling: e.verdict.ruling,
                    margin: e.verdict.margin,
                    bound: e.verdict.bound,
                    capacity_hint: e.verdict.capacity_hint,
                })
                .collect(),
        }
    }
}
