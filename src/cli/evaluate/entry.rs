//! One trial of the answer.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::criterion::drift::Drift;
use crate::criterion::welch::{LegacyInput, LegacyReport, evaluate};
use crate::criterion::{Criterion, Earlier, Ruling};
use crate::store::folder::{Source, StoredTrial};
use crate::trial::Response;
use crate::units::Rate;

use super::EvaluationName;

/// An object of the JSON answer; other programs rely on these names. `null` where a value does not exist.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    /// Of the whole pipeline; `null` only where the trial could not be read.
    pub(super) ruling: Option<Ruling>,
    pub(super) test_ruling: Option<Ruling>,
    pub(super) gate_median_per_minute: Option<f64>,
    pub(super) gate_passed: Option<bool>,
    pub(super) welch_t: Option<f64>,
    pub(super) welch_df: Option<f64>,
    pub(super) welch_p: Option<f64>,
    pub(super) cohens_d: Option<f64>,
    pub(super) tost_p: Option<f64>,
    pub(super) boot_diff_ms: Option<f64>,
    pub(super) boot_ci_ms: Option<[f64; 2]>,
    pub(super) success_rate_percent: Option<f64>,
    /// There with `--evaluation drift` alone.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) drift: Option<DriftNumbers>,
    pub(super) evaluation: &'static str,
    pub(super) source: Option<&'static str>,
    pub(super) req_min: Option<f64>,
    pub(super) duration_s: Option<f64>,
    pub(super) requests: usize,
    pub(super) n_first: usize,
    pub(super) n_second: usize,
    /// Why, the deciding reason first.
    pub(super) reasons: Vec<String>,
    pub(super) error: Option<String>,
    /// Both rules, for people.
    #[serde(skip)]
    pub(super) by_welch: Option<Ruling>,
    #[serde(skip)]
    pub(super) by_drift: Option<Ruling>,
}

/// What the drift criterion adds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct DriftNumbers {
    pub(super) drift: Option<f64>,
    pub(super) drift_interval: Option<[f64; 2]>,
}

/// How trials are judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judge {
    pub(super) evaluation: EvaluationName,
    pub(super) success_rate_percent: f64,
    /// Whether the other rule is asked as well.
    pub(super) both: bool,
}

/// A ruling with its reasons.
struct Judged {
    ruling: Ruling,
    numbers: DriftNumbers,
    reasons: Vec<String>,
}

impl EvaluationName {
    /// As settings and files name it.
    fn name(self) -> &'static str {
        match self {
            Self::Drift => "drift",
            Self::Welch => "welch",
        }
    }
}

impl Judge {
    /// Judges a trial.
    pub(super) fn entry(&self, trial: &StoredTrial) -> Entry {
        let welch = self.welch(trial);
        let wanted = self.both || self.evaluation == EvaluationName::Drift;
        let drift = wanted.then(|| self.drift(trial));
        let mut entry = Entry::of(trial, self.evaluation, &welch);
        entry.by_drift = drift.as_ref().map(|d| d.ruling);
        if let Some(drift) = drift {
            entry.drift = Some(drift.numbers);
            if self.evaluation == EvaluationName::Drift {
                entry.ruling = Some(drift.ruling);
                entry.test_ruling = Some(drift.ruling);
                entry.reasons = drift.reasons;
            }
        }
        if trial.is_empty() {
            entry.reasons = vec!["there are no requests in it".to_owned()];
        }
        entry
    }

    /// The older rule. The completions are those of the gate; halves alone have none.
    fn welch(&self, trial: &StoredTrial) -> LegacyReport {
        let responded: Vec<i64> = trial.responses.iter().map(Response::received_s).collect();
        let mut report = evaluate(&LegacyInput {
            halves: &trial.halves,
            responded: &responded,
            req_min: trial.asked.map(Rate::as_per_minute),
            success_rate_percent: trial.success_rate_percent,
            success_threshold: self.success_rate_percent,
        });
        if trial.measurement.as_ref().is_some_and(|m| m.stopped_early) {
            report.ruling = Ruling::Unsure;
            report.test_ruling = Ruling::Unsure;
            let why = "the trial was stopped early, and this rule needs its full length";
            report.reasons.insert(0, why.to_owned());
        }
        report
    }

    fn drift(&self, trial: &StoredTrial) -> Judged {
        let nothing = DriftNumbers {
            drift: None,
            drift_interval: None,
        };
        let Some(measurement) = &trial.measurement else {
            let empty = trial.is_empty();
            return Judged {
                ruling: if empty {
                    Ruling::Unsustainable
                } else {
                    Ruling::Unsure
                },
                numbers: nothing,
                reasons: vec!["halves alone do not tell when requests were sent".to_owned()],
            };
        };
        let verdict = Drift::new(self.success_rate_percent).judge(measurement, &Earlier::default());
        let numbers = verdict.margin.map_or(nothing, |margin| DriftNumbers {
            drift: Some(margin.value),
            drift_interval: Some([margin.low, margin.high]),
        });
        Judged {
            ruling: verdict.ruling,
            numbers,
            reasons: verdict.reasons,
        }
    }
}

impl Entry {
    /// As the older rule sees a trial.
    fn of(trial: &StoredTrial, evaluation: EvaluationName, welch: &LegacyReport) -> Self {
        Self {
            path: trial.path.clone(),
            ruling: Some(welch.ruling),
            test_ruling: Some(welch.test_ruling),
            gate_median_per_minute: welch.gate_median_per_minute,
            gate_passed: welch.gate_passed,
            welch_t: welch.welch_t,
            welch_df: welch.welch_df,
            welch_p: welch.welch_p,
            cohens_d: welch.cohens_d,
            tost_p: welch.tost_p,
            boot_diff_ms: welch.boot_diff_ms,
            boot_ci_ms: welch.boot_ci_ms,
            success_rate_percent: welch.success_rate_percent,
            drift: None,
            evaluation: evaluation.name(),
            source: Some(match trial.source {
                Source::Rows => "rows",
                Source::Results => "results",
                Source::Output => "output",
                Source::Halves => "halves",
            }),
            req_min: trial.asked.map(Rate::as_per_minute),
            duration_s: trial.duration_s,
            requests: trial.responses.len(),
            n_first: welch.n_first,
            n_second: welch.n_second,
            reasons: welch.reasons.clone(),
            error: None,
            by_welch: Some(welch.ruling),
            by_drift: None,
        }
    }

    /// A trial that could not be read.
    pub(super) fn failed(path: &Path, evaluation: EvaluationName, error: &str) -> Self {
        Self {
            path: path.to_owned(),
            ruling: None,
            test_ruling: None,
            gate_median_per_minute: None,
            gate_passed: None,
            welch_t: None,
            welch_df: None,
            welch_p: None,
            cohens_d: None,
            tost_p: None,
            boot_diff_ms: None,
            boot_ci_ms: None,
            success_rate_percent: None,
            drift: (evaluation == EvaluationName::Drift).then_some(DriftNumbers {
                drift: None,
                drift_interval: None,
            }),
            evaluation: evaluation.name(),
            source: None,
            req_min: None,
            duration_s: None,
            requests: 0,
            n_first: 0,
            n_second: 0,
            reasons: Vec::new(),
            error: Some(error.to_owned()),
            by_welch: None,
            by_drift: None,
        }
    }
}
