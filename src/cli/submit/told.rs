//! What `mst submit` says.

use std::fmt::Write as _;
use std::io::Write as _;

use serde_json::{Value, json};

use super::Args;
use super::check::Checked;
use super::order::Order;
use super::send::Sent;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::{Format, print_json};
use crate::cluster::estimate::about;
use crate::cluster::submission::{DRIVE, REPORT, TABLE};
use crate::executor::shell::quote;
use crate::executor::slurm::time;
use crate::settings::Place;
use crate::store::runs::{Mode, RUNS};

/// Stands for the run's name before there is one.
const NAME: &str = "RUN";
/// Stands for the beginning of its jobs' names.
const TAG: &str = "mst-XXXXXXXX";

/// What would be submitted: scripts and calls for `--dry-run`, Slurm's word for `--check`.
pub(super) fn outline(order: &Order<'_>, checked: &Checked, args: &Args) -> Outcome {
    let run = order.results_dir.join(RUNS).join(NAME);
    let draft = order.draft(&run, NAME, TAG).map_err(Failure::input)?;
    let mut scripts = vec![(run.join(DRIVE), draft.drive)];
    scripts.extend(draft.report.map(|text| (run.join(REPORT), text)));
    let calls = order.calls(&run, TAG);
    if args.format == Format::Json {
        let scripts: Vec<Value> = scripts
            .iter()
            .map(|(file, text)| json!({ "file": file, "text": text }))
            .collect();
        print_json(&json!({
            "mode": order.mode, "pairs": draft.plan.pairs, "results": order.results_dir,
            "estimate": estimate(order), "scripts": scripts, "commands": calls,
            "warnings": checked.warnings, "start": checked.start,
        }))?;
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    if args.dry_run {
        for (file, script) in &scripts {
            let _ = writeln!(text, "---- {} ----\n{script}", file.display());
        }
        text.push_str("---- commands ----\n");
        for call in &calls {
            let words: Vec<String> = call.iter().map(|word| quote(word)).collect();
            let _ = writeln!(text, "{}", words.join(" "));
        }
        text.push('\n');
    }
    text.push_str(&about_the_work(order));
    if let Some(start) = &checked.start {
        let _ = writeln!(text, "Slurm would take it: {start}");
    }
    text.push_str("Nothing was submitted, and nothing written.\n");
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(Exit::Done)
}

/// A run that was submitted.
pub(super) fn sent(order: &Order<'_>, checked: &Checked, sent: &Sent, format: Format) -> Outcome {
    let name = sent.run.name();
    if format == Format::Json {
        let mut scripts = vec![sent.run.path().join(DRIVE)];
        if order.mode == Mode::Array {
            scripts.push(sent.run.path().join(REPORT));
        }
        print_json(&json!({
            "run": name, "path": sent.run.path(), "mode": order.mode, "tag": sent.tag, "jobs": sent.jobs,
            "scripts": scripts, "results": order.results_dir, "estimate": estimate(order),
            "warnings": checked.warnings,
        }))?;
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    let job = &sent.jobs[0].id;
    let _ = writeln!(text, "Run {name}: job {job} is in the queue.");
    text.push_str(&about_the_work(order));
    if let Some(gathers) = sent.jobs.get(1) {
        let table = sent.run.path().join(TABLE);
        let _ = writeln!(
            text,
            "When all tasks have ended, job {} writes {}.",
            gathers.id,
            table.display()
        );
    }
    let _ = writeln!(text, "Watch it:  mst status {name}    mst logs -f {name}");
    let _ = writeln!(text, "Stop it:   mst cancel {name}");
    let _ = writeln!(text, "Results:   {}", order.results_dir.display());
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(Exit::Done)
}

/// What happens in how many jobs, and how long it takes.
fn about_the_work(order: &Order<'_>) -> String {
    let count = order.all.searches.len();
    let searches = if count == 1 {
        "one search".to_owned()
    } else {
        format!("{count} searches")
    };
    let how = match (order.mode, order.throttle) {
        (Mode::Array, Some(throttle)) => format!(", each a task of an array, at most {throttle} at a time"),
        (Mode::Array, None) => ", each a task of an array".to_owned(),
        (Mode::Chain, _) => " in jobs that submit one another".to_owned(),
        _ if count == 1 => " in one job".to_owned(),
        _ => ", one after the other in one job".to_owned(),
    };
    let server = match order.place() {
        None if order.mode == Mode::Client => "the server runs elsewhere",
        None => "no server of its own",
        Some(Place::Child) => "with the server beside it",
        Some(Place::Step) => "with the server as a step on its node",
        Some(Place::Node) => "with the server on another node of the job",
        Some(Place::Group) => "with the server on a component of its own",
        Some(Place::Job) => "with the server as a job of its own",
    };
    let limit = order
        .walltime
        .map_or("the partition's time limit".to_owned(), |limit| {
            format!("time limit {}", time::limit(limit))
        });
    let (likely, most) = order.all.trials();
    let (time_likely, time_most) = order.work.time();
    let each = if order.mode == Mode::Array { " a task" } else { "" };
    format!(
        "It makes {searches}{how} ({limit}), {server}.\nTrials: about {likely}, {most} at most; that is about {}{each}, {} at \
         most, and less when trials are decided early.\n",
        about(time_likely),
        about(time_most),
    )
}

fn estimate(order: &Order<'_>) -> Value {
    let (likely, most) = order.all.trials();
    let (time_likely, time_most) = order.work.time();
    json!({
        "trials": { "likely": likely, "most": most },
        "seconds": { "likely": time_likely.as_secs_f64(), "most": time_most.as_secs_f64() },
        "walltime_s": order.walltime.map(|limit| limit.as_secs_f64()),
        "jobs": order.work.jobs(order.walltime),
    })
}
