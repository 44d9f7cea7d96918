//! A run for people: its pairs, its jobs, how long it takes, what to do.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};

use crate::cluster::watch::{JobStatus, Kind, PairStatus, RunState, RunStatus, weight};
use crate::report::table::hours;
use crate::units::{Plain, Rate};

/// Lists longer than this are summed up, unless all is asked for.
const MANY: usize = 8;

/// What is told of one run.
pub(super) fn block(run: &RunStatus, is_detailed: bool) -> String {
    let mut text = format!(
        "{}: {}, {} of {} pairs done\n",
        run.run,
        run.state.word(),
        run.pairs_done(),
        run.pairs.len()
    );
    let mut line = |words: &str| {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "  {words}");
    };
    if let Some(why) = &run.why {
        line(why);
    }
    if is_detailed {
        line(&format!(
            "{}, made {}, results in {}",
            mode_words(run),
            run.created.format("%Y-%m-%d %H:%M UTC"),
            run.results.display()
        ));
        line(&format!("its folder is {}", run.folder.display()));
    }
    for row in pairs(run, is_detailed) {
        line(&row);
    }
    for row in jobs(&run.jobs, is_detailed) {
        line(&row);
    }
    if let Some(words) = time(run) {
        line(&words);
    }
    for words in &run.advice {
        line(words);
    }
    text
}

/// How a run is laid out, in words.
pub(crate) fn mode_words(run: &RunStatus) -> &'static str {
    use crate::store::runs::Mode;
    match run.mode {
        Mode::Job => "one job",
        Mode::Array => "an array, one task a pair",
        Mode::Client => "one job, the server elsewhere",
        Mode::Chain => "a chain of jobs",
        Mode::Login => "a driver outside of Slurm",
    }
}

fn pairs(run: &RunStatus, is_detailed: bool) -> Vec<String> {
    let all = &run.pairs;
    if is_detailed || all.len() <= MANY {
        return table(all.iter());
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for pair in all {
        *counts.entry(pair.state.word()).or_default() += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(word, n)| format!("{n} {word}")).collect();
    let running: Vec<&PairStatus> = all.iter().filter(|p| p.state == RunState::Running).collect();
    let mut lines = table(running.iter().copied().take(MANY));
    lines.push(format!(
        "{} pairs: {}; `mst status {}` shows all",
        all.len(),
        counts.join(", "),
        run.run
    ));
    lines
}

fn table<'a>(pairs: impl Iterator<Item = &'a PairStatus>) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["pair (in_out)", "req/min", "trials", "state"]);
    let mut is_empty = true;
    for pair in pairs {
        is_empty = false;
        table.add_row([
            pair.pair.clone(),
            span(pair.low, pair.high),
            pair.trials.to_string(),
            state(pair),
        ]);
    }
    if is_empty {
        return Vec::new();
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for number in [1, 2] {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect()
}

fn span(low: Option<Rate>, high: Option<Rate>) -> String {
    let number = |rate: Rate| Plain(rate.as_per_minute()).to_string();
    match (low, high) {
        (None, None) => "-".to_owned(),
        (Some(low), None) => format!("{}..", number(low)),
        (None, Some(high)) => format!("..{}", number(high)),
        (Some(low), Some(high)) => format!("{}..{}", number(low), number(high)),
    }
}

fn state(pair: &PairStatus) -> String {
    let mut text = pair.state.word().to_owned();
    if let Some(rate) = pair.now {
        let _ = write!(text, " at {rate}");
    }
    if pair.state == RunState::Running
        && let Some(left) = pair.left_s
    {
        let _ = write!(text, ", about {} left", hours(left as f64));
    }
    text
}

fn jobs(jobs: &[JobStatus], is_detailed: bool) -> Vec<String> {
    let mut groups: BTreeMap<(Kind, &str, &str), Vec<&JobStatus>> = BTreeMap::new();
    for job in jobs {
        groups
            .entry((job.kind, &job.state, &job.reason))
            .or_default()
            .push(job);
    }
    let mut lines = Vec::new();
    for group in groups.into_values() {
        if is_detailed && group.len() <= 4 * MANY || group.len() <= 2 {
            lines.extend(group.into_iter().map(one));
            continue;
        }
        let (first, last) = (group[0], group[group.len() - 1]);
        let count: usize = group.iter().map(|job| weight(&job.id)).sum();
        lines.push(format!(
            "{count} {} jobs, {} to {}, {}{}",
            kind(first.kind),
            first.id,
            last.id,
            first.state,
            reason(first)
        ));
    }
    lines
}

fn one(job: &JobStatus) -> String {
    let mut text = format!("{} job {} {}", kind(job.kind), job.id, job.state);
    if !job.nodes.is_empty() {
        let _ = write!(text, " on {}", job.nodes);
    }
    if let Some(left) = job.left_s {
        let _ = write!(text, ", {} until its time limit", hours(left as f64));
    }
    match job.restarts {
        0 => {}
        1 => text.push_str(", put back into the queue once"),
        n => {
            let _ = write!(text, ", put back into the queue {n} times");
        }
    }
    if let Some(start) = &job.start {
        let _ = write!(text, ", expected to start {start}");
    }
    text + &reason(job)
}

fn reason(job: &JobStatus) -> String {
    let word = match job.reason.as_str() {
        "" => String::new(),
        reason => format!(" ({reason})"),
    };
    match &job.advice {
        Some(advice) => format!("{word}: {advice}"),
        None => word,
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Driver => "driver",
        Kind::Report => "report",
        Kind::Server => "server",
        Kind::Trial => "trial",
    }
}

/// The work left against the time left.
fn time(run: &RunStatus) -> Option<String> {
    if run.state.is_over() {
        return None;
    }
    let work = hours(run.eta_seconds? as f64);
    Some(match (run.left_walltime, run.needs_another_job) {
        (Some(left), Some(true)) => format!(
            "about {work} of work left; its time limit leaves {}: it will be continued in another job",
            hours(left as f64)
        ),
        (Some(left), _) => format!(
            "about {work} of work left; its time limit leaves {}",
            hours(left as f64)
        ),
        (None, _) => format!("about {work} of work left"),
    })
}
