//! One system on one workload: its trials, those that are stored and those to come, and the searches that share them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::file::{Rule, SearchRule};
use super::known::{Known, inferred};
use super::requests::Requests;
use crate::capacity::{self, Capacity, Evidence, Experiment};
use crate::criterion::slo_met::SloMet;
use crate::report::{Event, Observer, Observers};
use crate::runner::memo::Memo;
use crate::runner::{TrialError, TrialRunner};
use crate::search::{
    Answer, Etalon, Listed, Margins, MarginsConfig, MidpointConfig, Prior, Probe, Sarathi, Search, Step,
    Veeksha, VeekshaConfig, Vidur, VidurConfig,
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
    /// Where the endpoint is now, where its address was given.
    pub url: Option<String>,
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

/// A search that broke off, and what was known by then.
#[derive(Debug)]
pub struct Broken {
    /// What came between.
    pub error: Box<TrialError>,
    /// What trials tell all the same.
    pub so_far: Option<Box<Found>>,
}

impl Broken {
    /// With what is known.
    pub fn new(error: TrialError, so_far: Option<Found>) -> Self {
        Self {
            error: Box::new(error),
            so_far: so_far.map(Box::new),
        }
    }
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
            workload: self.requests.spec(seed),
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
    ) -> Result<Found, Broken> {
        let criterion = self.criterion(objective);
        let mut stored = self.stored(observer).map_err(|error| Broken::new(error, None))?;
        let known = self.known(&criterion, &stored, observer);
        // What was told to be damaged is measured again.
        stored.retain(|id, _| known.iter().any(|known| known.id == *id));
        let read = |folder: &Path, manifest: &Manifest| self.read(folder, manifest);
        let mut runner = Memo::new(runner, stored, &read, false);
        let spec = |probe: &Probe| self.spec(probe, rule.rule);
        let mut search: Box<dyn Search> = match rule.rule {
            Rule::Adaptive => Box::new(self.adaptive(rule, begin, &known)),
            _ => published(rule, begin.qps, objective),
        };
        let decided = |probe: &Probe| {
            // Independent trials and given rates are all measured.
            if matches!(rule.rule, Rule::Adaptive | Rule::Rates) {
                return None;
            }
            // What was measured at this very rate is read, and its statistics with it.
            let of_trial = spec(probe).id();
            let is_stored = known.iter().any(|k| k.id == of_trial.as_str());
            (!is_stored).then(|| inferred(&known, probe.rate)).flatten()
        };
        let experiment = Experiment {
            pair: &self.name,
            spec: &spec,
            decided: &decided,
            cooldown_s: 0.0,
            interrupted,
        };
        let found = capacity::find(search.as_mut(), &criterion, &mut runner, &experiment, observer);
        let capacity = found.map_err(|error| {
            let before = known.iter().map(|known| known.id.clone()).collect();
            Broken::new(error, self.so_far(objective, rule, begin, &before))
        })?;
        Ok(Found {
            capacity,
            known,
            expected: None,
        })
    }

    /// The adaptive search. What is stored bounds it from the start; one that was carried out before is over.
    pub(super) fn adaptive(&self, rule: &SearchRule, begin: Begin, known: &[Known]) -> Margins {
        let config = margins(rule, begin);
        let mut again = Margins::new(config);
        let over = loop {
            match again.next() {
                Step::Done(answer) => break Some(answer.reason),
                Step::Probe(probe) => {
                    let id = self.spec(&probe, rule.rule).id();
                    let Some(known) = known.iter().find(|known| known.id == id.as_str()) else {
                        break None;
                    };
                    again.observe(&known.observed());
                }
            }
        };
        let mut search = Margins::new(config);
        search.learn(known.iter().map(Known::observed));
        if let Some(reason) = over {
            search.end(&reason);
        }
        search
    }

    /// What is known where a search broke off; `before` are the trials that were stored when it began.
    fn so_far(
        &self,
        objective: &Objective,
        rule: &SearchRule,
        begin: Begin,
        before: &BTreeSet<String>,
    ) -> Option<Found> {
        // What is wrong with stored trials was told before.
        let stored = self.stored(&mut Observers::default()).ok()?;
        let mut known = self.known(&self.criterion(objective), &stored, &mut Observers::default());
        for known in &mut known {
            known.reused = before.contains(&known.id);
        }
        let mut search = Margins::new(margins(rule, begin));
        search.learn(known.iter().map(Known::observed));
        search.end("it broke off");
        let bracket = search.bracket();
        let answer = match (search.next(), rule.rule) {
            (Step::Done(answer), Rule::Adaptive) => answer,
            // The published rules know the best rate that passed and the lowest that failed.
            (Step::Done(answer), _) => Answer {
                rate: bracket.largest_true,
                low: bracket.largest_true,
                high: bracket.smallest_false,
                ..answer
            },
            (Step::Probe(_), _) => return None,
        };
        Some(Found {
            capacity: Capacity {
                answer,
                evidence: Vec::new(),
                bracket,
                decided: Vec::new(),
            },
            known,
            expected: None,
        })
    }

    /// What a stored trial measured: as it was packed, or, where that is missing or damaged, from its raw rows.
    fn read(&self, folder: &Path, manifest: &Manifest) -> Result<Measurement, TrialError> {
        let path = folder.join(measured::FILE_NAME);
        let packed = measured::read(&path).and_then(|packed| {
            measured::is_of(&path, &packed, manifest)?;
            Ok(packed)
        });
        match (packed, self.raw) {
            (Ok(measurement), _) => Ok(measurement),
            (Err(error), Some(raw)) => raw(folder, &manifest.spec).map_err(|_| error.into()),
            (Err(error), None) => Err(error.into()),
        }
    }

    /// What is stored and is what it says it is.
    fn stored(
        &self,
        observer: &mut dyn Observer,
    ) -> Result<BTreeMap<String, (PathBuf, Manifest)>, TrialError> {
        let (mut stored, damaged) = self.store.trials_and_damaged(&self.pair)?;
        for error in damaged {
            let text = format!("a stored trial counts as not measured: {error}");
            observer.see(&Event::Note { text });
        }
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
        let elsewhere = |url: &&String| self.url.as_ref().is_some_and(|now| now != *url);
        let urls: BTreeSet<&String> = stored.values().map(|(_, m)| &m.url).filter(elsewhere).collect();
        for url in urls {
            let text = format!(
                "{}: trials of {url} are stored and count, as the port is not a part of what is measured; if that was another \
                 server, set TARGET_LABEL in its settings",
                self.name
            );
            observer.see(&Event::Note { text });
        }
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
            match self.read(folder, manifest) {
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
        let broken_off = self.known.iter().filter(|known| !known.reused);
        // A sum of nothing would be a negative zero.
        self.measured()
            .map(|e| e.load_s)
            .chain(broken_off.map(|known| known.load_s))
            .fold(0.0, |sum, load| sum + load)
    }
}

/// Where the adaptive search begins and when it ends.
pub(super) fn margins(rule: &SearchRule, begin: Begin) -> MarginsConfig {
    MarginsConfig {
        start: Rate::per_second(begin.qps),
        expected: begin.expected,
        limit: rule.limit(),
        tolerance: rule.tolerance,
        lowest: Rate::per_second(rule.min_qps),
        highest: rule.max_qps.map(Rate::per_second),
    }
}

/// The search of a published rule, or of given rates.
fn published(rule: &SearchRule, start_qps: f64, objective: &Objective) -> Box<dyn Search> {
    let midpoint = MidpointConfig {
        start: start_qps,
        max_iterations: rule.limit(),
        granularity_percent: rule.granularity_percent,
    };
    match rule.rule {
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
        // The adaptive one knows what is stored, and is made where that is.
        Rule::Rates | Rule::Adaptive => Box::new(Listed::new(
            rule.rates.iter().copied().map(Rate::per_second).collect(),
        )),
    }
}

/// What all trials of a bench have in common, whatever their rate and place in a search; its seed is the one that theirs are
/// derived from.
fn family(spec: &TrialSpec, requests: usize) -> String {
    let common = TrialSpec {
        rate: Rate::per_minute(0.0),
        duration_s: requests as f64,
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
