//! Several runs side by side: one row a pair, one column a run.

use std::collections::{BTreeMap, BTreeSet};

use super::outliers::{self, Rule};
use super::pair::PairName;
use super::summary::PairSummary;
use crate::units::Rate;

/// Pairs by runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Labels of the runs, the columns.
    pub runs: Vec<String>,
    /// One row a pair.
    pub rows: Vec<ComparedPair>,
}

impl Comparison {
    /// Whether any pair has an answer in more than one run.
    pub fn is_one(&self) -> bool {
        self.rows.iter().any(ComparedPair::is_repeated)
    }

    /// The rules that flag the answer of one pair and run.
    pub fn flags_of(&self, summary: &PairSummary) -> Vec<Rule> {
        let column = self.runs.iter().position(|run| *run == summary.key.run);
        let row = self
            .rows
            .iter()
            .find(|row| row.pair == summary.key.pair && row.kind == summary.key.kind);
        row.zip(column)
            .map(|(row, column)| row.flags[column].clone())
            .unwrap_or_default()
    }
}

/// One pair in every run.
#[derive(Clone, Debug, PartialEq)]
pub struct ComparedPair {
    /// The pair or mix.
    pub pair: PairName,
    /// `MST` or `MIT`.
    pub kind: String,
    /// The answer of each run, requests per minute, in the order of [`Comparison::runs`].
    pub values: Vec<Option<f64>>,
    /// The rules that flag each answer.
    pub flags: Vec<Vec<Rule>>,
    /// Over all answers.
    pub all: Option<Spread>,
    /// Over those that are not flagged.
    pub clean: Option<Spread>,
}

impl ComparedPair {
    /// Whether more than one run has an answer.
    pub fn is_repeated(&self) -> bool {
        self.all.is_some_and(|all| all.count > 1)
    }
}

/// How answers spread, requests per minute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// How many there are.
    pub count: usize,
    /// Arithmetic mean.
    pub mean: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

impl Spread {
    /// Of some values; `None` of none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len();
        (count > 0).then(|| Self {
            count,
            mean: values.iter().sum::<f64>() / count as f64,
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }

    /// Largest minus smallest, percent of the mean.
    pub fn percent(&self) -> f64 {
        100.0 * (self.max - self.min) / self.mean
    }
}

/// Puts the runs of `summaries` side by side.
pub fn compare(summaries: &[PairSummary]) -> Comparison {
    let runs: BTreeSet<&str> = summaries.iter().map(|s| s.key.run.as_str()).collect();
    let runs: Vec<String> = runs.into_iter().map(ToOwned::to_owned).collect();
    let mut cells: BTreeMap<(PairName, String), BTreeMap<&str, Option<Rate>>> = BTreeMap::new();
    for summary in summaries {
        cells
            .entry((summary.key.pair.clone(), summary.key.kind.clone()))
            .or_default()
            .insert(&summary.key.run, summary.sustained());
    }
    let rows = cells
        .into_iter()
        .map(|((pair, kind), by_run)| {
            let values = runs
                .iter()
                .map(|run| Some(by_run.get(run.as_str()).copied().flatten()?.as_per_minute()))
                .collect();
            row(pair, kind, values)
        })
        .collect();
    Comparison { runs, rows }
}

fn row(pair: PairName, kind: String, values: Vec<Option<f64>>) -> ComparedPair {
    let known: Vec<f64> = values.iter().flatten().copied().collect();
    let found = outliers::flag(&known);
    let kept: Vec<f64> = known
        .iter()
        .zip(&found)
        .filter_map(|(value, rules)| rules.is_empty().then_some(*value))
        .collect();
    let mut found = found.into_iter();
    let flags = values
        .iter()
        .map(|value| value.and_then(|_| found.next()).unwrap_or_default())
        .collect();
    ComparedPair {
        pair,
        kind,
        flags,
        all: Spread::of(&known),
        clean: Spread::of(&kept),
        values,
    }
}

#[cfg(test)]
mod tests {
    use super::super::summary::summarise;
    use super::super::testing::trial;
    use super::*;
    use crate::criterion::Ruling;

    #[test]
    fn missing_answers_do_not_shift_the_flags() {
        let mut trials = Vec::new();
        for (run, rate) in [("a", 100.0), ("b", 0.0), ("c", 101.0), ("d", 400.0), ("e", 99.0)] {
            let ruling = if rate > 0.0 {
                Ruling::Sustainable
            } else {
                Ruling::Unsustainable
            };
            let mut found = trial(rate, ruling);
            found.run = run.to_owned();
            trials.push(found);
        }
        let compared = compare(&summarise(trials, &BTreeMap::new()));
        assert_eq!(compared.runs, ["a", "b", "c", "d", "e"]);
        let row = &compared.rows[0];
        assert_eq!(row.values[1], None);
        assert_eq!(row.flags[3], [Rule::Mad, Rule::Iqr, Rule::Ratio]);
        assert!(row.flags[4].is_empty());
        let (all, clean) = (row.all.unwrap(), row.clean.unwrap());
        assert_eq!((all.count, all.mean, all.max), (4, 175.0, 400.0));
        assert_eq!((clean.count, clean.mean), (3, 100.0));
        assert!((clean.percent() - 2.0).abs() < 1e-12);
    }
}
