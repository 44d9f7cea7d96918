//! The experiment files that were published, in the tools' own form.

use super::{Job, Tool, expand};

/// A published file.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// Whose.
    pub tool: Tool,
    /// Its path among the tool's experiments.
    pub file: &'static str,
    yaml: &'static str,
}

impl Published {
    /// Its text.
    pub fn text(&self) -> &'static str {
        self.yaml
    }

    /// Its jobs, in the tool's order.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn jobs(&self) -> Result<Vec<Job>, String> {
        expand(self.tool, self.yaml)
    }
}

/// One of the files.
macro_rules! published {
    ($tool:ident, $folder:literal, $file:literal) => {
        Published {
            tool: Tool::$tool,
            file: $file,
            yaml: include_str!(concat!("published/", $folder, "/", $file)),
        }
    };
}

/// All of them.
pub const PUBLISHED: &[Published] = &[
    published!(Etalon, "etalon", "default.yml"),
    published!(Etalon, "etalon", "llama_70b.yml"),
    published!(Etalon, "etalon", "llama_8b.yml"),
    published!(Etalon, "etalon", "mixtral.yml"),
    published!(Sarathi, "sarathi", "config.yml"),
    published!(Sarathi, "sarathi", "debug_config.yml"),
    published!(Sarathi, "sarathi", "figure-5-6/falcon180b_relaxed.yml"),
    published!(Sarathi, "sarathi", "figure-5-6/falcon180b_strict.yml"),
    published!(Sarathi, "sarathi", "figure-5-6/llama70b_relaxed.yml"),
    published!(Sarathi, "sarathi", "figure-5-6/llama70b_strict.yml"),
    published!(Sarathi, "sarathi", "figure-5-6/mistral7b_relaxed.yml"),
    published!(Sarathi, "sarathi", "figure-5-6/mistral7b_strict.yml"),
    published!(Sarathi, "sarathi", "figure-5-6/yi34_relaxed.yml"),
    published!(Sarathi, "sarathi", "figure-5-6/yi34_strict.yml"),
    published!(Sarathi, "sarathi", "figure-7/isoqps/falcon180b.yml"),
    published!(Sarathi, "sarathi", "figure-7/isoqps/llama70b.yml"),
    published!(Sarathi, "sarathi", "figure-7/isoqps/mistral7b.yml"),
    published!(Sarathi, "sarathi", "figure-7/isoqps/yi34b.yml"),
    published!(Sarathi, "sarathi", "figure-8/falcon180b_tp8.yml"),
    published!(Sarathi, "sarathi", "figure-9/mistral7b.yml"),
    published!(Sarathi, "sarathi", "figure-9/yi34b.yml"),
];
