//! Where a model server that belongs to a run is at home, and how it gets to its place.

use crate::executor::slurm::Slurm;
use crate::server::{JobLauncher, Launcher, ServerError, Start};
use crate::settings::{ExecutorChoice, Place, ServerSettings, Settings};
use crate::store::runs::{RunDir, Seat};

/// The run and the seat of a driver that holds its lease.
pub struct Home<'a> {
    /// The run.
    pub run: &'a RunDir,
    /// The driver's seat.
    pub seat: &'a Seat,
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
        place @ (Place::Step | Place::Node | Place::Group) => Launcher::step(step(place)),
        Place::Job => {
            let seat = home.seat.path().file_name().map(|n| n.to_string_lossy());
            Launcher::job(JobLauncher {
                slurm: Slurm::default(),
                journal: home
                    .run
                    .journal(Some(&format!("server-{}", seat.unwrap_or_default()))),
                run: home.run.clone(),
                tag: plan.tag,
                script: Box::new(|_| Err("there are no templates".to_owned())),
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
        prefix: Vec::new(),
        key: settings.api_key.clone(),
        key_file: Some(home.run.key_file()).filter(|file| file.is_file()),
        launcher,
        local: only_here,
    })
}

/// Options of `srun` for a server's step.
fn step(place: Place) -> Vec<String> {
    let mut options = vec!["--overlap", "--nodes=1", "--ntasks=1", "--export=ALL"];
    match place {
        Place::Node => options.push("--relative=1"),
        Place::Group => options.push("--het-group=1"),
        Place::Child | Place::Step | Place::Job => {}
    }
    options.into_iter().map(str::to_owned).collect()
}
