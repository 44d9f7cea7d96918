//! `mst explore --submit`: an array of jobs, each with a part of the grid, and one that gathers.

use std::io::Write;
use std::path::Path;

use anyhow::anyhow;
use serde::Serialize;

use super::Args;
use crate::cli::Format;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::submit::send::{SentJob, slurm, with_remedy};
use crate::cluster::{ExploreContext, Scripts};
use crate::executor::slurm::{Batch, JobId, Slurm, SlurmError};
use crate::explore::folder;

/// The folder of scripts and logs.
pub(super) const FOLDER: &str = "slurm";
/// Names of the jobs.
const NAMES: [&str; 2] = ["mst-explore", "mst-explore-outcome"];

/// What was submitted.
#[derive(Serialize)]
struct Submitted<'a> {
    jobs: [SentJob; 2],
    logs: &'a Path,
    output_dir: &'a Path,
}

/// Writes the two scripts and submits them.
pub(super) fn submit(args: &Args, config: &Path, jobs: u32) -> Outcome {
    let submit_dir = std::env::current_dir()?;
    let scripts =
        Scripts::with_profile(&submit_dir, args.cluster_profile.as_deref()).map_err(Failure::input)?;
    let output = std::path::absolute(&args.output_dir)?;
    let place = output.join(FOLDER);
    let script = |is_array: bool| {
        let mut arguments = arguments(args, config, &output);
        if !is_array {
            arguments.push(format!("--gather={jobs}"));
        }
        scripts.explore(&ExploreContext {
            program: std::env::current_exe().unwrap_or_else(|_| "mst".into()),
            arguments,
            submit_dir: submit_dir.clone(),
            logs: place.clone(),
            parts: is_array.then_some(jobs),
            threads: args.num_threads,
        })
    };
    let parts = script(true).map_err(Failure::input)?;
    let gather = script(false).map_err(Failure::input)?;
    if args.dry_run {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{parts}\n{gather}")?;
        return Ok(Exit::Done);
    }
    if !Slurm::is_here() {
        let program = "sbatch".to_owned();
        return Err(Failure::new(Exit::BatchSystem, SlurmError::Missing { program }));
    }
    fs_err::create_dir_all(&place).map_err(Failure::input)?;
    // A part that never starts must not count as ended because it was, once.
    for part in 0..jobs as usize {
        folder::unmark(&folder::part(&output, (part, jobs as usize)))?;
    }
    let slurm = slurm(None);
    let send = |name: &str, text: &str, options: Vec<String>| {
        let script = place.join(name);
        fs_err::write(&script, text).map_err(Failure::input)?;
        let batch = Batch {
            script,
            options,
            arguments: Vec::new(),
        };
        slurm
            .sbatch(&batch)
            .map_err(|error| Failure::new(Exit::BatchSystem, with_remedy(error.into())))
    };
    let named = |name: &str| format!("--job-name={name}");
    let array = send("parts.slurm", &parts, vec![named(NAMES[0])])?;
    // However a part ends: the last job writes what is there, and says what is missing.
    let after = format!("--dependency=afterany:{}", array.as_str());
    let options = vec![named(NAMES[1]), after];
    let last = send("outcome.slurm", &gather, options).map_err(|failure| {
        let told = anyhow!(
            "the array is job {}, but the job that gathers was not submitted: {}; run the same command without --submit \
             when the array has ended",
            array.as_str(),
            failure.told()
        );
        Failure::new(failure.exit, told)
    })?;
    let job = |id, name: &str, kind| SentJob {
        id,
        name: name.to_owned(),
        kind,
    };
    let submitted = Submitted {
        jobs: [job(array, NAMES[0], "parts"), job(last, NAMES[1], "outcome")],
        logs: &place,
        output_dir: &output,
    };
    match args.format {
        Format::Json => crate::cli::print_json(&submitted)?,
        Format::Human => submitted.print(jobs)?,
    }
    Ok(Exit::Done)
}

impl Submitted<'_> {
    /// Says what happens now, and how to see it.
    fn print(&self, parts: u32) -> std::io::Result<()> {
        let [array, last] = [&self.jobs[0].id, &self.jobs[1].id].map(JobId::as_str);
        let (logs, output) = (self.logs.display(), self.output_dir.display());
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "job {array} searches {parts} parts; when they have ended, job {last} writes {output}/outcome.csv"
        )?;
        writeln!(out, "watch:   squeue -j {array},{last}")?;
        writeln!(
            out,
            "logs:    {logs}/explore-{array}_*.out and, of the outcome, explore-{last}.out"
        )?;
        writeln!(
            out,
            "to end:  scancel {array} {last}\n\
             if a part fails, the last log says which; the same command again goes on from the probes that are there"
        )
    }
}

/// The command of a job: what was asked here, with absolute paths.
fn arguments(args: &Args, config: &Path, output: &Path) -> Vec<String> {
    let absolute = |path: &Path| {
        std::path::absolute(path)
            .unwrap_or_else(|_| path.to_owned())
            .display()
            .to_string()
    };
    let search = &args.search;
    let mut all = vec![
        "explore".to_owned(),
        absolute(config),
        format!("--output-dir={}", output.display()),
        format!("--min-search-granularity={}", search.min_search_granularity),
        format!("--max-iterations={}", search.max_iterations),
        format!("--min-qps={}", search.min_qps),
        format!("--seeds={}", search.seeds),
        format!("--contenders={}", search.contenders),
        format!("--keep-runs={}", args.keep_runs.name()),
    ];
    all.extend(search.no_prune.then(|| "--no-prune".to_owned()));
    all.extend(
        args.cache_dir
            .iter()
            .map(|path| format!("--cache-dir={}", absolute(path))),
    );
    all.extend(args.time_limit.map(|minutes| format!("--time-limit={minutes}")));
    all.extend(
        args.library
            .profiles
            .iter()
            .map(|path| format!("--profiles={}", absolute(path))),
    );
    all.extend(
        args.library
            .catalog
            .iter()
            .map(|path| format!("--catalog={}", absolute(path))),
    );
    all
}
