//! The one table of settings. Parsing, `mst config`, suggestions, `env.example` and `docs/settings.md` are made from it.

mod older;
mod table;

pub(super) use older::{Standing, standing};
pub use table::KEYS;

use super::Profile;

/// A setting as the table has it.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The name in `.env` and in the environment.
    pub name: &'static str,
    /// Where it stands in `env.example`.
    pub group: Group,
    /// Default of the profile `demo`; empty: not set.
    pub demo: &'static str,
    /// Default of the profile `live`; empty: not set.
    pub live: &'static str,
    /// What may stand there.
    pub form: &'static str,
    /// What it means, one or two lines.
    pub help: &'static str,
    /// Never shown.
    pub secret: bool,
    /// Older names with the same meaning.
    pub aliases: &'static [&'static str],
    /// A name so common that another program may have put it into the environment.
    pub generic: bool,
}

impl Key {
    /// The default in a profile.
    pub fn default_in(&self, profile: Profile) -> &'static str {
        match profile {
            Profile::Demo => self.demo,
            Profile::Live => self.live,
        }
    }
}

/// Groups of settings, in the order of `env.example`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// What is loaded.
    Endpoint,
    /// What is sent.
    Workload,
    /// Which rates are tried.
    Search,
    /// How a trial runs.
    Trial,
    /// How a trial is judged.
    Judgement,
    /// Who sends.
    LoadGenerator,
    /// What only fmperf reads.
    Fmperf,
    /// A model server that belongs to the run.
    Server,
    /// Where things run.
    Cluster,
    /// What is written, and where.
    Results,
    /// Forms of earlier programs that are still understood.
    Older,
}

impl Group {
    /// The heading in `env.example` and in the documentation.
    pub fn title(self) -> &'static str {
        match self {
            Self::Endpoint => "The endpoint",
            Self::Workload => "What is sent",
            Self::Search => "The search",
            Self::Trial => "A trial",
            Self::Judgement => "The judgement",
            Self::LoadGenerator => "The load generator",
            Self::Fmperf => "Only for LOADGEN=fmperf",
            Self::Server => "A model server that belongs to the run",
            Self::Cluster => "Slurm",
            Self::Results => "The results",
            Self::Older => "Older forms, still understood",
        }
    }
}

/// The key of that name, or of that older name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|k| k.name == name || k.aliases.contains(&name))
}

/// The known name nearest to `name`, where one is near enough to have been meant.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    const NEAR: f64 = 0.7;
    let wanted = name.to_ascii_uppercase();
    KEYS.iter()
        .flat_map(|k| std::iter::once(&k.name).chain(k.aliases))
        .map(|known| (*known, strsim::normalized_damerau_levenshtein(&wanted, known)))
        .filter(|(_, closeness)| *closeness >= NEAR)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(known, _)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_each_has_one_home() {
        let mut names: Vec<&str> = KEYS
            .iter()
            .flat_map(|k| std::iter::once(&k.name).chain(k.aliases))
            .copied()
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for name in names {
            assert!(standing(name).is_none(), "{name} is both known and ignored");
        }
    }

    #[test]
    fn slips_of_the_pen_are_recognised() {
        for (wrong, meant) in [
            ("DURATOIN", Some("DURATION")),
            ("url", Some("URL")),
            ("TOKEN_LIST", Some("TOKENS_LIST")),
            ("REQ_MIN_STRAT", Some("REQ_MIN_START")),
            ("COLDOWN", Some("COOLDOWN")),
            ("PAINT_COLOUR", None),
        ] {
            assert_eq!(nearest(wrong), meant, "{wrong}");
        }
    }
}
