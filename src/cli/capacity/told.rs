//! What `mst capacity` says: before, meanwhile, and in the end.

use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::source::SourceFile;
use crate::cli::Format;
use crate::cli::exit::{Exit, Outcome as Verb};
use crate::matrix::file::File;
use crate::matrix::{Outcome, Trouble, pack};
use crate::report::summary::status_word;

/// Tells of outcomes as they come.
pub(super) struct Progress {
    done: AtomicUsize,
    all: usize,
    line: Mutex<()>,
}

impl Progress {
    pub(super) fn new(file: &File) -> Self {
        Self {
            done: AtomicUsize::new(0),
            all: combinations(file).len(),
            line: Mutex::new(()),
        }
    }

    pub(super) fn told(&self, outcome: &Outcome) {
        let number = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let _line = self.line.lock();
        let answer = match (&outcome.error, outcome.capacity_qps) {
            (Some(error), _) => error.clone(),
            (None, Some(qps)) => format!("{} requests a second {}", rate(Some(qps)), interval(outcome)),
            (None, None) => format!("at no rate: {}", outcome.reason),
        };
        eprintln!("[{number}/{}] {}: {answer}", self.all, outcome.name);
    }
}

/// Every combination that is searched.
fn combinations(file: &File) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for system in &file.systems {
        for workload in &file.workloads {
            for (slo, _) in file.objectives() {
                let (system, workload) = (&system.value.name, &workload.value.name);
                if !file.skips(system, workload, &slo) {
                    all.push((system.clone(), workload.clone(), slo));
                }
            }
        }
    }
    all
}

/// What would be searched.
pub(super) fn plan(source: &SourceFile, format: Format) -> Verb {
    let all = combinations(&source.file);
    if format == Format::Json {
        let jobs: Vec<_> = all
            .iter()
            .map(|(system, workload, slo)| serde_json::json!({ "system": system, "workload": workload, "slo": slo }))
            .collect();
        crate::cli::print_json(&jobs)?;
        return Ok(Exit::Done);
    }
    let mut out = std::io::stdout().lock();
    for (system, workload, slo) in &all {
        writeln!(out, "{system}/{workload}/{slo}")?;
    }
    writeln!(
        out,
        "{} searches, of at most {} trials each",
        all.len(),
        source.file.search.limit()
    )?;
    for note in &source.file.notes {
        writeln!(out, "note: {note}")?;
    }
    Ok(Exit::Done)
}

/// How the answers are told.
pub(super) struct Told<'a> {
    /// What was searched.
    pub(super) source: &'a SourceFile,
    /// Where the answers lie.
    pub(super) place: &'a Path,
    /// GPUs that searches are packed on.
    pub(super) slots: Option<u32>,
    /// Whether no trial was to be run.
    pub(super) stored: bool,
}

impl Told<'_> {
    /// Prints the answers.
    pub(super) fn print(&self, outcomes: &[Outcome], format: Format) -> anyhow::Result<()> {
        if format == Format::Json {
            return crate::cli::print_json(&outcomes);
        }
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", table(outcomes))?;
        writeln!(out)?;
        for outcome in outcomes.iter().filter(|o| o.error.is_some()) {
            let error = outcome.error.as_deref().unwrap_or_default();
            writeln!(out, "{}: {error}", outcome.name)?;
        }
        let mut notes: Vec<&String> = self.source.file.notes.iter().collect();
        notes.extend(outcomes.iter().flat_map(|o| &o.notes));
        let mut told = std::collections::BTreeSet::new();
        for note in notes {
            if told.insert(note) {
                writeln!(out, "note: {note}")?;
            }
        }
        if let Some(slots) = self.slots {
            match pack(outcomes, slots) {
                Ok(packed) => writeln!(
                    out,
                    "{:.1} GPU-hours of load, {:.1} h on {slots} GPUs, {:.0} % of them in use",
                    packed.gpu_hours,
                    packed.hours,
                    100.0 * packed.gpu_hours / (packed.hours * f64::from(slots)).max(f64::MIN_POSITIVE)
                )?,
                Err(why) => writeln!(out, "note: {why}")?,
            }
        }
        writeln!(
            out,
            "{} searches; curves and margins in {}",
            outcomes.len(),
            self.place.display()
        )?;
        let unfinished = outcomes
            .iter()
            .filter(|o| o.trouble == Some(Trouble::Stopped))
            .count();
        if self.stored && unfinished > 0 {
            writeln!(
                out,
                "{unfinished} of them are not finished: the same command without --stored, or with --submit, goes on"
            )?;
        }
        Ok(())
    }
}

fn table(outcomes: &[Outcome]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header([
            "search", "QPS", "interval", "status", "binding", "trials", "stored", "load",
        ]);
    for outcome in outcomes {
        table.add_row([
            outcome.name.clone(),
            rate(outcome.capacity_qps),
            interval(outcome),
            outcome.status.map_or("-", status_word).to_owned(),
            outcome.binding_slo.clone().unwrap_or_else(|| "-".to_owned()),
            outcome.trials.to_string(),
            outcome.trials_reused.to_string(),
            format!("{:.2} h", outcome.load_seconds / 3600.0),
        ]);
    }
    for column in [1, 5, 6, 7] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A rate with four digits.
fn rate(qps: Option<f64>) -> String {
    qps.map_or("-".to_owned(), |qps| format!("{:.*}", digits(qps), qps))
}

fn digits(qps: f64) -> usize {
    if qps > 0.0 {
        (3 - qps.log10().floor() as i32).clamp(0, 6) as usize
    } else {
        0
    }
}

fn interval(outcome: &Outcome) -> String {
    match outcome.interval_qps {
        [None, None] => "-".to_owned(),
        [low, high] => format!("[{}, {}]", rate(low), rate(high)),
    }
}
