//! `mst run --dry-run`: what would be done.

use std::io::Write;
use std::path::Path;

use crate::campaign::{self, Outline};
use crate::cli::Format;
use crate::cli::exit::{Exit, Outcome};
use crate::loadgen::LoadGenerator;
use crate::settings::Settings;
use crate::units::Plain;

/// Prints the outline of every pair and the commands of its first trial.
pub(super) fn print(settings: &Settings, loadgen: &dyn LoadGenerator, format: Format) -> Outcome {
    let outlines: Vec<Outline> = settings
        .experiments
        .iter()
        .map(|e| campaign::outline(settings, e))
        .collect();
    let commands = campaign::example_commands(settings, loadgen)?;
    let mut out = std::io::stdout().lock();
    if format == Format::Json {
        serde_json::to_writer_pretty(
            &mut out,
            &serde_json::json!({ "pairs": outlines, "commands": commands }),
        )?;
        writeln!(out)?;
        return Ok(Exit::Done);
    }
    for pair in &outlines {
        let ramp: Vec<String> = pair
            .ramp
            .iter()
            .map(|r| Plain(r.as_per_minute()).to_string())
            .collect();
        let likely = pair.likely_hours.map_or(String::new(), |hours| {
            format!("some {} trials, {hours:.2} hours; ", pair.likely_trials)
        });
        writeln!(
            out,
            "{}: {}, … req/min, {}; {likely}at most {} trials, {:.2} hours",
            pair.pair,
            ramp.join(", "),
            pair.stop,
            pair.most_trials,
            pair.most_hours
        )?;
    }
    writeln!(
        out,
        "Search {}, judged by {}.",
        campaign::search_name(settings),
        campaign::criterion_name(settings)
    )?;
    let hours: f64 = outlines.iter().map(|o| o.most_hours).sum();
    let trials: u32 = outlines.iter().map(|o| o.most_trials).sum();
    let likely: f64 = outlines.iter().filter_map(|o| o.likely_hours).sum();
    if likely > 0.0 {
        writeln!(
            out,
            "Some {likely:.2} hours in all are likely; what is stored and what pairs tell of one another make it less."
        )?;
    }
    writeln!(
        out,
        "At most {trials} trials and {hours:.2} hours in all; trials that are decided early are shorter."
    )?;
    writeln!(out, "A trial runs:")?;
    for command in &commands {
        writeln!(out, "  {command}")?;
    }
    writeln!(
        out,
        "Results go to {}",
        Path::new(&settings.results_dir).display()
    )?;
    Ok(Exit::Done)
}
