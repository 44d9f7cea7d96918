//! A calibration for people.

use std::io::Write;

use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::deployment::calibrated::{Calibration, ErrorSummary, IntervalKind, Kept};
use crate::units::Plain;

/// Prints it to stdout.
pub(super) fn print(calibration: &Calibration) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in render(calibration) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn render(c: &Calibration) -> Vec<String> {
    let mut lines = vec![format!(
        "{} on {} x {}: {}, level {:?}, {} operating points, {} files",
        c.model,
        c.tensor_parallel * c.pipeline_parallel,
        c.gpu,
        c.label.name(),
        c.level,
        c.operating_points,
        c.sources.len()
    )];
    lines.push(String::new());
    lines.extend(trimmed(&factors(c)));
    lines.push(String::new());
    lines.push("mean error, and bias in brackets:".to_owned());
    lines.extend(trimmed(&errors(c)));
    lines.push(String::new());
    lines.push(match c.kept {
        Kept::Factors => "kept: the fitted factors".to_owned(),
        Kept::OneRatio => format!("kept: one factor of {:.3} on all times", c.one_ratio),
    });
    lines.push(format!(
        "seen: batches up to {}, {} tokens of a request, {} of a prompt",
        c.domain.batch, c.domain.context, c.domain.prompt
    ));
    lines.push(format!(
        "spread of a predicted capacity: {:.1} %",
        100.0 * c.s_disc
    ));
    lines
}

fn factors(c: &Calibration) -> Table {
    let mut table = new_table(&["factor", "fitted", "sd", "before", "sd"]);
    for f in &c.factors {
        let unit = if f.unit.is_empty() {
            String::new()
        } else {
            format!(" {}", f.unit)
        };
        let percent = |sd: f64| format!("{:.1} %", 100.0 * sd);
        let fitted = if f.frozen {
            "not told".to_owned()
        } else {
            format!("{:.3}{unit}", f.value)
        };
        add(
            &mut table,
            vec![
                f.name.clone(),
                fitted,
                percent(f.sd),
                format!("{}{unit}", Plain((1e3 * f.prior).round() / 1e3)),
                percent(f.prior_sd),
            ],
        );
    }
    table
}

fn errors(c: &Calibration) -> Table {
    let mut table = new_table(&[
        "metric",
        "uncalibrated",
        "one ratio",
        "train",
        "hold-out",
        "interval",
    ]);
    let told = |summary: &Option<ErrorSummary>| {
        summary.map_or("-".to_owned(), |s| {
            format!("{:.1} % ({:+.1})", 100.0 * s.mape, 100.0 * s.bias)
        })
    };
    for row in &c.errors {
        let interval = row.interval.map_or("-".to_owned(), |i| {
            let kind = match i.kind {
                IntervalKind::Conformal90 => "90 %",
                IntervalKind::RangeOfObservedErrors => "observed",
            };
            format!("{kind} x/ {:.3}", i.ln_factor.exp())
        });
        add(
            &mut table,
            vec![
                row.metric.clone(),
                told(&row.uncalibrated),
                told(&row.one_ratio),
                told(&row.train),
                told(&row.hold_out),
                interval,
            ],
        );
    }
    table
}

fn new_table(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(cells(heads.iter().map(|h| (*h).to_owned()).collect()));
    table
}

fn add(table: &mut Table, texts: Vec<String>) {
    table.add_row(cells(texts));
}

fn cells(texts: Vec<String>) -> Vec<Cell> {
    let mut cells: Vec<Cell> = texts.into_iter().map(Cell::new).collect();
    for cell in cells.iter_mut().skip(1) {
        *cell = cell.clone().set_alignment(CellAlignment::Right);
    }
    cells
}

/// Without padding at the ends of lines, so that output can be compared.
fn trimmed(table: &Table) -> Vec<String> {
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}
