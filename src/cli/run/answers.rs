//! The closing table, the JSON contract, and the exit code.

use std::io::Write;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::campaign::PairAnswer;
use crate::cli::Format;
use crate::cli::exit::Exit;
use crate::search::Status;
use crate::units::{Plain, Rate};

/// One pair, as `--format json` prints it.
#[derive(Debug, Serialize)]
struct Row<'a> {
    pair: &'a str,
    mst_per_minute: Option<f64>,
    interval_per_minute: [Option<f64>; 2],
    status: Status,
    trials: usize,
    trials_reused: usize,
    load_seconds: f64,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmed_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_words: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    true_capacity_per_minute: Option<f64>,
}

impl<'a> From<&'a PairAnswer> for Row<'a> {
    fn from(pair: &'a PairAnswer) -> Self {
        let answer = &pair.capacity.answer;
        let number = |rate: Option<Rate>| rate.map(Rate::as_per_minute);
        Self {
            pair: &pair.pair,
            mst_per_minute: number(answer.rate),
            interval_per_minute: [number(answer.low), number(answer.high)],
            status: answer.status,
            trials: pair.capacity.evidence.len(),
            trials_reused: pair.capacity.evidence.iter().filter(|e| e.reused).count(),
            load_seconds: pair.capacity.load_seconds(),
            reason: &answer.reason,
            confirmed_seconds: answer.confirmed_s,
            in_words: pair.words.as_deref(),
            true_capacity_per_minute: number(pair.true_capacity),
        }
    }
}

/// Prints the answers.
pub(in crate::cli) fn print(answers: &[PairAnswer], results: &Path, format: Format) -> std::io::Result<()> {
    let rows: Vec<Row<'_>> = answers.iter().map(Row::from).collect();
    let mut out = std::io::stdout().lock();
    match format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, &rows)?;
            writeln!(out)
        }
        Format::Human if rows.is_empty() => Ok(()),
        Format::Human => {
            writeln!(out, "{}", table(&rows))?;
            for row in &rows {
                if let Some(words) = row.in_words {
                    writeln!(out, "{}: {words}", row.pair)?;
                }
            }
            writeln!(out, "Results: {}", results.display())
        }
    }
}

fn table(rows: &[Row<'_>]) -> Table {
    let sure = rows.iter().all(|r| r.in_words.is_some());
    let with_truth = rows.iter().any(|r| r.true_capacity_per_minute.is_some());
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    let mut header = vec![
        "pair (in_out)",
        "MST req/min",
        if sure { "95 % interval" } else { "interval" },
        "status",
        "trials",
        "load min",
    ];
    if with_truth {
        header.extend(["true capacity", "error"]);
    }
    table.set_header(header);
    let text = |value: Option<f64>| value.map_or("-".to_owned(), |v| Plain(v.round()).to_string());
    for row in rows {
        let [low, high] = row.interval_per_minute;
        let mut cells = vec![
            row.pair.to_owned(),
            row.mst_per_minute
                .map_or("none found".to_owned(), |v| Plain(v).to_string()),
            format!("{} to {}", text(low), text(high)),
            serde_json::to_value(row.status)
                .map_or_else(|_| String::new(), |v| v.as_str().unwrap_or("").to_owned()),
            row.trials.to_string(),
            format!("{:.1}", row.load_seconds / 60.0),
        ];
        if with_truth {
            let error = row
                .mst_per_minute
                .zip(row.true_capacity_per_minute)
                .map(|(m, t)| 100.0 * (m - t) / t);
            cells.push(text(row.true_capacity_per_minute));
            cells.push(error.map_or("-".to_owned(), |e| format!("{e:+.1} %")));
        }
        table.add_row(cells);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// The exit code of the worst pair: 4 before 5 before 0.
pub(in crate::cli) fn worst(answers: &[PairAnswer]) -> Exit {
    let any = |wanted: fn(&PairAnswer) -> bool| answers.iter().any(wanted);
    if any(|a| a.capacity.answer.rate.is_none()) {
        Exit::NoneFound
    } else if any(|a| a.capacity.answer.status == Status::Undecided) {
        Exit::Undecided
    } else {
        Exit::Done
    }
}

/// An exit code of a campaign that came to its end.
pub(in crate::cli) fn in_words(exit: Exit) -> &'static str {
    match exit {
        Exit::NoneFound => "no sustainable rate was found for at least one pair",
        Exit::Undecided => "at least one answer is undecided",
        _ => "every pair has an answer",
    }
}
