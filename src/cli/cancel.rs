//! `mst cancel`: stop a run.

use std::collections::BTreeSet;
use std::io::Write;

use serde::Serialize;

use super::Format;
use super::exit::{Exit, Failure, Outcome};
use super::runs_args::ResultsArg;
use crate::cluster::watch::{Facts, kind_of};
use crate::executor::slurm::{Job, JobId, Slurm, SlurmError};
use crate::store::runs::{Mode, Note, RunDir};

/// Stop a run: its drivers, its jobs, its model server.
///
/// What is measured is kept, and `mst resume` goes on. A mark in the run's folder asks its drivers to stop, so that they
/// do even where Slurm does not answer; its jobs are cancelled, those too of which Slurm never said whether it took them.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// The run: a name, the beginning of one, or a folder [default: the one that has not ended]
    #[arg(value_name = "RUN", conflicts_with = "all")]
    run: Option<String>,
    /// All runs below the results root that have not ended.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    results: ResultsArg,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  mst cancel                   the one that has not ended
  mst cancel 20261122-201503   that one
  mst cancel --all             all that have not ended";

/// What was done, as `--format json` prints it.
#[derive(Debug, Serialize)]
struct Done {
    run: String,
    /// Whether it had ended by itself.
    had_ended: bool,
    /// Whether it was asked to stop before.
    was_asked_before: bool,
    /// Jobs that were cancelled.
    jobs: Vec<JobId>,
}

impl Done {
    /// Whether something was done that was not done before.
    fn is_news(&self) -> bool {
        !self.was_asked_before || !self.jobs.is_empty()
    }
}

/// Runs the verb.
#[expect(clippy::needless_pass_by_value, reason = "every verb owns its arguments")]
pub(crate) fn run(args: Args) -> Outcome {
    let slurm = Slurm::default();
    let chosen = choose(&args)?;
    // First of all: this works without Slurm.
    for (run, facts) in chosen.iter().filter(|(_, facts)| !facts.has_ended()) {
        run.ask_to_stop()
            .map_err(|e| Failure::from(anyhow::Error::new(e).context(facts.name.clone())))?;
    }
    let done = cancel_jobs(&slurm, &chosen)?;
    let is_named = args.run.is_some();
    match args.format {
        Format::Json => super::print_json(&done)?,
        Format::Human => {
            let mut out = std::io::stdout().lock();
            for done in done.iter().filter(|done| is_named || done.is_news()) {
                writeln!(out, "{}", told(done))?;
            }
        }
    }
    if !is_named && !done.iter().any(Done::is_news) {
        eprintln!("nothing to cancel: every run has ended or was asked to stop, and none has jobs");
    }
    Ok(Exit::Done)
}

/// The runs that are meant.
fn choose(args: &Args) -> Result<Vec<(RunDir, Facts)>, Failure> {
    let with_facts = |run: RunDir| {
        let facts =
            Facts::gather(&run).map_err(|e| Failure::input(anyhow::Error::new(e).context(run.name())))?;
        Ok::<_, Failure>((run, facts))
    };
    if let Some(name) = &args.run {
        return Ok(vec![with_facts(args.results.find(Some(name))?)?]);
    }
    let mut chosen = Vec::new();
    for run in args.results.find_all(&[])? {
        let (run, facts) = with_facts(run)?;
        if !facts.has_ended() {
            chosen.push((run, facts));
        }
    }
    if args.all || chosen.iter().all(|(_, facts)| facts.is_asked_to_stop) {
        // Those that were asked before are asked again: Slurm may not have answered then.
        return Ok(chosen);
    }
    chosen.retain(|(_, facts)| !facts.is_asked_to_stop);
    if chosen.len() > 1 {
        let names: Vec<&str> = chosen.iter().map(|(_, facts)| facts.name.as_str()).collect();
        return Err(Failure::input(anyhow::anyhow!(
            "these runs have not ended: {}; name one, or all of them with --all",
            names.join(", ")
        )));
    }
    Ok(chosen)
}

/// Cancels what Slurm has of the runs: one question and one order for all of them.
fn cancel_jobs(slurm: &Slurm, chosen: &[(RunDir, Facts)]) -> Result<Vec<Done>, Failure> {
    let needs_slurm = |facts: &Facts| facts.plan.mode != Mode::Login || !facts.journal.is_empty();
    let rows = if chosen.iter().any(|(_, facts)| needs_slurm(facts)) {
        slurm.mine().map_err(|error| silent(error, chosen))?
    } else {
        Vec::new()
    };
    let mut done = Vec::new();
    let mut doubts = Vec::new();
    for (_, facts) in chosen {
        let ours: Vec<&Job> = rows
            .iter()
            .filter(|job| kind_of(&facts.plan.tag, &job.name).is_some())
            .collect();
        doubts.extend(
            doubtful(facts)
                .into_iter()
                .filter(|name| !ours.iter().any(|job| job.name == *name)),
        );
        // A whole array, or both parts of a heterogeneous job, by one number.
        let alive: BTreeSet<(&JobId, &str)> = ours
            .iter()
            .filter(|job| job.state.is_alive())
            .map(|job| (&job.array, job.name.as_str()))
            .collect();
        done.push((facts, alive));
    }
    let ids: Vec<JobId> = done
        .iter()
        .flat_map(|(_, alive)| alive.iter().map(|(id, _)| (*id).clone()))
        .collect();
    slurm.cancel(&ids).map_err(|error| silent(error, chosen))?;
    for name in doubts {
        slurm.cancel_named(name).map_err(|error| silent(error, chosen))?;
    }
    for ((run, _), (_, alive)) in chosen.iter().zip(&done) {
        for (id, name) in alive {
            let id = (*id).clone();
            run.journal(None).note(name, &Note::Cancelled { id })?;
        }
    }
    Ok(done
        .into_iter()
        .map(|(facts, alive)| Done {
            run: facts.name.clone(),
            had_ended: facts.has_ended(),
            was_asked_before: facts.is_asked_to_stop,
            jobs: alive.into_iter().map(|(id, _)| id.clone()).collect(),
        })
        .collect())
}

/// Names of jobs of which Slurm never said whether it took them.
fn doubtful(facts: &Facts) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for line in &facts.journal {
        match line.note {
            Note::Intent { .. } | Note::Doubt { .. } => names.insert(line.tag.as_str()),
            Note::Submitted { .. } | Note::Found { .. } | Note::Refused { .. } => {
                names.remove(line.tag.as_str())
            }
            Note::Started { .. } | Note::Requeued { .. } | Note::Cancelled { .. } => false,
        };
    }
    names
}

/// Slurm was of no help; the marks are written.
fn silent(error: SlurmError, chosen: &[(RunDir, Facts)]) -> Failure {
    let names: Vec<&str> = chosen.iter().map(|(_, facts)| facts.name.as_str()).collect();
    let text = format!(
        "{} is asked to stop, and drivers that run will by themselves; but the jobs could not be cancelled, so run \
         `mst cancel` again",
        names.join(", ")
    );
    Failure::new(Exit::BatchSystem, anyhow::Error::new(error).context(text))
}

fn told(done: &Done) -> String {
    let jobs: Vec<&str> = done.jobs.iter().map(JobId::as_str).collect();
    let word = if jobs.len() == 1 { "job" } else { "jobs" };
    match (done.had_ended, jobs.is_empty()) {
        (true, true) => format!("{}: it has ended, nothing to cancel", done.run),
        (true, false) => format!("{}: it had ended; cancelled {word} {}", done.run, jobs.join(", ")),
        (false, true) => format!("{}: asked to stop; none of its jobs is in the queue", done.run),
        (false, false) => format!(
            "{}: asked to stop; cancelled {word} {}",
            done.run,
            jobs.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_in_doubt_until_slurm_says_something() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(dir.path()).unwrap();
        let plan: crate::store::runs::Plan = serde_json::from_value(serde_json::json!({
            "schema": 1, "run": run.name(), "tag": "mst-0a0a0a0a", "mode": "job",
            "created": "2026-11-22T20:00:00Z", "mst_version": "0", "program": "/bin/mst", "submit_dir": "/",
            "results_dir": dir.path(), "pairs": ["a"], "folders": ["a"], "trial_s": 1.0,
            "trials": [1, 2], "walltime_s": null, "throttle": null
        }))
        .unwrap();
        run.write_plan(&plan).unwrap();
        let journal = run.journal(None);
        let intent = || Note::Intent {
            options: Vec::new(),
            script: "drive.slurm".into(),
        };
        let why = || "no answer".to_owned();
        let id = JobId::parse("5").unwrap();
        for tag in ["a", "b", "c", "d"] {
            journal.note(tag, &intent()).unwrap();
        }
        journal.note("a", &Note::Doubt { why: why() }).unwrap();
        journal.note("b", &Note::Doubt { why: why() }).unwrap();
        journal.note("b", &Note::Found { id: id.clone() }).unwrap();
        journal.note("c", &Note::Refused { why: why() }).unwrap();
        let facts = Facts::gather(&run).unwrap();
        assert_eq!(doubtful(&facts).into_iter().collect::<Vec<_>>(), ["a", "d"]);
    }
}
