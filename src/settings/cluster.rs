//! A model server that belongs to the run, and where things run.

use std::path::PathBuf;
use std::time::Duration;

use super::build::Reader;
use super::values::{self, one_of};
use crate::executor::slurm::time::parse_limit;

/// A model server that belongs to the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Program and arguments, with `{port}`, `{host}` and `{folder}`.
    pub argv: Vec<String>,
    /// Where it runs.
    pub place: Place,
    /// Its port; `None`: a free one.
    pub port: Option<u16>,
    /// The path that answers 200 once it can work.
    pub health: String,
    /// How long it may take to become healthy while its process lives.
    pub start_limit: Duration,
    /// How long it may write nothing to its log before it is healthy.
    pub silence_limit: Duration,
    /// What is done before each trial.
    pub reset: Option<Reset>,
    /// How often it is started again.
    pub restarts: u32,
}

/// Where a model server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// A child of the driver.
    Child,
    /// A job step on the driver's node.
    Step,
    /// A job step on the second node of the job.
    Node,
    /// The second component of a heterogeneous job.
    Group,
    /// A job of its own.
    Job,
}

/// What is done between two trials so that the next one meets an idle server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reset {
    /// A POST to this path.
    Post(String),
    /// A command with `{url}`.
    Command(Vec<String>),
}

/// Where load generators run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExecutorChoice {
    /// Beside this program.
    Local,
    /// Each as an `srun` step.
    Srun,
    /// Each as a job of its own.
    Sbatch,
}

/// Slurm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// Where load generators run.
    pub executor: ExecutorChoice,
    /// The cluster profile, where one is named.
    pub profile: Option<PathBuf>,
    /// Time limit of submitted jobs.
    pub walltime: Option<Duration>,
    /// No trial begins that would end within this time of the job's end.
    pub margin: Duration,
    /// Nodes that jobs are to run on.
    pub node_list: Option<String>,
    /// Pause between two questions to Slurm.
    pub poll: Duration,
}

/// The model server, where there is a command for it.
pub(super) fn server(r: &mut Reader<'_>) -> Option<ServerSettings> {
    let argv = r.optional("SERVER_COMMAND", values::words);
    let place = r.parse("SERVER_PLACE", |text| {
        let places = [
            ("child", Place::Child),
            ("step", Place::Step),
            ("node", Place::Node),
            ("group", Place::Group),
            ("job", Place::Job),
        ];
        one_of(&places, text)
    });
    let port = r.parse("SERVER_PORT", |text| {
        text.parse::<u16>().map_err(|_| {
            format!("`{text}` is not a port; write a number from 1 to 65535, or 0 for a free one")
        })
    });
    let health = r.parse("SERVER_HEALTH", path);
    let start_limit = r.positive_duration("SERVER_START_LIMIT");
    let silence_limit = r.positive_duration("SERVER_SILENCE_LIMIT");
    let reset = r.optional("SERVER_RESET", |text| {
        if text.starts_with('/') && !text.contains(char::is_whitespace) {
            path(text).map(Reset::Post)
        } else {
            values::words(text).map(Reset::Command)
        }
    });
    let restarts = r.parse("SERVER_RESTARTS", |text| values::whole(text, 0));
    Some(ServerSettings {
        argv: argv?,
        place,
        port: Some(port).filter(|port| *port > 0),
        health,
        start_limit,
        silence_limit,
        reset,
        restarts,
    })
}

fn path(text: &str) -> Result<String, String> {
    if text.starts_with('/') && text.chars().all(|c| c.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err(format!("`{text}` is not a path; write for example /health"))
    }
}

/// A duration, or a time limit as Slurm writes it.
fn walltime(text: &str) -> Result<Duration, String> {
    if text.contains([':', '-']) {
        parse_limit(text)
    } else {
        values::positive_duration(text)
    }
}

/// Slurm.
pub(super) fn cluster(r: &mut Reader<'_>) -> ClusterSettings {
    ClusterSettings {
        executor: r.parse("EXECUTOR", |text| {
            let executors = [
                ("local", ExecutorChoice::Local),
                ("srun", ExecutorChoice::Srun),
                ("sbatch", ExecutorChoice::Sbatch),
            ];
            one_of(&executors, text)
        }),
        profile: r.existing_file("CLUSTER_PROFILE"),
        walltime: r.optional("WALLTIME", walltime),
        margin: r.duration("WALLTIME_MARGIN"),
        node_list: r.optional("NODE_LIST", |text| {
            if text.contains(char::is_whitespace) {
                Err("a host list has no blanks; write for example n[1-3],n7".to_owned())
            } else {
                Ok(text.to_owned())
            }
        }),
        poll: r.positive_duration("POLL_INTERVAL"),
    }
}
