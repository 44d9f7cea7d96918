//! Three layers of values (flags, environment, file) become one value a key.

use std::collections::BTreeMap;
use std::path::Path;

use super::keys::{self, Group, KEYS, Key, Standing};
use super::problem::{Origin, SettingsError, printable};
use super::{Profile, dotenv};

/// A value as somebody gave it.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) value: String,
    pub(super) origin: Origin,
}

/// The value that holds for a key.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    /// The value, the default where it was not set; empty where there is no default either.
    pub(super) value: String,
    /// Where it came from.
    pub(super) origin: Origin,
    /// What is worth knowing about it.
    pub(super) notes: Vec<String>,
}

/// Values by name, as one source gave them; an older name stays what it is.
type Layer = BTreeMap<String, Given>;

/// All sources, and what was found out while they were read.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// Flags, environment, file: the first that has a key wins.
    sources: [Layer; 3],
    pub(super) notes: Vec<String>,
    pub(super) warnings: Vec<String>,
    pub(super) errors: Vec<SettingsError>,
}

const FLAGS: usize = 0;
const ENVIRONMENT: usize = 1;
const FILE: usize = 2;

/// `***` for a secret, else the value as it can be printed.
pub(super) fn shown(key: &Key, value: &str) -> String {
    if key.secret && !value.is_empty() {
        return "***".to_owned();
    }
    // A password in a URL is refused, but must not be printed on the way.
    match value.rsplit_once('@') {
        Some((before, host)) if key.name == "URL" => {
            let scheme = before.find("://").map_or("", |at| &before[..at + 3]);
            format!("{scheme}***@{}", printable(host))
        }
        _ => printable(value),
    }
}

impl Layers {
    /// Adds the lines of a `.env` file.
    pub(super) fn add_file(&mut self, path: &Path, bytes: &[u8]) {
        let at = |line| Origin::File {
            path: path.to_owned(),
            line,
        };
        let (lines, bad) = dotenv::read(bytes);
        for bad in bad {
            let place = at(bad.line).to_string();
            self.errors.push(SettingsError::unreadable(
                place,
                bad.line,
                &bad.text,
                &bad.problem,
            ));
        }
        for line in lines {
            let origin = at(line.line);
            let given = Given {
                value: line.value,
                origin: origin.clone(),
            };
            if let Some(earlier) = self.sources[FILE].insert(line.key.clone(), given) {
                self.notes.push(format!(
                    "{origin}: {} was set before, at {}; the later line holds",
                    line.key, earlier.origin
                ));
            }
            if keys::find(&line.key).is_none() {
                self.meet_stranger(&line.key, &origin);
            }
        }
    }

    /// Adds the process environment. Names that are not ours are nobody's business here.
    pub(super) fn add_environment(&mut self, variables: &[(String, String)]) {
        for (name, value) in variables {
            let origin = Origin::Environment;
            let given = Given {
                value: value.trim().to_owned(),
                origin: origin.clone(),
            };
            if name == "TARGET" && !matches!(value.trim(), "" | "vllm" | "tgis") {
                self.notes.push(format!(
                    "environment: TARGET={} is not a protocol of fmperf and is ignored",
                    printable(value)
                ));
            } else if keys::find(name).is_some() {
                self.sources[ENVIRONMENT].insert(name.clone(), given);
            } else if let Some(Standing::Refused { .. }) = keys::standing(name) {
                self.sources[ENVIRONMENT].insert(name.clone(), given);
                self.meet_stranger(name, &origin);
            }
        }
    }

    /// Adds flags. A name that is not known is an error here: it was typed for this program.
    pub(super) fn add_flags(&mut self, flags: &[(String, String)]) {
        for (name, value) in flags {
            let origin = Origin::Flag;
            let value = value.trim().to_owned();
            let known = keys::find(name);
            self.sources[FLAGS].insert(
                name.clone(),
                Given {
                    value: value.clone(),
                    origin: origin.clone(),
                },
            );
            match known {
                Some(key) if key.secret && !value.is_empty() => {
                    self.errors.push(SettingsError::new(
                        &origin,
                        name,
                        "***",
                        "everyone on this machine can read the arguments of a program; use .env or the environment",
                    ));
                }
                Some(_) => {}
                None if keys::standing(name).is_some() => self.meet_stranger(name, &origin),
                None => self.errors.push(SettingsError::unreadable(
                    origin.to_string(),
                    usize::MAX,
                    name,
                    &format!("this is not a setting{}", did_you_mean(name)),
                )),
            }
        }
    }

    /// A key of an earlier program, or none at all.
    fn meet_stranger(&mut self, name: &str, origin: &Origin) {
        match keys::standing(name) {
            None => {
                let hint = did_you_mean(name);
                self.warnings.push(format!(
                    "{origin}: {} is not a setting and is ignored{hint}",
                    printable(name)
                ));
            }
            Some(Standing::Ignored(why)) => {
                self.notes.push(format!("{origin}: {name} has no effect: {why}"));
            }
            Some(Standing::Refused { harmless, remedy }) => {
                let value = self
                    .sources
                    .iter()
                    .find_map(|layer| layer.get(name).filter(|g| g.origin == *origin))
                    .map(|g| g.value.clone())
                    .unwrap_or_default();
                if !value.is_empty() && !value.eq_ignore_ascii_case(harmless) {
                    self.errors.push(SettingsError::new(origin, name, &value, remedy));
                }
            }
        }
    }

    /// Whether any source has the key, under its present name or an older one.
    fn has(&self, name: &str) -> bool {
        self.sources.iter().any(|layer| layer.contains_key(name))
    }

    /// What a single layer says on `key`, with the name it used.
    fn in_layer(&self, layer: usize, key: &Key) -> Option<(&'static str, &Given)> {
        if let Some(given) = self.sources[layer].get(key.name) {
            return Some((key.name, given));
        }
        key.aliases
            .iter()
            .find_map(|alias| self.sources[layer].get(*alias).map(|given| (*alias, given)))
            // REQUESTS_DIR had a meaning of its own beside RESULTS_DIR.
            .filter(|(alias, _)| *alias != "REQUESTS_DIR" || !self.has(key.name))
    }

    /// What the highest layer says on `key`.
    fn highest(&self, key: &Key) -> Option<(&'static str, &Given)> {
        [FLAGS, ENVIRONMENT, FILE]
            .into_iter()
            .find_map(|layer| self.in_layer(layer, key))
    }

    /// The raw value of a name, older names included, from the highest layer that has it.
    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        self.sources
            .iter()
            .find_map(|layer| layer.get(name))
            .map(|given| given.value.as_str())
    }

    /// The value of `key` as the layer of `origin` has it; where nobody set that layer, the default.
    pub(super) fn beside(&self, key: &Key, origin: &Origin, profile: Profile) -> String {
        let layer = match origin {
            Origin::Flag => FLAGS,
            Origin::Environment => ENVIRONMENT,
            Origin::File { .. } | Origin::Default(_) => FILE,
        };
        (layer..=FILE)
            .find_map(|layer| self.in_layer(layer, key))
            .map(|(_, given)| given.value.clone())
            .filter(|value| !value.is_empty())
            .unwrap_or_else(|| key.default_in(profile).to_owned())
    }

    /// `demo` where neither a server nor a command to start one is named.
    pub(super) fn profile(&self) -> Profile {
        let is_set = |name| {
            let key = keys::find(name).expect("both are in the table");
            self.highest(key)
                .is_some_and(|(_, given)| !given.value.is_empty())
        };
        if is_set("URL") || is_set("SERVER_COMMAND") {
            Profile::Live
        } else {
            Profile::Demo
        }
    }

    /// The value of every key.
    pub(super) fn choose(&mut self, profile: Profile) -> BTreeMap<&'static str, Chosen> {
        let mut all = BTreeMap::new();
        let fmperf = self
            .raw("LOADGEN")
            .is_some_and(|v| v.eq_ignore_ascii_case("fmperf"));
        let mut for_fmperf_only = Vec::new();
        for key in KEYS {
            let chosen = self.choose_one(key, profile);
            let set = !matches!(chosen.origin, Origin::Default(_));
            if key.group == Group::Fmperf && set && !fmperf {
                let differs = chosen.value != key.default_in(profile);
                if differs && chosen.origin != Origin::Environment {
                    for_fmperf_only.push(format!("{} ({})", key.name, chosen.origin));
                }
            } else {
                for note in &chosen.notes {
                    self.notes
                        .push(format!("{}: {}: {note}", chosen.origin, key.name));
                }
            }
            all.insert(key.name, chosen);
        }
        if !for_fmperf_only.is_empty() {
            self.notes.push(format!(
                "only LOADGEN=fmperf reads {}",
                for_fmperf_only.join(", ")
            ));
        }
        all
    }

    fn choose_one(&mut self, key: &Key, profile: Profile) -> Chosen {
        let default = Chosen {
            value: key.default_in(profile).to_owned(),
            origin: Origin::Default(profile),
            notes: Vec::new(),
        };
        let Some((name, given)) = self.highest(key) else {
            return default;
        };
        let (value, origin) = (given.value.clone(), given.origin.clone());
        let mut notes = self.rivals(key, name, &value, &origin);
        if name != key.name {
            notes.push(format!("understood from the older name {name}"));
        }
        if value.is_empty() {
            // An empty line in the file is how a template says "default": nothing to tell.
            if matches!(origin, Origin::File { .. }) {
                return default;
            }
            notes.push("it is set and empty, so the default holds".to_owned());
            return Chosen {
                origin,
                notes,
                ..default
            };
        }
        if origin == Origin::Environment && key.generic {
            notes.push("taken from the environment; unset it there if it is not meant for mst".to_owned());
        }
        let value = if name == "FILTER_BUFFER_MINUTES" {
            self.minutes_as_seconds(name, &value, &origin)
                .unwrap_or(default.value)
        } else {
            value
        };
        Chosen { value, origin, notes }
    }

    /// Notes on values that lost against `value`.
    fn rivals(&self, key: &Key, name: &str, value: &str, origin: &Origin) -> Vec<String> {
        let mut notes = Vec::new();
        for layer in &self.sources {
            for rival_name in std::iter::once(&key.name).chain(key.aliases) {
                let Some(rival) = layer.get(*rival_name) else {
                    continue;
                };
                let itself = *rival_name == name && rival.origin == *origin;
                if itself || rival.value == value {
                    continue;
                }
                notes.push(format!(
                    "takes the place of {rival_name}={} ({})",
                    shown(key, &rival.value),
                    rival.origin
                ));
            }
        }
        notes
    }

    fn minutes_as_seconds(&mut self, name: &str, value: &str, origin: &Origin) -> Option<String> {
        match value.parse::<f64>() {
            Ok(minutes) if (0.0..1e6).contains(&minutes) => Some((minutes * 60.0).to_string()),
            _ => {
                let problem = format!("`{value}` is not a number of minutes; write FILTER_BUFFER in seconds");
                self.errors
                    .push(SettingsError::new(origin, name, value, &problem));
                None
            }
        }
    }
}

fn did_you_mean(name: &str) -> String {
    keys::nearest(name).map_or(String::new(), |known| format!("; did you mean {known}?"))
}
