//! A prefill profile for people.

use std::io::Write;

use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::store::PrefillProfile;
use crate::store::prefill::IdleBy;

/// Prints it to stdout.
pub(super) fn print(profile: &PrefillProfile) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", table(profile))?;
    for line in lines(profile) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// A row for each length.
fn table(profile: &PrefillProfile) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let heads = ["tokens", "requests", "median s", "least s", "most s", "curve s"];
    table.set_header(heads.map(|head| Cell::new(head).set_alignment(CellAlignment::Right)));
    for length in &profile.lengths {
        let curve = profile.curve().predict(length.tokens).seconds;
        let seconds = |s: f64| format!("{s:.4}");
        let cells = [
            format!("{:.0}", length.tokens),
            length.repeats.to_string(),
            seconds(length.median),
            seconds(length.least),
            seconds(length.most),
            seconds(curve),
        ];
        table.add_row(cells.map(|cell| Cell::new(cell).set_alignment(CellAlignment::Right)));
    }
    table
}

/// What stands below it.
fn lines(profile: &PrefillProfile) -> Vec<String> {
    let mut lines = Vec::new();
    let mut told = |what: &str, error: &crate::slo::prefill::FitError| {
        lines.push(format!(
            "{what}: {:.4} s root mean square, {:.4} s at most; {:.1} % and {:.1} % of what was measured",
            error.root_mean_square,
            error.largest,
            error.relative_root_mean_square * 100.0,
            error.relative_largest * 100.0
        ));
    };
    told("error of the curve", &profile.error);
    if let Some(error) = &profile.left_out.inside {
        told("lengths left out, inside", error);
    }
    if let Some(error) = &profile.left_out.at_the_ends {
        told("lengths left out, at the ends", error);
    }
    if let Some(spread) = profile.repeat_spread {
        lines.push(format!(
            "repeats of a length: range of {:.1} % of the median, {:.1} % at most, at {:.0} tokens",
            spread.typical * 100.0,
            spread.largest * 100.0,
            spread.at_tokens
        ));
    }
    let idle = match (profile.idle.idle, profile.idle.by) {
        (true, IdleBy::Metrics) => "yes, by its queue metrics before each request",
        (true, IdleBy::Repeats) => "nothing against it: no queue metrics, and the repeats agree",
        (true, IdleBy::Simulated) => "yes, a simulation has no other users",
        (false, _) => "no, see the notes",
    };
    lines.push(format!("server idle: {idle}"));
    lines
}
