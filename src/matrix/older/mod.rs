//! Files of the older tools, and their flags, as a file of `mst capacity`: etalon's and sarathi-serve's lists of what is
//! combined, veeksha's search of one benchmark.
//!
//! Every key has the same meaning here or is refused by name. What cannot be loaded here, a model of which the simulator knows
//! nothing or a scheduler that it does not have, is left out with a note, and the rest of the file stays. Traces that are not
//! beside the file are stood in for by their statistics, also with a note.

mod etalon;
mod flags;
mod lengths;
mod sarathi;
mod veeksha;

use std::path::Path;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_saphyr::{Location, Spanned};

use super::file::{File, FileError, Rule, SearchRule, Skip, System, Workload};
use crate::sim::catalog::Catalog;
use crate::slo::objective::Entry;

pub use flags::OlderFlags;

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// etalon's.
    Etalon,
    /// sarathi-serve's.
    Sarathi,
    /// veeksha's.
    Veeksha,
}

impl Tool {
    /// Whose file a text is, by the keys at its left margin; `None` where it is none of theirs.
    pub fn of(text: &str) -> Option<Self> {
        let has = |keys: &[&str]| {
            text.lines()
                .filter_map(|line| line.split_once(':'))
                .any(|(key, _)| keys.contains(&key.trim_end()))
        };
        if has(&["systems", "clusters"]) {
            None
        } else if has(&["servers", "request_generator_configs", "request_configs"]) {
            Some(Self::Etalon)
        } else if has(&["schedulers", "parallel_spec"]) {
            Some(Self::Sarathi)
        } else if has(&["benchmark_config", "start_value", "max_value", "expansion_factor"]) {
            Some(Self::Veeksha)
        } else {
            None
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etalon => "etalon",
            Self::Sarathi => "sarathi-serve",
            Self::Veeksha => "veeksha",
        }
    }
}

/// Reads the text of an older file; `None` where it is none. `path` is for messages, and traces are looked for beside it.
///
/// # Errors
/// With the line and what to write there; a flag that the file's tool does not have; nothing of the file can be loaded here.
pub fn read(text: &str, path: &Path, flags: &OlderFlags) -> Result<Option<File>, FileError> {
    let Some(tool) = Tool::of(text) else {
        return Ok(None);
    };
    let source = Source { text, path };
    flags.check(tool).map_err(|why| source.error(None, why))?;
    let mut file = match tool {
        Tool::Etalon => etalon::file(source, flags)?,
        Tool::Sarathi => sarathi::file(source, flags)?,
        Tool::Veeksha => veeksha::file(source, flags)?,
    };
    file.catalog.clone_from(&flags.catalog);
    if flags.url.is_some() && file.systems.len() > 1 {
        let names: Vec<&str> = file.systems.iter().map(|s| s.value.name.as_str()).collect();
        return Err(source.error(
            None,
            format!(
                "an endpoint is one system, and the file lists {}: {}; leave one of them",
                names.len(),
                names.join(", ")
            ),
        ));
    }
    file.check().map_err(|(line, why)| source.error(line, why))?;
    Ok(Some(file))
}

/// A text and where it comes from.
#[derive(Clone, Copy)]
struct Source<'a> {
    text: &'a str,
    path: &'a Path,
}

impl Source<'_> {
    fn error(&self, line: Option<u64>, problem: impl Into<String>) -> FileError {
        FileError {
            path: self.path.to_owned(),
            line,
            problem: problem.into(),
        }
    }

    /// At an entry.
    fn at<T>(&self, entry: &Spanned<T>, problem: impl Into<String>) -> FileError {
        let line = Some(entry.referenced.line()).filter(|line| *line > 0);
        self.error(line, problem)
    }

    fn parse<T: DeserializeOwned>(&self) -> Result<T, FileError> {
        // A tag is no key: it would pass unseen.
        if let Some(number) = self.text.lines().position(is_tagged) {
            return Err(self.error(
                Some(number as u64 + 1),
                "`!expand` and `!include` are not read; write the value, and a file for each combination",
            ));
        }
        serde_saphyr::from_str(self.text).map_err(|error| {
            let line = error.location().map(|at| at.line()).filter(|line| *line > 0);
            self.error(line, crate::yaml::problem(error.without_snippet()))
        })
    }
}

fn is_tagged(line: &str) -> bool {
    let code = line.split('#').next().unwrap_or_default();
    ["!expand", "!include"].iter().any(|tag| code.contains(tag))
}

/// Something that is accepted and has no effect.
type Unused = Option<IgnoredAny>;

/// How a model lies on GPUs.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Parallel {
    name: String,
    tp_dimension: u32,
    pp_dimension: u32,
}

/// Whether a list, where there is one, holds a name.
fn allows(list: Option<&Vec<String>>, name: &str) -> bool {
    list.is_none_or(|list| list.is_empty() || list.iter().any(|known| known == name))
}

/// Why a model is not simulated, if it is not.
fn unknown_model(identifier: &str, flags: &OlderFlags) -> Option<String> {
    if !flags.catalog.is_empty() || Catalog::built_in().is_ok_and(|known| known.model(identifier).is_ok()) {
        return None;
    }
    let why = if identifier.to_lowercase().contains("mixtral") {
        "it is a mixture of experts, and the simulator knows dense models alone; load its endpoint instead"
    } else {
        "no such model is in the catalog; describe it in a catalog file and name that file"
    };
    Some(format!("{identifier} is left out: {why}"))
}

/// The file that comes of an older one, as its parts are found.
#[derive(Default)]
struct Draft {
    systems: Vec<Spanned<System>>,
    workloads: Vec<Spanned<Workload>>,
    /// What is searched.
    pairs: Vec<(String, String)>,
    notes: Vec<String>,
}

impl Draft {
    /// A combination that is searched; its parts are added where they are new.
    fn pair(&mut self, system: System, workload: Workload, at: Location) {
        let pair = (system.name.clone(), workload.name.clone());
        if !self.systems.iter().any(|known| known.value.name == system.name) {
            self.systems.push(Spanned::new(system, at, at));
        }
        if !self
            .workloads
            .iter()
            .any(|known| known.value.name == workload.name)
        {
            self.workloads.push(Spanned::new(workload, at, at));
        }
        if !self.pairs.contains(&pair) {
            self.pairs.push(pair);
        }
    }

    /// Something to know, once.
    fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// The combinations of its systems and workloads that are not among its pairs.
    fn skipped(&self) -> Vec<Skip> {
        let all = self
            .systems
            .iter()
            .flat_map(|system| self.workloads.iter().map(move |workload| (system, workload)));
        all.map(|(system, workload)| (system.value.name.clone(), workload.value.name.clone()))
            .filter(|pair| !self.pairs.contains(pair))
            .map(|(system, workload)| Skip {
                system: Some(system),
                workload: Some(workload),
                slo: None,
            })
            .collect()
    }

    /// The file. An older one without anything that can be loaded says why.
    fn file(self, source: Source<'_>, slo: Entry, search: SearchRule) -> Result<File, FileError> {
        if self.pairs.is_empty() {
            return Err(source.error(
                None,
                format!("nothing is left to search: {}", self.notes.join("; ")),
            ));
        }
        slo.objective().map_err(|why| source.error(None, why))?;
        Ok(File {
            target: None,
            skip: self.skipped(),
            systems: self.systems,
            workloads: self.workloads,
            slos: vec![Spanned::new(slo, Location::UNKNOWN, Location::UNKNOWN)],
            search,
            failures: super::file::Failures::default(),
            sustained: None,
            limits: super::file::Limits::default(),
            seed: 42,
            catalog: Vec::new(),
            profiles: Vec::new(),
            notes: self.notes,
        })
    }
}

/// How rates are chosen: by the tool's own rule, unless another is asked for.
fn search(own: Rule, flags: &OlderFlags) -> SearchRule {
    let rule = if flags.qps_values.is_empty() {
        flags.rule.unwrap_or(own)
    } else {
        Rule::Rates
    };
    SearchRule {
        rule,
        rates: flags.qps_values.clone(),
        max_trials: flags.max_iterations,
        granularity_percent: flags
            .min_search_granularity
            .unwrap_or(SearchRule::default().granularity_percent),
        ..SearchRule::default()
    }
}
