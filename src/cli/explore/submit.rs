//! `mst explore --submit`: an array of jobs, each with a part of the grid, and one that gathers.

use std::io::Write;
use std::path::Path;

use anyhow::anyhow;

use super::Args;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::submit::send::{slurm, with_remedy};
use crate::cluster::{ExploreContext, Scripts};
use crate::executor::slurm::{Batch, Slurm, SlurmError};

/// The folder of scripts and logs.
const FOLDER: &str = "slurm";

/// Writes the two scripts and submits them.
pub(super) fn submit(args: &Args, config: &Path, jobs: u32) -> Outcome {
    let submit_dir = std::env::current_dir()?;
    let scripts =
        Scripts::with_profile(&submit_dir, args.cluster_profile.as_deref()).map_err(Failure::input)?;
    let output = std::path::absolute(&args.output_dir)?;
    let place = output.join(FOLDER);
    let script = |parts: Option<u32>| {
        scripts.explore(&ExploreContext {
            program: std::env::current_exe().unwrap_or_else(|_| "mst".into()),
            arguments: arguments(args, config, &output),
            submit_dir: submit_dir.clone(),
            logs: place.clone(),
            parts,
        })
    };
    let parts = script(Some(jobs)).map_err(Failure::input)?;
    let gather = script(None).map_err(Failure::input)?;
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
    let array = send("parts.slurm", &parts, vec!["--job-name=mst-explore".to_owned()])?;
    // However a part ends: the last job then searches what is missing.
    let after = format!("--dependency=afterany:{}", array.as_str());
    let options = vec!["--job-name=mst-explore-outcome".to_owned(), after];
    let last = send("outcome.slurm", &gather, options).map_err(|failure| {
        let told = anyhow!(
            "the array is job {}, but the job that gathers was not submitted: {}; run the same command without --submit \
             when the array has ended",
            array.as_str(),
            failure.told()
        );
        Failure::new(failure.exit, told)
    })?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "job {} searches {jobs} parts, job {} writes the outcome",
        array.as_str(),
        last.as_str()
    )?;
    writeln!(out, "logs are in {}", place.display())?;
    Ok(Exit::Done)
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
    all.extend(args.num_threads.map(|threads| format!("--num-threads={threads}")));
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
