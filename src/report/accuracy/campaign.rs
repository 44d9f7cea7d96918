//! What campaigns over grids of token pairs cost, and how exact they are.

use std::collections::BTreeSet;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::summary::Line;
use super::{Combination, Searched};
use crate::search::Goal;

/// All searches of one grid, combination and manner.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CampaignLine {
    /// The grid.
    pub name: String,
    /// How its pairs were searched: `independent`, `CONFIRM=always` or `CONFIRM=edges`.
    pub campaign: String,
    /// Pairs of the grid.
    pub pairs: usize,
    /// How many campaigns.
    pub campaigns: usize,
    /// Mean hours of load of a pair.
    pub hours_per_pair: f64,
    /// Hours of load of a pair that are saved against independent searches.
    pub hours_saved_per_pair: Option<f64>,
    /// Share of the answers that were sustained for the whole duration.
    pub confirmed: f64,
    /// The searches.
    #[serde(flatten)]
    pub line: Line,
}

impl CampaignLine {
    /// A line for each grid, combination and manner, in the order in which they come. The name of a search's server is that
    /// of its grid, a space, and the pair.
    pub fn all(searched: &[Searched]) -> Vec<Self> {
        let mut lines: Vec<Self> = Vec::new();
        let key = |s: &Searched| -> (String, Combination, String) {
            (
                grid(s).to_owned(),
                s.combination.clone(),
                s.campaign.clone().unwrap_or_default(),
            )
        };
        for some in searched.chunk_by(|a, b| key(a) == key(b)) {
            let all: Vec<&Searched> = some.iter().collect();
            let Some(line) = Line::of(&all) else { continue };
            let (name, combination, campaign) = key(&some[0]);
            let hours_per_pair = some.iter().map(|s| s.hours).sum::<f64>() / some.len() as f64;
            let alone = lines
                .iter()
                .find(|l| l.name == name && l.line.combination == combination && l.campaign == "independent");
            lines.push(Self {
                hours_saved_per_pair: alone.map(|l| l.hours_per_pair - hours_per_pair),
                pairs: some.iter().map(|s| &s.server).collect::<BTreeSet<_>>().len(),
                campaigns: some.iter().map(|s| s.number).collect::<BTreeSet<_>>().len(),
                confirmed: some.iter().filter(|s| is_confirmed(s)).count() as f64 / some.len() as f64,
                name,
                campaign,
                hours_per_pair,
                line,
            });
        }
        lines
    }
}

fn grid(searched: &Searched) -> &str {
    searched
        .server
        .rsplit_once(' ')
        .map_or(searched.server.as_str(), |(name, _)| name)
}

fn is_confirmed(searched: &Searched) -> bool {
    searched.trials.iter().any(|t| {
        t.goal == Goal::Confirm
            && t.load_s >= 0.99 * searched.combination.duration_s
            && Some(t.rate) == searched.answer
    })
}

/// The lines for people.
pub fn campaign_table(lines: &[CampaignLine]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "grid",
        "pairs",
        "searched",
        "judged by",
        "hours a pair",
        "saved",
        "p50",
        "p95",
        "confirmed",
        "within 3 %",
        "floor",
        "error p1",
        "p50",
        "p99",
        "covered",
        "width p50",
    ]);
    for l in lines {
        let (line, share) = (&l.line, |v: f64| format!("{:.1} %", 100.0 * v));
        table.add_row(vec![
            l.name.clone(),
            format!("{} x {}", l.campaigns, l.pairs),
            l.campaign.clone(),
            line.combination.evaluation.clone(),
            format!("{:.3}", l.hours_per_pair),
            l.hours_saved_per_pair
                .map_or("-".to_owned(), |h| format!("{h:.3}")),
            format!("{:.2}", line.hours.p50),
            format!("{:.2}", line.hours.p95),
            share(l.confirmed),
            share(line.within_3pct),
            share(line.within_floor),
            format!("{:+.2}", line.error_percent.p1),
            format!("{:+.2}", line.error_percent.p50),
            format!("{:+.2}", line.error_percent.p99),
            share(line.coverage),
            format!("{:.1} %", line.interval_width_percent.p50),
        ]);
    }
    for column in table.column_iter_mut().skip(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let rows: Vec<String> = table.lines().map(|line| line.trim().to_owned()).collect();
    format!("{}\n", rows.join("\n"))
}
