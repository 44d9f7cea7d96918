//! The summary for people.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};

use super::spread::Quantiles;
use super::summary::Summary;
use crate::units::Plain;

/// The summary as lines of text.
pub fn table(summary: &Summary) -> String {
    let mut text = String::new();
    let counts = &summary.requests;
    let mut beside = String::new();
    for (count, word) in [
        (counts.unfinished, "unfinished"),
        (counts.refused, "refused"),
        (counts.restarts, "restarts"),
    ] {
        if count > 0 {
            let _ = write!(beside, ", {count} {word}");
        }
    }
    let _ = writeln!(
        text,
        "{} of {} requests served in {:.3} s of virtual time, {} iterations{beside}",
        counts.completed, counts.arrived, summary.virtual_s, summary.iterations
    );
    let _ = writeln!(
        text,
        "throughput   {} requests/s, {} prompt and {} output tokens/s",
        short(summary.throughput.requests_per_s),
        short(summary.throughput.input_tokens_per_s),
        short(summary.throughput.output_tokens_per_s)
    );
    let drift = summary.drift.map_or(String::new(), |d| {
        format!(
            ": {} of the load was not served ({} to {})",
            percent(d.value),
            percent(d.low),
            percent(d.high)
        )
    });
    let _ = writeln!(text, "load         {}{drift}", summary.state.word());
    let mfu = summary
        .mfu
        .map_or(String::new(), |m| format!(", MFU {}", percent(m)));
    let _ = writeln!(text, "GPUs         busy {}{mfu}", percent(summary.busy));
    let hits = if summary.prefix_hits > 0.0 {
        format!(", {} of the prompt tokens cached", percent(summary.prefix_hits))
    } else {
        String::new()
    };
    let _ = writeln!(
        text,
        "KV cache     mean {}, peak {} of {} blocks of {} tokens{hits}",
        percent(summary.kv.mean),
        percent(summary.kv.peak),
        summary.kv.blocks,
        summary.kv.block_tokens
    );
    let beyond = if summary.extrapolated > 0.0 {
        format!("; {} of the time is extrapolated", percent(summary.extrapolated))
    } else {
        String::new()
    };
    let _ = writeln!(text, "cost model   {}{beyond}", summary.cost);
    for note in &summary.notes {
        let _ = writeln!(text, "             {note}");
    }
    text.push('\n');
    text.push_str(&quantiles(summary));
    text
}

fn quantiles(summary: &Summary) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["seconds", "mean", "p50", "p90", "p95", "p99", "max"]);
    for (name, told) in [
        ("TTFT", summary.ttft_s),
        ("TPOT", summary.tpot_s),
        ("TBT", summary.tbt_s),
        ("E2E", summary.e2e_s),
        ("scheduling delay", summary.scheduling_delay_s),
    ] {
        table.add_row(row(name, told));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    // Without padding around, so that output can be compared.
    let lines: Vec<String> = table.lines().map(|line| line.trim().to_owned()).collect();
    lines.join("\n") + "\n"
}

fn row(name: &str, told: Option<Quantiles>) -> [String; 7] {
    let said = |pick: fn(&Quantiles) -> f64| {
        told.as_ref()
            .map_or("-".to_owned(), |q| format!("{:.4}", pick(q)))
    };
    [
        name.to_owned(),
        said(|q| q.mean),
        said(|q| q.p50),
        said(|q| q.p90),
        said(|q| q.p95),
        said(|q| q.p99),
        said(|q| q.max),
    ]
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// Four significant digits.
fn short(value: f64) -> String {
    let digits = 3 - (value.abs().max(1e-9).log10().floor() as i32).clamp(-9, 3);
    let scale = 10f64.powi(digits);
    Plain((value * scale).round() / scale).to_string()
}
