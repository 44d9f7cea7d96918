//! The report's own tables for spreadsheets: one line a pair and run, and pairs by runs.

use super::compare::Comparison;
use super::merge::MergedTable;
use super::outliers::Rule;
use super::summary::{PairSummary, status_word};
use crate::units::{Plain, Rate};

/// One line a pair and run; empty means unknown. `comparison` gives the outlier flags.
pub fn pairs(summaries: &[PairSummary], comparison: &Comparison) -> MergedTable {
    let header = [
        "run",
        "pair",
        "experiment_type",
        "input_min",
        "input_max",
        "output_min",
        "output_max",
        "mst_per_minute",
        "low_per_minute",
        "high_per_minute",
        "status",
        "origin",
        "evaluation",
        "trials",
        "load_seconds",
        "true_capacity_per_minute",
        "outlier",
    ];
    let rows = summaries
        .iter()
        .map(|s| {
            let pair = s.key.pair.pair();
            let bound = |get: fn(crate::units::TokenPair) -> u32| {
                pair.map_or(String::new(), |pair| get(pair).to_string())
            };
            vec![
                s.key.run.clone(),
                s.key.pair.to_string(),
                s.key.kind.clone(),
                bound(|p| p.input.min),
                bound(|p| p.input.max),
                bound(|p| p.output.min),
                bound(|p| p.output.max),
                rate(s.rate),
                rate(s.low),
                rate(s.high),
                status_word(s.status).to_owned(),
                s.origin.code().to_owned(),
                s.criterion.clone().unwrap_or_default(),
                s.trials.len().to_string(),
                number(s.load_s),
                rate(s.true_capacity),
                names(&comparison.flags_of(s)),
            ]
        })
        .collect();
    MergedTable {
        header: header.map(ToOwned::to_owned).to_vec(),
        rows,
    }
}

/// One line a pair, one column a run, then how the runs spread.
pub fn runs(comparison: &Comparison) -> MergedTable {
    let mut header = vec!["pair".to_owned(), "experiment_type".to_owned()];
    header.extend(comparison.runs.iter().cloned());
    header.extend(
        [
            "runs",
            "mean",
            "min",
            "max",
            "spread_percent",
            "clean_runs",
            "clean_mean",
            "outliers",
        ]
        .map(ToOwned::to_owned),
    );
    let rows = comparison
        .rows
        .iter()
        .map(|row| {
            let mut line = vec![row.pair.to_string(), row.kind.clone()];
            line.extend(row.values.iter().map(|v| number(*v)));
            line.push(row.all.map_or(0, |a| a.count).to_string());
            line.push(number(row.all.map(|a| a.mean)));
            line.push(number(row.all.map(|a| a.min)));
            line.push(number(row.all.map(|a| a.max)));
            line.push(number(row.all.map(|a| a.percent())));
            line.push(row.clean.map_or(0, |c| c.count).to_string());
            line.push(number(row.clean.map(|c| c.mean)));
            let flagged: Vec<String> = comparison
                .runs
                .iter()
                .zip(&row.flags)
                .filter(|(_, rules)| !rules.is_empty())
                .map(|(run, rules)| format!("{run}:{}", names(rules)))
                .collect();
            line.push(flagged.join(" "));
            line
        })
        .collect();
    MergedTable { header, rows }
}

/// Rules by name, joined by `+`.
pub fn names(rules: &[Rule]) -> String {
    rules.iter().map(|r| r.name()).collect::<Vec<_>>().join("+")
}

fn rate(rate: Option<Rate>) -> String {
    number(rate.map(Rate::as_per_minute))
}

fn number(value: Option<f64>) -> String {
    value.map(|v| Plain(v).to_string()).unwrap_or_default()
}
