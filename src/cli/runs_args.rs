//! How verbs that look at runs are told which.

use std::path::PathBuf;

use super::exit::Failure;
use super::settings_args;
use crate::settings::{self, Sources};
use crate::store::runs::{RunDir, RunError};

/// Where runs are looked for.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct ResultsArg {
    /// Root of the results [default: RESULTS_DIR from the environment or .env, else requests]
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
}

impl ResultsArg {
    /// The results root. Other settings may be wrong: they do not matter here.
    pub(crate) fn root(&self) -> Result<PathBuf, Failure> {
        match &self.results {
            Some(path) => Ok(path.clone()),
            None => settings::results_dir(&Sources {
                env_file: None,
                environment: settings_args::environment()?,
                flags: Vec::new(),
            })
            .map_err(Failure::input),
        }
    }

    /// The run of that name, of a name that begins so, or at that path; without a name the newest.
    pub(crate) fn find(&self, name: Option<&str>) -> Result<RunDir, Failure> {
        RunDir::find(&self.root()?, name).map_err(told)
    }

    /// The runs of these names; without names all, oldest first.
    pub(crate) fn find_all(&self, names: &[String]) -> Result<Vec<RunDir>, Failure> {
        let root = self.root()?;
        if names.is_empty() {
            return RunDir::all(&root).map_err(told);
        }
        names
            .iter()
            .map(|name| RunDir::find(&root, Some(name)).map_err(told))
            .collect()
    }
}

/// A run that is not there is a mistake of the caller's, a file that cannot be read is not.
fn told(error: RunError) -> Failure {
    match error {
        RunError::NotFound { root, name } if name.is_empty() => Failure::input(anyhow::anyhow!(
            "{}: there are no runs; `mst submit` makes one, `--results DIR` looks elsewhere",
            root.display()
        )),
        RunError::NotFound { .. } | RunError::Ambiguous { .. } => Failure::input(error),
        RunError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => Failure::input(error),
        RunError::Store(_) | RunError::Io(_) => Failure::from(error),
    }
}
