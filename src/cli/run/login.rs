//! The folder of a run that somebody started by hand, where something of it lives outside this process.

use crate::campaign;
use crate::settings::Settings;
use crate::store::runs::{Mode, Plan, RunDir, RunError, Seat};
use crate::store::{Lease, LeaseError, Store, StoreError};

/// A run, and the only seat in it, which is ours.
pub(super) struct Login {
    pub(super) run: RunDir,
    pub(super) seat: Seat,
    // Given back last, when the server is gone.
    _lease: Lease,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoginError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Login {
    /// Makes the folder.
    pub(super) fn begin(settings: &Settings) -> Result<Self, LoginError> {
        let store = Store::open(&settings.results_dir)?;
        let run = RunDir::create(store.root())?;
        let now = chrono::Utc::now();
        let trial = settings.duration + settings.drain + settings.cooldown;
        let most = settings
            .experiments
            .iter()
            .map(|e| campaign::outline(settings, e).most_trials);
        let most = most.max().unwrap_or(0);
        run.write_plan(&Plan {
            schema: 1,
            run: run.name(),
            tag: format!(
                "mst-{:08x}",
                now.timestamp_subsec_nanos() ^ std::process::id() << 16
            ),
            mode: Mode::Login,
            created: now,
            mst_version: env!("CARGO_PKG_VERSION").to_owned(),
            program: std::env::current_exe()?,
            submit_dir: std::env::current_dir()?,
            results_dir: store.root().to_owned(),
            pairs: settings.experiments.iter().map(|e| e.name.clone()).collect(),
            folders: settings.experiments.iter().map(|e| e.name.clone()).collect(),
            trial_s: trial.as_secs_f64(),
            trials: (most, most),
            walltime_s: None,
            throttle: None,
        })?;
        let seat = run.seat(None);
        let lease = Lease::take(seat.path())?;
        Ok(Self {
            run,
            seat,
            _lease: lease,
        })
    }
}
