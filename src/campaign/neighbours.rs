//! What the other pairs of a results folder say about one, and in which order the pairs of a grid are searched.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::Campaign;
use crate::search::neighbours::{self, Known};
use crate::search::{Answer, Prior, Status};
use crate::settings::{Confirm, Experiment, SearchKind, Settings};
use crate::store::capacity::SEARCH_SCHEMA;
use crate::store::generations::FolderName;
use crate::store::{CapacityFile, Conditions, SearchFile, StoreError, layout, read_json, write_json};
use crate::units::{Rate, TokenPair};

/// So many pairs are a grid, not a list that somebody put in order.
const GRID: usize = 4;

/// In which order experiments are searched: places in the list. The adaptive search takes a grid of pairs in the order in
/// which they inform each other; everything else stays as it was given.
pub fn order(settings: &Settings, experiments: &[Experiment]) -> Vec<usize> {
    let pairs: Option<Vec<TokenPair>> = experiments.iter().map(Experiment::pair).collect();
    match pairs {
        Some(pairs) if settings.search == SearchKind::Adaptive && pairs.len() >= GRID => {
            neighbours::order(&pairs)
        }
        _ => (0..experiments.len()).collect(),
    }
}

/// Whether the answer of an experiment is held for a full DURATION whatever it is: all of them, or with `CONFIRM=edges`
/// the corners of a grid, and what is no pair.
fn is_confirmed(settings: &Settings, experiment: &Experiment) -> bool {
    let pairs: Vec<TokenPair> = settings.experiments.iter().filter_map(Experiment::pair).collect();
    let Some(pair) = experiment.pair() else {
        return true;
    };
    let at_the_edge = |length: fn(&TokenPair) -> f64| {
        let (mine, all) = (length(&pair), || pairs.iter().map(length));
        all().all(|other| mine <= other) || all().all(|other| mine >= other)
    };
    settings.confirm == Confirm::Always
        || pairs.len() < GRID
        || (at_the_edge(|p| p.input.mean()) && at_the_edge(|p| p.output.mean()))
}

/// Whether `a` asks for at most as much as `b`, of both kinds of tokens.
fn is_within(a: TokenPair, b: TokenPair) -> bool {
    a.input.mean() <= b.input.mean() && a.output.mean() <= b.output.mean()
}

/// The larger, or the smaller, of two rates that may be missing.
fn pick(rates: impl Iterator<Item = Rate>, wanted: Ordering) -> Option<Rate> {
    rates.reduce(|a, b| {
        if b.as_per_minute().total_cmp(&a.as_per_minute()) == wanted {
            b
        } else {
            a
        }
    })
}

impl SearchFile {
    /// What `known` answers let expect of `pair`.
    fn expecting(mut self, known: &BTreeMap<String, Known>, pair: TokenPair) -> Self {
        let all: Vec<Known> = known.values().copied().collect();
        self.prior = neighbours::predict(&all, pair);
        self.neighbours = known.keys().cloned().collect();
        // Capacity does not rise with the number of tokens.
        let larger = all.iter().filter(|k| is_within(pair, k.pair));
        let smaller = all.iter().filter(|k| is_within(k.pair, pair));
        self.at_least = pick(larger.map(|k| k.low), Ordering::Greater);
        self.at_most = pick(smaller.map(|k| k.high), Ordering::Less);
        self
    }

    /// Whether an answer is not what the other pairs let expect, or there was nothing to expect.
    pub(super) fn is_contradicted_by(&self, answer: &Answer) -> bool {
        let (Some(low), Some(high), Some(prior)) = (answer.low, answer.high, &self.prior) else {
            return true;
        };
        low > prior.high
            || high < prior.low
            || self.at_least.is_some_and(|least| high < least)
            || self.at_most.is_some_and(|most| low > most)
    }
}

impl Campaign<'_> {
    /// With what the search of an experiment begins: with the same as before where it was begun under these settings,
    /// else with what the other pairs say by now. Written down, so that a resumed search takes the same path.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub(super) fn begin(
        &self,
        experiment: &Experiment,
        folder: &std::path::Path,
        conditions: Conditions,
    ) -> Result<SearchFile, StoreError> {
        let path = folder.join(layout::SEARCH);
        let mut begun = SearchFile {
            schema: SEARCH_SCHEMA,
            settings: self.search_settings(experiment),
            conditions,
            neighbours: Vec::new(),
            prior: None,
            at_least: None,
            at_most: None,
            confirm: is_confirmed(self.settings, experiment),
        };
        if !self.fresh
            && path.is_file()
            // One that cannot be read is written anew: it is a help, not a measurement.
            && let Ok(before) = read_json::<SearchFile>(&path)
            && before.schema == begun.schema
            && before.settings == begun.settings
            && before.conditions == begun.conditions
            && before.confirm == begun.confirm
        {
            return Ok(before);
        }
        if let Some(pair) = experiment.pair() {
            let known = self.known(&experiment.name, &begun.conditions)?;
            begun = begun.expecting(&known, pair);
        }
        write_json(&path, &begun)?;
        Ok(begun)
    }

    /// The settings that the path of a search depends on.
    fn search_settings(&self, experiment: &Experiment) -> BTreeMap<String, String> {
        let s = self.settings;
        [
            ("start", experiment.start.to_string()),
            ("stop", s.stop.in_words()),
            ("duration_s", s.duration.as_secs_f64().to_string()),
            ("limit", s.iteration_limit.to_string()),
            (
                "budget_s",
                s.budget.map_or(String::new(), |b| b.as_secs_f64().to_string()),
            ),
            ("success_rate_percent", s.success_rate_percent.to_string()),
            ("seed", s.seed.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    /// The answers of the other pairs of this results folder that were measured under the same conditions, by name.
    fn known(&self, but: &str, conditions: &Conditions) -> Result<BTreeMap<String, Known>, StoreError> {
        let mut known = BTreeMap::new();
        for entry in fs_err::read_dir(self.store.root())? {
            let path = entry?.path().join(layout::CAPACITY);
            // What cannot be read says nothing.
            let Some(file) = path
                .is_file()
                .then(|| read_json::<CapacityFile>(&path).ok())
                .flatten()
            else {
                continue;
            };
            let counts = file.pair != but
                && file.conditions.as_ref() == Some(conditions)
                && file.experiment_type == super::rules::experiment_type(self.settings)
                && file.evaluation == super::rules::criterion_name(self.settings)
                && (!self.fresh || self.answered.borrow().contains(&file.pair));
            if let Some(found) = known_of(&file).filter(|_| counts) {
                known.insert(file.pair, found);
            }
        }
        Ok(known)
    }
}

/// The answer of a pair, where it is known on both sides.
fn known_of(file: &CapacityFile) -> Option<Known> {
    let Some(FolderName::Pair(pair)) = FolderName::parse(&file.pair) else {
        return None;
    };
    if !matches!(file.answer.status, Status::Bracketed | Status::Estimated) {
        return None;
    }
    let (low, high) = (file.answer.low?, file.answer.high?);
    let (from, to) = (low.as_per_minute(), high.as_per_minute());
    (from > 0.0 && to >= from).then(|| Known {
        pair,
        capacity: Rate::per_minute((from * to).sqrt()),
        low,
        high,
    })
}

/// What is believed of a pair, in words.
pub(super) fn in_words(begun: &SearchFile, prior: &Prior) -> String {
    let plain = |rate: Rate| crate::units::Plain(rate.rounded().as_per_minute());
    format!(
        "{} other {} let expect {} ({} to {})",
        begun.neighbours.len(),
        if begun.neighbours.len() == 1 {
            "pair"
        } else {
            "pairs"
        },
        prior.capacity.rounded(),
        plain(prior.low),
        plain(prior.high)
    )
}
