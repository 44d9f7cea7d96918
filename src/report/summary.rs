//! From the trials of a results folder to one line a pair. Takes what was parsed, returns a model, prints nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::answer::{self, Origin};
use super::found::FoundTrial;
use super::pair::PairName;
use super::words;
use crate::criterion::Ruling;
use crate::search::Status;
use crate::store::CapacityFile;
use crate::units::{Plain, Rate};

/// Names an experiment within a report.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Label of the run.
    pub run: String,
    /// The pair or mix.
    pub pair: PairName,
    /// `MST` or `MIT`.
    pub kind: String,
}

/// What is known of one pair of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct PairSummary {
    /// Its name.
    pub key: Key,
    /// The highest rate that counts as sustainable.
    pub rate: Option<Rate>,
    /// Lower end of the interval.
    pub low: Option<Rate>,
    /// Upper end of the interval.
    pub high: Option<Rate>,
    /// How well it is known.
    pub status: Status,
    /// Where the answer comes from.
    pub origin: Origin,
    /// The answer in a sentence, where an adaptive search gave it.
    pub words: Option<String>,
    /// Seconds for which the answer was sustained in one trial, where that is known.
    pub confirmed_s: Option<f64>,
    /// Why the search ended, where that is stored.
    pub reason: Option<String>,
    /// Criteria that judged, joined by ` + `; `None` where no file names one.
    pub criterion: Option<String>,
    /// Largest rate that each criterion rules sustainable, where trials hold the rulings of more than one.
    pub by_criterion: BTreeMap<String, Option<Rate>>,
    /// The embedded endpoint's true capacity.
    pub true_capacity: Option<Rate>,
    /// Seconds of load of all trials whose duration is known; `None` where none is.
    pub load_s: Option<f64>,
    /// Trials in order of time.
    pub trials: Vec<FoundTrial>,
    /// What a reader should know before trusting the number.
    pub warnings: Vec<String>,
}

impl PairSummary {
    /// The answer as far as it may be compared: not a rate that failed, which a search that found none ends with.
    pub fn sustained(&self) -> Option<Rate> {
        self.rate
            .filter(|_| self.low.is_some() || self.origin != Origin::FinishedRate)
    }
}

/// Summarises trials by run and pair, in the order of [`Key`]. `capacities` are the answers that were stored.
pub fn summarise(trials: Vec<FoundTrial>, capacities: &BTreeMap<Key, CapacityFile>) -> Vec<PairSummary> {
    let mut groups: BTreeMap<Key, Vec<FoundTrial>> =
        capacities.keys().map(|key| (key.clone(), Vec::new())).collect();
    for trial in trials {
        let key = Key {
            run: trial.run.clone(),
            pair: trial.pair.clone(),
            kind: trial.kind.clone(),
        };
        groups.entry(key).or_default().push(trial);
    }
    groups
        .into_iter()
        .map(|(key, mut trials)| {
            trials.sort_by_key(FoundTrial::order);
            let stored = capacities.get(&key);
            pair(key, trials, stored)
        })
        .collect()
}

fn pair(key: Key, mut trials: Vec<FoundTrial>, stored: Option<&CapacityFile>) -> PairSummary {
    if let Some(stored) = stored {
        for line in &stored.evidence {
            for trial in trials.iter_mut().filter(|t| t.id.as_deref() == Some(&line.id)) {
                trial.offered = Some(line.offered);
                trial.judged_for(&stored.evaluation, line.ruling, line.margin);
            }
        }
    }
    let counted = answer::from_trials(&trials);
    let load_s = trials.iter().filter_map(|t| t.load_s).reduce(|a, b| a + b);
    let mut summary = PairSummary {
        rate: counted.rate,
        low: counted.low,
        high: counted.high,
        status: counted.status,
        origin: counted.origin,
        words: None,
        confirmed_s: None,
        reason: trials.iter().rev().find_map(|t| t.termination.clone()),
        criterion: criteria(&trials),
        by_criterion: by_criterion(&trials),
        true_capacity: None,
        load_s,
        warnings: Vec::new(),
        trials,
        key,
    };
    if let Some(stored) = stored {
        summary.rate = stored.answer.rate;
        summary.low = stored.answer.low;
        summary.high = stored.answer.high;
        summary.status = stored.answer.status;
        summary.origin = Origin::CapacityFile;
        summary.reason = Some(stored.answer.reason.clone()).filter(|r| !r.is_empty());
        summary.criterion = Some(stored.evaluation.clone());
        summary.true_capacity = stored.true_capacity;
        summary.confirmed_s = stored.answer.confirmed_s;
        if stored.search == "adaptive" {
            let rulings = stored.evidence.iter().map(|line| (line.offered, line.ruling));
            let failed = words::lowest_failed(&stored.answer, rulings);
            summary.words = Some(words::sentence(&stored.answer, failed));
        }
        if summary.trials.is_empty() {
            summary.load_s = Some(stored.load_seconds);
        }
    }
    summary.warnings = warnings(&summary);
    summary
}

/// The criteria that the trials name.
fn criteria(trials: &[FoundTrial]) -> Option<String> {
    let names: BTreeSet<&str> = trials.iter().filter_map(|t| t.criterion.as_deref()).collect();
    let joined = names.into_iter().collect::<Vec<_>>().join(" + ");
    (!joined.is_empty()).then_some(joined)
}

/// Largest sustainable rate by criterion, over the trials that hold more than one ruling.
fn by_criterion(trials: &[FoundTrial]) -> BTreeMap<String, Option<Rate>> {
    let mut best: BTreeMap<String, Option<Rate>> = BTreeMap::new();
    for trial in trials.iter().filter(|t| t.rulings.len() > 1) {
        for (name, ruling) in &trial.rulings {
            let rate = best.entry(name.clone()).or_default();
            if *ruling == Ruling::Sustainable {
                *rate = answer::largest(rate.iter().copied().chain([trial.rate]));
            }
        }
    }
    best
}

fn warnings(summary: &PairSummary) -> Vec<String> {
    let mut told = Vec::new();
    let differing: Vec<String> = summary
        .trials
        .iter()
        .filter(|t| differ(t))
        .map(|t| {
            let rulings: Vec<String> = t
                .rulings
                .iter()
                .map(|(name, ruling)| format!("{name} {}", ruling_word(Some(*ruling))))
                .collect();
            format!("{} ({})", Plain(t.rate.as_per_minute()), rulings.join(", "))
        })
        .collect();
    if !differing.is_empty() {
        told.push(format!(
            "the criteria differ on {} of {} trials, req/min: {}",
            differing.len(),
            summary.trials.len(),
            differing.join("; ")
        ));
    }
    if summary.origin == Origin::FinishedRate && summary.low.is_none() {
        told.push(
            "the search ended without a sustainable rate: the number is the last rate tried, which failed"
                .to_owned(),
        );
    }
    if summary.origin == Origin::LargestTrue
        || (summary.origin == Origin::LargestSustained && summary.trials.iter().any(|t| t.finished.is_some()))
    {
        told.push("no trial is marked FINISHED: the search was cut off".to_owned());
    }
    if let Some(low) = summary.low {
        let mut below: Vec<f64> = answer::rates(&summary.trials, Ruling::Unsustainable)
            .filter(|rate| *rate < low)
            .map(Rate::as_per_minute)
            .collect();
        below.sort_by(f64::total_cmp);
        below.dedup();
        if !below.is_empty() {
            let list: Vec<String> = below.iter().map(|r| Plain(*r).to_string()).collect();
            told.push(format!(
                "rates below the answer were judged unsustainable as well, req/min: {}",
                list.join(", ")
            ));
        }
    }
    told
}

/// Whether a trial's criteria contradict each other; `unsure` contradicts nobody.
pub fn differ(trial: &FoundTrial) -> bool {
    let decided: BTreeSet<bool> = trial
        .rulings
        .values()
        .filter(|r| **r != Ruling::Unsure)
        .map(|r| *r == Ruling::Sustainable)
        .collect();
    decided.len() > 1
}

/// A ruling in a word; `unknown` where there is none.
pub fn ruling_word(ruling: Option<Ruling>) -> &'static str {
    match ruling {
        Some(Ruling::Sustainable) => "sustainable",
        Some(Ruling::Unsustainable) => "unsustainable",
        Some(Ruling::Unsure) => "unsure",
        None => "unknown",
    }
}

/// A status as the files spell it.
pub fn status_word(status: Status) -> &'static str {
    match status {
        Status::Bracketed => "bracketed",
        Status::LowerBoundOnly => "lower-bound-only",
        Status::UpperBoundOnly => "upper-bound-only",
        Status::Estimated => "estimated",
        Status::Undecided => "undecided",
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::trial;
    use super::*;
    use crate::search::Answer;
    use Ruling::{Sustainable as T, Unsustainable as F};

    #[test]
    fn a_stored_answer_outranks_the_rows() {
        let trials = vec![trial(96.0, F), trial(64.0, T)];
        let key = Key {
            run: "r".into(),
            pair: trials[0].pair.clone(),
            kind: "MST".into(),
        };
        let stored = CapacityFile {
            schema: 1,
            pair: "16_16".into(),
            experiment_type: "MST".into(),
            evaluation: "drift".into(),
            search: "stages".into(),
            answer: Answer {
                rate: Some(Rate::per_minute(80.0)),
                low: Some(Rate::per_minute(80.0)),
                high: Some(Rate::per_minute(88.0)),
                status: Status::Undecided,
                reason: "narrow enough".into(),
                termination_code: String::new(),
                confirmed_s: None,
            },
            load_seconds: 7.0,
            true_capacity: Some(Rate::per_minute(83.0)),
            duration_s: None,
            success_rate_percent: None,
            conditions: None,
            prior: None,
            evidence: vec![],
        };
        let all = summarise(trials, &BTreeMap::from([(key, stored)]));
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].rate, Some(Rate::per_minute(80.0)));
        assert_eq!(
            (all[0].status, all[0].origin),
            (Status::Undecided, Origin::CapacityFile)
        );
        assert_eq!(all[0].load_s, Some(120.0));
        assert_eq!(all[0].trials[0].rate, Rate::per_minute(64.0), "in order of time");
        assert!(all[0].warnings.is_empty(), "{:?}", all[0].warnings);
    }

    #[test]
    fn a_stored_trial_that_another_search_used_has_both_rulings() {
        let mut used = trial(64.0, T);
        used.id = Some("a".into());
        used.criterion = Some("drift".into());
        used.rulings = BTreeMap::from([("drift".to_owned(), T)]);
        used.judged_for("drift", T, None);
        assert_eq!(used.rulings.len(), 1);
        used.judged_for("welch", F, None);
        assert_eq!((used.ruling, used.criterion.as_deref()), (Some(F), Some("welch")));
        assert!(differ(&used));
        used.judged_for("plateau", T, None);
        assert_eq!(used.rulings.len(), 2, "another question");
    }

    #[test]
    fn contradictions_are_warned_of() {
        let mut first = trial(64.0, T);
        first.rulings = BTreeMap::from([("drift".to_owned(), T), ("welch".to_owned(), F)]);
        let mut second = trial(80.0, T);
        second.rulings = BTreeMap::from([("drift".to_owned(), T), ("welch".to_owned(), Ruling::Unsure)]);
        let all = summarise(vec![first, second, trial(32.0, F)], &BTreeMap::new());
        assert_eq!(all[0].warnings.len(), 2, "{:?}", all[0].warnings);
        assert!(all[0].warnings[0].contains("differ on 1 of 3 trials"));
        assert!(all[0].warnings[0].contains("64 (drift sustainable, welch unsustainable)"));
        assert!(all[0].warnings[1].ends_with("req/min: 32"));
        assert_eq!(all[0].by_criterion["drift"], Some(Rate::per_minute(80.0)));
        assert_eq!(all[0].by_criterion["welch"], None);
    }

    #[test]
    fn kinds_and_runs_are_kept_apart() {
        let mut mit = trial(64.0, T);
        mit.kind = "MIT".into();
        let mut other = trial(64.0, T);
        other.run = "s".into();
        let all = summarise(vec![trial(32.0, T), mit, other], &BTreeMap::new());
        assert_eq!(all.len(), 3);
    }
}
