//! Throughputs that a results folder has: `capacity.json` first, else rows of `results.csv` of any generation.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context, anyhow};
use walkdir::WalkDir;

use crate::settings::token_pair;
use crate::units::{Rate, TokenPair};

/// Throughput and where it stands, by pair.
pub(super) type Throughputs = BTreeMap<TokenPair, (Rate, String)>;

/// How sure a row is of a pair's throughput, best first; the order of the older program's helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tier {
    Capacity,
    FinishedTrue,
    FinishedLargest,
    Finished,
    Largest,
    Sustainable,
}

/// A candidate for a pair's throughput.
struct Found {
    tier: Tier,
    rate: f64,
    source: String,
}

/// All throughputs below `root`. Mixes are left out. What cannot be read is named on stderr and passed over.
///
/// # Errors
/// `root` cannot be walked.
pub(super) fn throughputs(root: &Path) -> anyhow::Result<Throughputs> {
    if !root.exists() {
        return Err(anyhow!("{}: there is no such file or folder", root.display()));
    }
    let mut best: BTreeMap<TokenPair, Found> = BTreeMap::new();
    let mut offer = |pair: TokenPair, found: Found| {
        let better = best.get(&pair).is_none_or(|known| {
            if known.tier == found.tier && found.tier >= Tier::Largest {
                found.rate > known.rate
            } else {
                // Folders are named by time: of two finished searches the later one holds.
                found.tier <= known.tier
            }
        });
        if better {
            best.insert(pair, found);
        }
    };
    // Hidden folders hold what is running, not what is measured.
    let visible = |e: &walkdir::DirEntry| e.depth() == 0 || !e.file_name().to_string_lossy().starts_with('.');
    for entry in WalkDir::new(root)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(visible)
    {
        let entry = entry.with_context(|| format!("reading {}", root.display()))?;
        let read = match entry.file_name().to_str() {
            Some("capacity.json") => capacity(entry.path()),
            Some("results.csv") => rows(entry.path()),
            _ => continue,
        };
        match read {
            Ok(found) => found.into_iter().for_each(|(pair, f)| offer(pair, f)),
            Err(error) => eprintln!("warning: {}: {error:#}; passed over", entry.path().display()),
        }
    }
    Ok(best
        .into_iter()
        .map(|(pair, f)| (pair, (Rate::per_minute(f.rate), f.source)))
        .collect())
}

/// The answer in a `capacity.json`, unless it is a mix's or there is none.
fn capacity(path: &Path) -> anyhow::Result<Vec<(TokenPair, Found)>> {
    let value: serde_json::Value = serde_json::from_slice(&fs_err::read(path)?)?;
    let name = value["pair"].as_str().context("it names no pair")?;
    if name.starts_with("mix_") {
        return Ok(Vec::new());
    }
    let pair = token_pair(&name.replacen('_', ":", 1)).map_err(|e| anyhow!("pair `{name}`: {e}"))?;
    let rate = value.pointer("/answer/rate").and_then(serde_json::Value::as_f64);
    Ok(rate
        .filter(|r| *r > 0.0)
        .map(|rate| {
            (
                pair,
                Found {
                    tier: Tier::Capacity,
                    rate,
                    source: path.display().to_string(),
                },
            )
        })
        .into_iter()
        .collect())
}

/// What the rows of a `results.csv` say.
fn rows(path: &Path) -> anyhow::Result<Vec<(TokenPair, Found)>> {
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .from_reader(fs_err::File::open(path)?);
    let mut found = Vec::new();
    for row in reader.deserialize::<HashMap<String, String>>() {
        let row = row?;
        let Some(pair) = pair_of(&row) else { continue };
        let source = path.display().to_string();
        found.extend(judge(&row).map(|(tier, rate)| (pair, Found { tier, rate, source })));
    }
    Ok(found)
}

/// The pair of a row, from the columns of any generation; `None` for mixes.
fn pair_of(row: &HashMap<String, String>) -> Option<TokenPair> {
    let cell = |name: &str| row.get(name).map(|v| v.trim()).filter(|v| !v.is_empty());
    let side = |which: &str| -> Option<String> {
        match (
            cell(&format!("MIN_{which}_TOKENS")),
            cell(&format!("MAX_{which}_TOKENS")),
        ) {
            (Some(min), Some(max)) => Some(format!("{min}-{max}")),
            _ => cell(&format!("{which}_TOKENS")).map(str::to_owned),
        }
    };
    token_pair(&format!("{}:{}", side("INPUT")?, side("OUTPUT")?)).ok()
}

/// What a row says of its pair's throughput, and how sure it is.
fn judge(row: &HashMap<String, String>) -> Option<(Tier, f64)> {
    let number = |name: &str| {
        row.get(name)
            .and_then(|v| v.trim().parse::<f64>().ok())
            .filter(|v| v.is_finite() && *v > 0.0)
    };
    let yes = |name: &str| {
        row.get(name)
            .is_some_and(|v| v.trim().eq_ignore_ascii_case("true"))
    };
    let (rate, largest) = (number("REQ_MIN"), number("LARGEST_TRUE"));
    let (finished, sustainable) = (yes("FINISHED"), yes("EVALUATION"));
    if finished
        && sustainable
        && let Some(rate) = rate
    {
        return Some((Tier::FinishedTrue, rate));
    }
    match (finished, largest, rate) {
        (true, Some(largest), _) => Some((Tier::FinishedLargest, largest)),
        (true, None, Some(rate)) => Some((Tier::Finished, rate)),
        (false, Some(largest), _) => Some((Tier::Largest, largest)),
        (false, None, Some(rate)) if sustainable => Some((Tier::Sustainable, rate)),
        _ => None,
    }
}
