//! A simulation and the folder of its results.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use std::sync::Arc;

use super::{BuiltCluster, DeploymentError};
use crate::report::simulation::{
    Arrivals, Chart, ChromeTrace, Facts, Gather, RequestRows, Summary, Writers, plots,
};
use crate::sim::cluster::{Totals, simulate};
use crate::sim::{PrefixTable, Source, Time};

/// What is written into the folder of a run, beside `config.json` and `summary.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outputs {
    /// `request_metrics.csv`.
    pub requests: bool,
    /// `plots/`.
    pub plots: bool,
    /// `chrome_trace.json`.
    pub chrome_trace: bool,
}

impl Outputs {
    /// Nothing at all: memory does not grow with the run, and single batches are not looked at.
    pub const NONE: Self = Self {
        requests: false,
        plots: false,
        chrome_trace: false,
    };
}

/// Runs a cluster and writes what is wanted into a folder, which exists already; without a folder nothing is written.
/// `config` is what `config.json` holds.
///
/// # Errors
/// When a file cannot be written.
pub fn run(
    built: &BuiltCluster,
    source: Box<dyn Source>,
    prefixes: &Arc<PrefixTable>,
    limit: Time,
    folder: Option<(&Path, Outputs)>,
    config: &serde_json::Value,
) -> Result<(Summary, Totals), DeploymentError> {
    let outputs = folder.map_or(Outputs::NONE, |(_, outputs)| outputs);
    let (summary, totals, charts) = if outputs.plots || outputs.chrome_trace {
        observed::<true>(built, source, prefixes, limit, folder)?
    } else {
        observed::<false>(built, source, prefixes, limit, folder)?
    };
    if let Some((folder, outputs)) = folder {
        write_json(&folder.join("config.json"), config)?;
        let told = serde_json::to_value(&summary).unwrap_or_default();
        write_json(&folder.join("summary.json"), &told)?;
        if outputs.plots {
            draw(&folder.join("plots"), &charts)?;
        }
    }
    Ok((summary, totals))
}

/// Simulates without leaving anything. Requests that arrive before `warm` do not count among the times.
pub fn summary(
    built: &BuiltCluster,
    source: Box<dyn Source>,
    prefixes: &Arc<PrefixTable>,
    warm: Time,
) -> Summary {
    let mut gather: Gather<false> = Gather::new(&built.config, Writers::default()).warmed(warm);
    let mut arrivals = Arrivals::new(source);
    let totals = simulate(&built.config, &mut arrivals, prefixes, Time::MAX, &mut gather);
    Summary::of(
        &built.config,
        &totals,
        &mut gather,
        &mut arrivals,
        facts(built, &totals),
    )
}

fn facts(built: &BuiltCluster, totals: &Totals) -> Facts {
    Facts {
        mfu: Some(built.mfu(totals)),
        cost: built.origin.label.to_owned(),
        notes: built.origin.notes.clone(),
    }
}

fn observed<const ITERATIONS: bool>(
    built: &BuiltCluster,
    source: Box<dyn Source>,
    prefixes: &Arc<PrefixTable>,
    limit: Time,
    folder: Option<(&Path, Outputs)>,
) -> Result<(Summary, Totals, Vec<Chart>), DeploymentError> {
    let mut writers = Writers::default();
    if let Some((folder, outputs)) = folder {
        if outputs.requests {
            writers.requests = Some(RequestRows::new(create(&folder.join("request_metrics.csv"))?));
        }
        if outputs.chrome_trace {
            writers.trace = Some(ChromeTrace::new(create(&folder.join("chrome_trace.json"))?));
        }
    }
    let mut gather: Gather<ITERATIONS> = Gather::new(&built.config, writers);
    let mut arrivals = Arrivals::new(source);
    let totals = simulate(&built.config, &mut arrivals, prefixes, limit, &mut gather);
    gather.finish().map_err(|error| {
        let place = folder.map_or(Path::new(""), |(folder, _)| folder);
        unwritable(place, &error)
    })?;
    let facts = facts(built, &totals);
    let summary = Summary::of(&built.config, &totals, &mut gather, &mut arrivals, facts);
    let charts = match folder {
        Some((_, outputs)) if outputs.plots => plots(&built.config, &totals, &mut gather, &mut arrivals),
        _ => Vec::new(),
    };
    Ok((summary, totals, charts))
}

/// Each chart as SVG with its points as CSV.
fn draw(folder: &Path, charts: &[Chart]) -> Result<(), DeploymentError> {
    std::fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
    for chart in charts {
        let path = folder.join(chart.name).with_extension("svg");
        let svg = chart.svg().map_err(|problem| DeploymentError::File {
            path: path.clone(),
            line: None,
            problem,
        })?;
        for (path, text) in [(path.with_extension("csv"), chart.csv()), (path, svg)] {
            std::fs::write(&path, text).map_err(|error| unwritable(&path, &error))?;
        }
    }
    Ok(())
}

fn create(path: &Path) -> Result<Box<dyn Write>, DeploymentError> {
    let file = File::create(path).map_err(|error| unwritable(path, &error))?;
    Ok(Box::new(BufWriter::with_capacity(1 << 16, file)))
}

fn write_json(path: &Path, value: &serde_json::Value) -> Result<(), DeploymentError> {
    let text = format!("{value:#}\n");
    std::fs::write(path, text).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &std::io::Error) -> DeploymentError {
    DeploymentError::Unwritable {
        path: path.to_owned(),
        problem: error.to_string(),
    }
}
