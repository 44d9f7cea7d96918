//! Where a driver is at home that starts something elsewhere: its run, its seat, and the scripts of its jobs.

use std::path::PathBuf;
use std::time::Duration;

use crate::cluster::{Scripts, ServerContext, TrialContext};
use crate::executor::Executor;
use crate::executor::local::Local;
use crate::executor::sbatch::{Sbatch, TrialScript};
use crate::executor::slurm::Slurm;
use crate::executor::srun::Srun;
use crate::server::{JobLauncher, JobScript, Launcher, ServerError, Start};
use crate::settings::{ExecutorChoice, Place, ServerSettings, Settings};
use crate::store::runs::{RunDir, RunError, Seat};

/// Time that a trial's job is given beside the load and its drain: to start, and to write what it measured.
const SPARE: Duration = Duration::from_mins(10);

/// The run and the seat of a driver that holds its lease.
pub struct Home<'a> {
    /// The run.
    pub run: &'a RunDir,
    /// The driver's seat.
    pub seat: &'a Seat,
    /// The scripts of its jobs.
    pub scripts: &'a Scripts,
    /// The name of its journal.
    pub writer: &'a str,
}

/// Where load generators run.
///
/// # Errors
/// When the run's folder cannot be written.
pub fn executor(settings: &Settings, home: Option<&Home<'_>>) -> Result<Box<dyn Executor>, RunError> {
    let cluster = &settings.cluster;
    let (Some(home), ExecutorChoice::Srun | ExecutorChoice::Sbatch) = (home, cluster.executor) else {
        return Ok(Box::new(Local));
    };
    // Unlike the names of any other driver's trials, also of one that Slurm has given up and that lives on.
    let prefix = format!("{}.", home.run.new_tag(&home.run.plan()?.tag, "t")?);
    let limit = settings.duration + settings.drain + SPARE;
    let slurm = Slurm::default();
    if cluster.executor == ExecutorChoice::Srun {
        let options = if std::env::var_os("SLURM_JOB_ID").is_some() {
            home.scripts.trial_step()
        } else {
            home.scripts
                .trial_alone(cluster.node_list.as_deref(), Some(limit))
        };
        return Ok(Box::new(Srun::new(slurm, options, &prefix, cluster.poll)));
    }
    let scripts = home.scripts.clone();
    let node_list = cluster.node_list.clone();
    let render = move |trial: &TrialScript| {
        let context = TrialContext {
            argv: trial.argv.clone(),
            env_file: Some(trial.env_file.clone()),
            cwd: trial.cwd.clone(),
            log: trial.log.clone(),
            done_file: trial.done_file.clone(),
            walltime: Some(limit),
            node_list: node_list.clone(),
        };
        scripts.trial(&context).map_err(|error| error.to_string())
    };
    let render = Box::new(render);
    let executor = Sbatch::new(slurm, home.run, Some(home.writer), &prefix, cluster.poll, render)?;
    Ok(Box::new(executor))
}

/// How the server is started.
pub(super) fn start<'a>(
    settings: &Settings,
    server: &'a ServerSettings,
    home: &'a Home<'_>,
) -> Result<Start<'a>, ServerError> {
    let plan = home.run.plan()?;
    let launcher = match server.place {
        Place::Child => Launcher::child(),
        place @ (Place::Step | Place::Node | Place::Group) => Launcher::step(home.scripts.server_step(place)),
        Place::Job => {
            let scripts = home.scripts.clone();
            let node_list = settings.cluster.node_list.clone();
            // `mst resume --time` changes the plan, not the frozen settings.
            let walltime = plan
                .walltime_s
                .map(Duration::from_secs_f64)
                .or(settings.cluster.walltime);
            let script = move |job: &JobScript| {
                let context = ServerContext {
                    argv: job.argv.clone(),
                    cwd: job.cwd.clone(),
                    log: job.log.clone(),
                    walltime,
                    node_list: node_list.clone(),
                };
                scripts.server(&context).map_err(|error| error.to_string())
            };
            Launcher::job(JobLauncher {
                slurm: Slurm::default(),
                journal: home.run.journal(Some(home.writer)),
                run: home.run.clone(),
                tag: plan.tag,
                script: Box::new(script),
                poll: settings.cluster.poll,
                patience: settings.cluster.poll * 4,
            })
        }
    };
    let only_here = server.place == Place::Child && settings.cluster.executor == ExecutorChoice::Local;
    Ok(Start {
        settings: server,
        seat: home.seat.path(),
        program: plan.program,
        prefix: home.scripts.profile.container.clone(),
        key: settings.api_key.clone(),
        key_file: key_file(settings, home.run)?,
        launcher,
        local: only_here,
    })
}

/// The file with the key, for a server whose environment is not made by us.
fn key_file(settings: &Settings, run: &RunDir) -> Result<Option<PathBuf>, ServerError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let path = run.key_file();
    let is_job = settings
        .server
        .as_ref()
        .is_some_and(|server| server.place == Place::Job);
    if let Some(key) = settings.api_key.as_ref().filter(|_| is_job && !path.is_file()) {
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(key.expose().as_bytes()))
            .map_err(RunError::from)?;
    }
    Ok(Some(path).filter(|path| path.is_file()))
}
