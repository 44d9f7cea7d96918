//! The result for people.

use comfy_table::{CellAlignment, Table, presets};

use super::summary::{Line, Summary};
use crate::units::Plain;

/// What stands for the unknown.
const UNKNOWN: &str = "-";

/// One line a server and combination, then those of the parts of the panel and of all servers together. What is the
/// same in all lines stands above.
pub fn table(summary: &Summary) -> String {
    let lines: Vec<&Line> = summary.overall.iter().map(|o| &o.line).collect();
    let Some(first) = lines.first() else {
        return String::new();
    };
    let differs = |pick: fn(&Line) -> String| lines.iter().any(|line| pick(line) != pick(first));
    let told: Vec<(&str, fn(&Line) -> String)> = vec![
        ("search", |l| l.combination.search.clone()),
        ("judged by", |l| l.combination.evaluation.clone()),
        ("arrivals", |l| l.combination.arrival.clone()),
        ("duration", |l| format!("{} s", Plain(l.combination.duration_s))),
    ];
    let same: Vec<String> = told
        .iter()
        .filter(|(_, pick)| !differs(*pick))
        .map(|(name, pick)| format!("{name} {}", pick(first)))
        .collect();
    let shown: Vec<_> = told.iter().filter(|(_, pick)| differs(*pick)).collect();

    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let mut header = vec!["server", "req/min", "n"];
    header.extend(shown.iter().map(|(name, _)| *name));
    header.extend([
        "within 2 %",
        "3 %",
        "5 %",
        "floor",
        "error p1",
        "p5",
        "p50",
        "p95",
        "p99",
        "covered",
        "width p50",
        "p95",
        "hours p50",
        "p95",
        "trials",
        "wrong",
        "unsure",
    ]);
    table.set_header(header);
    let mut add = |name: &str, capacity: String, line: &Line| {
        let mut row = vec![name.to_owned(), capacity, line.searches.to_string()];
        row.extend(shown.iter().map(|(_, pick)| pick(line)));
        row.extend(numbers(line));
        table.add_row(row);
    };
    for server in &summary.servers {
        for line in &server.results {
            let capacity = format!("{:.1}", server.facts.true_capacity_per_minute);
            add(&server.facts.name, capacity, line);
        }
    }
    for overall in &summary.overall {
        for part in &overall.parts {
            add(
                &format!("{} ({})", part.part, part.servers),
                String::new(),
                &part.line,
            );
        }
        add("all servers", String::new(), &overall.line);
    }
    let numbers_from = 1;
    for column in table.column_iter_mut().skip(numbers_from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let heading = if same.is_empty() {
        String::new()
    } else {
        format!("{}\n\n", same.join(", "))
    };
    let rows: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    format!("{heading}{}\n", rows.join("\n"))
}

fn numbers(line: &Line) -> Vec<String> {
    let share = |value: f64| format!("{:.1} %", 100.0 * value);
    let known = |value: Option<f64>| value.map_or(UNKNOWN.to_owned(), |v| format!("{:.2} %", 100.0 * v));
    let error = |value: f64| format!("{value:+.2}");
    let width = |value: f64| {
        if value.is_finite() {
            format!("{value:.1} %")
        } else {
            "open".to_owned()
        }
    };
    let e = &line.error_percent;
    vec![
        share(line.within_2pct),
        share(line.within_3pct),
        share(line.within_5pct),
        share(line.within_floor),
        error(e.p1),
        error(e.p5),
        error(e.p50),
        error(e.p95),
        error(e.p99),
        share(line.coverage),
        width(line.interval_width_percent.p50),
        width(line.interval_width_percent.p95),
        format!("{:.2}", line.hours.p50),
        format!("{:.2}", line.hours.p95),
        format!("{:.0}", line.trials.p50),
        known(line.wrong_ruling_share),
        known(line.unsure_share),
    ]
}
