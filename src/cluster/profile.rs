//! What a cluster is like, apart from any experiment: `slurm/cluster.yml`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::memory::Memory;
use crate::executor::slurm::time;

/// What is asked of Slurm for every job. A key that is left out has the default of [`Profile::default`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Profile {
    /// Partition of the jobs; `None`: the cluster's default.
    pub partition: Option<String>,
    /// Account that pays.
    pub account: Option<String>,
    /// Quality of service.
    pub qos: Option<String>,
    /// Features that nodes must have.
    pub constraint: Option<String>,
    /// Time limit of a job; `None`: the partition's default.
    #[serde(with = "limit")]
    pub time: Option<Duration>,
    /// Environment modules, loaded before anything starts.
    pub modules: Vec<String>,
    /// Shell lines, run after the modules.
    pub setup: String,
    /// Words in front of the model server's command: `[apptainer, exec, --nv, image.sif]`.
    pub container: Vec<String>,
    /// The driver with the load generator.
    pub driver: DriverShare,
    /// The model server, where it belongs to the run.
    pub server: ServerShare,
    /// A trial that is a job or a step of its own.
    pub trial: TrialShare,
    /// Further options of sbatch, each a `#SBATCH` line of every job.
    pub sbatch: Vec<String>,
    /// Whether Slurm may put a job back into the queue.
    pub requeue: bool,
    /// Most tasks of an array that run at a time; `None`: as many as Slurm lets.
    pub array_throttle: Option<u32>,
}

/// What the driver needs: it sends the load, and no GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DriverShare {
    /// CPUs.
    pub cpus: u32,
    /// Memory.
    pub mem: Option<Memory>,
}

/// What the model server needs, on each of its nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerShare {
    /// GPUs a node: a number, or `type:number`; `0`: none.
    pub gpus: String,
    /// Generic resources a node, in place of `gpus`.
    pub gres: Option<String>,
    /// CPUs.
    pub cpus: u32,
    /// Memory.
    pub mem: Option<Memory>,
    /// Nodes.
    pub nodes: u32,
    /// Partition, where the server is a job or a component of its own.
    pub partition: Option<String>,
    /// Features, likewise.
    pub constraint: Option<String>,
}

/// What a trial needs that is a job or a step of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrialShare {
    /// CPUs.
    pub cpus: u32,
    /// Memory.
    pub mem: Option<Memory>,
    /// Time limit; `None`: what the trial takes at most, with a margin.
    #[serde(with = "limit")]
    pub time: Option<Duration>,
    /// Partition; `None`: that of the other jobs.
    pub partition: Option<String>,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            partition: None,
            account: None,
            qos: None,
            constraint: None,
            time: Some(Duration::from_hours(24)),
            modules: Vec::new(),
            setup: String::new(),
            container: Vec::new(),
            driver: DriverShare::default(),
            server: ServerShare::default(),
            trial: TrialShare::default(),
            sbatch: Vec::new(),
            requeue: true,
            array_throttle: None,
        }
    }
}

impl Default for DriverShare {
    fn default() -> Self {
        Self {
            cpus: 4,
            mem: Some(Memory::gigabytes(2)),
        }
    }
}

impl Default for ServerShare {
    fn default() -> Self {
        Self {
            gpus: "1".to_owned(),
            gres: None,
            cpus: 8,
            mem: Some(Memory::gigabytes(32)),
            nodes: 1,
            partition: None,
            constraint: None,
        }
    }
}

impl Default for TrialShare {
    fn default() -> Self {
        Self {
            cpus: 4,
            mem: Some(Memory::gigabytes(2)),
            time: None,
            partition: None,
        }
    }
}

impl ServerShare {
    /// GPUs on all of its nodes.
    pub fn gpus_in_all(&self) -> u32 {
        let text = self.gres.as_ref().unwrap_or(&self.gpus);
        let number = text
            .rsplit(':')
            .next()
            .and_then(|number| number.parse::<u32>().ok());
        // `gpu:a100` is one.
        number.unwrap_or(1).saturating_mul(self.nodes)
    }

    /// The same with so many GPUs in all, of the same type; a cluster whose servers take none stays one.
    #[must_use]
    pub fn with_gpus(&self, gpus: u32) -> Self {
        if self.gpus_in_all() == 0 {
            return self.clone();
        }
        let each = gpus.div_ceil(self.nodes).to_string();
        let counted = |text: &str| match text.rsplit_once(':') {
            Some((kind, number)) if number.parse::<u32>().is_ok() => format!("{kind}:{each}"),
            None if text.parse::<u32>().is_ok() => each.clone(),
            _ => format!("{text}:{each}"),
        };
        Self {
            gpus: counted(&self.gpus),
            // A list of resources stays as it was written.
            gres: self.gres.as_ref().map(|gres| {
                if gres.contains(',') {
                    gres.clone()
                } else {
                    counted(gres)
                }
            }),
            ..self.clone()
        }
    }
}

/// A profile that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {problem}", path.display(), line.map_or(String::new(), |line| format!(":{line}")))]
pub struct ProfileError {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1, where it is known.
    pub line: Option<u64>,
    /// What is wrong, and what to write.
    pub problem: String,
}

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    /// When the file cannot be read, is not YAML, has unknown keys or wrong values.
    pub fn read(path: &Path) -> Result<Self, ProfileError> {
        let text = std::fs::read_to_string(path).map_err(|error| ProfileError {
            path: path.to_owned(),
            line: None,
            problem: format!("the file cannot be read: {error}"),
        })?;
        Self::parse(path, &text)
    }

    /// Reads the text of a profile; `path` is for messages.
    ///
    /// # Errors
    /// As [`Profile::read`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, ProfileError> {
        // A file of comments only is a document without a value.
        let is_empty = text
            .lines()
            .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
        if is_empty {
            return Ok(Self::default());
        }
        let profile: Self = serde_saphyr::from_str(text).map_err(|error| ProfileError {
            path: path.to_owned(),
            line: error.location().map(|at| at.line()),
            problem: crate::yaml::problem(error.without_snippet()),
        })?;
        profile.check().map_err(|(key, problem)| ProfileError {
            path: path.to_owned(),
            line: line_of(text, key),
            problem: format!("{key}: {problem}"),
        })?;
        Ok(profile)
    }

    /// What the types do not show.
    fn check(&self) -> Result<(), (&'static str, String)> {
        for (key, count) in [
            ("driver.cpus", self.driver.cpus),
            ("server.cpus", self.server.cpus),
            ("server.nodes", self.server.nodes),
            ("trial.cpus", self.trial.cpus),
            ("array_throttle", self.array_throttle.unwrap_or(1)),
        ] {
            if count == 0 {
                return Err((key, "write a number of at least 1".to_owned()));
            }
        }
        let gpus = &self.server.gpus;
        let number = gpus.rsplit(':').next().unwrap_or("");
        if number.parse::<u32>().is_err() {
            let problem = format!("`{gpus}` is not a number of GPUs; write for example 2 or a100:2");
            return Err(("server.gpus", problem));
        }
        for line in &self.sbatch {
            if !line.starts_with('-') {
                let problem =
                    format!("`{line}` is not an option of sbatch; write for example --mail-type=END");
                return Err(("sbatch", problem));
            }
        }
        let one_line = |text: &Option<String>| text.as_ref().is_none_or(|text| !text.contains(['\n', '\r']));
        for (key, text) in [
            ("partition", &self.partition),
            ("account", &self.account),
            ("qos", &self.qos),
            ("constraint", &self.constraint),
            ("server.gres", &self.server.gres),
            ("server.partition", &self.server.partition),
            ("server.constraint", &self.server.constraint),
            ("trial.partition", &self.trial.partition),
        ] {
            if !one_line(text) {
                return Err((key, "the value must be one line".to_owned()));
            }
        }
        Ok(())
    }
}

/// The line where the last part of a dotted key stands, for values that YAML takes and we do not.
fn line_of(text: &str, key: &str) -> Option<u64> {
    let (section, name) = match key.split_once('.') {
        Some((section, name)) => (Some(section), name),
        None => (None, key),
    };
    let begins = |line: &str, name: &str| {
        line.trim_start()
            .strip_prefix(name)
            .is_some_and(|rest| rest.trim_start().starts_with(':'))
    };
    let mut lines = text.lines().enumerate();
    if let Some(section) = section {
        let found = lines.by_ref().find(|(_, line)| begins(line, section))?;
        // `driver: {cpus: 0}` has all on its line.
        if found.1.contains('{') {
            return Some(found.0 as u64 + 1);
        }
    }
    let found = lines.find(|(_, line)| begins(line, name))?;
    Some(found.0 as u64 + 1)
}

/// A time limit in YAML: text as Slurm's `--time`, or `24h`.
mod limit {
    use super::{Deserialize, Deserializer, Duration, Serializer, time};

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(limit: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match limit {
            Some(limit) => to.serialize_str(&time::limit(*limit)),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        let Some(text) = Option::<String>::deserialize(from)? else {
            return Ok(None);
        };
        time::parse_limit(&text)
            .map(Some)
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
