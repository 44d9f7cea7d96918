//! The adaptive search of a pair: all that is stored is recalled first, then it goes on where it was.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Campaign, neighbours, rules};
use crate::capacity::{self, Capacity, Evidence};
use crate::criterion::{Criterion, Earlier};
use crate::report::{Event, Observer};
use crate::runner::{Judged, Trial, TrialError, TrialRunner};
use crate::search::{Adaptive, Goal, Observed, Probe, Search};
use crate::settings::Experiment;
use crate::store::{Conditions, Manifest, SearchFile};
use crate::trial::{Measurement, TrialSpec};

/// Reads the measurement of a stored trial.
type Reader<'a> = &'a dyn Fn(&Path, &TrialSpec) -> Result<Measurement, TrialError>;

/// What the search of one pair works with.
pub(super) struct Pair<'a> {
    pub(super) campaign: &'a Campaign<'a>,
    pub(super) experiment: &'a Experiment,
    pub(super) criterion: &'a dyn Criterion,
    pub(super) read: Reader<'a>,
    pub(super) begun: &'a SearchFile,
    /// The place of the trial that is asked for.
    pub(super) place: &'a Cell<Option<u32>>,
}

impl Campaign<'_> {
    /// What all trials of an experiment have in common.
    pub(super) fn conditions(&self, experiment: &Experiment) -> Conditions {
        Conditions::of(&self.trials.spec(
            experiment,
            &Probe {
                rate: experiment.start,
                stage: 1,
                attempt: 0,
                pooled: false,
                goal: Goal::default(),
                duration_s: None,
            },
        ))
    }
}

impl Pair<'_> {
    /// Finds the capacity: recalls what is stored, measures what is missing. An answer that was not to be held for a full
    /// DURATION is, where it contradicts the other pairs.
    pub(super) fn find(
        &self,
        stored: BTreeMap<String, (PathBuf, Manifest)>,
        runner: &mut dyn TrialRunner,
        observer: &mut dyn Observer,
    ) -> Result<Capacity, TrialError> {
        if let Some(prior) = &self.begun.prior {
            let text = neighbours::in_words(self.begun, prior);
            observer.see(&Event::Note { text });
        }
        let mut confirm = self.begun.confirm;
        let mut search = self.search(confirm);
        let mut evidence = self.recall(stored, &mut search, runner, observer)?;
        loop {
            let found = self.go_on(&mut search, &evidence, runner, observer)?;
            let Capacity {
                answer,
                evidence: more,
                bracket,
                ..
            } = found;
            evidence.extend(more);
            if !confirm && self.begun.expected().is_contradicted_by(&answer) {
                confirm = true;
                let text =
                    "the answer is not what the other pairs let expect: it is confirmed at full length";
                observer.see(&Event::Note {
                    text: text.to_owned(),
                });
                search = self.search(confirm);
                for known in &evidence {
                    search.recall(&observed(known));
                }
                continue;
            }
            return Ok(Capacity {
                answer,
                evidence,
                bracket,
                decided: Vec::new(),
            });
        }
    }

    fn search(&self, confirm: bool) -> Adaptive {
        rules::adaptive(self.campaign.settings, self.experiment, self.begun.prior, confirm)
    }

    /// Judges every stored trial that measured the same thing, in the order in which they were asked for, and lets the search
    /// learn of it.
    fn recall(
        &self,
        stored: BTreeMap<String, (PathBuf, Manifest)>,
        search: &mut Adaptive,
        runner: &mut dyn TrialRunner,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Evidence>, TrialError> {
        let mut stored: Vec<(PathBuf, Manifest)> = stored.into_values().collect();
        stored.sort_by(|(_, a), (_, b)| (a.place, a.epoch_ns, &a.id).cmp(&(b.place, b.epoch_ns, &b.id)));
        self.place.set(stored.last().and_then(|(_, last)| last.place));
        let mut evidence = Vec::new();
        for (folder, manifest) in stored {
            let spec = &manifest.spec;
            if manifest.client.void.is_some()
                || !self.begun.conditions.hold_for(spec, &self.experiment.classes)
            {
                continue;
            }
            let measurement = match (self.read)(&folder, spec) {
                Ok(measurement) => measurement,
                Err(error) => {
                    let text = format!("a stored trial is damaged and left out: {error}");
                    observer.see(&Event::Note { text });
                    continue;
                }
            };
            let verdict = self.criterion.judge(&measurement, &Earlier::default());
            let probe = Probe {
                rate: spec.rate,
                stage: manifest.stage,
                attempt: spec.attempt,
                pooled: false,
                goal: manifest.goal,
                duration_s: Some(spec.duration_s),
            };
            let mut known = Evidence {
                id: spec.id(),
                probe,
                offered: measurement.offered(),
                load_s: measurement.offered_s,
                verdict,
                folder: folder.clone(),
                reused: true,
            };
            search.recall(&observed(&known));
            let (bracket, stopped_early) = (search.bracket(), measurement.stopped_early);
            let trial = Trial {
                id: known.id.clone(),
                measurement,
                folder,
                reused: true,
            };
            // It may lie in staging still, complete but not moved when its driver was killed.
            let judged = Judged {
                probe: &probe,
                verdict: &known.verdict,
                bracket: &bracket,
            };
            known.folder = runner.settle(&trial, &judged)?;
            observer.see(&Event::TrialJudged {
                pair: self.experiment.name.clone(),
                probe,
                offered: known.offered,
                verdict: Box::new(known.verdict.clone()),
                bracket,
                left: search.left(),
                reused: true,
                stopped_early,
                folder: Some(known.folder.display().to_string()),
            });
            evidence.push(known);
        }
        Ok(evidence)
    }

    /// Measures until the search is done. No new trial takes the identity of one that is known.
    fn go_on(
        &self,
        search: &mut Adaptive,
        known: &[Evidence],
        runner: &mut dyn TrialRunner,
        observer: &mut dyn Observer,
    ) -> Result<Capacity, TrialError> {
        let known: BTreeMap<String, u32> = known
            .iter()
            .map(|e| (e.id.to_string(), e.probe.attempt))
            .collect();
        let before = known.len() as u32;
        let taken = RefCell::new(known);
        let spec = |probe: &Probe| {
            let mut probe = *probe;
            loop {
                let spec = self.campaign.trials.spec(self.experiment, &probe);
                let id = spec.id().to_string();
                if !taken.borrow().contains_key(&id) {
                    taken.borrow_mut().insert(id, probe.attempt);
                    self.place.set(Some(self.place.get().unwrap_or(0) + 1));
                    return spec;
                }
                probe.attempt += 1;
            }
        };
        let mut found = capacity::find(
            search,
            self.criterion,
            runner,
            &capacity::Experiment {
                pair: &self.experiment.name,
                spec: &spec,
                decided: &|_| None,
                cooldown_s: self.campaign.settings.cooldown.as_secs_f64(),
                interrupted: self.campaign.interrupted,
            },
            &mut CountedFrom { before, observer },
        )?;
        let taken = taken.into_inner();
        for new in &mut found.evidence {
            if let Some(attempt) = taken.get(new.id.as_str()) {
                new.probe.attempt = *attempt;
            }
        }
        Ok(found)
    }
}

/// A trial as a search learns of it.
fn observed(known: &Evidence) -> Observed<'_> {
    Observed {
        probe: &known.probe,
        verdict: &known.verdict,
        offered: known.offered,
        load_s: known.load_s,
    }
}

/// Counts the trials that were recalled with those that are run.
struct CountedFrom<'a> {
    before: u32,
    observer: &'a mut dyn Observer,
}

impl Observer for CountedFrom<'_> {
    fn see(&mut self, event: &Event) {
        match event {
            Event::TrialStarted { number, .. } => {
                let mut event = event.clone();
                if let Event::TrialStarted { number: shown, .. } = &mut event {
                    *shown = self.before + number;
                }
                self.observer.see(&event);
            }
            other => self.observer.see(other),
        }
    }
}
