//! What an experiment is called: a token pair, a mix, or whatever its folder says.

use std::fmt;

use serde_json::Value;

use crate::store::generations::{FolderName, folder_name};
use crate::store::tables::{Layout, ResultsRow};
use crate::units::TokenPair;

/// Folder of the older scripts' mixes before they named them.
const ADDITIVE: &str = "additive_experiment";

/// The name of an experiment. Pairs come first, in the order of their bounds, then mixes, then the rest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PairName {
    /// One class of lengths. `16_16` and `16-16_16-16` are the same.
    Pair(TokenPair),
    /// Several classes, by its folder's name: `mix_…` or `additive_experiment`.
    Mix(String),
    /// Anything else, by its folder's name.
    Other(String),
}

impl PairName {
    /// Reads a folder's name: `IN_OUT`, `INMIN-INMAX_OUTMIN-OUTMAX`, `mix_…`, `additive_experiment`; `None` for any
    /// other.
    pub fn from_folder(name: &str) -> Option<Self> {
        match FolderName::parse(name) {
            Some(FolderName::Pair(pair)) => Some(Self::Pair(pair)),
            // One spelling for `16-16` and `16`.
            Some(FolderName::Mix(classes)) => Some(Self::Mix(folder_name(&classes, Layout::Mst))),
            Some(FolderName::Additive) => Some(Self::Mix(name.to_owned())),
            // A mix whose shares were not understood is one all the same.
            None => name.starts_with("mix_").then(|| Self::Mix(name.to_owned())),
        }
    }

    /// Reads what a row of `results.csv` says of its lengths; `None` where it says nothing.
    pub fn from_row(row: &ResultsRow) -> Option<Self> {
        if let Some(mix) = row.text("WORKLOAD_MIX") {
            return Some(Self::Mix(mix.to_owned()));
        }
        if let Some(shares) = row.text("ADDITIVE_EXPECTED_PROPORTIONS") {
            let name = mix_of(shares).unwrap_or_else(|| ADDITIVE.to_owned());
            return Self::from_folder(&name).or(Some(Self::Mix(name)));
        }
        row.pair().map(Self::Pair)
    }

    /// The best name from folder and row: the older mixes share one folder, so that their row knows more.
    pub fn from_both(folder: Option<&str>, row: Option<&ResultsRow>) -> Option<Self> {
        let by_folder = folder.and_then(Self::from_folder);
        let by_row = || row.and_then(Self::from_row);
        match by_folder {
            Some(Self::Mix(name)) if name == ADDITIVE => by_row()
                .filter(|found| matches!(found, Self::Mix(_)))
                .or(Some(Self::Mix(name))),
            Some(found) => Some(found),
            None => by_row(),
        }
    }

    /// The lengths, where there is one class of them.
    pub fn pair(&self) -> Option<TokenPair> {
        match self {
            Self::Pair(pair) => Some(*pair),
            Self::Mix(_) | Self::Other(_) => None,
        }
    }

    /// Whether it is a mix.
    pub fn is_mix(&self) -> bool {
        matches!(self, Self::Mix(_))
    }
}

impl fmt::Display for PairName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pair(pair) => f.write_str(&pair.folder_name()),
            Self::Mix(name) | Self::Other(name) => f.write_str(name),
        }
    }
}

/// `{"1-100:1-100":0.5,…}` as the newer scripts name such a mix: `mix_1-100_1-100@0.5+…`.
fn mix_of(shares: &str) -> Option<String> {
    let Value::Object(shares) = serde_json::from_str(shares).ok()? else {
        return None;
    };
    let profiles: Vec<String> = shares
        .iter()
        .map(|(profile, share)| format!("{}@{share}", profile.replace(':', "_")))
        .collect();
    (!profiles.is_empty()).then(|| format!("mix_{}", profiles.join("+")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_every_generation_are_read() {
        let name = |folder| PairName::from_folder(folder).map(|n| n.to_string());
        assert_eq!(name("16_128").as_deref(), Some("16_128"));
        assert_eq!(name("16-16_16-16").as_deref(), Some("16_16"));
        assert_eq!(name("0-100_100-300").as_deref(), Some("0-100_100-300"));
        assert!(PairName::from_folder("mix_1_1@0.5+2_2@0.5").unwrap().is_mix());
        assert!(PairName::from_folder("additive_experiment").unwrap().is_mix());
        for other in ["2026-01-10_12-00-00", "requests_a_1", "5-1_1", "+1_2", "", "1_"] {
            assert_eq!(PairName::from_folder(other), None, "{other}");
        }
    }

    #[test]
    fn pairs_are_ordered_by_their_bounds() {
        let mut names: Vec<PairName> = ["300-600_1-100", "1-100_100-300", "mix_a", "1-100_1-100", "16_16"]
            .iter()
            .map(|f| PairName::from_folder(f).unwrap())
            .collect();
        names.sort();
        let order: Vec<String> = names.iter().map(ToString::to_string).collect();
        assert_eq!(
            order,
            ["1-100_1-100", "1-100_100-300", "16_16", "300-600_1-100", "mix_a"]
        );
    }

    #[test]
    fn rows_name_what_folders_do_not() {
        let row = ResultsRow::new([
            ("MIN_INPUT_TOKENS", "MIXED"),
            (
                "ADDITIVE_EXPECTED_PROPORTIONS",
                r#"{"1-9:1-9":0.25,"20-30:5-5":0.75}"#,
            ),
        ]);
        let name = PairName::from_both(Some("additive_experiment"), Some(&row)).unwrap();
        assert_eq!(name.to_string(), "mix_1-9_1-9@0.25+20-30_5@0.75");
        let doc = ResultsRow::new([("INPUT_TOKENS", "16"), ("OUTPUT_TOKENS", "32")]);
        assert_eq!(
            PairName::from_both(Some("x"), Some(&doc)).unwrap().to_string(),
            "16_32"
        );
        assert_eq!(PairName::from_both(Some("x"), None), None);
    }
}
