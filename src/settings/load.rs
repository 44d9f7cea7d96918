//! From sources to validated settings.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::layers::{Layers, shown};
use super::problem::{Origin, SettingsError, SettingsErrors};
use super::{KEYS, Profile, Settings, build};

/// Where values come from. The caller passes the environment in: nothing below the command line reads it.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file; `None`: `.env` in the current folder, where there is one.
    pub env_file: Option<PathBuf>,
    /// Variables of the process environment.
    pub environment: Vec<(String, String)>,
    /// Values from flags, by key, highest of all; the last one of a key holds.
    pub flags: Vec<(String, String)>,
}

/// Settings, and where each came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Every key with its value and origin.
    pub provenance: BTreeMap<&'static str, Entry>,
    /// The file that was read.
    pub env_file: Option<PathBuf>,
    /// What is worth knowing: older names, values that lost, keys without effect.
    pub notes: Vec<String>,
    /// Unknown keys.
    pub warnings: Vec<String>,
    /// Values as they were chosen, without the secret ones.
    raw: BTreeMap<&'static str, String>,
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value as it can be shown: secrets as `***`, empty where there is none.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
    /// What is worth knowing about it.
    pub notes: Vec<String>,
}

/// The file that is read when none is named.
const DEFAULT_FILE: &str = ".env";

/// Loads and validates settings. `.env` and the process environment are only read.
///
/// # Errors
/// All mistakes at once, each with its place and its remedy.
pub fn load(sources: &Sources) -> Result<Loaded, SettingsErrors> {
    let (env_file, text) = read_file(sources.env_file.as_deref())?;
    let sources = Sources {
        env_file,
        ..sources.clone()
    };
    load_text(&sources, &text)
}

/// As [`load`], from the text of the file; its path is for messages.
pub(super) fn load_text(sources: &Sources, text: &[u8]) -> Result<Loaded, SettingsErrors> {
    let env_file = sources.env_file.clone();
    let mut layers = Layers::default();
    if let Some(path) = &env_file {
        layers.add_file(path, text);
    }
    layers.add_environment(&sources.environment);
    layers.add_flags(&sources.flags);
    let profile = layers.profile();
    let mut chosen = layers.choose(profile);
    let settings = build::build(profile, &mut layers, &mut chosen, &sources.environment);
    if !layers.errors.is_empty() {
        return Err(SettingsErrors::sorted(layers.errors, layers.warnings));
    }
    let raw = KEYS
        .iter()
        .filter(|key| !key.secret)
        .map(|key| (key.name, chosen[key.name].value.clone()))
        .collect();
    let provenance = KEYS
        .iter()
        .filter_map(|key| chosen.remove(key.name).map(|c| (key, c)))
        .map(|(key, c)| {
            let entry = Entry {
                value: shown(key, &c.value),
                origin: c.origin,
                notes: c.notes,
            };
            (key.name, entry)
        })
        .collect();
    Ok(Loaded {
        settings,
        provenance,
        env_file,
        notes: layers.notes,
        warnings: layers.warnings,
        raw,
    })
}

/// The results root alone, for verbs that only look: whatever else is wrong does not matter to them.
///
/// # Errors
/// When a named file cannot be read.
pub fn results_dir(sources: &Sources) -> Result<PathBuf, SettingsErrors> {
    let (env_file, text) = read_file(sources.env_file.as_deref())?;
    let mut layers = Layers::default();
    if let Some(path) = &env_file {
        layers.add_file(path, &text);
    }
    layers.add_environment(&sources.environment);
    layers.add_flags(&sources.flags);
    let profile = layers.profile();
    let mut chosen = layers.choose(profile);
    Ok(chosen
        .remove("RESULTS_DIR")
        .map(|c| PathBuf::from(c.value))
        .unwrap_or_default())
}

/// The file's path and content. A named file must be there; the default one need not.
fn read_file(named: Option<&Path>) -> Result<(Option<PathBuf>, Vec<u8>), SettingsErrors> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    match fs_err::read(path) {
        Ok(text) => Ok((Some(path.to_owned()), text)),
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            Ok((None, Vec::new()))
        }
        Err(error) => {
            let problem = match error.kind() {
                std::io::ErrorKind::NotFound => {
                    "there is no such file; name an existing one with --env-file, or begin with a copy of env.example"
                        .to_owned()
                }
                std::io::ErrorKind::IsADirectory => "this is a folder; name the file in it".to_owned(),
                kind => format!("the file cannot be read: {kind}"),
            };
            let place = path.display().to_string();
            Err(SettingsErrors(
                vec![SettingsError::unreadable(place, 0, "", &problem)],
                Vec::new(),
            ))
        }
    }
}

impl Loaded {
    /// The value of a key as it was chosen, the default where it was not set; empty for secrets.
    pub(super) fn raw(&self, name: &str) -> &str {
        self.raw.get(name).map_or("", String::as_str)
    }

    /// Whether a mix that is searched was written as `TOKENS_LIST` with `ADDITIVE`, not as `WORKLOAD_MIXES`.
    pub(super) fn lists_are_additive(&self) -> bool {
        let rank = |name: &str| self.provenance[name].origin.rank();
        self.raw("WORKLOAD_MIXES").is_empty() || rank("WORKLOAD_MIXES") < rank("TOKENS_LIST")
    }

    /// The profile and why it was taken, for the start of a run.
    pub fn profile_line(&self) -> String {
        match self.settings.profile {
            Profile::Demo => "profile: demo (URL is empty: the embedded server is loaded)".to_owned(),
            Profile::Live => match &self.settings.url {
                Some(url) => format!("profile: live (URL is set: {url})"),
                None => "profile: live (SERVER_COMMAND is set)".to_owned(),
            },
        }
    }

    /// Keys whose value is not the default, as `KEY=value (origin)`, for the start of a run.
    pub fn changed(&self) -> Vec<String> {
        KEYS.iter()
            .filter_map(|key| self.provenance.get(key.name).map(|entry| (key, entry)))
            .filter(|(key, entry)| {
                let default = key.default_in(self.settings.profile);
                entry.origin.rank() > 0 && entry.value != default
            })
            .map(|(key, entry)| format!("{}={} ({})", key.name, entry.value, entry.origin))
            .collect()
    }
}
