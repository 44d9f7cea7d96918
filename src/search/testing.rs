//! Oracles for the tests of searches.

use super::{Answer, Search, Step};
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

/// Runs a search against an oracle; returns the answer and the rates that were asked for, requests per minute.
pub(super) fn drive(search: &mut dyn Search, mut oracle: impl FnMut(f64) -> Ruling) -> (Answer, Vec<f64>) {
    let mut rates = Vec::new();
    loop {
        match search.next() {
            Step::Done(answer) => return (answer, rates),
            Step::Probe(probe) => {
                rates.push(probe.rate.as_per_minute());
                let ruling = oracle(probe.rate.as_per_minute());
                search.observe(&probe, &verdict(ruling));
            }
        }
    }
}
