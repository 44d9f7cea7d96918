//! Oracles for the tests of searches.

use super::{Answer, Observed, Probe, Search, Step};
use crate::criterion::{Ruling, Verdict};

/// A verdict that holds nothing but its ruling.
pub(super) fn verdict(ruling: Ruling) -> Verdict {
    Verdict {
        criterion: "oracle".to_owned(),
        ruling,
        margin: None,
        bound: None,
        capacity_hint: None,
        reasons: Vec::new(),
        statistics: serde_json::Value::Null,
    }
}

/// The probe and its verdict as a search learns of them.
pub(super) fn seen<'a>(probe: &'a Probe, verdict: &'a Verdict) -> Observed<'a> {
    Observed {
        probe,
        verdict,
        offered: probe.rate,
        load_s: 60.0,
    }
}

/// Runs a search against an oracle; returns the answer and the rates that were asked for, requests per minute.
pub(super) fn drive(search: &mut dyn Search, mut oracle: impl FnMut(f64) -> Ruling) -> (Answer, Vec<f64>) {
    let mut rates = Vec::new();
    loop {
        match search.next() {
            Step::Done(answer) => return (answer, rates),
            Step::Probe(probe) => {
                rates.push(probe.rate.as_per_minute());
                let ruling = oracle(probe.rate.as_per_minute());
                search.observe(&seen(&probe, &verdict(ruling)));
            }
        }
    }
}
