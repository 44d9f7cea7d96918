//! A file that describes a server: `deployment:`, and catalogs that it needs.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Deployment, DeploymentError, yaml};

/// The content of the file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Described {
    /// How the server is deployed.
    pub deployment: Deployment,
    /// Catalog files, or folders of them, beside the built-in ones.
    #[serde(default)]
    pub catalog: Vec<PathBuf>,
}

impl Described {
    /// Reads a file. Files that it names are looked for beside it, and then as they are.
    ///
    /// # Errors
    /// When it cannot be read, or is not such a file; with the line.
    pub fn read(path: &Path) -> Result<Self, DeploymentError> {
        let mut read: Self = yaml::read(path)?;
        let base = path.parent().unwrap_or(Path::new(""));
        for place in &mut read.catalog {
            let beside = base.join(&*place);
            if beside.exists() {
                *place = beside;
            }
        }
        read.deployment.cost.locate(base);
        Ok(read)
    }
}
