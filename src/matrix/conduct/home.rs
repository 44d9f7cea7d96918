//! The run's folder of a system whose model server is ours: `mst status`, `mst logs --server` and `mst cancel` know it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::input::Task;
use super::{Conduct, Outcome};
use crate::campaign::Home;
use crate::cluster::{Scripts, ScriptsError, submission};
use crate::settings::Settings;
use crate::store::runs::{self, Mode, Plan, RunDir, RunError, Seat};
use crate::store::{Lease, LeaseError};

/// How often the mark that `mst cancel` leaves is looked for.
const LOOK: Duration = Duration::from_secs(1);

/// A run with one seat, which is ours.
pub(super) struct Hosted {
    run: RunDir,
    seat: Seat,
    scripts: Scripts,
    looked: Cell<Option<Instant>>,
    is_asked: Cell<bool>,
    // Given back last, when the server is gone.
    lease: Lease,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum HostedError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error(transparent)]
    Scripts(#[from] ScriptsError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Hosted {
    /// Makes the folder for the searches of one system.
    pub(super) fn begin(
        settings: &Settings,
        conduct: &Conduct<'_>,
        tasks: &[&Task<'_>],
    ) -> Result<Self, HostedError> {
        let here = std::env::current_dir()?;
        let profile = conduct
            .input
            .cluster_profile
            .or(settings.cluster.profile.as_deref());
        let mut scripts = Scripts::with_profile(&here, profile)?;
        if let Some(gpus) = tasks.first().and_then(|task| task.ready.system.gpus_said()) {
            scripts.profile.server = scripts.profile.server.with_gpus(gpus);
        }
        let run = RunDir::create(conduct.store.root())?;
        let file = conduct.input.file;
        let names: Vec<String> = tasks
            .iter()
            .map(|task| format!("{}/{}", task.ready.system.name, task.workload.name))
            .collect();
        let most = file.search.limit();
        run.write_plan(&Plan {
            schema: 1,
            run: run.name(),
            tag: submission::new_tag(run.path()),
            mode: Mode::Login,
            created: chrono::Utc::now(),
            mst_version: env!("CARGO_PKG_VERSION").to_owned(),
            program: std::env::current_exe()?,
            submit_dir: here,
            results_dir: conduct.store.root().to_owned(),
            folders: names.clone(),
            pairs: names,
            trial_s: file.limits.trial().map_or(0.0, |limit| limit.as_secs_f64()),
            trials: (most, most),
            walltime_s: None,
            throttle: None,
        })?;
        let seat = run.seat(None);
        let lease = Lease::take(seat.path())?;
        Ok(Self {
            run,
            seat,
            scripts,
            looked: Cell::new(None),
            is_asked: Cell::new(false),
            lease,
        })
    }

    /// What is started elsewhere needs to know this.
    pub(super) fn home(&self) -> Home<'_> {
        Home {
            run: &self.run,
            seat: &self.seat,
            scripts: &self.scripts,
            writer: "capacity",
        }
    }

    /// Whether somebody asked it to stop, or has taken its place.
    pub(super) fn must_stop(&self) -> bool {
        if self.looked.get().is_none_or(|at| at.elapsed() >= LOOK) {
            self.looked.set(Some(Instant::now()));
            self.is_asked.set(self.run.is_asked_to_stop());
        }
        self.is_asked.get() || self.lease.is_lost()
    }

    /// Writes how it went.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn end(&self, outcomes: &[Outcome]) -> Result<(), RunError> {
        let error = outcomes.iter().find_map(|outcome| outcome.error.clone());
        let outcome = match &error {
            _ if self.is_asked.get() => runs::Outcome::Cancelled,
            Some(_) => runs::Outcome::Failed,
            None => runs::Outcome::Done,
        };
        self.seat.end(&runs::Ended {
            outcome,
            exit: u8::from(error.is_some()),
            why: error.unwrap_or_else(|| "every search has an answer".to_owned()),
            at: chrono::Utc::now(),
            job: std::env::var("SLURM_JOB_ID").ok(),
        })
    }
}
