//! The grammar of `WORKLOAD_MIXES`: `[(IN:OUT,SHARE),(IN:OUT,SHARE)],[…]`, one mix a bracket.

use crate::units::TokenPair;
use crate::workload::LengthClass;

use super::tokens::parse_pair;

/// Mixes as read: classes with normalised shares, by place, and what the user should know.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Mixes {
    pub(super) mixes: Vec<(usize, Vec<LengthClass>)>,
    pub(super) notes: Vec<String>,
}

/// Longest folder name that every file system takes, with room for a suffix.
const LONGEST_NAME: usize = 200;

/// The canonical folder name: profiles in ascending order, shares with at most six decimals, for example
/// `mix_1-100_1-100@0.5+300-600_100-300@0.5`. Names too long for a file system end in a digest instead.
pub fn mix_name(classes: &[LengthClass]) -> String {
    let profiles: Vec<String> = classes
        .iter()
        .map(|c| format!("{}@{}", c.pair.folder_name(), share_text(c.share)))
        .collect();
    let name = format!("mix_{}", profiles.join("+"));
    if name.len() <= LONGEST_NAME {
        return name;
    }
    let digest = blake3::hash(name.as_bytes()).to_hex();
    format!("mix_{}-profiles_{}", classes.len(), &digest[..12])
}

/// Mixes as `WORKLOAD_MIXES` takes them.
pub fn mix_text(classes: &[LengthClass]) -> String {
    let profiles: Vec<String> = classes
        .iter()
        .map(|c| format!("({},{})", c.pair, share_text(c.share)))
        .collect();
    format!("[{}]", profiles.join(","))
}

fn share_text(share: f64) -> String {
    if share < 1e-6 {
        return share.to_string();
    }
    let text = format!("{share:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Sums repeated profiles, sorts them and makes the shares sum to one. Shares are above zero.
pub(super) fn canonical(profiles: &[(TokenPair, f64)]) -> Vec<LengthClass> {
    let total: f64 = profiles.iter().map(|(_, share)| share).sum();
    let mut classes: Vec<LengthClass> = Vec::new();
    for &(pair, share) in profiles {
        let share = share / total;
        match classes.iter_mut().find(|c| c.pair == pair) {
            Some(known) => known.share += share,
            None => classes.push(LengthClass { pair, share }),
        }
    }
    classes.sort_by_key(|c| c.pair);
    classes
}

/// Reads the mixes.
///
/// # Errors
/// One message for every bad profile, with its position.
pub(super) fn parse_mixes(text: &str) -> Result<Mixes, Vec<String>> {
    let mut read = Mixes::default();
    let mut problems = Vec::new();
    for (index, bracket) in split_brackets(text).map_err(|e| vec![e])?.iter().enumerate() {
        let place = format!("mix {}", index + 1);
        let profiles = parse_profiles(bracket, &place, &mut read.notes, &mut problems);
        if profiles.is_empty() {
            continue;
        }
        let classes = canonical(&profiles);
        if classes.len() < profiles.len() {
            read.notes
                .push(format!("{place}: a profile is repeated; its shares are summed"));
        }
        if let Some((first, _)) = read.mixes.iter().find(|(_, known)| *known == classes) {
            read.notes
                .push(format!("{place} repeats mix {} and is searched once", first + 1));
        } else {
            read.mixes.push((index, classes));
        }
    }
    if problems.is_empty() {
        Ok(read)
    } else {
        Err(problems)
    }
}

/// The texts between `[` and `]`, which are separated by commas.
fn split_brackets(text: &str) -> Result<Vec<&str>, String> {
    const SHAPE: &str =
        "write [(IN:OUT,SHARE),(IN:OUT,SHARE)], for example [(128:128,0.5),(1-100:1-100,0.5)]";
    let mut brackets = Vec::new();
    let mut rest = text.trim();
    loop {
        let place = brackets.len() + 1;
        let inner = rest
            .strip_prefix('[')
            .ok_or_else(|| format!("mix {place} does not begin with `[`; {SHAPE}"))?;
        let end = inner
            .find(['[', ']'])
            .filter(|&at| inner[at..].starts_with(']'))
            .ok_or_else(|| format!("mix {place} has no closing `]`; {SHAPE}"))?;
        brackets.push(&inner[..end]);
        rest = inner[end + 1..].trim_start();
        if rest.is_empty() {
            return Ok(brackets);
        }
        rest = rest
            .strip_prefix([',', ';'])
            .ok_or_else(|| format!("there is no comma after mix {place}; {SHAPE}"))?
            .trim_start();
    }
}

/// The `(IN:OUT,SHARE)` items of one bracket; what is wrong goes to `problems`.
fn parse_profiles(
    bracket: &str,
    place: &str,
    notes: &mut Vec<String>,
    problems: &mut Vec<String>,
) -> Vec<(TokenPair, f64)> {
    let mut profiles = Vec::new();
    let mut rest = bracket.trim();
    if rest.is_empty() {
        problems.push(format!("{place} is empty; write at least one (IN:OUT,SHARE)"));
    }
    let mut number = 0;
    while !rest.is_empty() {
        number += 1;
        let place = format!("{place}, profile {number}");
        let Some((item, after)) = rest.strip_prefix('(').and_then(|r| r.split_once(')')) else {
            problems.push(format!("{place}: it is not in brackets; write (IN:OUT,SHARE)"));
            return profiles;
        };
        match parse_profile(item) {
            Ok((profile, note)) => {
                notes.extend(note.map(|n| format!("{place}: {n}")));
                profiles.push(profile);
            }
            Err(problem) => problems.push(format!("{place} `({item})`: {problem}")),
        }
        rest = after.trim_start();
        if !rest.is_empty() {
            match rest.strip_prefix(',') {
                Some(next) if !next.trim().is_empty() => rest = next.trim_start(),
                _ => {
                    problems.push(format!(
                        "{place}: after it stands `{rest}`; separate profiles with one comma"
                    ));
                    return profiles;
                }
            }
        }
    }
    profiles
}

type Profile = ((TokenPair, f64), Option<String>);

fn parse_profile(item: &str) -> Result<Profile, String> {
    let (pair, share) = item
        .split_once(',')
        .ok_or("there is no share; write (IN:OUT,SHARE)")?;
    let pair = pair.trim().trim_matches(['"', '\'']);
    let (pair, note) = parse_pair(pair)?;
    let share: f64 = share
        .trim()
        .parse()
        .map_err(|_| format!("the share `{}` is not a number", share.trim()))?;
    if share > 0.0 && share <= 1e9 {
        Ok(((pair, share), note))
    } else {
        Err(format!(
            "the share {share} is not above 0; leave the profile out, or write for example 0.5"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let mixes = parse_mixes(text).unwrap().mixes;
        mixes.iter().map(|(_, classes)| mix_name(classes)).collect()
    }

    #[test]
    fn names_are_canonical() {
        let expected = "mix_1-100_1-100@0.5+300-600_100-300@0.5";
        for text in [
            "[(1-100:1-100,0.5),(300-600:100-300,0.5)]",
            " [ ( 300-600:100-300 , 7 ) , ( 1-100 : 1-100 , 7 ) ] ",
            "[(1-100:1-100,1),(300-600:100-300,2),(1-100:1-100,1)]",
        ] {
            assert_eq!(names(text), [expected], "{text}");
        }
        assert_eq!(names("[(8:8,1),(9:9,2)]"), ["mix_8_8@0.333333+9_9@0.666667"]);
        assert_eq!(names("[(8:8,1)],[(9:9,2)]"), ["mix_8_8@1", "mix_9_9@1"]);
    }

    #[test]
    fn long_names_end_in_a_digest() {
        let profiles: Vec<(TokenPair, f64)> = (1..20)
            .map(|n| {
                let range = crate::units::TokenRange {
                    min: n,
                    max: 1000 + n,
                };
                let pair = TokenPair {
                    input: range,
                    output: range,
                };
                (pair, 1.0)
            })
            .collect();
        let name = mix_name(&canonical(&profiles));
        assert!(name.starts_with("mix_19-profiles_") && name.len() < 40, "{name}");
    }

    #[test]
    fn bad_mixes_are_refused() {
        for (text, fragment) in [
            ("", "mix 1 does not begin with `[`"),
            ("(1:1,1)", "does not begin with `[`"),
            ("[(1:1,1)", "no closing `]`"),
            ("[(1:1,1)[(2:2,1)]", "no closing `]`"),
            ("[(1:1,1)][(2:2,1)]", "no comma after mix 1"),
            ("[(1:1,1)],", "mix 2 does not begin"),
            ("[]", "mix 1 is empty"),
            ("[(1:1)]", "no share"),
            ("[(1:1,x)]", "`x` is not a number"),
            ("[(1:1,0)]", "not above 0"),
            ("[(1:1,nan)]", "not above 0"),
            ("[(1:1,1),(5,1)]", "mix 1, profile 2"),
            ("[(1:1,1),]", "separate profiles"),
            ("[(1:1,1)(2:2,1)]", "separate profiles"),
            ("[1:1,1]", "not in brackets"),
        ] {
            let problems = parse_mixes(text).unwrap_err().join("\n");
            assert!(problems.contains(fragment), "{text}: {problems}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[\\[\\](),:0-9.a \u{fc}-]{0,40}") {
            if let Ok(read) = parse_mixes(&text) {
                for (_, classes) in &read.mixes {
                    let total: f64 = classes.iter().map(|c| c.share).sum();
                    proptest::prop_assert!((total - 1.0).abs() < 1e-9);
                    let again = parse_mixes(&mix_text(classes)).unwrap();
                    proptest::prop_assert_eq!(again.mixes[0].1.len(), classes.len());
                }
            }
        }
    }
}
