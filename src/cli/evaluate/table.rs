//! The answer for people: both rules side by side.

use comfy_table::{Table, presets};

use crate::criterion::Ruling;
use crate::units::Plain;

use super::entry::Entry;

/// The table, one line a trial.
pub(super) fn render(entries: &[Entry]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "trial",
        "req/min",
        "ruling",
        "welch",
        "gate",
        "p",
        "drift",
        "of the load",
        "success",
        "why",
    ]);
    for entry in entries {
        table.add_row(cells(entry));
    }
    // Without padding at the ends of lines, so that output can be compared.
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

fn cells(entry: &Entry) -> [String; 10] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let percent = |value: f64| format!("{:.2} %", 100.0 * value);
    let drift = entry
        .drift
        .and_then(|d| d.drift.zip(d.drift_interval))
        .map(|(value, [low, high])| format!("{} ({} to {})", percent(value), percent(low), percent(high)));
    let gate = entry.gate_median_per_minute.map(|median| {
        let word = match entry.gate_passed {
            Some(true) => "passed",
            Some(false) => "failed",
            None => "no rate",
        };
        format!("{word} ({}/min)", Plain(median))
    });
    [
        entry.path.display().to_string(),
        or_dash(entry.req_min.map(|r| Plain(r).to_string())),
        or_dash(entry.ruling.map(|r| word(r).to_owned())),
        or_dash(entry.by_welch.map(|r| word(r).to_owned())),
        or_dash(gate),
        or_dash(entry.welch_p.map(|p| format!("{p:.3e}"))),
        or_dash(entry.by_drift.map(|r| word(r).to_owned())),
        or_dash(drift),
        or_dash(entry.success_rate_percent.map(|s| format!("{s:.2} %"))),
        entry
            .error
            .clone()
            .or_else(|| entry.reasons.first().cloned())
            .unwrap_or_default(),
    ]
}

/// Where the rules differ, and where a rule lacks something.
pub(super) fn warnings(entries: &[Entry]) -> Vec<String> {
    let mut warnings = Vec::new();
    for entry in entries {
        let path = entry.path.display();
        let told = entry.drift.is_some_and(|d| d.drift.is_some());
        if let (Some(welch), Some(drift), true) = (entry.by_welch, entry.by_drift, told)
            && welch != drift
        {
            warnings.push(format!(
                "{path}: welch says {}, drift says {}",
                word(welch),
                word(drift)
            ));
        }
        if entry.req_min.is_none() && entry.requests > 0 {
            warnings.push(format!(
                "{path}: nothing says which rate was asked for; give it with --req-min"
            ));
        }
    }
    warnings
}

/// The word for a ruling.
fn word(ruling: Ruling) -> &'static str {
    match ruling {
        Ruling::Sustainable => "sustainable",
        Ruling::Unsustainable => "unsustainable",
        Ruling::Unsure => "unsure",
    }
}
