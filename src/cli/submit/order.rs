//! What is submitted, before anything is written: mode, scripts, plan, estimate.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Args;
use crate::campaign::{self, Outline};
use crate::cli::exit::Failure;
use crate::cluster::estimate::Work;
use crate::cluster::submission::{self, Draft, DraftError, PROFILE};
use crate::cluster::{DriveContext, ReportContext, Scripts};
use crate::settings::{self, Loaded, Place, Secret, Settings};
use crate::store::runs::{Mode, Plan};

/// What is submitted.
pub(super) struct Order<'a> {
    loaded: &'a Loaded,
    pub(super) scripts: Scripts,
    pub(super) mode: Mode,
    pub(super) submit_dir: PathBuf,
    pub(super) program: PathBuf,
    pub(super) results_dir: PathBuf,
    pub(super) walltime: Option<Duration>,
    pub(super) throttle: Option<u32>,
    /// What one driver does: all searches, or the longest where each has a driver of its own.
    pub(super) work: Work,
    /// What all drivers do.
    pub(super) all: Work,
}

impl<'a> Order<'a> {
    pub(super) fn new(loaded: &'a Loaded, args: &Args, scripts: Scripts) -> Result<Self, Failure> {
        let settings = &loaded.settings;
        let mode = mode(settings, args.mode.into()).map_err(|why| Failure::input(anyhow::anyhow!(why)))?;
        if args.throttle.is_some() && mode != Mode::Array {
            let error = anyhow::anyhow!("flag: --throttle: only --mode array has tasks to hold back");
            return Err(Failure::input(error));
        }
        let throttle = args
            .throttle
            .or(scripts.profile.array_throttle)
            .filter(|_| mode == Mode::Array);
        if mode == Mode::Array
            && settings.url.is_some()
            && settings.experiments.len() > 1
            && throttle != Some(1)
        {
            let error = anyhow::anyhow!(
                "flag: --mode: the tasks of an array would load the one server at URL at the same time, and measure one \
                 another; add --throttle 1, or use --mode client"
            );
            return Err(Failure::input(error));
        }
        let submit_dir = std::env::current_dir()?;
        let all = work(settings);
        Ok(Self {
            walltime: settings.cluster.walltime.or(scripts.profile.time),
            throttle,
            results_dir: submit_dir.join(&settings.results_dir),
            program: std::env::current_exe()?,
            work: if mode == Mode::Array {
                all.longest()
            } else {
                all.clone()
            },
            all,
            mode,
            submit_dir,
            scripts,
            loaded,
        })
    }

    /// Where the model server of this run runs; `None`: it has none.
    pub(super) fn place(&self) -> Option<Place> {
        self.loaded.settings.server.as_ref().map(|server| server.place)
    }

    /// The API key.
    pub(super) fn key(&self) -> Option<&str> {
        self.loaded.settings.api_key.as_ref().map(Secret::expose)
    }

    /// Everything that is frozen into the folder `run` of that name.
    pub(super) fn draft(&self, run: &Path, name: &str, tag: &str) -> Result<Draft, DraftError> {
        let settings = &self.loaded.settings;
        let pairs: Vec<String> = settings.experiments.iter().map(|e| e.name.clone()).collect();
        let folders: Vec<String> = settings
            .experiments
            .iter()
            .map(|experiment| campaign::folder(settings, experiment))
            .collect();
        let trial = self.work.trial + self.work.cooldown;
        let tasks = (self.mode == Mode::Array).then_some((pairs.len() as u32, self.throttle));
        let drive = self
            .scripts
            .drive(&DriveContext {
                mode: self.mode,
                run: name.to_owned(),
                run_dir: run.to_owned(),
                program: self.program.clone(),
                submit_dir: self.submit_dir.clone(),
                walltime: self.walltime,
                warning: trial + settings.cluster.margin,
                node_list: settings.cluster.node_list.clone(),
                place: self.place(),
                tasks,
            })
            .map_err(crate::cluster::ScriptsError::from)?;
        let report = match self.mode {
            Mode::Array => Some(
                self.scripts
                    .report(&ReportContext {
                        run: name.to_owned(),
                        run_dir: run.to_owned(),
                        program: self.program.clone(),
                        submit_dir: self.submit_dir.clone(),
                        folders: folders.iter().map(|f| self.results_dir.join(f)).collect(),
                    })
                    .map_err(crate::cluster::ScriptsError::from)?,
            ),
            Mode::Job | Mode::Client | Mode::Chain | Mode::Login => None,
        };
        Ok(Draft {
            plan: Plan {
                schema: 1,
                run: name.to_owned(),
                tag: tag.to_owned(),
                mode: self.mode,
                created: chrono::Utc::now(),
                mst_version: env!("CARGO_PKG_VERSION").to_owned(),
                program: self.program.clone(),
                submit_dir: self.submit_dir.clone(),
                results_dir: self.results_dir.clone(),
                pairs,
                folders,
                trial_s: trial.as_secs_f64(),
                trials: self.all.searches.iter().max().copied().unwrap_or_default(),
                walltime_s: self.walltime.map(|limit| limit.as_secs_f64()),
                throttle: self.throttle,
            },
            settings: settings::frozen(self.loaded, &self.submit_dir, Some(&run.join(PROFILE)))?,
            key: settings.api_key.clone(),
            scripts: self.scripts.clone(),
            drive,
            report,
        })
    }

    /// The first submission's call of sbatch, as people would type it.
    pub(super) fn calls(&self, run: &Path, tag: &str) -> Vec<Vec<String>> {
        let first = submission::drive(run, format!("{tag}-1"), Vec::new(), Vec::new(), Duration::ZERO);
        let mut all = vec![call(&first.tag, &first.batch.argv())];
        if self.mode == Mode::Array {
            let options = vec!["--dependency=afterany:<id>".to_owned()];
            let mut argv = options;
            argv.push(run.join(submission::REPORT).display().to_string());
            all.push(call(&format!("{tag}-r1"), &argv));
        }
        all
    }
}

fn call(tag: &str, argv: &[String]) -> Vec<String> {
    let mut call = ["sbatch", "--parsable"].map(str::to_owned).to_vec();
    call.push(format!("--job-name={tag}"));
    call.extend(argv.iter().cloned());
    call
}

/// The mode that was asked for, where the settings let it.
fn mode(settings: &Settings, asked: Option<Mode>) -> Result<Mode, &'static str> {
    let elsewhere = settings.url.is_some() && settings.server.is_none();
    let mode = asked.unwrap_or(if elsewhere { Mode::Client } else { Mode::Job });
    if mode == Mode::Client && settings.server.is_some() {
        return Err("flag: --mode: a client starts no server; leave out SERVER_COMMAND, or use --mode job");
    }
    if mode == Mode::Client && !elsewhere {
        return Err("flag: --mode: a client needs the URL of a server; set URL, or use --mode job");
    }
    let place = settings.server.as_ref().map(|server| server.place);
    if mode == Mode::Array && place == Some(Place::Group) {
        return Err(
            "flag: --mode: Slurm has no arrays of heterogeneous jobs; use SERVER_PLACE=node, child or job, or --mode job",
        );
    }
    Ok(mode)
}

fn work(settings: &Settings) -> Work {
    let outlines: Vec<Outline> = settings
        .experiments
        .iter()
        .map(|experiment| campaign::outline(settings, experiment))
        .collect();
    let trial = settings.duration + settings.drain;
    let full_s = (trial + settings.cooldown).as_secs_f64();
    let trials: u32 = outlines.iter().map(|outline| outline.likely_trials).sum();
    let most: u32 = outlines.iter().map(|outline| outline.most_trials).sum();
    let most_hours: f64 = outlines.iter().map(|outline| outline.most_hours).sum();
    let hours: Option<f64> = outlines.iter().map(|outline| outline.likely_hours).sum();
    Work {
        searches: outlines
            .iter()
            .map(|outline| (outline.likely_trials, outline.most_trials))
            .collect(),
        share: hours
            .filter(|_| trials > 0)
            .map_or(1.0, |hours| 3600.0 * hours / (f64::from(trials) * full_s)),
        most_share: (3600.0 * most_hours / (f64::from(most) * full_s)).min(1.0),
        trial,
        cooldown: settings.cooldown,
        server_limit: settings.server.as_ref().map(|server| server.start_limit),
        margin: settings.cluster.margin,
    }
}
