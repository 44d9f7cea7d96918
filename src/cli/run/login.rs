//! The folder of a run that somebody started by hand, where something of it lives outside this process.

use super::answers;
use crate::campaign::{self, Home, ProgressFile};
use crate::cli::conduct::{self, Conducted, Ended};
use crate::cli::exit::{Exit, Failure};
use crate::cluster::{Scripts, ScriptsError, submission};
use crate::report::Observer;
use crate::settings::{ExecutorChoice, Settings};
use crate::store::runs::{self, Mode, Outcome, Plan, RunDir, RunError, Seat};
use crate::store::{Lease, LeaseError, Store, StoreError};

/// A run, and the only seat in it, which is ours.
pub(super) struct Login {
    pub(super) run: RunDir,
    seat: Seat,
    scripts: Scripts,
    longest_s: f64,
    // Given back last, when the server is gone.
    pub(super) lease: Lease,
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
    Scripts(#[from] ScriptsError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Login {
    /// Makes the folder, where a server or trials of the run live outside this process.
    pub(super) fn begin_if_needed(settings: &Settings) -> Result<Option<Self>, LoginError> {
        let elsewhere = settings.server.is_some() || settings.cluster.executor != ExecutorChoice::Local;
        elsewhere.then(|| Self::begin(settings)).transpose()
    }

    fn begin(settings: &Settings) -> Result<Self, LoginError> {
        let scripts = Scripts::from_dir(&std::env::current_dir()?, &settings.cluster)?;
        let store = Store::open(&settings.results_dir)?;
        let run = RunDir::create(store.root())?;
        let trial = settings.duration + settings.drain + settings.cooldown;
        let most = settings
            .experiments
            .iter()
            .map(|e| campaign::outline(settings, e).most_trials);
        let most = most.max().unwrap_or(0);
        run.write_plan(&Plan {
            schema: 1,
            run: run.name(),
            tag: submission::new_tag(run.path()),
            mode: Mode::Login,
            created: chrono::Utc::now(),
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
            scripts,
            longest_s: trial.as_secs_f64(),
            lease,
        })
    }

    /// What is started elsewhere needs to know this.
    pub(super) fn home(&self) -> Home<'_> {
        Home {
            run: &self.run,
            seat: &self.seat,
            scripts: &self.scripts,
            writer: "login",
        }
    }

    /// Shows `mst status` what the searches know.
    pub(super) fn progress(&self) -> Box<dyn Observer> {
        Box::new(ProgressFile::new(self.run.clone(), self.longest_s))
    }

    /// Writes how it went; a driver that was stopped leaves nothing, and is started again by hand.
    pub(super) fn end(&self, conducted: &Result<Conducted, Failure>) -> Result<(), RunError> {
        let (outcome, exit, why) = match conducted {
            Ok(Conducted {
                answers, ended: None, ..
            }) => {
                let exit = answers::worst(answers);
                (Outcome::Done, exit, answers::in_words(exit).to_owned())
            }
            Ok(Conducted {
                ended: Some(Ended::Failed(failure)),
                ..
            })
            | Err(failure) => (Outcome::Failed, failure.exit, failure.told()),
            Ok(Conducted {
                ended: Some(Ended::Stopped(why, _)),
                ..
            }) => (
                Outcome::Cancelled,
                Exit::Terminated,
                format!("stopped{}", conduct::because(*why, "")),
            ),
        };
        self.seat.end(&runs::Ended {
            outcome,
            exit: exit as u8,
            why,
            at: chrono::Utc::now(),
            job: None,
        })
    }
}
