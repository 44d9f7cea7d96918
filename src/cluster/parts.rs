//! What is asked for: the components of a job, each with nodes, CPUs, memory and GPUs.

use serde::Serialize;

use super::memory::Memory;
use super::profile::{Profile, ServerShare};
use crate::settings::Place;

/// Options of sbatch, name and value.
pub(super) type Options = Vec<(&'static str, String)>;

/// A component of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Part {
    /// Nodes, and as many tasks.
    pub(super) nodes: u32,
    /// CPUs on each of them.
    pub(super) cpus: u32,
    /// Partition, account and the like.
    pub(super) place: Options,
    /// Memory and GPUs on each of them.
    pub(super) resources: Options,
}

impl Part {
    /// The components of the driver's job: one, or two where the model server has one of its own.
    pub(super) fn of_driver(profile: &Profile, place: Option<Place>, node_list: Option<&str>) -> Vec<Self> {
        let (driver, server) = (&profile.driver, &profile.server);
        match place {
            None | Some(Place::Job) => vec![Self::of_client(profile, node_list)],
            // The driver is one more process on the server's first node.
            Some(Place::Child | Place::Step) => vec![Self::new(
                profile,
                node_list,
                server.nodes,
                driver.cpus + server.cpus,
                driver.mem.zip(server.mem).map(|(a, b)| a.plus(b)),
                Self::gpus(server),
            )],
            // Nodes of one job are alike: the driver's has the server's GPUs too.
            Some(Place::Node) => vec![Self::new(
                profile,
                node_list,
                server.nodes + 1,
                driver.cpus.max(server.cpus),
                driver.mem.zip(server.mem).map(|(a, b)| a.or_more(b)),
                Self::gpus(server),
            )],
            Some(Place::Group) => vec![
                Self::of_client(profile, None),
                Self::of_server(profile, node_list),
            ],
        }
    }

    /// A driver without a server.
    pub(super) fn of_client(profile: &Profile, node_list: Option<&str>) -> Self {
        let driver = &profile.driver;
        Self::new(profile, node_list, 1, driver.cpus, driver.mem, Vec::new())
    }

    /// A model server.
    pub(super) fn of_server(profile: &Profile, node_list: Option<&str>) -> Self {
        let server = &profile.server;
        let gpus = Self::gpus(server);
        let mut part = Self::new(profile, node_list, server.nodes, server.cpus, server.mem, gpus);
        part.elsewhere("partition", server.partition.as_ref());
        part.elsewhere("constraint", server.constraint.as_ref());
        part
    }

    /// A trial.
    pub(super) fn of_trial(profile: &Profile, node_list: Option<&str>) -> Self {
        let trial = &profile.trial;
        let mut part = Self::new(profile, node_list, 1, trial.cpus, trial.mem, Vec::new());
        part.elsewhere("partition", trial.partition.as_ref());
        part
    }

    fn new(
        profile: &Profile,
        node_list: Option<&str>,
        nodes: u32,
        cpus: u32,
        mem: Option<Memory>,
        gpus: Options,
    ) -> Self {
        let named = [
            ("partition", profile.partition.as_deref()),
            ("account", profile.account.as_deref()),
            ("qos", profile.qos.as_deref()),
            ("constraint", profile.constraint.as_deref()),
            ("nodelist", node_list),
        ];
        let place = named
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?.to_owned())))
            .collect();
        let mut resources: Options = mem.map(|mem| ("mem", mem.to_string())).into_iter().collect();
        resources.extend(gpus);
        Self {
            nodes,
            cpus,
            place,
            resources,
        }
    }

    /// Replaces an option, or adds it.
    fn elsewhere(&mut self, name: &'static str, value: Option<&String>) {
        if let Some(value) = value {
            self.place.retain(|(known, _)| *known != name);
            self.place.insert(0, (name, value.clone()));
        }
    }

    /// GPUs on each node of a model server.
    pub(super) fn gpus(server: &ServerShare) -> Options {
        match &server.gres {
            Some(gres) => vec![("gres", gres.clone())],
            None if server.gpus.rsplit(':').next() == Some("0") => Vec::new(),
            None => vec![("gpus-per-node", server.gpus.clone())],
        }
    }
}

/// Options as arguments.
pub(super) fn pairs(options: &Options) -> impl Iterator<Item = String> {
    options.iter().map(|(name, value)| format!("--{name}={value}"))
}
