//! One trial as it was found in a results folder, whatever generation wrote it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::pair::PairName;
use crate::criterion::{Ruling, Verdict};
use crate::store::Manifest;
use crate::store::tables::ResultsRow;
use crate::trial::Estimate;
use crate::units::Rate;

/// What is kept of a trial for a report.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundTrial {
    /// The run that it belongs to, by label.
    pub run: String,
    /// The pair or mix.
    pub pair: PairName,
    /// `MST` or `MIT`.
    pub kind: String,
    /// Its folder.
    pub folder: String,
    /// The name of its folder: when it was, and what trials are ordered by.
    pub time: String,
    /// Its identity, where a manifest gives one.
    pub id: Option<String>,
    /// The rate that was asked for.
    pub rate: Rate,
    /// The rate that was offered, where it is known.
    pub offered: Option<Rate>,
    /// The ruling that counts: `verdict.json`'s, else EVALUATION's; `None` where neither tells.
    pub ruling: Option<Ruling>,
    /// The criterion behind it, where it is known.
    pub criterion: Option<String>,
    /// Rulings by criterion, where they are known.
    pub rulings: BTreeMap<String, Ruling>,
    /// The quantity that was judged, with its interval.
    pub margin: Option<Estimate>,
    /// The bound that `margin` is held against.
    pub bound: Option<f64>,
    /// Good requests, percent.
    pub success_percent: Option<f64>,
    /// Stage of the search.
    pub stage: Option<u8>,
    /// Seconds of load.
    pub load_s: Option<f64>,
    /// Whether it was ended early because it was decided.
    pub stopped_early: bool,
    /// Why it says nothing, where the client did not keep its schedule.
    pub void: Option<String>,
    /// Most requests that waited in the server, where it told.
    pub longest_queue: Option<f64>,
    /// FINISHED: whether the search ended with it; `None` where the column is missing or empty.
    pub finished: Option<bool>,
    /// `LARGEST_TRUE`.
    pub largest_true: Option<Rate>,
    /// `SMALLEST_FALSE`.
    pub smallest_false: Option<Rate>,
    /// `TERMINATION_REASON`.
    pub termination: Option<String>,
}

/// Where a trial lies.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Label of the run.
    pub run: &'a str,
    /// Name of the folder above, where there is one.
    pub pair_folder: Option<&'a str>,
    /// Path of the folder, for people.
    pub folder: &'a str,
    /// Name of the folder.
    pub name: &'a str,
}

impl FoundTrial {
    /// Puts together what a folder's files say. A manifest outranks a row, a verdict outranks EVALUATION.
    ///
    /// # Errors
    /// A sentence, when the files do not tell the rate.
    pub fn new(
        place: Place<'_>,
        row: Option<&ResultsRow>,
        manifest: Option<&Manifest>,
        verdict: Option<&Verdict>,
    ) -> Result<Self, String> {
        let number = |column| row.and_then(|r| r.number(column));
        let rate_of = |column| number(column).filter(|n| *n > 0.0).map(Rate::per_minute);
        let rate = manifest
            .map(|m| m.spec.rate)
            .or_else(|| rate_of("REQ_MIN"))
            .ok_or("there is no rate: REQ_MIN is missing, empty or not a positive number")?;
        let pair = PairName::from_both(place.pair_folder, row)
            .or_else(|| PairName::from_folder(&manifest?.pair))
            .unwrap_or_else(|| PairName::Other(place.pair_folder.unwrap_or(place.name).to_owned()));
        let kind = manifest
            .map(|m| m.experiment_type.as_str())
            .or_else(|| row.and_then(|r| r.text("EXPERIMENT_TYPE")))
            .map_or("MST".to_owned(), str::to_ascii_uppercase);
        let by_row = row.and_then(ruling_of);
        let rulings = verdict.map(rulings_of).unwrap_or_default();
        let offered = rate_of("REALISED_REQ_MIN").or_else(|| offered(manifest?, row?));
        let margin = || {
            Some(Estimate {
                value: number("DRIFT")?,
                low: number("DRIFT_LOW")?,
                high: number("DRIFT_HIGH")?,
            })
        };
        Ok(Self {
            run: place.run.to_owned(),
            pair,
            kind,
            folder: place.folder.to_owned(),
            time: place.name.to_owned(),
            id: manifest.map(|m| m.id.clone()),
            rate,
            offered,
            ruling: verdict.map(|v| v.ruling).or(by_row),
            criterion: verdict.map(|v| v.criterion.clone()),
            rulings,
            margin: verdict.map_or_else(margin, |v| v.margin),
            bound: verdict.and_then(|v| v.bound),
            success_percent: number("SUCCESS_RATE"),
            stage: manifest
                .map(|m| m.stage)
                .or_else(|| number("STAGE").map(|s| s as u8)),
            load_s: manifest
                .map(|m| m.offered_s)
                .or_else(|| row.and_then(ResultsRow::duration_s)),
            stopped_early: manifest.is_some_and(|m| m.stopped_early),
            void: manifest
                .and_then(|m| m.client.void.clone())
                .or_else(|| Some(row?.text("VOID")?.to_owned())),
            longest_queue: None,
            finished: row.and_then(ResultsRow::finished),
            largest_true: rate_of("LARGEST_TRUE"),
            smallest_false: rate_of("SMALLEST_FALSE"),
            termination: row
                .and_then(|r| r.text("TERMINATION_REASON"))
                .map(ToOwned::to_owned),
        })
    }

    /// Takes over how the search that used this trial judged it: `verdict.json` may be that of an earlier search with
    /// another criterion.
    pub fn judged_for(&mut self, criterion: &str, ruling: Ruling, margin: Option<Estimate>) {
        if COMPARED.contains(&criterion) {
            self.rulings.insert(criterion.to_owned(), ruling);
        }
        if self.criterion.as_deref() != Some(criterion) {
            self.criterion = Some(criterion.to_owned());
            self.margin = margin;
        }
        self.ruling = Some(ruling);
    }

    /// Orders trials by the time in their folder's name; `-10` follows `-9`.
    pub fn order(&self) -> (String, u64, String) {
        let (time, suffix) = self.time.split_at_checked(19).unwrap_or((&self.time, ""));
        let count = suffix.trim_start_matches('-').parse().unwrap_or(0);
        (time.to_owned(), count, self.time.clone())
    }
}

/// What a row says of its ruling: our RULING, else EVALUATION.
fn ruling_of(row: &ResultsRow) -> Option<Ruling> {
    let word = row.text("RULING").map(|w| Value::String(w.to_owned()));
    word.and_then(|w| serde_json::from_value(w).ok()).or_else(|| {
        Some(if row.evaluation()? {
            Ruling::Sustainable
        } else {
            Ruling::Unsustainable
        })
    })
}

/// The rate that was offered: the requests of the trial over the time that they were offered in.
fn offered(manifest: &Manifest, row: &ResultsRow) -> Option<Rate> {
    let total = row.number("TOTAL_REQUESTS")?;
    (manifest.offered_s > 0.0 && total > 0.0).then(|| Rate::per_second(total / manifest.offered_s))
}

/// Rulings by criterion: the verdict's own, and those that its statistics hold of others, as
/// `{"welch": {"ruling": …}}` or `{"welch_ruling": …}`.
fn rulings_of(verdict: &Verdict) -> BTreeMap<String, Ruling> {
    let mut rulings = BTreeMap::new();
    let ruling = |value: &Value| serde_json::from_value::<Ruling>(value.clone()).ok();
    if let Value::Object(statistics) = &verdict.statistics {
        for (name, value) in statistics {
            if let Some(found) = value.get("ruling").and_then(ruling) {
                rulings.insert(name.clone(), found);
            } else if let (Some(name), Some(found)) = (name.strip_suffix("_ruling"), ruling(value))
                && name != "test"
            {
                rulings.insert(name.to_owned(), found);
            }
        }
    }
    rulings.retain(|name, _| COMPARED.contains(&name.as_str()));
    rulings.insert(verdict.criterion.clone(), verdict.ruling);
    rulings
}

/// The criteria that answer the same question, and so can be compared.
const COMPARED: [&str; 2] = ["drift", "welch"];

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'_> = Place {
        run: "r",
        pair_folder: Some("16_16"),
        folder: "r/16_16/2026-01-10_12-00-00",
        name: "2026-01-10_12-00-00",
    };

    fn row(cells: &[(&str, &str)]) -> ResultsRow {
        ResultsRow::new(cells.iter().copied())
    }

    #[test]
    fn a_row_alone_is_enough() {
        let row = row(&[
            ("REQ_MIN", "3072.0"),
            ("EVALUATION", "FALSE"),
            ("DURATION", "30m"),
            ("FINISHED", ""),
        ]);
        let trial = FoundTrial::new(PLACE, Some(&row), None, None).unwrap();
        assert_eq!(trial.rate, Rate::per_minute(3072.0));
        assert_eq!(trial.ruling, Some(Ruling::Unsustainable));
        assert_eq!((trial.load_s, trial.finished), (Some(1800.0), None));
        assert_eq!((trial.kind.as_str(), trial.criterion), ("MST", None));
    }

    #[test]
    fn a_row_without_a_rate_is_refused() {
        for rate in ["", "x", "-1", "0", "inf"] {
            let row = row(&[("REQ_MIN", rate), ("EVALUATION", "TRUE")]);
            assert!(FoundTrial::new(PLACE, Some(&row), None, None).is_err(), "{rate}");
        }
    }

    #[test]
    fn both_rulings_are_found_where_a_verdict_holds_them() {
        let verdict = Verdict {
            criterion: "drift".into(),
            ruling: Ruling::Sustainable,
            margin: None,
            bound: None,
            capacity_hint: None,
            reasons: vec![],
            statistics: serde_json::json!({
                "welch": {"ruling": "unsustainable", "p": 0.01},
                "test_ruling": "sustainable",
                "drift": 0.002,
            }),
        };
        let rulings = rulings_of(&verdict);
        assert_eq!(rulings["drift"], Ruling::Sustainable);
        assert_eq!(rulings["welch"], Ruling::Unsustainable);
        assert_eq!(rulings.len(), 2);
    }

    #[test]
    fn trials_follow_each_other_in_time() {
        let at = |name: &str| {
            let row = row(&[("REQ_MIN", "1")]);
            let mut trial = FoundTrial::new(PLACE, Some(&row), None, None).unwrap();
            trial.time = name.to_owned();
            trial.order()
        };
        assert!(at("2026-01-10_12-00-00") < at("2026-01-10_12-00-00-2"));
        assert!(at("2026-01-10_12-00-00-9") < at("2026-01-10_12-00-00-10"));
        assert!(at("2026-01-10_12-00-00-10") < at("2026-01-10_12-00-01"));
    }
}
