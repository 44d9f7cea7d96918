//! Names of the folders that hold a pair's or a mix's trials, in every generation.

use std::path::Path;

use crate::units::{TokenPair, TokenRange};
use crate::workload::LengthClass;

use super::tables::{Layout, Short, range};

/// The name of the folder that holds the trials of a workload, as a layout spells it.
///
/// The older forms write both ends of a range always; March 2026 has one name for all mixes, and the form before has no
/// mixes, so that they take the newest name.
pub fn folder_name(classes: &[LengthClass], layout: Layout) -> String {
    let both = |class: &LengthClass| {
        let (i, o) = (class.pair.input, class.pair.output);
        format!("{}-{}_{}-{}", i.min, i.max, o.min, o.max)
    };
    match (classes, layout) {
        ([only], Layout::Mst | Layout::Doc) => only.pair.folder_name(),
        ([only], Layout::Latest | Layout::New) => both(only),
        (_, Layout::New) => "additive_experiment".to_owned(),
        (mix, Layout::Mst | Layout::Latest | Layout::Doc) => {
            let pair = |c: &LengthClass| match layout {
                Layout::Mst | Layout::Doc => c.pair.folder_name(),
                Layout::Latest | Layout::New => both(c),
            };
            let class = |c: &LengthClass| format!("{}@{}", pair(c), Short(c.share));
            let classes: Vec<String> = mix.iter().map(class).collect();
            format!("mix_{}", classes.join("+"))
        }
    }
}

/// What the name of a folder says about its workload.
#[derive(Clone, Debug, PartialEq)]
pub enum FolderName {
    /// `128_128`, `100-200_0-100`, `16-16_16-16`.
    Pair(TokenPair),
    /// `mix_1-100_1-100@0.5+300-600_100-300@0.5`.
    Mix(Vec<LengthClass>),
    /// `additive_experiment`: a mix whose classes the name does not say.
    Additive,
}

impl FolderName {
    /// Reads a folder's name; `None` when it names no workload.
    pub fn parse(name: &str) -> Option<Self> {
        if name == "additive_experiment" {
            return Some(Self::Additive);
        }
        if let Some(classes) = name.strip_prefix("mix_") {
            let classes: Option<Vec<LengthClass>> = classes.split('+').map(class).collect();
            return classes.map(Self::Mix);
        }
        pair(name).map(Self::Pair)
    }

    /// The workload of a trial's folder: its parent's name says it, or its own.
    pub fn of_trial(dir: &Path) -> Option<Self> {
        let dir = std::path::absolute(dir).ok()?;
        let name = |path: &Path| Self::parse(path.file_name()?.to_str()?);
        dir.parent().and_then(name).or_else(|| name(&dir))
    }

    /// The classes, where the name says them.
    pub fn classes(&self) -> Vec<LengthClass> {
        match self {
            Self::Pair(pair) => vec![LengthClass {
                pair: *pair,
                share: 1.0,
            }],
            Self::Mix(classes) => classes.clone(),
            Self::Additive => Vec::new(),
        }
    }
}

fn pair(name: &str) -> Option<TokenPair> {
    let (input, output) = name.split_once('_')?;
    Some(TokenPair {
        input: digits(input)?,
        output: digits(output)?,
    })
}

/// A range without blanks or signs: a timestamp such as `2026-11-22_14-27-30` is none.
fn digits(text: &str) -> Option<TokenRange> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    range(text).filter(|_| plain)
}

fn class(text: &str) -> Option<LengthClass> {
    let (name, share) = text.split_once('@')?;
    let share = share.parse().ok().filter(|s: &f64| *s > 0.0 && *s <= 1.0)?;
    Some(LengthClass {
        pair: pair(name)?,
        share,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_again() {
        for layout in [Layout::Mst, Layout::Latest, Layout::New, Layout::Doc] {
            for name in [
                "16_32",
                "100-200_0-100",
                "mix_1-100_1-100@0.5+300-600_100-300@0.5",
            ] {
                let classes = FolderName::parse(name).unwrap().classes();
                let again = FolderName::parse(&folder_name(&classes, layout)).unwrap();
                if again != FolderName::Additive {
                    assert_eq!(again.classes(), classes, "{name} {layout:?}");
                }
            }
        }
        let classes = FolderName::parse("16_32").unwrap().classes();
        assert_eq!(folder_name(&classes, Layout::New), "16-16_32-32");
        assert_eq!(folder_name(&classes, Layout::Doc), "16_32");
    }

    #[test]
    fn every_generation_of_names() {
        let exactly = |n| TokenRange::exactly(n);
        let pair = |input, output| Some(FolderName::Pair(TokenPair { input, output }));
        assert_eq!(FolderName::parse("16_32"), pair(exactly(16), exactly(32)));
        assert_eq!(FolderName::parse("16-16_32-32"), pair(exactly(16), exactly(32)));
        assert_eq!(
            FolderName::parse("100-200_0-100"),
            pair(TokenRange { min: 100, max: 200 }, TokenRange { min: 0, max: 100 })
        );
        assert_eq!(
            FolderName::parse("additive_experiment"),
            Some(FolderName::Additive)
        );
        let Some(FolderName::Mix(classes)) = FolderName::parse("mix_1-100_1-100@0.5+300-600_100-300@0.25")
        else {
            panic!("a mix");
        };
        assert_eq!(
            (classes.len(), classes[1].share, classes[1].pair.input.max),
            (2, 0.25, 600)
        );
        for other in [
            "2026-11-22_14-27-30",
            "requests",
            "16",
            "200-100_1",
            "mix_1_2",
            "mix_",
            "a_b",
            "1_2_3",
        ] {
            assert_eq!(FolderName::parse(other), None, "{other}");
        }
        assert!(FolderName::of_trial(Path::new("/r/16_16/2026-11-22_14-27-30")).is_some());
    }
}
