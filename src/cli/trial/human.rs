//! A trial's summary for people.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use crate::loadgen::native::{Spread, Summary};

/// The summary as text.
pub(super) fn table(summary: &Summary) -> String {
    let mut text = String::new();
    let mut line = |content: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{content}");
    };
    line(format!("{}{}  {}", summary.url, summary.api, summary.model));
    line(format!(
        "offered {:.2} requests/s for {:.1} s: {} sent, {} completed, {} failed, {} unfinished",
        summary.offered_per_second,
        summary.offered_s,
        summary.sent,
        summary.completed,
        summary.failed,
        summary.unfinished
    ));
    for (outcome, count) in summary.outcomes.iter().filter(|(name, _)| *name != "ok") {
        let example = summary.errors.get(outcome).map(|e| format!(": {e}"));
        line(format!("  {outcome} x {count}{}", example.unwrap_or_default()));
    }
    line(latencies(summary));
    line(format!(
        "client: {:.2} CPU s, {}",
        summary.cpu_seconds,
        match &summary.client.void {
            None => "kept its schedule".to_owned(),
            Some(why) => format!("VOID: {why}"),
        }
    ));
    for note in &summary.notes {
        line(format!("note: {note}"));
    }
    text
}

fn latencies(summary: &Summary) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["ms", "mean", "p50", "p90", "p99"]);
    let rows: [(&str, Spread); 5] = [
        ("TTFT", summary.ttft_ms),
        ("TTFT from send", summary.ttft_from_send_ms),
        ("TBT", summary.tbt_ms),
        ("E2E", summary.e2e_ms),
        ("send lateness", summary.lateness_ms),
    ];
    for (name, spread) in rows {
        let cell = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.2}"));
        let values = [spread.mean, spread.p50, spread.p90, spread.p99].map(cell);
        table.add_row(std::iter::once(name.to_owned()).chain(values));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}
