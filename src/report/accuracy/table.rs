//! The result for people.

use comfy_table::{CellAlignment, Table, presets};

use super::ServerFacts;
use super::summary::{Line, ServerLines, Summary};
use crate::units::Plain;

/// What stands for the unknown.
const UNKNOWN: &str = "-";

/// A table of the answers and one of what they cost: a line a server and combination, then those of the parts of the panel
/// and of all servers together. What is the same in all lines stands above. Without a search, the capacities alone.
pub fn table(summary: &Summary) -> String {
    let lines: Vec<&Line> = summary.overall.iter().map(|o| &o.line).collect();
    let Some(first) = lines.first() else {
        return capacities(summary);
    };
    let differs = |pick: fn(&Line) -> String| lines.iter().any(|line| pick(line) != pick(first));
    let told: [(&str, Told); 4] = [
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

    let rows = rows(summary);
    let mut text = String::new();
    if !same.is_empty() {
        text.push_str(&same.join(", "));
        text.push_str("\n\n");
    }
    for columns in [&ANSWERS[..], &COSTS[..]] {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let mut header = vec!["server".to_owned()];
        header.extend(shown.iter().map(|(name, _)| (*name).to_owned()));
        header.extend(columns.iter().map(|(name, _)| (*name).to_owned()));
        table.set_header(header);
        for (name, server, line) in &rows {
            let mut row = vec![name.clone()];
            row.extend(shown.iter().map(|(_, pick)| pick(line)));
            row.extend(columns.iter().map(|(_, pick)| pick(*server, line)));
            table.add_row(row);
        }
        for column in table.column_iter_mut().skip(1 + shown.len()) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let lines: Vec<String> = table
            .lines()
            .map(|line| line.trim_end().trim_start_matches(' ').to_owned())
            .collect();
        text.push_str(&lines.join("\n"));
        text.push_str("\n\n");
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

/// The capacities alone, and how they were computed.
fn capacities(summary: &Summary) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["server", "req/min", "+-", "stationary", "method"]);
    for ServerLines { facts, .. } in &summary.servers {
        table.add_row([
            facts.name.clone(),
            capacity(facts),
            format!("{:.2} %", 100.0 * facts.relative_error),
            if facts.stationary { "yes" } else { "no" }.to_owned(),
            facts.method.clone(),
        ]);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim().to_owned()).collect();
    format!("{}\n", lines.join("\n"))
}

/// Name, server and line of each row.
fn rows(summary: &Summary) -> Vec<(String, Option<&ServerFacts>, &Line)> {
    let mut rows = Vec::new();
    for server in &summary.servers {
        let facts = &server.facts;
        rows.extend(
            server
                .results
                .iter()
                .map(|line| (facts.name.clone(), Some(facts), line)),
        );
    }
    for overall in &summary.overall {
        let parts = overall.parts.iter();
        rows.extend(parts.map(|p| (format!("{} ({})", p.part, p.servers), None, &p.line)));
        rows.push((
            format!("all servers ({})", summary.servers.len()),
            None,
            &overall.line,
        ));
    }
    rows
}

fn capacity(facts: &ServerFacts) -> String {
    format!("{:.1}", facts.true_capacity_per_minute)
}

fn share(value: f64) -> String {
    format!("{:.1} %", 100.0 * value)
}

fn known(value: Option<f64>) -> String {
    value.map_or(UNKNOWN.to_owned(), |v| format!("{:.2} %", 100.0 * v))
}

fn error(value: f64) -> String {
    format!("{value:+.2}")
}

fn width(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.1} %")
    } else {
        "open".to_owned()
    }
}

/// What is told of a line.
type Told = fn(&Line) -> String;
/// A column: its name, and what stands in it.
type Column = (&'static str, fn(Option<&ServerFacts>, &Line) -> String);

/// How far off the answers are.
const ANSWERS: [Column; 10] = [
    ("req/min", |server, _| server.map_or(String::new(), capacity)),
    ("searches", |_, l| l.searches.to_string()),
    ("within 2 %", |_, l| share(l.within_2pct)),
    ("3 %", |_, l| share(l.within_3pct)),
    ("5 %", |_, l| share(l.within_5pct)),
    ("error p1", |_, l| error(l.error_percent.p1)),
    ("p5", |_, l| error(l.error_percent.p5)),
    ("p50", |_, l| error(l.error_percent.p50)),
    ("p95", |_, l| error(l.error_percent.p95)),
    ("p99", |_, l| error(l.error_percent.p99)),
];

/// What they cost, and how far they can be trusted.
const COSTS: [Column; 9] = [
    ("within floor", |_, l| share(l.within_floor)),
    ("covered", |_, l| share(l.coverage)),
    ("width p50", |_, l| width(l.interval_width_percent.p50)),
    ("p95", |_, l| width(l.interval_width_percent.p95)),
    ("hours p50", |_, l| format!("{:.2}", l.hours.p50)),
    ("p95", |_, l| format!("{:.2}", l.hours.p95)),
    ("trials", |_, l| format!("{:.0}", l.trials.p50)),
    ("wrong", |_, l| known(l.wrong_ruling_share)),
    ("unsure", |_, l| known(l.unsure_share)),
];
