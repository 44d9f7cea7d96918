//! The report's tables for people.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

use super::compare::Comparison;
use super::csv_tables::names;
use super::found::FoundTrial;
use super::summary::{PairSummary, differ, ruling_word, status_word};
use crate::trial::Estimate;
use crate::units::{Plain, Rate};

/// What stands for the unknown.
const UNKNOWN: &str = "-";

/// One line a pair and run. Columns that would be the same everywhere (run, kind, rulings by criterion) are left out.
pub fn pairs(summaries: &[PairSummary]) -> String {
    let several_runs = summaries.iter().any(|s| s.key.run != summaries[0].key.run);
    let several_kinds = summaries.iter().any(|s| s.key.kind != "MST");
    let several_rulings = summaries.iter().any(|s| s.by_criterion.len() > 1);
    let has_truth = summaries.iter().any(|s| s.true_capacity.is_some());
    let mut columns = vec![left("pair")];
    columns.extend(several_runs.then(|| left("run")));
    columns.extend(several_kinds.then(|| left("type")));
    columns.extend([right("req/min"), right("interval"), left("status")]);
    columns.extend(has_truth.then(|| right("true")));
    columns.extend([right("trials"), right("load"), left("judged by")]);
    columns.extend(several_rulings.then(|| left("each criterion alone")));
    columns.push(left("answer from"));
    table(
        &columns,
        summaries.iter().map(|s| {
            let mut row = vec![s.key.pair.to_string()];
            row.extend(several_runs.then(|| s.key.run.clone()));
            row.extend(several_kinds.then(|| s.key.kind.clone()));
            row.extend([
                rate(s.rate),
                interval(s.low, s.high),
                status_word(s.status).to_owned(),
            ]);
            row.extend(has_truth.then(|| {
                rate(
                    s.true_capacity
                        .map(|truth| Rate::per_minute(truth.as_per_minute().round())),
                )
            }));
            row.extend([
                s.trials.len().to_string(),
                s.load_s.map_or(UNKNOWN.to_owned(), hours),
                s.criterion.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
            ]);
            row.extend(several_rulings.then(|| by_criterion(s)));
            row.push(s.origin.label().to_owned());
            row
        }),
    )
}

/// Every trial of one pair and run.
pub fn trials(summary: &PairSummary) -> String {
    let criteria: Vec<&String> = summary.by_criterion.keys().collect();
    let has_queues = summary.trials.iter().any(|t| t.longest_queue.is_some());
    let mut columns = vec![left("trial"), right("req/min"), right("offered"), left("ruling")];
    columns.extend(criteria.iter().map(|name| left(name)));
    columns.extend(["judged quantity", "success", "load"].map(right));
    columns.extend(has_queues.then(|| right("longest queue")));
    columns.push(left("folder"));
    table(
        &columns,
        summary.trials.iter().map(|t| {
            let mut row = vec![
                t.time.clone(),
                Plain(t.rate.as_per_minute()).to_string(),
                rate(t.offered),
                ruling(t),
            ];
            row.extend(criteria.iter().map(|name| {
                t.rulings
                    .get(*name)
                    .map_or(UNKNOWN, |r| ruling_word(Some(*r)))
                    .to_owned()
            }));
            row.extend([
                margin(t),
                t.success_percent
                    .map_or(UNKNOWN.to_owned(), |p| format!("{p:.1} %")),
                t.load_s.map_or(UNKNOWN.to_owned(), hours),
            ]);
            row.extend(has_queues.then(|| number(t.longest_queue)));
            row.push(t.folder.clone());
            row
        }),
    )
}

/// Pairs by runs: those that more than one run has an answer for.
pub fn comparison(comparison: &Comparison) -> String {
    let kinds = comparison.rows.iter().any(|r| r.kind != "MST");
    let mut columns = vec![left("pair")];
    columns.extend(kinds.then(|| left("type")));
    columns.extend(comparison.runs.iter().map(|run| right(run)));
    columns.extend(["mean", "min", "max", "spread", "without outliers"].map(right));
    table(
        &columns,
        comparison.rows.iter().filter(|r| r.is_repeated()).map(|r| {
            let mut row = vec![r.pair.to_string()];
            row.extend(kinds.then(|| r.kind.clone()));
            row.extend(r.values.iter().zip(&r.flags).map(|(value, flags)| {
                let mark = if flags.is_empty() { "" } else { " !" };
                format!("{}{mark}", number(*value))
            }));
            row.push(number(r.all.map(|a| a.mean.round())));
            row.push(number(r.all.map(|a| a.min)));
            row.push(number(r.all.map(|a| a.max)));
            row.push(
                r.all
                    .filter(|a| a.count > 1)
                    .map_or(UNKNOWN.to_owned(), |a| format!("{:.1} %", a.percent())),
            );
            row.push(number(r.clean.map(|c| c.mean.round())));
            row
        }),
    )
}

/// One line an outlier; empty when there is none.
pub fn outliers(comparison: &Comparison) -> Vec<String> {
    let mut lines = Vec::new();
    for row in &comparison.rows {
        for ((run, value), flags) in comparison.runs.iter().zip(&row.values).zip(&row.flags) {
            if let Some(value) = value.filter(|_| !flags.is_empty()) {
                lines.push(format!(
                    "outlier: {} in {run}: {} req/min ({})",
                    row.pair,
                    Plain(value),
                    names(flags)
                ));
            }
        }
    }
    lines
}

/// A number and its alignment.
type Column = (String, CellAlignment);

fn left(name: &str) -> Column {
    (name.to_owned(), CellAlignment::Left)
}

fn right(name: &str) -> Column {
    (name.to_owned(), CellAlignment::Right)
}

fn table(columns: &[Column], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(columns.iter().map(|(name, _)| Cell::new(name)));
    for row in rows {
        table.add_row(row);
    }
    for (column, (_, alignment)) in table.column_iter_mut().zip(columns) {
        column.set_cell_alignment(*alignment);
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

fn ruling(trial: &FoundTrial) -> String {
    let word = ruling_word(trial.ruling);
    let early = if trial.stopped_early {
        ", stopped early"
    } else {
        ""
    };
    let doubt = if differ(trial) { " !" } else { "" };
    let void = if trial.void.is_some() { ", void" } else { "" };
    format!("{word}{doubt}{void}{early}")
}

fn by_criterion(summary: &PairSummary) -> String {
    let each: Vec<String> = summary
        .by_criterion
        .iter()
        .map(|(name, best)| format!("{name} {}", rate(*best)))
        .collect();
    if each.is_empty() {
        UNKNOWN.to_owned()
    } else {
        each.join(", ")
    }
}

/// The judged quantity with its interval; shares of the load as percent.
fn margin(trial: &FoundTrial) -> String {
    let Some(Estimate { value, low, high }) = trial.margin else {
        return UNKNOWN.to_owned();
    };
    if trial.criterion.as_deref().is_none_or(|name| name == "drift") {
        let [value, low, high] = [value, low, high].map(|share| 100.0 * share);
        format!("{value:.2} % ({low:.2} to {high:.2})")
    } else {
        format!("{} ({} to {})", Plain(value), Plain(low), Plain(high))
    }
}

fn interval(low: Option<Rate>, high: Option<Rate>) -> String {
    match (low, high) {
        (None, None) => UNKNOWN.to_owned(),
        (Some(low), None) => format!("from {}", Plain(low.as_per_minute())),
        (None, Some(high)) => format!("below {}", Plain(high.as_per_minute())),
        (Some(low), Some(high)) => {
            format!("{} - {}", Plain(low.as_per_minute()), Plain(high.as_per_minute()))
        }
    }
}

/// Load in the unit that suits it.
pub fn hours(seconds: f64) -> String {
    if seconds >= 3600.0 {
        format!("{:.1} h", seconds / 3600.0)
    } else if seconds >= 120.0 {
        format!("{:.1} min", seconds / 60.0)
    } else {
        format!("{seconds:.0} s")
    }
}

fn rate(rate: Option<Rate>) -> String {
    number(rate.map(Rate::as_per_minute))
}

fn number(value: Option<f64>) -> String {
    value.map_or(UNKNOWN.to_owned(), |v| Plain(v).to_string())
}

#[cfg(test)]
mod tests {
    use super::super::compare::compare;
    use super::super::summary::summarise;
    use super::super::testing::trial;
    use super::*;
    use crate::criterion::Ruling::{Sustainable, Unsustainable};
    use std::collections::BTreeMap;

    #[test]
    fn pairs_and_trials_are_told_in_columns() {
        let all = summarise(
            vec![trial(64.0, Sustainable), trial(96.0, Unsustainable)],
            &BTreeMap::new(),
        );
        let text = pairs(&all);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert_eq!(
            lines[1].split_whitespace().collect::<Vec<_>>().join(" "),
            "16_16 64 64 - 96 bracketed 2 2.0 min - largest sustainable rate"
        );
        assert!(!text.contains("run") && !text.contains("type"), "{text}");
        let text = super::trials(&all[0]);
        assert!(
            text.contains("unsustainable") && text.contains("r/16_16/96"),
            "{text}"
        );
    }

    #[test]
    fn runs_stand_side_by_side() {
        let trials = [("a", 100.0), ("b", 101.0), ("c", 130.0)].map(|(run, rate)| {
            let mut found = trial(rate, Sustainable);
            found.run = run.to_owned();
            found
        });
        let compared = compare(&summarise(trials.to_vec(), &BTreeMap::new()));
        let text = comparison(&compared);
        assert!(text.contains("130 !") && text.contains("27.2 %"), "{text}");
        assert_eq!(outliers(&compared), ["outlier: 16_16 in c: 130 req/min (mad)"]);
    }

    #[test]
    fn load_is_told_in_a_unit_that_suits_it() {
        assert_eq!(
            (hours(25_200.0), hours(300.0), hours(9.6)),
            ("7.0 h".into(), "5.0 min".into(), "10 s".into())
        );
    }
}
