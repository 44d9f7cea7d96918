//! The jobs of `mst capacity --submit`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::{Part, REPORT_LIMIT, Script, Scripts, Shared, TemplateError, pattern};
use crate::settings::Place;

/// The searches of a system on a workload, or the job that gathers all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapacityContext {
    /// `system/workload`; `None`: the job that gathers.
    pub searched: Option<String>,
    /// This program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Where the job works.
    pub submit_dir: PathBuf,
    /// Where its log goes.
    pub logs: PathBuf,
    /// A file of mode 0600 that a shell reads API keys from.
    pub env_file: Option<PathBuf>,
    /// Where the model server runs that the job starts; `None`: it starts none, and no GPU is asked for.
    pub server: Option<Place>,
    /// GPUs of that server, in place of the profile's number.
    pub gpus: Option<u32>,
    /// Time limit, in place of the profile's.
    pub walltime: Option<Duration>,
}

impl Scripts {
    /// The script of the searches of a system on a workload, or of the job that gathers all of them.
    ///
    /// # Errors
    /// When the template cannot be filled in.
    pub fn capacity(&self, context: &CapacityContext) -> Result<String, TemplateError> {
        #[derive(Serialize)]
        struct Values<'a> {
            #[serde(flatten)]
            shared: Shared<'a>,
            searched: Option<&'a str>,
            program: &'a Path,
            arguments: &'a [String],
            submit_dir: &'a Path,
            env_file: Option<&'a Path>,
            starts_server: bool,
            requeue: bool,
            parts: Vec<Part>,
        }
        let mut profile = self.profile.clone();
        if let Some(gpus) = context.gpus {
            profile.server = profile.server.with_gpus(gpus);
        }
        let mut parts = Part::of_driver(&profile, context.server, None);
        for part in parts.iter_mut().filter(|part| part.nodes == 1) {
            for (name, _) in &mut part.resources {
                if *name == "gpus-per-node" {
                    *name = "gpus";
                }
            }
        }
        let (title, walltime) = match &context.searched {
            Some(name) => (
                format!("The searches of {name}."),
                context.walltime.or(profile.time),
            ),
            None => (
                "The outcomes of all searches.".to_owned(),
                Some(profile.time.map_or(REPORT_LIMIT, |time| time.min(REPORT_LIMIT))),
            ),
        };
        self.templates.fill(
            Script::Capacity,
            Values {
                shared: self.shared(&title, pattern(&context.logs, "capacity-%j.out")?, walltime),
                searched: context.searched.as_deref(),
                program: &context.program,
                arguments: &context.arguments,
                submit_dir: &context.submit_dir,
                env_file: context.env_file.as_deref(),
                starts_server: context.server.is_some(),
                requeue: self.profile.requeue,
                parts,
            },
        )
    }
}
