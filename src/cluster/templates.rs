//! The texts that job scripts are made from, and how they are filled in.

use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value};
use serde::Serialize;

use crate::executor::shell::quote;

/// A job's script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// The driver.
    Drive,
    /// The job that gathers what the tasks of an array found.
    Report,
    /// One trial.
    Trial,
    /// A model server.
    Server,
    /// A part of an exploration, or what gathers the parts.
    Explore,
    /// The searches of a system on a workload, or what gathers all of them.
    Capacity,
}

/// All of them.
pub const SCRIPTS: [Script; 6] = [
    Script::Drive,
    Script::Report,
    Script::Trial,
    Script::Server,
    Script::Explore,
    Script::Capacity,
];

impl Script {
    /// Name of its template.
    pub fn file(self) -> &'static str {
        match self {
            Self::Drive => "drive.slurm.j2",
            Self::Report => "report.slurm.j2",
            Self::Trial => "trial.slurm.j2",
            Self::Server => "server.slurm.j2",
            Self::Explore => "explore.slurm.j2",
            Self::Capacity => "capacity.slurm.j2",
        }
    }

    /// The template that this program carries.
    pub fn embedded(self) -> &'static str {
        match self {
            Self::Drive => include_str!("../../slurm/drive.slurm.j2"),
            Self::Report => include_str!("../../slurm/report.slurm.j2"),
            Self::Trial => include_str!("../../slurm/trial.slurm.j2"),
            Self::Server => include_str!("../../slurm/server.slurm.j2"),
            Self::Explore => include_str!("../../slurm/explore.slurm.j2"),
            Self::Capacity => include_str!("../../slurm/capacity.slurm.j2"),
        }
    }
}

/// A template that cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {problem}", file.display(), line.map_or(String::new(), |line| format!(":{line}")))]
pub struct TemplateError {
    /// The template.
    pub file: PathBuf,
    /// The line, from 1, where it is known.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: String,
}

/// A template and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    script: Script,
    /// What messages call it.
    file: PathBuf,
    text: String,
}

/// The templates, each the embedded one or the user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Templates(Vec<Source>);

impl Default for Templates {
    fn default() -> Self {
        let source = |script: Script| Source {
            script,
            file: PathBuf::from(format!("{} (embedded)", script.file())),
            text: script.embedded().to_owned(),
        };
        Self(SCRIPTS.map(source).into())
    }
}

impl Templates {
    /// The embedded templates; a file of the same name in `folder` takes the place of one.
    ///
    /// # Errors
    /// When such a file cannot be read.
    pub fn from_folder(folder: &Path) -> Result<Self, TemplateError> {
        let mut all = Self::default();
        for source in &mut all.0 {
            let file = folder.join(source.script.file());
            match std::fs::read_to_string(&file) {
                Ok(text) => (source.file, source.text) = (file, text),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(TemplateError {
                        file,
                        line: None,
                        problem: format!("the file cannot be read: {error}"),
                    });
                }
            }
        }
        Ok(all)
    }

    /// Names and texts.
    pub fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0
            .iter()
            .map(|source| (source.script.file(), source.text.as_str()))
    }

    /// Fills a template in.
    pub(super) fn fill(&self, script: Script, values: impl Serialize) -> Result<String, TemplateError> {
        let source = self
            .0
            .iter()
            .find(|source| source.script == script)
            .expect("every script has a template");
        let mut environment = environment();
        let filled = environment
            .add_template(script.file(), &source.text)
            .and_then(|()| environment.get_template(script.file()))
            .and_then(|template| template.render(Value::from(Serde(values))));
        filled.map_err(|error| TemplateError {
            file: source.file.clone(),
            line: error.line(),
            problem: said(&error),
        })
    }
}

/// The error's message without its place, which is told in front.
fn said(error: &Error) -> String {
    let mut text = match error.detail() {
        Some(detail) if error.kind() == ErrorKind::InvalidOperation => detail.to_owned(),
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    if error.kind() == ErrorKind::UndefinedError {
        text.push_str("; `mst submit --write-templates DIR` writes templates with all the names there are");
    }
    text
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build();
    environment.set_syntax(syntax.expect("only the handling of blanks is changed"));
    // A value that is absent would be printed as `none`.
    environment.set_formatter(|out, state, value| {
        if value.is_none() {
            return Err(refused("this value is not set; guard it with {% if … %}"));
        }
        minijinja::escape_formatter(out, state, value)
    });
    environment.add_filter("quote", |value: Value| quote(&value.to_string()));
    environment.add_filter("option", |value: Value| option(&value.to_string()));
    environment.add_filter("line", |value: Value| line(&value.to_string()));
    environment
}

fn refused(problem: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem.to_owned())
}

/// The value of an option in a `#SBATCH` line: sbatch reads quotes as a shell does, and ends at the line's end.
fn option(text: &str) -> Result<String, Error> {
    line(text).map(|text| quote(&text))
}

/// A `#SBATCH` line as the user wrote it.
fn line(text: &str) -> Result<String, Error> {
    if text.contains(['\n', '\r', '\0']) {
        let shown: String = text.escape_debug().collect();
        return Err(refused(&format!(
            "an #SBATCH value must be one line, and this is not: {shown}"
        )));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("drive.slurm.j2"), text).unwrap();
        let values = serde_json::json!({
            "word": "a b'c", "newline": "a\nb", "nothing": null, "words": ["x", "y z"],
        });
        Templates::from_folder(dir.path())
            .unwrap()
            .fill(Script::Drive, values)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_quoted_by_filters() {
        assert_eq!(fill("run {{ word | quote }}\n").unwrap(), "run 'a b'\\''c'\n");
        assert_eq!(
            fill("#SBATCH --x={{ word | option }}").unwrap(),
            "#SBATCH --x='a b'\\''c'"
        );
        assert_eq!(
            fill("exec{% for word in words %} {{ word | quote }}{% endfor %}\n\nend").unwrap(),
            "exec x 'y z'\nend"
        );
    }

    #[test]
    fn mistakes_name_file_and_line() {
        for (text, place, problem) in [
            ("#!/bin/bash\n{{ colour }}\n", "drive.slurm.j2:2: ", "undefined"),
            (
                "\n\n#SBATCH --x={{ newline | option }}\n",
                "drive.slurm.j2:3: ",
                "one line",
            ),
            (
                "\n#SBATCH {{ newline | line }}\n",
                "drive.slurm.j2:2: ",
                "one line",
            ),
            ("{{ nothing }}\n", "drive.slurm.j2:1: ", "not set"),
            ("a\n{% if word %}\n", "drive.slurm.j2:", "syntax error"),
            ("{{ word | qoute }}\n", "drive.slurm.j2:1: ", "qoute"),
        ] {
            let error = fill(text).unwrap_err();
            assert!(error.contains(place), "{text}: {error}");
            assert!(error.contains(problem), "{text}: {error}");
        }
    }
}
