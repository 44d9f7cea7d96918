//! `mst cache`: stored trials, which are the cache.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;

use super::Format;
use super::exit::{Exit, Failure, Outcome};
use crate::store::{Lease, LeaseError, State, Store, Stored};

/// List, verify or prune stored trials.
///
/// Trials are stored under a hash of what was run, never of how it is judged: another objective, or another search, uses them
/// again. Those that were ended early count for what they show only; damaged and unfinished ones are never used.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  mst cache list                            what is stored, by system and workload
  mst cache verify                          read everything; exit code 3 when something is damaged
  mst cache prune                           say what would be removed: damaged, void and unfinished trials
  mst cache prune --partial --yes           remove these, and those that were ended early")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// What is stored
    List(Place),
    /// Read every trial and say what is damaged
    Verify(Place),
    /// Remove damaged, void and unfinished trials
    Prune {
        #[command(flatten)]
        place: Place,
        /// Also trials that were ended before all their requests were sent
        #[arg(long)]
        partial: bool,
        /// Remove; without it, only say what would be removed
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Place {
    /// Root of the results
    #[arg(long, value_name = "DIR", default_value = "requests")]
    output_dir: PathBuf,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the verb.
pub(crate) fn run(args: Args) -> Outcome {
    match args.verb {
        Verb::List(place) => {
            let all = audit(&place, false)?;
            if place.format == Format::Json {
                super::print_json(&all)?;
            } else {
                list(&all)?;
            }
            Ok(Exit::Done)
        }
        Verb::Verify(place) => {
            let all = audit(&place, true)?;
            let damaged = all.iter().filter(|s| s.state == State::Damaged).count();
            if place.format == Format::Json {
                super::print_json(&all)?;
            } else {
                problems(&all)?;
                let mut out = std::io::stdout().lock();
                writeln!(out, "{} trials, {damaged} of them damaged", all.len())?;
            }
            Ok(if damaged == 0 { Exit::Done } else { Exit::Input })
        }
        Verb::Prune { place, partial, yes } => prune(&place, partial, yes),
    }
}

fn audit(place: &Place, deep: bool) -> Result<Vec<Stored>, Failure> {
    if !place.output_dir.is_dir() {
        let path = place.output_dir.display();
        return Err(Failure::input(anyhow::anyhow!(
            "{path}: there is no such folder; name the root of the results with --output-dir"
        )));
    }
    let store = Store::open(&place.output_dir).map_err(Failure::input)?;
    store.audit(deep).map_err(Failure::input)
}

/// A line a pair, or system and workload.
fn list(all: &[Stored]) -> anyhow::Result<()> {
    let mut pairs: BTreeMap<&str, Vec<&Stored>> = BTreeMap::new();
    for stored in all {
        pairs.entry(&stored.pair).or_default().push(stored);
    }
    let mut out = std::io::stdout().lock();
    for (pair, trials) in &pairs {
        let rates: Vec<f64> = trials.iter().filter_map(|t| t.qps).collect();
        let low = rates.iter().copied().fold(f64::INFINITY, f64::min);
        let high = rates.iter().copied().fold(0.0, f64::max);
        let bytes: u64 = trials.iter().map(|t| t.bytes).sum();
        let unusable = trials
            .iter()
            .filter(|t| !matches!(t.state, State::Whole | State::Partial))
            .count();
        write!(out, "{pair}: {} trials", trials.len())?;
        if !rates.is_empty() {
            write!(out, " at {low:.4} to {high:.4} requests a second")?;
        }
        write!(out, ", {:.1} MB", bytes as f64 / 1e6)?;
        if unusable > 0 {
            write!(out, ", {unusable} cannot be used (mst cache verify)")?;
        }
        writeln!(out)?;
    }
    writeln!(out, "{} trials in all", all.len())?;
    Ok(())
}

fn problems(all: &[Stored]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for stored in all {
        if let Some(problem) = &stored.problem {
            let state = serde_json::to_value(stored.state)?;
            let state = state.as_str().unwrap_or_default();
            writeln!(out, "{}: {state}: {problem}", stored.folder.display())?;
        }
    }
    Ok(())
}

fn prune(place: &Place, partial: bool, yes: bool) -> Outcome {
    let all = audit(place, true)?;
    let store = Store::open(&place.output_dir).map_err(Failure::input)?;
    let goes = |stored: &&Stored| match stored.state {
        State::Whole => false,
        State::Partial => partial,
        State::Void | State::Damaged | State::Unfinished => true,
    };
    let mut removed = Vec::new();
    for stored in all.iter().filter(goes) {
        if yes {
            // Somebody may just be measuring there.
            let lease = match Lease::take(&store.pair(&stored.pair)) {
                Ok(lease) => lease,
                Err(error @ LeaseError::Held { .. }) => {
                    eprintln!("note: {}: kept, {error}", stored.folder.display());
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            fs_err::remove_dir_all(&stored.folder)?;
            drop(lease);
        }
        removed.push(stored);
    }
    if place.format == Format::Json {
        super::print_json(&removed)?;
        return Ok(Exit::Done);
    }
    let mut out = std::io::stdout().lock();
    for stored in &removed {
        writeln!(out, "{}", stored.folder.display())?;
    }
    let word = if yes {
        "removed"
    } else {
        "would be removed; --yes removes them"
    };
    writeln!(out, "{} of {} trials {word}", removed.len(), all.len())?;
    Ok(Exit::Done)
}
