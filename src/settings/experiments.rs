//! What is searched: pairs or mixes, and where each search begins.

use super::build::Reader;
use super::mixes::{canonical, mix_name, parse_mixes};
use super::tokens::parse_list;
use super::{Experiment, keys};
use crate::units::{Rate, TokenPair};
use crate::workload::LengthClass;

/// A search without its start: place in the list, name, classes.
struct Named {
    place: usize,
    name: String,
    classes: Vec<LengthClass>,
}

/// The experiments in order.
pub(super) fn experiments(reader: &mut Reader<'_>) -> Vec<Experiment> {
    let list = if mixes_hold(reader) {
        "WORKLOAD_MIXES"
    } else {
        "TOKENS_LIST"
    };
    let starts = start_rates(reader);
    let named = if list == "WORKLOAD_MIXES" {
        named_mixes(reader)
    } else {
        named_pairs(reader)
    };
    let places = places(reader, list, &named);
    if reader.origin(list).rank() <= reader.origin("REQ_MIN_START").rank() {
        let used = places.iter().max().map_or(0, |last| last + 1);
        if (1..starts.len()).contains(&used) {
            let note = format!("{} rates are given, {used} are used", starts.len());
            reader.note_on("REQ_MIN_START", vec![note]);
        }
    }
    named
        .into_iter()
        .zip(places)
        .map(|(n, place)| Experiment {
            name: n.name,
            classes: n.classes,
            start: starts
                .get(place)
                .or(starts.last())
                .copied()
                .unwrap_or(Rate::per_minute(1.0)),
        })
        .collect()
}

/// Whether `WORKLOAD_MIXES` is searched, not `TOKENS_LIST`: the one that comes from the higher source, and the mixes
/// where both come from the same.
fn mixes_hold(reader: &mut Reader<'_>) -> bool {
    if reader.text("WORKLOAD_MIXES").is_empty() {
        return false;
    }
    let (mixes, tokens) = (reader.origin("WORKLOAD_MIXES"), reader.origin("TOKENS_LIST"));
    let hold = mixes.rank() >= tokens.rank();
    if hold && tokens.rank() > 0 {
        reader.note(format!(
            "{tokens}: TOKENS_LIST is not searched: WORKLOAD_MIXES ({mixes}) takes its place"
        ));
    } else if !hold {
        reader.note(format!(
            "{mixes}: WORKLOAD_MIXES is not searched: TOKENS_LIST ({tokens}) takes its place"
        ));
    }
    hold
}

fn named_mixes(reader: &mut Reader<'_>) -> Vec<Named> {
    match parse_mixes(reader.text("WORKLOAD_MIXES")) {
        Err(problems) => {
            reader.refuse_all("WORKLOAD_MIXES", &problems);
            Vec::new()
        }
        Ok(read) => {
            reader.note_on("WORKLOAD_MIXES", read.notes);
            read.mixes
                .into_iter()
                .map(|(place, classes)| Named {
                    place,
                    name: mix_name(&classes),
                    classes,
                })
                .collect()
        }
    }
}

fn named_pairs(reader: &mut Reader<'_>) -> Vec<Named> {
    let additive = additive_holds(reader);
    let pairs = match parse_list(reader.text("TOKENS_LIST")) {
        Err(problems) => {
            reader.refuse_all("TOKENS_LIST", &problems);
            return Vec::new();
        }
        Ok(list) => {
            reader.note_on("TOKENS_LIST", list.notes);
            list.pairs
        }
    };
    if additive {
        return additive_mix(reader, &pairs);
    }
    if reader.is_set("TOKENS_LIST_PROPORTION") && !reader.switch("ADDITIVE") {
        let notes = vec!["it has no effect without ADDITIVE=true".to_owned()];
        reader.note_on("TOKENS_LIST_PROPORTION", notes);
    }
    pairs
        .into_iter()
        .map(|(place, pair)| Named {
            place,
            name: pair.folder_name(),
            classes: vec![LengthClass { pair, share: 1.0 }],
        })
        .collect()
}

/// Whether `ADDITIVE` makes the list one mix; it does not where the list comes from a higher source, as with `--tokens`.
fn additive_holds(reader: &mut Reader<'_>) -> bool {
    if !reader.switch("ADDITIVE") {
        return false;
    }
    let (additive, tokens) = (reader.origin("ADDITIVE"), reader.origin("TOKENS_LIST"));
    let holds = additive.rank() >= tokens.rank();
    if !holds {
        let note = format!("it has no effect on TOKENS_LIST ({tokens})");
        reader.note_on("ADDITIVE", vec![note]);
    }
    holds
}

/// The older way to write one mix: `ADDITIVE=true`, shares in `TOKENS_LIST_PROPORTION`. Lists of unequal length, negative
/// and missing shares mean what they meant then, with a note.
fn additive_mix(reader: &mut Reader<'_>, pairs: &[(usize, TokenPair)]) -> Vec<Named> {
    const KEY: &str = "TOKENS_LIST_PROPORTION";
    let text = reader.text(KEY).to_owned();
    let mut shares = Vec::new();
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    let items = text.split(',').map(str::trim).filter(|_| !text.is_empty());
    for (index, item) in items.enumerate() {
        match item.parse::<f64>() {
            Ok(share) if share.is_finite() && share < 0.0 => {
                notes.push(format!("item {} is negative and read as 0", index + 1));
                shares.push(0.0);
            }
            Ok(share) if share.is_finite() => shares.push(share),
            _ => problems.push(format!("item {} `{item}` is not a number", index + 1)),
        }
    }
    if !problems.is_empty() {
        reader.refuse_all(KEY, &problems);
        return Vec::new();
    }
    let count = pairs.iter().map(|(place, _)| place + 1).max().unwrap_or(0);
    if !shares.is_empty() && shares.len() < count {
        notes.push(format!(
            "{} of {count} shares are given; the rest are 1",
            shares.len()
        ));
    }
    if shares.len() > count {
        notes.push(format!("{} shares are given, {count} are used", shares.len()));
    }
    shares.resize(count, 1.0);
    let mut profiles: Vec<(TokenPair, f64)> = pairs
        .iter()
        .map(|(place, pair)| (*pair, shares[*place]))
        .collect();
    if profiles.iter().all(|(_, share)| *share == 0.0) {
        notes.push("all shares are 0 and read as equal".to_owned());
        for profile in &mut profiles {
            profile.1 = 1.0;
        }
    }
    for (pair, _) in profiles.iter().filter(|(_, share)| *share == 0.0) {
        notes.push(format!("{pair} has the share 0 and is left out"));
    }
    profiles.retain(|(_, share)| *share > 0.0);
    reader.note_on(KEY, notes);
    let classes = canonical(&profiles);
    let text = super::mix_text(&classes);
    reader.note_on(
        "ADDITIVE",
        vec![format!(
            "TOKENS_LIST is read as one mix; WORKLOAD_MIXES={text} says the same"
        )],
    );
    vec![Named {
        place: 0,
        name: mix_name(&classes),
        classes,
    }]
}

fn start_rates(reader: &mut Reader<'_>) -> Vec<Rate> {
    const KEY: &str = "REQ_MIN_START";
    let text = reader.text(KEY).to_owned();
    let mut items: Vec<&str> = text.split(',').map(str::trim).collect();
    if items.len() > 1 && items.last() == Some(&"") {
        items.pop();
        reader.note_on(KEY, vec!["the comma at the end is ignored".to_owned()]);
    }
    let mut rates = Vec::new();
    let mut problems = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        match item.parse::<Rate>() {
            Ok(rate) if rate.as_per_minute() <= 1e9 => rates.push(rate),
            Ok(_) => problems.push(format!(
                "item {} `{item}` is more than any service can take",
                index + 1
            )),
            Err(error) => problems.push(format!("item {}: {error}", index + 1)),
        }
    }
    reader.refuse_all(KEY, &problems);
    rates
}

/// For each experiment, which item of `REQ_MIN_START` is its own.
///
/// Starts go with the list that stands beside them: `--tokens 128:128` begins where the `.env` has this pair begin, so
/// that rates already measured are proposed again.
fn places(reader: &Reader<'_>, list: &str, named: &[Named]) -> Vec<usize> {
    let (list_origin, start_origin) = (reader.origin(list), reader.origin("REQ_MIN_START"));
    if list_origin.rank() <= start_origin.rank() {
        return named.iter().map(|n| n.place).collect();
    }
    let key = keys::find(list).expect("the list is in the table");
    let beside = reader.beside(key, &start_origin);
    let known: Vec<(usize, Vec<LengthClass>)> = if list == "WORKLOAD_MIXES" {
        parse_mixes(&beside).map(|read| read.mixes).unwrap_or_default()
    } else {
        parse_list(&beside)
            .map(|read| read.pairs)
            .unwrap_or_default()
            .into_iter()
            .map(|(place, pair)| (place, vec![LengthClass { pair, share: 1.0 }]))
            .collect()
    };
    named
        .iter()
        .map(|n| {
            known
                .iter()
                .find(|(_, classes)| *classes == n.classes)
                // Past the end: the last item serves.
                .map_or(usize::MAX, |(place, _)| *place)
        })
        .collect()
}
