//! What is searched, read and found right before anything runs.

use std::path::{Path, PathBuf};

use super::{ConductError, profile};
use crate::deployment::{BuiltCluster, DeploymentError, Library, Places};
use crate::matrix::file::{File, Side, System, Workload};
use crate::matrix::live::{EndpointProblem, Loader};
use crate::matrix::requests::Requests;
use crate::plan::foreseen::Foreseen;
use crate::settings::{Place, Secret};
use crate::slo::objective::Objective;
use crate::slo::prefill::PrefillCurve;
use crate::store::prefill::{PrefillError, PrefillProfile, ProfiledTarget};

/// What is searched.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The file.
    pub file: &'a File,
    /// The folder that it lies in: paths in it are looked for there first.
    pub base: &'a Path,
    /// Which side of the systems is loaded, in place of the file's word.
    pub side: Option<Side>,
    /// The cluster profile, where one is named: how model servers of ours are started.
    pub cluster_profile: Option<&'a Path>,
    /// The process environment.
    pub environment: &'a [(String, String)],
    /// Reads the profile of a system's prompts.
    pub profile: &'a (dyn Fn(&Path) -> Result<PrefillProfile, PrefillError> + Sync),
}

/// A system with everything that its searches need.
pub(super) struct Ready<'a> {
    pub(super) system: &'a System,
    pub(super) side: Side,
    /// Simulated: the cluster, or why it cannot be.
    pub(super) built: Option<Result<BuiltCluster, String>>,
    pub(super) curve: Option<PrefillCurve>,
    /// What that was measured on.
    pub(super) profiled: Option<ProfiledTarget>,
    /// What describes it for the simulator, where its file names that.
    pub(super) foreseen: Option<Foreseen>,
}

/// One system on one workload.
pub(super) struct Task<'a> {
    pub(super) ready: &'a Ready<'a>,
    pub(super) workload: &'a Workload,
    pub(super) requests: Requests,
    /// The objectives that are not left out, at least one.
    pub(super) objectives: Vec<(String, Objective)>,
}

/// What of a file is a job of its own: a system on a workload, all objectives, because they share trials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The system.
    pub system: String,
    /// The workload.
    pub workload: String,
    /// Where the model server runs that the job starts; `None`: it starts none, and needs no GPU.
    pub server: Option<Place>,
    /// GPUs that the server takes, where the file says it.
    pub gpus: Option<u32>,
}

/// The jobs of a file.
#[derive(Debug, Default)]
pub struct Jobs {
    /// In the order of the file.
    pub jobs: Vec<Job>,
    /// API keys that they need.
    pub keys: Vec<Secret>,
}

impl<'a> Input<'a> {
    /// What is a job of its own. All that can be found wrong without loading anything is told here.
    ///
    /// # Errors
    /// When the file, or something that it names, cannot be used.
    pub fn jobs(&self, results: &Path) -> Result<Jobs, ConductError> {
        let systems = self.systems()?;
        let tasks = self.tasks(&systems)?;
        let tasks: Vec<&Task<'_>> = tasks.iter().collect();
        let mut found = Jobs::default();
        for of_one in tasks.chunk_by(|a, b| std::ptr::eq(a.ready, b.ready)) {
            let loader = self.loader(of_one, results)?;
            let server = loader.as_ref().and_then(Loader::server);
            found.jobs.extend(of_one.iter().map(|task| Job {
                system: task.ready.system.name.clone(),
                workload: task.workload.name.clone(),
                server: server.map(|server| server.place),
                gpus: task.ready.system.gpus_said(),
            }));
            let key = loader
                .as_ref()
                .and_then(|loader| loader.settings().api_key.clone());
            found.keys.extend(key);
        }
        Ok(found)
    }

    /// What loads the endpoint of these tasks, which are one system's, found able to; `None` for a simulated one.
    pub(super) fn loader(&self, tasks: &[&Task<'_>], results: &Path) -> Result<Option<Loader>, ConductError> {
        let Some(ready) = tasks.first().map(|task| task.ready) else {
            return Ok(None);
        };
        let (Side::Endpoint, Some(entry)) = (ready.side, &ready.system.endpoint) else {
            return Ok(None);
        };
        let loader = Loader::of(entry, results, self.environment)
            .map_err(|problem| unusable(ready.system, &problem))?;
        for task in tasks {
            for (slo, objective) in &task.objectives {
                loader
                    .suits(task.workload, &task.requests, objective)
                    .map_err(|why| ConductError::Input(format!("slos, {slo}: {why}")))?;
            }
        }
        Ok(Some(loader))
    }

    /// Every system on every workload, but for what is left out.
    pub(super) fn tasks<'s>(&self, systems: &'s [Ready<'a>]) -> Result<Vec<Task<'s>>, ConductError> {
        let mut tasks = Vec::new();
        for ready in systems {
            let built = ready.built.as_ref().and_then(|built| built.as_ref().ok());
            let longest = built.map(|built| built.config.engine.max_model_len);
            for workload in &self.file.workloads {
                let workload = &workload.value;
                let mut objectives = self.file.objectives_on(workload);
                objectives.retain(|(slo, _)| !self.file.skips(&ready.system.name, &workload.name, slo));
                if objectives.is_empty() {
                    continue;
                }
                let requests = Requests::of(workload, self.base, self.file.seed, longest)
                    .map_err(ConductError::Input)?;
                tasks.push(Task {
                    ready,
                    workload,
                    requests,
                    objectives,
                });
            }
        }
        Ok(tasks)
    }

    /// The systems, built as far as they are simulated.
    pub(super) fn systems(&self) -> Result<Vec<Ready<'a>>, ConductError> {
        let located = |path: &PathBuf| {
            let beside = self.base.join(path);
            if beside.exists() { beside } else { path.clone() }
        };
        let library = Library::open(Places {
            catalog: self.file.catalog.iter().map(located).collect(),
            profiles: self.file.profiles.iter().map(located).collect(),
        })
        .map_err(|e| ConductError::Input(e.to_string()))?;
        let mut systems = Vec::new();
        for entry in &self.file.systems {
            let system = &entry.value;
            let side = system.side(self.side.or(self.file.target));
            let built = match (side, &system.deployment) {
                (Side::Simulator, Some(deployment)) => {
                    let mut deployment = deployment.clone();
                    deployment.cost.locate(self.base);
                    match deployment.cluster(&library, self.file.seed) {
                        Ok(built) => Some(Ok(built)),
                        // What does not fit is an answer about this system; anything else is a mistake in the file.
                        Err(error @ DeploymentError::DoesNotFit(_)) => Some(Err(error.to_string())),
                        Err(error) => {
                            return Err(ConductError::Input(format!("systems, {}: {error}", system.name)));
                        }
                    }
                }
                _ => None,
            };
            let missing = match side {
                Side::Simulator => system.deployment.is_none(),
                Side::Endpoint => system.endpoint.is_none(),
            };
            if missing {
                return Err(ConductError::Input(format!(
                    "systems, {}: it has no {}",
                    system.name,
                    if side == Side::Simulator {
                        "deployment to simulate"
                    } else {
                        "endpoint"
                    }
                )));
            }
            let read = |path: &PathBuf| (self.profile)(&located(path));
            let of_prompts = system
                .prefill_profile
                .as_ref()
                .map(read)
                .transpose()
                .map_err(|error| ConductError::Input(profile::unreadable(self.file, system, side, &error)))?;
            if of_prompts.is_none() && self.file.objectives().iter().any(|(_, o)| o.needs_profile()) {
                return Err(ConductError::Input(profile::none(self.file, system, side)));
            }
            let foreseen = system.prior.as_ref().map(|path| Foreseen::read(&located(path)));
            let foreseen = foreseen
                .transpose()
                .map_err(|e| ConductError::Input(format!("systems, {}: prior: {e}", system.name)))?;
            systems.push(Ready {
                system,
                side,
                built,
                curve: of_prompts.as_ref().map(|profile| profile.curve().clone()),
                profiled: of_prompts.map(|profile| profile.target),
                foreseen,
            });
        }
        Ok(systems)
    }
}

/// An endpoint that cannot be loaded as it is asked for.
pub(super) fn unusable(system: &System, problem: &EndpointProblem) -> ConductError {
    let told = format!("systems, {}: {problem}", system.name);
    match problem {
        EndpointProblem::Input(_) => ConductError::Input(told),
        EndpointProblem::Unreachable(_) | EndpointProblem::Server(_) | EndpointProblem::Interrupted => {
            ConductError::Unreachable(told)
        }
    }
}
