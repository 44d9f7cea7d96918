//! The file of `mst capacity`, as it stands: systems, workloads and objectives, every combination of which is searched.

mod only;
mod search;
mod workload;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

pub use search::{Rule, SearchRule};
pub use workload::{Part, Workload};

use crate::deployment::Deployment;
use crate::slo::objective::{Entry, Objective};

/// A file to begin with.
pub const EXAMPLE: &str = include_str!("../../examples/capacity.yml");

/// The whole file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Which side of the systems is loaded. Default: the endpoint where a system has one, else the simulator.
    #[serde(default)]
    pub target: Option<Side>,
    /// What is loaded.
    pub systems: Vec<Spanned<System>>,
    /// What is sent.
    pub workloads: Vec<Spanned<Workload>>,
    /// What is to be met.
    pub slos: Vec<Spanned<Entry>>,
    /// How rates are chosen.
    #[serde(default)]
    pub search: SearchRule,
    /// Whether failed, refused and unfinished requests violate the objectives.
    #[serde(default)]
    pub failures: Failures,
    /// Whether a trial fails whose backlog grows beyond doubt, whatever its latencies. Default: with the adaptive rule.
    #[serde(default)]
    pub sustained: Option<bool>,
    /// Time limits.
    #[serde(default)]
    pub limits: Limits,
    /// Combinations that are left out.
    #[serde(default)]
    pub skip: Vec<Skip>,
    /// Seeds arrivals, lengths and prompts.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Catalog files, or folders of them, beside the built-in ones.
    #[serde(default)]
    pub catalog: Vec<PathBuf>,
    /// Folders of profiles in Vidur's layout.
    #[serde(default)]
    pub profiles: Vec<PathBuf>,
    /// What to know about the file, told with the results: for example that lengths stand in for a trace.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Which side of a system is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Its deployment, in virtual time.
    Simulator,
    /// Its endpoint.
    Endpoint,
}

/// What is loaded: a deployment to simulate, an endpoint, or both.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct System {
    /// Its name in the results.
    pub name: String,
    /// What is simulated.
    #[serde(default)]
    pub deployment: Option<Deployment>,
    /// What is loaded over HTTP.
    #[serde(default)]
    pub endpoint: Option<EndpointEntry>,
    /// GPUs that it takes. Default: those of the deployment, else 1.
    #[serde(default)]
    pub gpus: Option<u32>,
    /// What prompts take on it when it is idle: a file of `mst profile prefill`, or its folder.
    #[serde(default)]
    pub prefill_profile: Option<PathBuf>,
    /// A file that describes the service for the simulator, calibrated or not: what that finds is expected before the first trial.
    #[serde(default)]
    pub prior: Option<PathBuf>,
}

/// An endpoint.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EndpointEntry {
    /// Base URL; without it the embedded simulated endpoint is started.
    pub url: Option<String>,
    /// Keys of `.env` and their values: `MODEL`, `API`, `API_KEY_VARIABLE`, `TARGET_LABEL`, `LOADGEN`, `REQUEST_TIMEOUT`, ...
    pub settings: BTreeMap<String, String>,
}

/// Whether failed, refused and unfinished requests violate the objectives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Failures {
    /// They do.
    #[default]
    Count,
    /// Failed ones are left out, as the published tools do it.
    Ignore,
}

/// Time limits. Written as `30m`, `1200s`, `5h`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Of a trial: requests that are not sent by then are not sent any more.
    pub trial: Option<String>,
    /// Of everything.
    pub total: Option<String>,
}

/// A combination that is left out: a name that is not given stands for all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Skip {
    /// A system.
    pub system: Option<String>,
    /// A workload.
    pub workload: Option<String>,
    /// An objective.
    pub slo: Option<String>,
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {problem}", path.display(), line.map_or(String::new(), |line| format!(":{line}")))]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1.
    pub line: Option<u64>,
    /// What is wrong, and what to write.
    pub problem: String,
}

impl File {
    /// Reads the text of a file; `path` is for messages.
    ///
    /// # Errors
    /// With the line and what to write there.
    pub fn parse(text: &str, path: &Path) -> Result<Self, FileError> {
        let at = |line: Option<u64>, problem: String| FileError {
            path: path.to_owned(),
            line,
            problem,
        };
        let file: Self = serde_saphyr::from_str(text).map_err(|error| {
            let line = error.location().map(|at| at.line()).filter(|line| *line > 0);
            at(line, crate::yaml::problem(error.without_snippet()))
        })?;
        file.checked(path)
    }

    /// The file, found right.
    ///
    /// # Errors
    /// With the line and what to write there.
    pub fn checked(self, path: &Path) -> Result<Self, FileError> {
        match self.check() {
            Ok(()) => Ok(self),
            Err((line, problem)) => Err(FileError {
                path: path.to_owned(),
                line,
                problem,
            }),
        }
    }

    /// What the types do not show, with the line.
    pub(super) fn check(&self) -> Result<(), (Option<u64>, String)> {
        for (key, empty) in [
            ("systems", self.systems.is_empty()),
            ("workloads", self.workloads.is_empty()),
            ("slos", self.slos.is_empty()),
        ] {
            if empty {
                return Err((
                    None,
                    format!("{key}: the list is empty; write at least one entry"),
                ));
            }
        }
        named(
            "systems",
            self.systems.iter().map(|s| (line(s), Some(s.value.name.clone()))),
        )?;
        named(
            "workloads",
            self.workloads
                .iter()
                .map(|w| (line(w), Some(w.value.name.clone()))),
        )?;
        named("slos", self.slos.iter().map(|s| (line(s), s.value.name.clone())))?;
        for system in &self.systems {
            system
                .value
                .check(self.target)
                .map_err(|why| (line(system), why))?;
            if system.value.prior.is_some() && self.search.rule != Rule::Adaptive {
                let name = &system.value.name;
                let why = format!(
                    "systems, {name}: prior: only `search: {{rule: adaptive}}` expects anything; remove it"
                );
                return Err((line(system), why));
            }
        }
        for workload in &self.workloads {
            workload.value.check().map_err(|why| (line(workload), why))?;
        }
        for slo in &self.slos {
            slo.value.objective().map_err(|why| (line(slo), why))?;
            self.check_classes(slo).map_err(|why| (line(slo), why))?;
        }
        self.search.check().map_err(|why| (None, why))?;
        self.limits.check().map_err(|why| (None, why))?;
        for skip in &self.skip {
            self.known(skip).map_err(|why| (None, why))?;
        }
        Ok(())
    }

    /// Whether every workload that an objective is searched on has the classes that it names.
    fn check_classes(&self, slo: &Spanned<Entry>) -> Result<(), String> {
        let name = slo.value.name.as_deref().unwrap_or_default();
        for workload in &self.workloads {
            let workload = &workload.value;
            let is_left_out = |system: &Spanned<System>| self.skips(&system.value.name, &workload.name, name);
            if self.systems.iter().all(is_left_out) {
                continue;
            }
            if let Err(why) = slo.value.with_classes(&workload.class_names()) {
                let of = &workload.name;
                return Err(format!(
                    "slos, {name}, on workload {of}: {why}; name one of them, or leave the pair out: \
                     skip: [{{workload: {of}, slo: {name}}}]"
                ));
            }
        }
        Ok(())
    }

    fn known(&self, skip: &Skip) -> Result<(), String> {
        let names: [(&str, &Option<String>, Vec<String>); 3] = [
            (
                "system",
                &skip.system,
                self.systems.iter().map(|s| s.value.name.clone()).collect(),
            ),
            (
                "workload",
                &skip.workload,
                self.workloads.iter().map(|w| w.value.name.clone()).collect(),
            ),
            (
                "slo",
                &skip.slo,
                self.slos.iter().filter_map(|s| s.value.name.clone()).collect(),
            ),
        ];
        for (key, name, all) in names {
            if let Some(name) = name.as_ref().filter(|name| !all.contains(name)) {
                return Err(format!(
                    "skip: {key} `{name}` is not in the file; known are {}",
                    all.join(", ")
                ));
            }
        }
        Ok(())
    }

    /// Whether a combination is left out.
    pub fn skips(&self, system: &str, workload: &str, slo: &str) -> bool {
        let is = |name: &Option<String>, this: &str| name.as_ref().is_none_or(|name| name == this);
        self.skip
            .iter()
            .any(|skip| is(&skip.system, system) && is(&skip.workload, workload) && is(&skip.slo, slo))
    }

    /// The objectives as they are on a workload, which says what its classes are; those that need others are left out.
    pub fn objectives_on(&self, workload: &Workload) -> Vec<(String, Objective)> {
        let names = workload.class_names();
        let on = |entry: &Entry| entry.with_classes(&names).ok()?.objective().ok();
        self.slos
            .iter()
            .filter_map(|slo| Some((slo.value.name.clone()?, on(&slo.value)?)))
            .collect()
    }

    /// The objectives with their names.
    pub fn objectives(&self) -> Vec<(String, Objective)> {
        self.slos
            .iter()
            .filter_map(|slo| Some((slo.value.name.clone()?, slo.value.objective().ok()?)))
            .collect()
    }
}

impl System {
    fn check(&self, side: Option<Side>) -> Result<(), String> {
        let name = &self.name;
        match (side, &self.deployment, &self.endpoint) {
            (_, None, None) => Err(format!(
                "systems, {name}: write a deployment to simulate, or an endpoint"
            )),
            (Some(Side::Simulator), None, _) => Err(format!(
                "systems, {name}: target is simulator, and it has no deployment; write one"
            )),
            (Some(Side::Endpoint), _, None) => Err(format!(
                "systems, {name}: target is endpoint, and it has none; write endpoint: {{url: ...}}"
            )),
            _ if self.gpus == Some(0) => Err(format!("systems, {name}: gpus: write at least 1")),
            _ => Ok(()),
        }
    }

    /// Which side is loaded.
    pub fn side(&self, wanted: Option<Side>) -> Side {
        wanted.unwrap_or(if self.endpoint.is_some() {
            Side::Endpoint
        } else {
            Side::Simulator
        })
    }

    /// GPUs that it takes.
    pub fn gpus(&self) -> u32 {
        self.gpus_said().unwrap_or(1)
    }

    /// The same, where the file says it.
    pub fn gpus_said(&self) -> Option<u32> {
        self.gpus.or(self.deployment.as_ref().map(Deployment::gpus))
    }
}

impl Limits {
    fn check(&self) -> Result<(), String> {
        for (key, text) in [("trial", &self.trial), ("total", &self.total)] {
            if let Some(text) = text {
                duration(text).map_err(|why| format!("limits, {key}: {why}"))?;
            }
        }
        Ok(())
    }

    /// Of a trial.
    pub fn trial(&self) -> Option<Duration> {
        self.trial.as_deref().and_then(|text| duration(text).ok())
    }

    /// Of everything.
    pub fn total(&self) -> Option<Duration> {
        self.total.as_deref().and_then(|text| duration(text).ok())
    }
}

/// A duration: `30m`, or a number of seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|s| s.is_finite() && *s > 0.0);
    match seconds {
        Some(seconds) => Ok(Duration::from_secs_f64(seconds)),
        None => humantime::parse_duration(text)
            .ok()
            .filter(|d| !d.is_zero())
            .ok_or_else(|| format!("`{text}` is not a duration; write 30m, 1200s or 5h")),
    }
}

fn positive(key: &str, value: f64) -> Result<(), String> {
    if value.is_finite() && value > 0.0 {
        Ok(())
    } else {
        Err(format!("{key}: {value} does not do; write a number above 0"))
    }
}

/// Every entry has a name of its own.
fn named(
    list: &str,
    names: impl Iterator<Item = (Option<u64>, Option<String>)>,
) -> Result<(), (Option<u64>, String)> {
    let mut seen = std::collections::BTreeSet::new();
    for (line, name) in names {
        let Some(name) = name.filter(|name| !name.trim().is_empty()) else {
            return Err((line, format!("{list}: an entry has no name; write name: ...")));
        };
        if !seen.insert(name.clone()) {
            return Err((
                line,
                format!("{list}: the name `{name}` is there twice; results would not tell them apart"),
            ));
        }
    }
    Ok(())
}

fn line<T>(entry: &Spanned<T>) -> Option<u64> {
    Some(entry.referenced.line()).filter(|line| *line > 0)
}

fn default_seed() -> u64 {
    42
}
