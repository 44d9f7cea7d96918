//! `mst capacity --submit`: a job for each system and workload, and one that gathers.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use serde::Serialize;

use super::{Args, failure};
use crate::cli::Format;
use crate::cli::exit::{Exit, Failure, Outcome};
use crate::cli::submit::send::{SentJob, slurm, with_remedy};
use crate::cluster::{CapacityContext, Scripts};
use crate::executor::shell::quote;
use crate::executor::slurm::{Batch, JobId, Slurm, SlurmError};
use crate::matrix::{self, Input, Job, chains, file_name};
use crate::settings::Secret;

/// The folder of scripts and logs.
const FOLDER: &str = "slurm";
/// API keys that jobs need, for their shells.
const KEYS: &str = "api-keys.sh";
/// What the names of the jobs begin with.
const NAME: &str = "mst-capacity";
/// Time that a job has beside `limits: {total}`: to end its server, and to write what it found.
const SPARE: Duration = Duration::from_mins(5);

/// A job that was submitted.
#[derive(Serialize)]
struct Sent {
    #[serde(flatten)]
    job: SentJob,
    /// `system/workload`; `None`: the job that gathers.
    searched: Option<String>,
    gpus: u32,
    /// The jobs that must have ended before it begins.
    after: Vec<JobId>,
}

/// What was submitted.
#[derive(Serialize)]
struct Submitted<'a> {
    jobs: Vec<Sent>,
    logs: &'a Path,
    output_dir: &'a Path,
}

/// What the jobs of a file are made from.
struct Order<'a> {
    args: &'a Args,
    scripts: Scripts,
    submit_dir: PathBuf,
    output: PathBuf,
    /// Scripts and logs.
    place: PathBuf,
    /// Time limit of a job, in place of the profile's.
    walltime: Option<Duration>,
    /// Variables of the environment that hold API keys.
    secrets: Vec<(String, String)>,
}

/// Writes the scripts and submits them, those that take most GPUs first: Slurm fills what they leave with smaller ones.
pub(super) fn submit(args: &Args, input: &Input<'_>) -> Outcome {
    let submit_dir = std::env::current_dir()?;
    let scripts =
        Scripts::with_profile(&submit_dir, args.slurm.cluster_profile.as_deref()).map_err(Failure::input)?;
    let output = std::path::absolute(&args.source.output_dir)?;
    // Files that cannot be read are told here, and not by every job.
    let found = input.jobs(&output).map_err(failure)?;
    let server = &scripts.profile.server;
    let gpus_of = |job: &Job| match (job.server, job.gpus) {
        (None, _) => 0,
        (Some(_), Some(gpus)) => server.with_gpus(gpus).gpus_in_all(),
        (Some(_), None) => server.gpus_in_all(),
    };
    let mut jobs: Vec<(Job, u32)> = found
        .jobs
        .into_iter()
        .map(|job| {
            let gpus = gpus_of(&job);
            (job, gpus)
        })
        .collect();
    jobs.sort_by_key(|(_, gpus)| std::cmp::Reverse(*gpus));
    let gpus: Vec<u32> = jobs.iter().map(|(_, gpus)| *gpus).collect();
    let before = match args.slots {
        Some(slots) => chains(&gpus, slots).map_err(|why| Failure::input(anyhow!("--slots: {why}")))?,
        None => vec![Vec::new(); jobs.len()],
    };
    let order = Order {
        args,
        scripts,
        submit_dir,
        place: output.join(FOLDER),
        output,
        walltime: input.file.limits.total().map(|total| total + SPARE),
        secrets: secrets(input.environment, &found.keys),
    };
    let mut texts = Vec::new();
    for (job, _) in &jobs {
        texts.push(order.script(Some(job)).map_err(Failure::input)?);
    }
    let last = order.script(None).map_err(Failure::input)?;
    if args.dry_run {
        let mut out = std::io::stdout().lock();
        for text in texts.iter().chain([&last]) {
            writeln!(out, "{text}")?;
        }
        return Ok(Exit::Done);
    }
    let submitted = order.send(&jobs, &texts, &before, &last)?;
    match args.format {
        Format::Json => crate::cli::print_json(&submitted)?,
        Format::Human => submitted.print()?,
    }
    Ok(Exit::Done)
}

/// The variables of the environment that hold one of these keys.
fn secrets(environment: &[(String, String)], keys: &[Secret]) -> Vec<(String, String)> {
    let holds_key = |value: &str| keys.iter().any(|key| key.expose().trim() == value.trim());
    let all = environment.iter().filter(|(_, value)| holds_key(value));
    all.cloned().collect()
}

impl Order<'_> {
    /// The script of a job; `None`: of the one that gathers.
    fn script(&self, job: Option<&Job>) -> anyhow::Result<String> {
        let searched = job.map(|job| format!("{}/{}", job.system, job.workload));
        let mut arguments = vec!["capacity".to_owned()];
        arguments.extend(self.args.source.arguments());
        arguments.push(format!("--output-dir={}", self.output.display()));
        // One objective, where that was asked for.
        let only = self.args.only.as_ref().or(searched.as_ref());
        arguments.extend(only.map(|only| format!("--only={only}")));
        arguments.extend(self.args.threads.map(|threads| format!("--threads={threads}")));
        if let Some(profile) = &self.args.slurm.cluster_profile {
            let profile = std::path::absolute(profile)?;
            arguments.push(format!("--cluster-profile={}", profile.display()));
        }
        let last = match job {
            None => Some("--stored"),
            Some(_) => self.scripts.profile.requeue.then_some("--requeue"),
        };
        arguments.extend(last.map(str::to_owned));
        let script = self.scripts.capacity(&CapacityContext {
            searched,
            program: std::env::current_exe().unwrap_or_else(|_| "mst".into()),
            arguments,
            submit_dir: self.submit_dir.clone(),
            logs: self.place.clone(),
            env_file: (!self.secrets.is_empty()).then(|| self.place.join(KEYS)),
            server: job.and_then(|job| job.server),
            gpus: job.and_then(|job| job.gpus),
            walltime: self.walltime,
        })?;
        Ok(script)
    }

    /// Submits all of them, or none: where Slurm refuses one, those before it are taken back.
    fn send(
        &self,
        jobs: &[(Job, u32)],
        texts: &[String],
        before: &[Vec<usize>],
        last: &str,
    ) -> Result<Submitted<'_>, Failure> {
        if !Slurm::is_here() {
            let program = "sbatch".to_owned();
            return Err(Failure::new(Exit::BatchSystem, SlurmError::Missing { program }));
        }
        fs_err::create_dir_all(&self.place).map_err(Failure::input)?;
        self.write_keys().map_err(Failure::input)?;
        let slurm = Slurm {
            withheld: self.secrets.iter().map(|(name, _)| name.clone()).collect(),
            ..slurm(None)
        };
        let mut sent: Vec<Sent> = Vec::new();
        for (number, ((job, gpus), text)) in jobs.iter().zip(texts).enumerate() {
            let searched = format!("{}/{}", job.system, job.workload);
            let after = before[number].iter().map(|at| sent[*at].job.id.clone()).collect();
            let name = format!("{NAME}_{}", file_name(&searched));
            let script = format!("search-{}.slurm", number + 1);
            match self.place(&slurm, &name, &script, text, after, "search") {
                Ok(job) => sent.push(Sent {
                    searched: Some(searched),
                    gpus: *gpus,
                    ..job
                }),
                Err(failure) => return Err(taken_back(&slurm, &sent, failure)),
            }
        }
        // However they end: the last job writes what is there, and says what is missing.
        let all: Vec<JobId> = sent.iter().map(|sent| sent.job.id.clone()).collect();
        let name = format!("{NAME}_outcome");
        match self.place(&slurm, &name, "outcome.slurm", last, all, "outcome") {
            Ok(job) => sent.push(job),
            Err(failure) => return Err(taken_back(&slurm, &sent, failure)),
        }
        Ok(Submitted {
            jobs: sent,
            logs: &self.place,
            output_dir: &self.output,
        })
    }

    /// Submits one.
    fn place(
        &self,
        slurm: &Slurm,
        name: &str,
        script: &str,
        text: &str,
        after: Vec<JobId>,
        kind: &'static str,
    ) -> Result<Sent, Failure> {
        let script = self.place.join(script);
        fs_err::write(&script, text).map_err(Failure::input)?;
        let mut options = vec![format!("--job-name={name}")];
        if !after.is_empty() {
            let ids: Vec<&str> = after.iter().map(JobId::as_str).collect();
            options.push(format!("--dependency=afterany:{}", ids.join(":")));
        }
        let batch = Batch {
            script,
            options,
            arguments: Vec::new(),
        };
        let id = slurm
            .sbatch(&batch)
            .map_err(|error| Failure::new(Exit::BatchSystem, with_remedy(error.into())))?;
        Ok(Sent {
            job: SentJob {
                id,
                name: name.to_owned(),
                kind,
            },
            searched: None,
            gpus: 0,
            after,
        })
    }

    /// Writes the keys that jobs need where only their owner can read them, from the first moment.
    fn write_keys(&self) -> std::io::Result<()> {
        let path = self.place.join(KEYS);
        match fs_err::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if self.secrets.is_empty() {
            return Ok(());
        }
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&path)?;
        for (name, value) in &self.secrets {
            writeln!(file, "export {name}={}", quote(value))?;
        }
        file.sync_all()
    }
}

/// Cancels what was submitted before a refusal.
fn taken_back(slurm: &Slurm, sent: &[Sent], failure: Failure) -> Failure {
    let ids: Vec<JobId> = sent.iter().map(|sent| sent.job.id.clone()).collect();
    if ids.is_empty() {
        return failure;
    }
    let names: Vec<&str> = ids.iter().map(JobId::as_str).collect();
    let names = names.join(" ");
    let what = match slurm.cancel(&ids) {
        Ok(()) => format!("jobs {names}, submitted before it, are cancelled"),
        Err(error) => {
            format!("jobs {names} were submitted before it; end them with `scancel {names}` ({error})")
        }
    };
    Failure::new(failure.exit, anyhow!("{}; {what}", failure.told()))
}

impl Submitted<'_> {
    /// Says what happens now, and how to see it.
    fn print(&self) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        let ids: Vec<&str> = self.jobs.iter().map(|sent| sent.job.id.as_str()).collect();
        let (logs, output) = (self.logs.display(), self.output_dir.display());
        for sent in &self.jobs {
            let id = &sent.job.id;
            let Some(searched) = &sent.searched else {
                let place = self.output_dir.join(matrix::OUTCOMES);
                writeln!(out, "job {id} writes {} when they have ended", place.display())?;
                continue;
            };
            let gpus = match sent.gpus {
                0 => "no GPU".to_owned(),
                1 => "1 GPU".to_owned(),
                gpus => format!("{gpus} GPUs"),
            };
            let after: Vec<&str> = sent.after.iter().map(JobId::as_str).collect();
            let after = if after.is_empty() {
                String::new()
            } else {
                format!(", after {}", after.join(" and "))
            };
            writeln!(out, "job {id} searches {searched} ({gpus}){after}")?;
        }
        writeln!(out, "watch:   squeue -j {}", ids.join(","))?;
        writeln!(out, "logs:    {logs}/capacity-JOB.out")?;
        writeln!(
            out,
            "so far:  the same command with --stored in place of --submit judges what is stored in {output}"
        )?;
        writeln!(
            out,
            "to end:  scancel {}\n\
             if a job fails, its log says why; the same command again goes on from the trials that are there",
            ids.join(" ")
        )
    }
}
