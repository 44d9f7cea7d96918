//! Stored trials, judged by the objective of today.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::criterion::slo_met::SloMet;
use crate::criterion::{Criterion, Earlier, Goal, Ruling, Verdict};
use crate::search::{Observed, Probe};
use crate::store::Manifest;
use crate::trial::Measurement;
use crate::units::Rate;

/// A stored trial and what the objective says of it.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its identity.
    pub id: String,
    /// Where it lies.
    pub folder: PathBuf,
    /// The rate that was offered.
    pub offered: Rate,
    /// The verdict.
    pub verdict: Verdict,
    /// Whether it was stored before the search began.
    pub reused: bool,
    /// Seconds of load.
    pub load_s: f64,
    probe: Probe,
}

impl Known {
    /// Judges a stored trial.
    pub(super) fn of(
        folder: &Path,
        manifest: &Manifest,
        measurement: &Measurement,
        criterion: &SloMet,
    ) -> Self {
        Self {
            id: manifest.id.clone(),
            folder: folder.to_owned(),
            offered: measurement.offered(),
            verdict: criterion.judge(measurement, &Earlier::default()),
            probe: Probe {
                rate: manifest.spec.rate,
                stage: manifest.stage,
                attempt: manifest.spec.attempt,
                pooled: false,
                goal: Goal::Decide,
                duration_s: None,
            },
            reused: true,
            load_s: measurement.offered_s,
        }
    }

    /// As a search learns of it.
    pub(super) fn observed(&self) -> Observed<'_> {
        Observed {
            probe: &self.probe,
            verdict: &self.verdict,
            offered: self.offered,
            load_s: self.load_s,
        }
    }

    /// The rate that was asked for.
    pub fn asked(&self) -> Rate {
        self.probe.rate
    }
}

/// What stored trials decide of a rate: it passes where one at it or above passed, and fails where one at it or below failed.
/// Where they contradict each other nothing is decided.
pub(super) fn inferred(known: &[Known], rate: Rate) -> Option<Verdict> {
    let ruled = |ruling: Ruling| known.iter().filter(move |k| k.verdict.ruling == ruling);
    let passes = ruled(Ruling::Sustainable).find(|k| k.asked() >= rate);
    let fails = ruled(Ruling::Unsustainable).find(|k| k.asked() <= rate);
    let (ruling, by) = match (passes, fails) {
        (Some(by), None) => (Ruling::Sustainable, by),
        (None, Some(by)) => (Ruling::Unsustainable, by),
        _ => return None,
    };
    let word = if ruling == Ruling::Sustainable {
        "passed"
    } else {
        "failed"
    };
    Some(Verdict {
        criterion: SloMet::NAME.to_owned(),
        ruling,
        margin: None,
        bound: None,
        capacity_hint: None,
        reasons: vec![format!(
            "{:.4} requests a second {word}",
            by.asked().as_per_second()
        )],
        // The wait for the first iteration is not known here.
        statistics: json!({ "by": by.id }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::Estimate;

    fn known(rate: f64, ruling: Ruling) -> Known {
        let rate = Rate::per_second(rate);
        Known {
            id: rate.to_string(),
            folder: PathBuf::new(),
            offered: rate,
            verdict: Verdict {
                criterion: SloMet::NAME.to_owned(),
                ruling,
                margin: Some(Estimate {
                    value: 0.0,
                    low: 0.0,
                    high: 0.0,
                }),
                bound: None,
                capacity_hint: None,
                reasons: Vec::new(),
                statistics: serde_json::Value::Null,
            },
            probe: Probe {
                rate,
                stage: 1,
                attempt: 0,
                pooled: false,
                goal: Goal::Decide,
                duration_s: None,
            },
            reused: true,
            load_s: 1.0,
        }
    }

    #[test]
    fn rates_beyond_what_was_seen_are_decided() {
        let all = [
            known(1.5, Ruling::Sustainable),
            known(1.75, Ruling::Unsustainable),
            known(1.6, Ruling::Unsure),
        ];
        let ruling = |rate: f64| inferred(&all, Rate::per_second(rate)).map(|v| v.ruling);
        assert_eq!(ruling(1.0), Some(Ruling::Sustainable));
        assert_eq!(ruling(1.5), Some(Ruling::Sustainable));
        assert_eq!(ruling(1.6), None);
        assert_eq!(ruling(1.75), Some(Ruling::Unsustainable));
        assert_eq!(ruling(30.0), Some(Ruling::Unsustainable));
        let bands = [known(1.0, Ruling::Unsustainable), known(2.0, Ruling::Sustainable)];
        assert!(inferred(&bands, Rate::per_second(1.5)).is_none());
    }
}
