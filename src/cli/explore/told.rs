//! The summary on stdout.

use std::io::Write;
use std::path::Path;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use crate::cli::Format;
use crate::explore::{Outcome, Row};

/// Prints the best configuration for each model, trace and objective.
pub(super) fn print(outcome: &Outcome, output: &Path, format: Format) -> anyhow::Result<()> {
    if format == Format::Json {
        return crate::cli::print_json(outcome);
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", table(&outcome.best))?;
    writeln!(out)?;
    for note in &outcome.notes {
        writeln!(out, "note: {note}")?;
    }
    for (status, what) in [
        (
            "pruned",
            "searches left out, for a bound shows that they cannot be the best (reasons in outcome.csv)",
        ),
        (
            "refused",
            "searches refused, for their cell cannot be simulated (reasons in outcome.csv)",
        ),
        ("unfinished", "searches not finished"),
    ] {
        let count = outcome.rows.iter().filter(|row| row.status == status).count();
        if count > 0 {
            writeln!(out, "{count} {what}")?;
        }
    }
    writeln!(
        out,
        "{} rows in {}",
        outcome.rows.len(),
        output.join("outcome.csv").display()
    )?;
    Ok(())
}

/// Says on stderr which parts did not come to their end, and what to do.
pub(super) fn missing(parts: &[usize], of: Option<u32>, output: &Path) {
    let of = of.unwrap_or_default();
    let logs = output.join(super::submit::FOLDER);
    for part in parts {
        eprintln!(
            "part {part} of {of} did not come to its end; why stands in the newest {}/explore-*_{part}.out",
            logs.display()
        );
    }
    eprintln!(
        "note: the outcome is not whole; run the same command again (--submit {of}): what was simulated is not \
         simulated again"
    );
}

fn table(rows: &[Row]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header([
            "model",
            "trace",
            "objective",
            "found",
            "over seeds",
            "QPS/GPU",
            "binding",
            "best configuration",
        ]);
    for row in rows {
        table.add_row([
            row.model.clone(),
            row.trace.clone(),
            row.slo.clone(),
            found(row),
            match (row.min, row.max) {
                (Some(min), Some(max)) if row.seeds > 1 => {
                    format!("{} - {} ({})", short(min), short(max), row.seeds)
                }
                _ => "-".to_owned(),
            },
            row.qps_per_gpu.map_or("-".to_owned(), short),
            match (row.binding, row.binding_ratio) {
                (Some(metric), Some(ratio)) => format!("{metric} at {:.0} %", 100.0 * ratio),
                (Some(metric), None) => metric.to_owned(),
                _ => "-".to_owned(),
            },
            format!(
                "{}, {}, {}, {}, tp{} pp{} batch {} [{}]",
                if row.network_device.is_empty() {
                    &row.device
                } else {
                    &row.network_device
                },
                row.router,
                row.queue,
                row.scheduler,
                row.tp,
                row.pp,
                row.batch_size,
                row.cell
            ),
        ]);
    }
    for (place, column) in table.column_iter_mut().enumerate() {
        let right = (3..6).contains(&place);
        column.set_cell_alignment(if right {
            CellAlignment::Right
        } else {
            CellAlignment::Left
        });
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

fn found(row: &Row) -> String {
    match (row.qps, row.replicas) {
        (Some(qps), Some(replicas)) => {
            let sign = if row.status == "lower-bound-only" {
                ">= "
            } else {
                ""
            };
            format!("{sign}{} QPS on {replicas}", short(qps))
        }
        _ => row.status.to_owned(),
    }
}

/// Four significant digits.
fn short(value: f64) -> String {
    let rate = crate::units::Rate::per_second(value);
    rate.rounded_per_second().to_string()
}
