//! The grammar of `TOKENS_LIST`: `IN:OUT` items separated by commas, each side `N` or `MIN-MAX`.

use crate::units::{TokenPair, TokenRange};

/// Longer than any context: a slip of the pen.
const MOST_TOKENS: u32 = 10_000_000;

/// A list as read: pairs with their place (`REQ_MIN_START` counts by place), and what the user should know.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct TokensList {
    pub(super) pairs: Vec<(usize, TokenPair)>,
    pub(super) notes: Vec<String>,
}

/// Reads the list.
///
/// # Errors
/// One message for every bad item, with its position.
pub(super) fn parse_list(text: &str) -> Result<TokensList, Vec<String>> {
    let mut list = TokensList::default();
    let mut problems = Vec::new();
    let mut items: Vec<&str> = text.split(',').map(str::trim).collect();
    if items.len() > 1 && items.last() == Some(&"") {
        items.pop();
        list.notes.push("the comma at the end is ignored".to_owned());
    }
    for (index, item) in items.into_iter().enumerate() {
        let position = index + 1;
        match parse_pair(item) {
            Err(problem) => problems.push(format!("item {position} `{item}`: {problem}")),
            Ok((pair, note)) => {
                list.notes
                    .extend(note.map(|n| format!("item {position} `{item}`: {n}")));
                if let Some((first, _)) = list.pairs.iter().find(|(_, known)| *known == pair) {
                    list.notes.push(format!(
                        "item {position} `{item}` repeats item {} and is searched once",
                        first + 1
                    ));
                } else {
                    list.pairs.push((index, pair));
                }
            }
        }
    }
    if problems.is_empty() {
        Ok(list)
    } else {
        Err(problems)
    }
}

/// Reads one `IN:OUT`, each side `N` or `MIN-MAX`.
///
/// # Errors
/// What is wrong, and what to write.
pub fn token_pair(text: &str) -> Result<TokenPair, String> {
    parse_pair(text.trim()).map(|(pair, _)| pair)
}

/// Reads one `IN:OUT`, and perhaps a note on it.
pub(super) fn parse_pair(item: &str) -> Result<(TokenPair, Option<String>), String> {
    if item.is_empty() {
        return Err("nothing stands there; remove the comma, or write for example 128:128".to_owned());
    }
    let (input, output) = item
        .split_once(':')
        .ok_or("there is no `:`; write IN:OUT, for example 128:128")?;
    if output.contains(':') {
        return Err("there is more than one `:`; separate pairs with commas".to_owned());
    }
    let pair = TokenPair {
        input: parse_range(input.trim()).map_err(|e| format!("input {e}"))?,
        output: parse_range(output.trim()).map_err(|e| format!("output {e}"))?,
    };
    let zero = pair.input.min == 0 || pair.output.min == 0;
    Ok((
        pair,
        zero.then(|| "a lower bound of 0 is read as 1 token".to_owned()),
    ))
}

/// Reads `N` or `MIN-MAX`.
fn parse_range(text: &str) -> Result<TokenRange, String> {
    let range = match text.split_once('-') {
        None => TokenRange::exactly(parse_count(text)?),
        Some((min, max)) => TokenRange {
            min: parse_count(min.trim())?,
            max: parse_count(max.trim())?,
        },
    };
    if range.max == 0 {
        return Err("is at most 0 tokens; write at least 1".to_owned());
    }
    if range.min > range.max {
        return Err(format!("range is reversed; write {}-{}", range.max, range.min));
    }
    Ok(range)
}

fn parse_count(text: &str) -> Result<u32, String> {
    if text.is_empty() {
        return Err("has no number; write N or MIN-MAX".to_owned());
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("`{text}` is not a whole number of tokens"));
    }
    match text.parse() {
        Ok(count) if count <= MOST_TOKENS => Ok(count),
        _ => Err(format!("`{text}` is more than {MOST_TOKENS} tokens")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_and_ranges_are_read() {
        let list = parse_list("32:32, 100-200 : 0-100,64:64,").unwrap();
        let names: Vec<String> = list.pairs.iter().map(|(_, p)| p.folder_name()).collect();
        assert_eq!(names, ["32_32", "100-200_0-100", "64_64"]);
        assert_eq!(list.notes.len(), 2, "{:?}", list.notes);
    }

    #[test]
    fn a_repeated_pair_is_searched_once_and_keeps_places() {
        let list = parse_list("1:1,1-1:1,2:2").unwrap();
        let places: Vec<usize> = list.pairs.iter().map(|(i, _)| *i).collect();
        assert_eq!(places, [0, 2]);
        assert!(list.notes[0].contains("item 2 `1-1:1` repeats item 1"));
    }

    #[test]
    fn every_bad_item_is_named() {
        let problems = parse_list("1:1,x:1,,5,3-2:1,1:0,-1:2").unwrap_err();
        assert_eq!(problems.len(), 6, "{problems:?}");
        assert!(problems[0].starts_with("item 2 `x:1`"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = parse_list(&text);
        }

        #[test]
        fn what_is_printed_is_read_back(a in 0u32..9, b in 1u32..9, c in 0u32..9, d in 1u32..9) {
            let range = |x: u32, y: u32| TokenRange { min: x.min(y), max: x.max(y) };
            let pair = TokenPair { input: range(a, b), output: range(c, d) };
            proptest::prop_assert_eq!(parse_pair(&pair.to_string()).unwrap().0, pair);
        }
    }
}
