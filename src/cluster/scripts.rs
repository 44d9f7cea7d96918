//! Job scripts and the options of job steps, made from the cluster profile and the templates.

mod capacity;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

pub use capacity::CapacityContext;

use super::parts::{Part, pairs};
use super::profile::{Profile, ProfileError};
use super::submission::{PROFILE, TABLE};
use super::templates::{Script, TemplateError, Templates};
use crate::executor::slurm::time;
use crate::settings::{ClusterSettings, Place};
use crate::store::runs::{Mode, RunDir};

/// Where profile and templates lie, below the folder that `mst` is called in.
const FOLDER: &str = "slurm";
/// The templates in a run's folder.
const TEMPLATES: &str = "templates";
/// Longest that Slurm takes for the seconds of `--signal`.
const LONGEST_WARNING_S: u64 = 65_535;
/// Time limit of a job that only gathers what is there.
const REPORT_LIMIT: Duration = Duration::from_mins(30);

/// Why scripts cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ScriptsError {
    /// The cluster profile.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// Freezing them failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What scripts are made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scripts {
    /// What the cluster is like.
    pub profile: Profile,
    templates: Templates,
}

/// The driver's job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriveContext {
    /// How the run is laid out.
    pub mode: Mode,
    /// Name of the run.
    pub run: String,
    /// Its folder.
    pub run_dir: PathBuf,
    /// This program.
    pub program: PathBuf,
    /// Where the job works.
    pub submit_dir: PathBuf,
    /// Time limit, in place of the profile's.
    pub walltime: Option<Duration>,
    /// So long before the time limit the driver is told.
    pub warning: Duration,
    /// Nodes that it is to run on.
    pub node_list: Option<String>,
    /// Where the model server runs that belongs to the run; `None`: there is none, and no GPU is asked for.
    pub place: Option<Place>,
    /// Tasks of an array, and most at a time.
    pub tasks: Option<(u32, Option<u32>)>,
}

/// The job that gathers what the tasks of an array found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportContext {
    /// Name of the run.
    pub run: String,
    /// Its folder.
    pub run_dir: PathBuf,
    /// This program.
    pub program: PathBuf,
    /// Where the job works.
    pub submit_dir: PathBuf,
    /// The pairs' folders.
    pub folders: Vec<PathBuf>,
}

/// A trial that is a job of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialContext {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// A file of mode 0600 that a shell reads variables from, the API key among them.
    pub env_file: Option<PathBuf>,
    /// Where it works.
    pub cwd: PathBuf,
    /// What it prints goes here.
    pub log: PathBuf,
    /// Its exit status is written here, complete from the first moment.
    pub done_file: PathBuf,
    /// Time limit where the profile has none for trials.
    pub walltime: Option<Duration>,
    /// Nodes that it is to run on.
    pub node_list: Option<String>,
}

/// A model server that is a job of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerContext {
    /// The server's keeper (`mst host …`) and its arguments.
    pub argv: Vec<String>,
    /// Where it works.
    pub cwd: PathBuf,
    /// What it prints goes here.
    pub log: PathBuf,
    /// Time limit, in place of the profile's.
    pub walltime: Option<Duration>,
    /// Nodes that it is to run on.
    pub node_list: Option<String>,
}

/// A part of an exploration, or the job that gathers the parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExploreContext {
    /// This program.
    pub program: PathBuf,
    /// Its arguments; those of a part are completed by `--part`.
    pub arguments: Vec<String>,
    /// Where the job works.
    pub submit_dir: PathBuf,
    /// Where its log goes.
    pub logs: PathBuf,
    /// Tasks of the array; `None`: the job that gathers.
    pub parts: Option<u32>,
    /// Threads, and so CPUs, in place of the profile's.
    pub threads: Option<u32>,
}

/// What every template is given.
#[derive(Serialize)]
struct Shared<'a> {
    title: &'a str,
    version: &'static str,
    log: String,
    walltime: Option<String>,
    extra: &'a [String],
    modules: &'a [String],
    setup: &'a str,
}

impl Scripts {
    /// Profile and templates as they hold in a folder: the profile that `CLUSTER_PROFILE` names, else
    /// `slurm/cluster.yml` where there is one; templates in `slurm/` take the place of the embedded ones.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub fn from_dir(submit_dir: &Path, settings: &ClusterSettings) -> Result<Self, ScriptsError> {
        Self::with_profile(submit_dir, settings.profile.as_deref())
    }

    /// The same, with the profile that is named, if any.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub fn with_profile(submit_dir: &Path, profile: Option<&Path>) -> Result<Self, ScriptsError> {
        let folder = submit_dir.join(FOLDER);
        let usual = folder.join(PROFILE);
        let profile = match profile {
            Some(path) => Profile::read(path)?,
            None if usual.is_file() => Profile::read(&usual)?,
            None => Profile::default(),
        };
        let templates = Templates::from_folder(&folder)?;
        Ok(Self { profile, templates })
    }

    /// Profile and templates as they were when the run was submitted.
    ///
    /// # Errors
    /// When a file cannot be read or used.
    pub fn from_run(run: &RunDir) -> Result<Self, ScriptsError> {
        let profile = Profile::read(&run.path().join(PROFILE))?;
        let templates = Templates::from_folder(&run.path().join(TEMPLATES))?;
        Ok(Self { profile, templates })
    }

    /// Writes profile and templates into the folder of a run.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn freeze(&self, run: &RunDir) -> Result<(), ScriptsError> {
        let profile = serde_json::to_string_pretty(&self.profile).map_err(std::io::Error::from)?;
        let header =
            "# The cluster profile of this run, options of the command line included (JSON is YAML too).\n";
        fs_err::write(run.path().join(PROFILE), format!("{header}{profile}\n"))?;
        let folder = run.path().join(TEMPLATES);
        fs_err::create_dir_all(&folder)?;
        for (name, text) in self.templates.texts() {
            fs_err::write(folder.join(name), text)?;
        }
        Ok(())
    }

    /// The driver's script.
    ///
    /// # Errors
    /// When the template cannot be filled in.
    pub fn drive(&self, context: &DriveContext) -> Result<String, TemplateError> {
        #[derive(Serialize)]
        struct Tasks {
            count: u32,
            throttle: Option<u32>,
        }
        #[derive(Serialize)]
        struct Values<'a> {
            #[serde(flatten)]
            shared: Shared<'a>,
            mode: Mode,
            run: &'a str,
            run_dir: &'a Path,
            program: &'a Path,
            submit_dir: &'a Path,
            requeue: bool,
            warn_s: u64,
            tasks: Option<Tasks>,
            parts: Vec<Part>,
        }
        let what = match context.mode {
            Mode::Array => "The searches of run {}, a task a token pair.",
            Mode::Client => "The search of run {}: the load generator; the model server runs elsewhere.",
            Mode::Chain => "The search of run {}: one of several jobs, each submitted by the one before.",
            Mode::Job | Mode::Login => "The search of run {}.",
        };
        let title = what.replace("{}", &context.run);
        let log = if context.tasks.is_some() {
            "drive-%A_%a.out"
        } else {
            "drive-%j.out"
        };
        let walltime = context.walltime.or(self.profile.time);
        self.templates.fill(
            Script::Drive,
            Values {
                shared: self.shared(&title, pattern(&context.run_dir.join("logs"), log)?, walltime),
                mode: context.mode,
                run: &context.run,
                run_dir: &context.run_dir,
                program: &context.program,
                submit_dir: &context.submit_dir,
                requeue: self.profile.requeue,
                warn_s: warning(context.warning, walltime),
                tasks: context.tasks.map(|(count, throttle)| Tasks {
                    count,
                    throttle: throttle.or(self.profile.array_throttle),
                }),
                parts: Part::of_driver(&self.profile, context.place, context.node_list.as_deref()),
            },
        )
    }

    /// The script of the job that gathers what the tasks of an array found.
    ///
    /// # Errors
    /// When the template cannot be filled in.
    pub fn report(&self, context: &ReportContext) -> Result<String, TemplateError> {
        #[derive(Serialize)]
        struct Values<'a> {
            #[serde(flatten)]
            shared: Shared<'a>,
            run: &'a str,
            run_dir: &'a Path,
            program: &'a Path,
            submit_dir: &'a Path,
            folders: &'a [PathBuf],
            csv: PathBuf,
            part: Part,
        }
        let title = format!("The report of run {}.", context.run);
        let log = pattern(&context.run_dir.join("logs"), "report-%j.out")?;
        let walltime = self
            .profile
            .time
            .map_or(REPORT_LIMIT, |time| time.min(REPORT_LIMIT));
        self.templates.fill(
            Script::Report,
            Values {
                shared: self.shared(&title, log, Some(walltime)),
                run: &context.run,
                run_dir: &context.run_dir,
                program: &context.program,
                submit_dir: &context.submit_dir,
                folders: &context.folders,
                csv: context.run_dir.join(TABLE),
                part: Part::of_client(&self.profile, None),
            },
        )
    }

    /// The script of a part of an exploration, or of the job that gathers the parts.
    ///
    /// # Errors
    /// When the template cannot be filled in.
    pub fn explore(&self, context: &ExploreContext) -> Result<String, TemplateError> {
        #[derive(Serialize)]
        struct Values<'a> {
            #[serde(flatten)]
            shared: Shared<'a>,
            program: &'a Path,
            arguments: &'a [String],
            submit_dir: &'a Path,
            parts: Option<u32>,
            throttle: Option<u32>,
            requeue: bool,
            part: Part,
        }
        let mut part = Part::of_client(&self.profile, None);
        part.cpus = context.threads.unwrap_or(part.cpus);
        let (title, log) = match context.parts {
            Some(_) => ("The parts of an exploration.", "explore-%A_%a.out"),
            None => ("The outcome of an exploration.", "explore-%j.out"),
        };
        self.templates.fill(
            Script::Explore,
            Values {
                shared: self.shared(title, pattern(&context.logs, log)?, self.profile.time),
                program: &context.program,
                arguments: &context.arguments,
                submit_dir: &context.submit_dir,
                parts: context.parts,
                throttle: self.profile.array_throttle,
                requeue: self.profile.requeue,
                part,
            },
        )
    }

    /// The script of a trial.
    ///
    /// # Errors
    /// When the template cannot be filled in.
    pub fn trial(&self, context: &TrialContext) -> Result<String, TemplateError> {
        #[derive(Serialize)]
        struct Values<'a> {
            #[serde(flatten)]
            shared: Shared<'a>,
            argv: &'a [String],
            env_file: Option<&'a Path>,
            cwd: &'a Path,
            done_file: &'a Path,
            part: Part,
        }
        let walltime = self.profile.trial.time.or(context.walltime).or(self.profile.time);
        self.templates.fill(
            Script::Trial,
            Values {
                shared: self.shared("One trial.", file_pattern(&context.log)?, walltime),
                argv: &context.argv,
                env_file: context.env_file.as_deref(),
                cwd: &context.cwd,
                done_file: &context.done_file,
                part: Part::of_trial(&self.profile, context.node_list.as_deref()),
            },
        )
    }

    /// The script of a model server that is a job of its own.
    ///
    /// # Errors
    /// When the template cannot be filled in.
    pub fn server(&self, context: &ServerContext) -> Result<String, TemplateError> {
        #[derive(Serialize)]
        struct Values<'a> {
            #[serde(flatten)]
            shared: Shared<'a>,
            argv: &'a [String],
            cwd: &'a Path,
            part: Part,
        }
        let walltime = context.walltime.or(self.profile.time);
        self.templates.fill(
            Script::Server,
            Values {
                shared: self.shared("A model server.", file_pattern(&context.log)?, walltime),
                argv: &context.argv,
                cwd: &context.cwd,
                part: Part::of_server(&self.profile, context.node_list.as_deref()),
            },
        )
    }

    /// Options of `srun` for a trial within a job: on the driver's node, beside whatever runs there.
    pub fn trial_step(&self) -> Vec<String> {
        let trial = &self.profile.trial;
        let mut options = step(1, trial.cpus);
        options.extend(trial.mem.map(|mem| format!("--mem={mem}")));
        options
    }

    /// Options of `srun` for a trial outside any job: a job of its own.
    pub fn trial_alone(&self, node_list: Option<&str>, walltime: Option<Duration>) -> Vec<String> {
        let part = Part::of_trial(&self.profile, node_list);
        let walltime = self.profile.trial.time.or(walltime).or(self.profile.time);
        let mut options = vec![
            "--nodes=1".to_owned(),
            "--ntasks=1".to_owned(),
            format!("--cpus-per-task={}", part.cpus),
            "--export=ALL".to_owned(),
        ];
        options.extend(walltime.map(|limit| format!("--time={}", time::limit(limit))));
        options.extend(pairs(&part.place));
        options.extend(pairs(&part.resources));
        options.extend(self.profile.sbatch.iter().cloned());
        options
    }

    /// Options of `srun` for the model server's step within a job.
    pub fn server_step(&self, place: Place) -> Vec<String> {
        let server = &self.profile.server;
        let mut options = step(server.nodes, server.cpus);
        match place {
            Place::Node => options.push("--relative=1".to_owned()),
            Place::Group => options.push("--het-group=1".to_owned()),
            Place::Child | Place::Step | Place::Job => {}
        }
        options.extend(server.mem.map(|mem| format!("--mem={mem}")));
        options.extend(pairs(&Part::gpus(server)));
        options
    }

    fn shared<'a>(&'a self, title: &'a str, log: String, walltime: Option<Duration>) -> Shared<'a> {
        Shared {
            title,
            version: env!("CARGO_PKG_VERSION"),
            log,
            walltime: walltime.map(time::limit),
            extra: &self.profile.sbatch,
            modules: &self.profile.modules,
            setup: self.profile.setup.trim_end(),
        }
    }
}

/// A step that waits for nobody's CPUs.
fn step(nodes: u32, cpus: u32) -> Vec<String> {
    vec![
        "--overlap".to_owned(),
        format!("--nodes={nodes}"),
        format!("--ntasks={nodes}"),
        format!("--cpus-per-task={cpus}"),
        "--export=ALL".to_owned(),
    ]
}

/// Seconds before the time limit: what was asked for, but not more than half of the limit.
fn warning(asked: Duration, walltime: Option<Duration>) -> u64 {
    let most = walltime.map_or(LONGEST_WARNING_S, |limit| limit.as_secs() / 2);
    asked.as_secs().min(most).clamp(1, LONGEST_WARNING_S)
}

/// A name with Slurm's `%j` below a folder whose name is meant as it stands.
fn pattern(folder: &Path, name: &str) -> Result<String, TemplateError> {
    Ok(format!("{}/{name}", literal(folder)?))
}

fn file_pattern(file: &Path) -> Result<String, TemplateError> {
    literal(file)
}

/// A path as sbatch takes it for `--output`, where `%` begins a symbol and `\` switches symbols off.
fn literal(path: &Path) -> Result<String, TemplateError> {
    let text = path.to_str().filter(|text| !text.contains('\\'));
    match text {
        Some(text) => Ok(text.replace('%', "%%")),
        None => Err(TemplateError {
            file: path.to_owned(),
            line: None,
            problem: "sbatch cannot write to a path with a backslash or other than UTF-8; choose another RESULTS_DIR"
                .to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests;
