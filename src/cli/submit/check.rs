//! What can be found out before a run is submitted.

use super::order::Order;
use super::send::{slurm, with_remedy};
use crate::cli::exit::{Exit, Failure};
use crate::cluster::checks::{self, Finding};
use crate::cluster::submission;
use crate::endpoint::BaseUrl;
use crate::executor::slurm::{Batch, SlurmError};
use crate::settings::{Place, Settings};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// Worth knowing.
    pub(super) warnings: Vec<String>,
    /// The run would be of no use.
    pub(super) wrong: Vec<String>,
    /// Whether Slurm is who says so.
    pub(super) by_slurm: bool,
    /// When and where the job would start, in Slurm's words.
    pub(super) start: Option<String>,
}

impl Checked {
    fn add(&mut self, findings: impl IntoIterator<Item = Finding>) {
        for finding in findings {
            match finding {
                Finding::Wrong(told) => self.wrong.push(told),
                Finding::Warning(told) => self.warnings.push(told),
            }
        }
    }
}

/// What settings and folders tell.
pub(super) fn without_slurm(order: &Order<'_>, settings: &Settings) -> Checked {
    let mut checked = Checked::default();
    checked.add(checks::walltime(&order.work, order.walltime));
    if let Some(url) = settings.url.as_deref().filter(|url| is_this_host(url)) {
        checked.warnings.push(format!(
            "URL is {url}: in the job that is the node that it runs on, not this one; name the server's host"
        ));
    }
    if settings.url.is_none() && settings.server.is_none() {
        checked.warnings.push(
            "neither URL nor SERVER_COMMAND is set: the job measures the embedded simulated server, a demo"
                .to_owned(),
        );
    }
    let results = &order.results_dir;
    let writable = submission::existing(results).is_some_and(|folder| {
        folder.is_dir() && nix::unistd::access(&folder, nix::unistd::AccessFlags::W_OK).is_ok()
    });
    if !writable {
        checked.wrong.push(format!(
            "RESULTS_DIR: {} cannot be written to; give another",
            results.display()
        ));
    }
    checked
}

/// What Slurm tells, on top.
///
/// # Errors
/// When it does not answer, or refuses the job.
pub(super) fn with_slurm(order: &Order<'_>, checked: &mut Checked) -> Result<(), Failure> {
    let slurm = slurm(order.key());
    let failed = |error: SlurmError| Failure::new(Exit::BatchSystem, with_remedy(error.into()));
    let all = slurm.partitions().map_err(failed)?;
    let before = checked.wrong.len();
    let profile = &order.scripts.profile;
    let (driver_nodes, server_nodes) = match order.place() {
        None => (1, None),
        Some(Place::Child | Place::Step) => (profile.server.nodes, None),
        Some(Place::Node) => (profile.server.nodes + 1, None),
        Some(Place::Group | Place::Job) => (1, Some(profile.server.nodes)),
    };
    let partition = profile.partition.as_deref();
    checked.add(checks::partition(&all, partition, driver_nodes, order.walltime));
    if let Some(nodes) = server_nodes {
        let own = profile.server.partition.as_deref();
        let found = checks::partition(&all, own.or(partition), nodes, order.walltime);
        if own.is_some() || nodes > driver_nodes {
            checked.add(found);
        }
    }
    // Slurm reads the script from a file; the run's folder does not exist yet.
    let folder = tempfile::tempdir()?;
    let draft = order
        .draft(&order.results_dir.join(".runs/RUN"), "RUN", "mst-check")
        .map_err(Failure::input)?;
    let script = folder.path().join(submission::DRIVE);
    fs_err::write(&script, &draft.drive)?;
    let batch = Batch {
        script,
        options: vec!["--job-name=mst-check".to_owned()],
        arguments: Vec::new(),
    };
    checked.start = Some(slurm.test_only(&batch).map_err(failed)?);
    checked.by_slurm = before == 0 && checked.wrong.len() > before;
    Ok(())
}

/// Whether a URL means whatever machine it is used on.
fn is_this_host(url: &str) -> bool {
    let Ok(url) = url.parse::<BaseUrl>() else {
        return false;
    };
    let host = url.host();
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback() || address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_has_many_names() {
        for url in [
            "http://localhost:8000",
            "http://127.0.0.1:1",
            "http://[::1]:80",
            "http://0.0.0.0:8000",
        ] {
            assert!(is_this_host(url), "{url}");
        }
        for url in [
            "http://gpu07:8000",
            "https://localhost.example.org",
            "http://10.0.0.1",
        ] {
            assert!(!is_this_host(url), "{url}");
        }
    }
}
