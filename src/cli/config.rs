//! `mst config`.

use std::io::Write;

use serde_json::json;

use super::Format;
use super::exit::{Exit, Outcome};
use super::settings_args::SettingsArgs;
use crate::settings::{self, KEYS, Loaded, Origin};

/// Print every setting, its value and where it came from.
///
/// The first line names the profile, the set of defaults: demo while URL is empty, live once it is set. All mistakes are
/// listed at once; then the exit code is 3. Nothing is written and nothing is contacted.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  mst config                              what `mst run` would use here
  mst config --env-file site.env --format json
  mst config --set DURATION=60s --tokens 128:128
  mst config --example > .env             a file to begin with")]
pub(crate) struct Args {
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Print a documented .env file with every key instead
    #[arg(long)]
    example: bool,
    // Last: its heading holds for what follows it.
    #[command(flatten)]
    settings: SettingsArgs,
}

/// Runs the verb.
pub(crate) fn run(args: Args) -> Outcome {
    let Args {
        settings: flags,
        format,
        example,
    } = args;
    let mut out = std::io::stdout().lock();
    if example {
        out.write_all(settings::example().as_bytes())?;
        return Ok(Exit::Done);
    }
    let loaded = flags.load()?;
    match format {
        Format::Human => {
            out.write_all(as_text(&loaded).as_bytes())?;
            for warning in &loaded.warnings {
                eprintln!("warning: {warning}");
            }
            for note in &loaded.notes {
                eprintln!("note: {note}");
            }
        }
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, &as_json(&loaded))?;
            writeln!(out)?;
        }
    }
    Ok(Exit::Done)
}

/// Values and origins in aligned columns, then what is searched.
fn as_text(loaded: &Loaded) -> String {
    let mut lines = vec![loaded.profile_line()];
    let entries: Vec<_> = KEYS
        .iter()
        .map(|key| (key.name, &loaded.provenance[key.name]))
        .collect();
    let widest = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0);
    let key_width = widest(&mut entries.iter().map(|(name, _)| name.len()));
    // A long command must not push all origins out of sight.
    let value_width = widest(&mut entries.iter().map(|(_, e)| e.value.chars().count())).min(40);
    for (name, entry) in entries {
        let value = if entry.value.is_empty() { "-" } else { &entry.value };
        let line = format!("{name:key_width$}  {value:value_width$}  {}", entry.origin);
        lines.push(line.trim_end().to_owned());
    }
    lines.push("searches:".to_owned());
    for experiment in &loaded.settings.experiments {
        lines.push(format!("  {} from {}", experiment.name, experiment.start));
    }
    lines.join("\n") + "\n"
}

fn as_json(loaded: &Loaded) -> serde_json::Value {
    let settings: Vec<_> = KEYS
        .iter()
        .map(|key| {
            let entry = &loaded.provenance[key.name];
            let (from, file, line) = match &entry.origin {
                Origin::Flag => ("flag", None, None),
                Origin::Environment => ("environment", None, None),
                Origin::File { path, line } => ("file", Some(path.display().to_string()), Some(*line)),
                Origin::Default(_) => ("default", None, None),
            };
            let value = Some(&entry.value).filter(|v| !v.is_empty());
            json!({
                "key": key.name, "value": value, "from": from, "file": file, "line": line,
                "default": key.default_in(loaded.settings.profile), "notes": entry.notes,
            })
        })
        .collect();
    let searches: Vec<_> = loaded
        .settings
        .experiments
        .iter()
        .map(|e| json!({ "name": e.name, "start_per_minute": e.start }))
        .collect();
    json!({
        "profile": loaded.settings.profile.to_string(),
        "env_file": loaded.env_file,
        "settings": settings,
        "searches": searches,
        "notes": loaded.notes,
        "warnings": loaded.warnings,
    })
}
