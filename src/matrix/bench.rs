//! One system on one workload: its trials, those that are stored and those to come, and the searches that share them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::file::{Rule, SearchRule};
use super::known::{Known, inferred};
use super::requests::Requests;
use crate::capacity::{self, Capacity, Evidence, Experiment};
use crate::criterion::slo_met::SloMet;
use crate::report::{Event, Observer};
use crate::runner::memo::Memo;
use crate::runner::{TrialError, TrialRunner};
use crate::search::{
    Etalon, Listed, Margins, MarginsConfig, MidpointConfig, Prior, Probe, Sarathi, Search, Veeksha,
    VeekshaConfig, Vidur, VidurConfig,
};
use crate::slo::objective::Objective;
use crate::slo::prefill::PrefillCurve;
use crate::store::manifest::SCHEMA;
use crate::store::{Lease, Manifest, Store, StoreError, TokenCounts, host_name, measured};
use crate::trial::{LoadGenSpec, Measurement, TargetSpec, TrialId, TrialSpec};
use crate::units::Rate;
use crate::workload::seeds;

/// Seconds that sarathi-serve allows a request to wait for its first iteration, where the objective says nothing of it.
const DELAY_S: f64 = 2.0;

/// One system on one workload.
pub struct Bench<'a> {
    /// `system/workload`.
    pub name: String,
    /// The folder of its trials below the root of the results.
    pub pair: String,
    /// Where trials are stored.
    pub store: &'a Store,
    /// What is sent.
    pub requests: Requests,
    /// What is loaded.
    pub target: TargetSpec,
    /// By what.
    pub loadgen: LoadGenSpec,
    /// The seed of everything drawn.
    pub seed: u64,
    /// Seconds after which a trial sends no more.
    pub limit_s: Option<f64>,
    /// Whether failed and unfinished requests violate objectives.
    pub failures: bool,
    /// Whether a backlog that grows fails a trial.
    pub sustained: bool,
    /// What prompts take on the idle system.
    pub curve: Option<PrefillCurve>,
    /// Reads what a load generator left, where the packed measurement is missing or damaged.
    pub raw: Option<RawReader<'a>>,
}

/// Where a search begins.
#[derive(Clone, Copy, Debug)]
pub struct Begin {
    /// The first rate, in requests a second, where nothing is expected.
    pub qps: f64,
    /// What is expected; only the adaptive rule makes use of it.
    pub expected: Option<Prior>,
}

/// Reads a measurement from the raw rows of a trial's folder.
pub type RawReader<'a> = &'a dyn Fn(&Path, &TrialSpec) -> Result<Measurement, TrialError>;

/// What a search found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The answer and the trials that were asked for.
    pub capacity: Capacity,
    /// What was stored before, judged.
    pub known: Vec<Known>,
    /// What was expected beforehand, in words.
    pub expected: Option<String>,
}

impl Bench<'_> {
    /// The folder of a system on a workload: its names, and what makes its trials comparable.
    pub fn folder(system: &str, workload: &str, spec: &TrialSpec, requests: usize) -> String {
        let family = family(spec, requests);
        format!("{}{}", Self::prefix(system, workload), &family[..8])
    }

    /// What the names of all such folders begin with.
    pub(super) fn prefix(system: &str, workload: &str) -> String {
        format!("{}_{}_", slug(system), slug(workload))
    }

    /// Takes the lease of its folder, and clears what a killed driver left there.
    ///
    /// # Errors
    /// When another process works there, or the folder cannot be written.
    pub fn lease(&self) -> Result<Lease, TrialError> {
        let folder = self.store.pair(&self.pair);
        fs_err::create_dir_all(&folder).map_err(StoreError::from)?;
        let lease = Lease::take(&folder)?;
        self.store.sweep(&self.pair)?;
        Ok(lease)
    }

    /// The trial that a probe asks for. The published rules meet the same arrivals at every rate, as their tools do; trials of
    /// the adaptive rule are independent of one another, so that its interval is honest.
    pub fn spec(&self, probe: &Probe, rule: Rule) -> TrialSpec {
        let rate = probe.rate.as_per_minute().to_string();
        let seed = match rule {
            Rule::Adaptive => seeds::derive(self.seed, &["adaptive", &rate, &probe.attempt.to_string()]),
            _ => self.seed,
        };
        TrialSpec {
            target: self.target.clone(),
            workload: self.requests.spec.clone(),
            rate: probe.rate,
            duration_s: self.requests.duration_s(probe.rate),
            loadgen: self.loadgen.clone(),
            seed,
            attempt: probe.attempt,
        }
    }

    /// The objective as the criterion of this bench.
    pub fn criterion(&self, objective: &Objective) -> SloMet {
        SloMet {
            objective: objective.clone(),
            failures: self.failures,
            curve: self.curve.clone(),
            limit_s: self.limit_s,
            sustained: self.sustained,
        }
    }

    /// Searches for the most load that meets an objective. What is stored is judged first, at whatever rate it was measured.
    ///
    /// # Errors
    /// Trouble that is not the service's answer; everything measured so far is stored.
    pub fn search(
        &self,
        objective: &Objective,
        rule: &SearchRule,
        begin: Begin,
        runner: impl TrialRunner,
        observer: &mut dyn Observer,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Found, TrialError> {
        let criterion = self.criterion(objective);
        let stored = self.stored(observer)?;
        let known = self.known(&criterion, &stored, observer);
        let read = |folder: &Path, spec: &TrialSpec| self.read(folder, spec);
        let mut runner = Memo::new(runner, stored, &read, false);
        let mut search = new_search(rule, begin, objective, &known);
        let spec = |probe: &Probe| self.spec(probe, rule.rule);
        let decided = |probe: &Probe| {
            let of_trial = spec(probe).id();
            // What was measured at this very rate is read, and its statistics with it; given rates are all measured.
            if matches!(rule.rule, Rule::Adaptive | Rule::Rates)
                || known.iter().any(|k| k.id == of_trial.as_str())
            {
                return None;
            }
            inferred(&known, probe.rate)
        };
        let experiment = Experiment {
            pair: &self.name,
            spec: &spec,
            decided: &decided,
            cooldown_s: 0.0,
            interrupted,
        };
        let capacity = capacity::find(search.as_mut(), &criterion, &mut runner, &experiment, observer)?;
        Ok(Found {
            capacity,
            known,
            expected: None,
        })
    }

    /// What is known where a search broke off.
    pub fn so_far(
        &self,
        objective: &Objective,
        rule: &SearchRule,
        begin: Begin,
        observer: &mut dyn Observer,
    ) -> Option<Found> {
        let stored = self.stored(observer).ok()?;
        let known = self.known(&self.criterion(objective), &stored, observer);
        let adaptive = SearchRule {
            rule: Rule::Adaptive,
            max_trials: Some(0),
            ..rule.clone()
        };
        let search = new_search(&adaptive, begin, objective, &known);
        let crate::search::Step::Done(answer) = search.next() else {
            return None;
        };
        Some(Found {
            capacity: Capacity {
                answer,
                evidence: Vec::new(),
                bracket: search.bracket(),
                decided: Vec::new(),
            },
            known,
            expected: None,
        })
    }

    /// What a stored trial measured: as it was packed, or, where that is missing or damaged, from its raw rows.
    fn read(&self, folder: &Path, spec: &TrialSpec) -> Result<Measurement, TrialError> {
        let packed = measured::read(&folder.join(measured::FILE_NAME));
        match (packed, self.raw) {
            (Ok(measurement), _) => Ok(measurement),
            (Err(error), Some(raw)) => raw(folder, spec).map_err(|_| error.into()),
            (Err(error), None) => Err(error.into()),
        }
    }

    /// What is stored and is what it says it is.
    fn stored(
        &self,
        observer: &mut dyn Observer,
    ) -> Result<BTreeMap<String, (PathBuf, Manifest)>, TrialError> {
        let mut stored = self.store.trials(&self.pair)?;
        stored.retain(|id, (folder, manifest)| {
            let is_itself = manifest.spec.id().as_str() == id;
            if !is_itself {
                let text = format!(
                    "{}: trial.json was changed; it counts as not measured",
                    folder.display()
                );
                observer.see(&Event::Note { text });
            }
            is_itself
        });
        Ok(stored)
    }

    /// Judges what is stored. A trial that cannot be read is told, and measured again when it is asked for.
    fn known(
        &self,
        criterion: &SloMet,
        stored: &BTreeMap<String, (PathBuf, Manifest)>,
        observer: &mut dyn Observer,
    ) -> Vec<Known> {
        let mut known = Vec::new();
        for (folder, manifest) in stored.values() {
            if manifest.client.void.is_some() {
                continue;
            }
            match self.read(folder, &manifest.spec) {
                Ok(measurement) => known.push(Known::of(folder, manifest, &measurement, criterion)),
                Err(error) => observer.see(&Event::Note {
                    text: format!("a stored trial is damaged and counts as not measured: {error}"),
                }),
            }
        }
        known
    }

    /// The manifest of a measured trial.
    pub fn manifest(
        &self,
        spec: &TrialSpec,
        probe: &Probe,
        measured: &Measurement,
        url: &str,
        slurm_job_id: Option<&str>,
    ) -> Manifest {
        Manifest {
            schema: SCHEMA,
            id: spec.id().to_string(),
            pair: self.pair.clone(),
            spec: spec.clone(),
            experiment_type: "CAPACITY".to_owned(),
            url: url.to_owned(),
            stage: probe.stage,
            goal: probe.goal,
            place: None,
            filter_buffer_s: 0,
            epoch_ns: measured.epoch_ns,
            offered_s: measured.offered_s,
            observed_s: measured.observed_s,
            stopped_early: measured.stopped_early,
            input_tokens: TokenCounts::default(),
            output_tokens: TokenCounts::default(),
            client: measured.client.clone(),
            mst_version: env!("CARGO_PKG_VERSION").to_owned(),
            host: host_name(),
            slurm_job_id: slurm_job_id.map(str::to_owned),
            server: None,
        }
    }

    /// The measurement behind a piece of evidence.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn measurement(folder: &Path) -> Result<Measurement, StoreError> {
        measured::read(&folder.join(measured::FILE_NAME))
    }
}

impl Found {
    /// Trials that were measured for this search.
    pub fn measured(&self) -> impl Iterator<Item = &Evidence> {
        self.capacity.evidence.iter().filter(|e| !e.reused)
    }

    /// Seconds of load that this search cost.
    pub fn load_s(&self) -> f64 {
        // A sum of nothing would be a negative zero.
        self.measured()
            .map(|e| e.load_s)
            .fold(0.0, |sum, load| sum + load)
    }
}

/// The search of a rule. What is stored bounds the adaptive one from the start.
pub(super) fn new_search(
    rule: &SearchRule,
    begin: Begin,
    objective: &Objective,
    known: &[Known],
) -> Box<dyn Search> {
    let start_qps = begin.qps;
    let midpoint = MidpointConfig {
        start: start_qps,
        max_iterations: rule.limit(),
        granularity_percent: rule.granularity_percent,
    };
    match rule.rule {
        Rule::Adaptive => {
            let mut search = Margins::new(MarginsConfig {
                start: Rate::per_second(start_qps),
                expected: begin.expected,
                limit: rule.limit(),
                tolerance: rule.tolerance,
                lowest: Rate::per_second(rule.min_qps),
                highest: rule.max_qps.map(Rate::per_second),
            });
            search.learn(known.iter().map(Known::observed));
            if rule.max_trials == Some(0) {
                search.end();
            }
            Box::new(search)
        }
        Rule::Etalon => Box::new(Etalon::new(midpoint)),
        Rule::Sarathi => {
            let delay = objective
                .limits()
                .into_iter()
                .find(|l| l.quantity == crate::slo::objective::Quantity::SchedulingDelay);
            Box::new(Sarathi::new(midpoint, delay.map_or(DELAY_S, |l| l.most)))
        }
        Rule::Veeksha => {
            let config = VeekshaConfig {
                start: start_qps,
                max: rule.max_qps.unwrap_or(100.0).max(start_qps),
                factor: rule.expansion_factor,
                max_iterations: rule.limit(),
                precision: i32::from(rule.precision),
                integers: false,
            };
            match Veeksha::new(config) {
                Ok(search) => Box::new(search),
                // The file was checked for all that it refuses.
                Err(_) => Box::new(Listed::new(Vec::new())),
            }
        }
        Rule::Vidur => Box::new(Vidur::new(VidurConfig {
            start: start_qps,
            max_iterations: rule.limit(),
            granularity_percent: rule.granularity_percent,
            lowest: rule.min_qps,
        })),
        Rule::Rates => Box::new(Listed::new(
            rule.rates.iter().copied().map(Rate::per_second).collect(),
        )),
    }
}

/// What all trials of a bench have in common, whatever their rate, seed and place in a search.
fn family(spec: &TrialSpec, requests: usize) -> String {
    let common = TrialSpec {
        rate: Rate::per_minute(0.0),
        duration_s: requests as f64,
        seed: 0,
        attempt: 0,
        ..spec.clone()
    };
    let id: TrialId = common.id();
    id.to_string()
}

/// A name as a folder can bear it.
fn slug(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '.' || c == '-' {
                c
            } else {
                '-'
            }
        })
        .take(40)
        .collect();
    plain.trim_matches(['-', '.']).to_owned()
}
