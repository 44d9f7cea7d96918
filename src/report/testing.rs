//! What the tests of this room share.

use std::collections::BTreeMap;

use super::found::FoundTrial;
use super::pair::PairName;
use crate::criterion::Ruling;
use crate::units::Rate;

/// A trial of `16_16` at a rate, ruled so, with nothing else known.
pub(super) fn trial(rate: f64, ruling: Ruling) -> FoundTrial {
    FoundTrial {
        run: "r".into(),
        pair: PairName::from_folder("16_16").unwrap(),
        kind: "MST".into(),
        folder: format!("r/16_16/{rate}"),
        time: format!("2026-01-10_12-00-{rate:02}"),
        id: None,
        rate: Rate::per_minute(rate),
        offered: None,
        ruling: Some(ruling),
        criterion: None,
        rulings: BTreeMap::new(),
        margin: None,
        bound: None,
        success_percent: None,
        stage: None,
        load_s: Some(60.0),
        stopped_early: false,
        void: None,
        longest_queue: None,
        finished: None,
        largest_true: None,
        smallest_false: None,
        termination: None,
    }
}
